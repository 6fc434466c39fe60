//! What the compiler does not check: imports go down only, so that a module uses those before it in the reading order of
//! `src/lib.rs`; and the links of the documents lead to files.

use std::collections::HashMap;
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The place of each module in the reading order; those of one line share it, in the order of the line.
fn order() -> HashMap<String, usize> {
    let text = read_to_string(source().join("lib.rs")).unwrap();
    let listed = text.lines().filter(|line| line.starts_with("//! ") && line.contains(". [`"));
    let names = listed.flat_map(|line| line.split("[`").skip(1).map(|rest| rest.split('`').next().unwrap()));
    let order: HashMap<String, usize> = names.map(str::to_owned).zip(0..).collect();
    for line in text.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        assert!(order.contains_key(line.trim_end_matches(';')), "the reading order lacks {line}");
    }
    order
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The modules that a file names behind `crate::`, also within braces.
fn used(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut used = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default(),
            None => rest,
        };
        let words = names.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let count = if rest.starts_with('{') { usize::MAX } else { 1 };
        used.extend(words.take(count).map(str::to_owned));
    }
    used
}

#[test]
fn the_links_of_the_documents_lead_to_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut links = 0;
    for document in ["README.md", "kernels/README.md"] {
        let path = root.join(document);
        for rest in read_to_string(&path).unwrap().split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            links += 1;
            assert!(path.parent().unwrap().join(link).exists(), "{document} links to {link}");
        }
    }
    assert!(links > 20, "{links} links");
}

#[test]
fn imports_go_down() {
    let order = order();
    let (mut arrows, mut upward) = (0, Vec::new());
    for path in files(&source()).iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let place = path.strip_prefix(source()).unwrap();
        let module = place.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some(&own) = order.get(module) else { continue };
        for name in used(&read_to_string(path).unwrap()) {
            let Some(&other) = order.get(&name) else { continue };
            arrows += 1;
            if other > own {
                upward.push(format!("{} uses {name}", place.display()));
            }
        }
    }
    assert!(arrows > 200, "{arrows} imports");
    assert!(upward.is_empty(), "these imports go up:\n{}", upward.join("\n"));
}
