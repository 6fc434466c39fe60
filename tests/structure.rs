//! What the compiler does not check: imports go down only, so that a module uses those before it in the reading order of
//! `src/lib.rs`; and the links of the documents lead to files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// The code of a file, without comments and unit tests.
fn code(path: &Path) -> String {
    let text = read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    code.join("\n")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

/// The names that stand behind a prefix such as `crate::`, also within braces.
fn behind<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let names = code.split(prefix).skip(1).flat_map(|rest| match rest.strip_prefix('{') {
        Some(group) => words(group.split(';').next().unwrap_or_default()).collect(),
        None => Vec::from_iter(words(rest).next()),
    });
    names.collect()
}

/// The code of the files of a folder, by the names of their modules.
fn modules(folder: &Path) -> BTreeMap<String, String> {
    let own = read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let own = own.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    own.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), code(&path))).collect()
}

/// The files that names of a folder stand for: a module for its own, what `mod.rs` imports from a module for that of this
/// module, and what `mod.rs` defines for itself. And the code of `mod.rs` without its imports.
fn names(modules: &BTreeMap<String, String>) -> (HashMap<&str, &str>, String) {
    let mut names: HashMap<&str, &str> = modules.keys().map(|name| (&name[..], &name[..])).collect();
    let mut code = String::new();
    for statement in modules.get("mod").map_or("", String::as_str).split_inclusive(';') {
        match statement.trim_start().trim_start_matches("pub ").strip_prefix("use ") {
            None => code += statement,
            Some(import) => {
                let mut imported = words(import).filter(|word| !word.is_empty());
                if let Some((file, _)) = imported.next().and_then(|first| modules.get_key_value(first)) {
                    names.extend(imported.map(|name| (name, &file[..])));
                }
            }
        }
    }
    let kinds = ["struct", "enum", "trait", "const", "static", "fn"];
    let mut kind = "";
    for word in modules.get("mod").into_iter().flat_map(|code| words(code)).filter(|word| !word.is_empty()) {
        if kinds.contains(&kind) {
            names.entry(word).or_insert("mod");
        }
        kind = word;
    }
    (names, code)
}

/// The files of a folder by the names of their modules, each with the others that it uses.
fn arrows(folder: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules(folder);
    let (names, index) = names(&modules);
    let path = folder.strip_prefix(source()).unwrap().to_str().unwrap().replace('/', "::");
    let used = |(module, code): (&String, &String)| {
        let code = code.replace("super::super::", "");
        let found: Vec<&str> = match module.as_str() {
            "mod" => words(&index)
                .filter(|word| !modules.contains_key(*word) || index.contains(&format!("{word}::")))
                .collect(),
            _ => [behind(&code, "super::"), behind(&code, &format!("crate::{path}::"))].concat(),
        };
        let files = found.into_iter().filter_map(|name| names.get(name)).filter(|file| *file != module);
        (module.clone(), files.map(|file| (*file).to_owned()).collect())
    };
    modules.iter().map(used).collect()
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

/// A tape and a backend are one type each, whose operators are blocks of it in files of their own: these know the type,
/// and its file knows what it holds for them.
const ONE_TYPE: [&str; 2] = ["autograd", "backend"];

#[test]
fn the_files_of_a_folder_do_not_use_each_other_in_circles() {
    let paths = files(&source());
    let folders: BTreeSet<_> = paths.iter().map(|path| path.parent().unwrap()).collect();
    let (mut count, mut circles) = (0, Vec::new());
    for folder in folders {
        let place = folder.strip_prefix(source()).unwrap();
        if place.iter().next().is_none_or(|top| ONE_TYPE.iter().any(|one| top == *one)) {
            continue;
        }
        let mut arrows = arrows(folder);
        count += arrows.values().map(BTreeSet::len).sum::<usize>();
        // Files that use no other are taken away until none is left, or only circles and their users are.
        while let Some(last) = arrows.iter().find(|(_, used)| used.is_empty()).map(|(name, _)| name.clone()) {
            arrows.remove(&last);
            arrows.values_mut().for_each(|used| used.retain(|name| *name != last));
        }
        circles.extend(
            arrows.into_iter().map(|(name, used)| format!("{}/{name} uses {used:?}", place.display())),
        );
    }
    assert!(count > 100, "{count} imports");
    assert!(circles.is_empty(), "these files use each other in circles:\n{}", circles.join("\n"));
}

#[test]
fn imports_go_down() {
    let order = order();
    let (mut arrows, mut upward) = (0, Vec::new());
    for path in files(&source()).iter().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        let place = path.strip_prefix(source()).unwrap();
        let module = place.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some(&own) = order.get(module) else { continue };
        let code = code(path);
        for name in behind(&code, "crate::") {
            let Some(&other) = order.get(name) else { continue };
            arrows += 1;
            if other > own {
                upward.push(format!("{} uses {name}", place.display()));
            }
        }
    }
    assert!(arrows > 200, "{arrows} imports");
    assert!(upward.is_empty(), "these imports go up:\n{}", upward.join("\n"));
}
