//! What the host tells a CUDA kernel are structs that both sides declare: `#[repr(C)]` in `src/backend`, and in `kernels/`.
//! A comment names the struct that each of them mirrors; the fields of both must have the same names, types and offsets.
//!
//! Both texts are read, so this runs without a compiler of CUDA.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Files by their path in the repository.
type Files = BTreeMap<String, String>;

/// A declared struct: its fields in order, with their types and numbers of elements as they are written.
#[derive(Debug)]
struct Declaration {
    file: String,
    name: String,
    fields: Vec<(String, String, String)>,
}

/// A struct of the host, and the name and file of the kernels' struct that it mirrors.
struct Mirror {
    host: Declaration,
    kernel: (String, String),
}

/// All files of a folder that end so.
fn files(folder: &str, ends: &[&str]) -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| format!("{folder}/{}", name.to_string_lossy()));
    let wanted = names.filter(|name| ends.iter().any(|end| name.ends_with(end)));
    wanted.map(|name| (name.clone(), fs::read_to_string(root.join(&name)).unwrap())).collect()
}

fn host_files() -> Files {
    let mut found = files("src/backend/cuda", &[".rs"]);
    found.extend(files("src/backend", &["/operands.rs"]));
    found
}

fn kernel_files() -> Files {
    files("kernels", &[".cu", ".cuh"])
}

/// Text without what follows `//` in each line.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The text between a word and the next of another.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = &text[text.find(start)? + start.len()..];
    Some(&rest[..rest.find(end)?])
}

/// The structs of the host that say `#[repr(C)]`, each with what its comment names.
fn mirrors(host: &Files) -> Vec<Mirror> {
    let mut found = Vec::new();
    for (file, text) in host {
        let mut parts = text.split("#[repr(C)]\n");
        let mut comment = parts.next().unwrap_or_default();
        for part in parts {
            let name = between(part, "struct ", " {").unwrap().to_owned();
            let fields = code(between(part, " {\n", "\n}").unwrap());
            let fields = fields.split(",\n").map(str::trim).filter(|field| !field.is_empty()).map(host_field);
            let host = Declaration { file: file.clone(), name, fields: fields.collect() };
            let paragraph = comment.rsplit("\n\n").next().unwrap_or_default();
            let target = between(paragraph, "Mirrors `", "`.").and_then(|said| said.split_once("` of `"));
            let (name, file) = target.unwrap_or_else(|| {
                panic!(
                    "{file}: no comment says which struct `{}` mirrors, as \"Mirrors `X` of `kernels/Y`.\"",
                    host.name
                )
            });
            found.push(Mirror { kernel: (name.to_owned(), file.to_owned()), host });
            comment = part;
        }
    }
    found
}

/// `pub name: [type; count]` or `pub name: type`.
fn host_field(text: &str) -> (String, String, String) {
    let (name, kind) = text.trim_end_matches(',').split_once(": ").unwrap();
    let name = name.rsplit(' ').next().unwrap().to_owned();
    match kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')?.split_once("; ")) {
        Some((kind, count)) => (name, kind.to_owned(), count.to_owned()),
        None => (name, kind.to_owned(), "1".to_owned()),
    }
}

/// A struct of the kernels: `type name, other[count];` in each statement.
fn declaration(kernels: &Files, (name, file): &(String, String)) -> Declaration {
    let text = kernels.get(file).unwrap_or_else(|| panic!("{file} is mirrored, but there is no such file"));
    let text = code(text);
    let body = between(&text, &format!("\nstruct {name} {{\n"), "\n};")
        .unwrap_or_else(|| panic!("`{name}` is mirrored, but {file} declares no such struct"));
    let mut fields = Vec::new();
    for statement in body.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        let mut declarators = statement.split(',').map(str::trim);
        let first = declarators.next().unwrap();
        let (kind, _) = first.split('[').next().unwrap().rsplit_once(' ').unwrap();
        let first = first[kind.len()..].trim();
        for declarator in std::iter::once(first).chain(declarators) {
            let (name, count) = declarator.split_once('[').unwrap_or((declarator, "1]"));
            fields.push((name.to_owned(), kind.to_owned(), count.trim_end_matches(']').to_owned()));
        }
    }
    Declaration { file: file.clone(), name: name.clone(), fields }
}

/// The name of a scalar on both sides, and its size.
fn scalar(kind: &str) -> Option<(&'static str, usize)> {
    Some(match kind {
        "u8" | "unsigned char" => ("u8", 1),
        "u16" | "unsigned short" => ("u16", 2),
        "u32" => ("u32", 4),
        "i32" | "int" => ("i32", 4),
        "f32" | "float" => ("f32", 4),
        "f64" | "double" => ("f64", 8),
        "u64" => ("u64", 8),
        pointer if pointer.ends_with('*') => ("u64", 8),
        _ => return None,
    })
}

/// A sum of numbers and constants; a constant is looked for in the same file first.
fn number(files: &Files, file: &str, text: &str) -> usize {
    let constant = |name: &str| {
        let value = |text: &str| {
            let declared =
                [format!("const {name}: usize ="), format!("constexpr u32 {name} ="), format!(", {name} =")];
            let ends = [';', ','];
            declared.iter().find_map(|start| {
                let rest = &text[text.find(start)? + start.len()..];
                Some(rest[..rest.find(ends)?].trim().to_owned())
            })
        };
        let all = std::iter::once(&files[file]).chain(files.values());
        let value = all.map(|text| value(&code(text))).find_map(|value| value);
        number(files, file, &value.unwrap_or_else(|| panic!("{file}: {name} is no constant")))
    };
    text.split('+').map(str::trim).map(|term| term.parse().unwrap_or_else(|_| constant(term))).sum()
}

/// One side's view of the structs.
struct Side<'a> {
    files: &'a Files,
    /// By the kernels' name and file.
    declarations: BTreeMap<&'a (String, String), &'a Declaration>,
}

/// A field as both sides must see it: its offset, name and type, the latter a scalar or the kernels' name of a struct.
type Place = (usize, String, String, usize);

impl Side<'_> {
    /// Fields, size and alignment of a struct.
    fn layout(&self, declaration: &Declaration) -> (Vec<Place>, usize, usize) {
        let (mut places, mut end, mut alignment) = (Vec::new(), 0usize, 1);
        for (name, kind, count) in &declaration.fields {
            let count = number(self.files, &declaration.file, count);
            let (kind, size, aligned) = match scalar(kind) {
                Some((kind, size)) => (kind.to_owned(), size, size),
                None => self.nested(declaration, kind),
            };
            end = end.next_multiple_of(aligned);
            alignment = alignment.max(aligned);
            places.push((end, name.clone(), kind, count));
            end += size * count;
        }
        (places, end.next_multiple_of(alignment), alignment)
    }

    /// The kernels' name of a struct that is a field of another, its size and its alignment.
    fn nested(&self, of: &Declaration, kind: &str) -> (String, usize, usize) {
        let named = |declaration: &Declaration| declaration.name == kind;
        let all = self.declarations.iter();
        let mut found: Vec<_> = all.filter(|(_, declaration)| named(declaration)).collect();
        found.sort_by_key(|(_, declaration)| declaration.file != of.file);
        let (key, declaration) = found
            .first()
            .unwrap_or_else(|| panic!("{}: `{kind}`, in `{}`, mirrors nothing", of.file, of.name));
        let (_, size, alignment) = self.layout(declaration);
        (key.0.clone(), size, alignment)
    }
}

/// What is wrong with the mirrors, a sentence each.
fn differences(host: &Files, kernels: &Files) -> Vec<String> {
    let mirrors = mirrors(host);
    let declared: Vec<_> = mirrors.iter().map(|mirror| declaration(kernels, &mirror.kernel)).collect();
    let keys = || mirrors.iter().map(|mirror| &mirror.kernel);
    let hosts = mirrors.iter().map(|mirror| &mirror.host);
    let ours = Side { files: host, declarations: keys().zip(hosts).collect() };
    let theirs = Side { files: kernels, declarations: keys().zip(&declared).collect() };
    let mut said = Vec::new();
    for (mirror, declared) in mirrors.iter().zip(&declared) {
        let (here, there) = (ours.layout(&mirror.host), theirs.layout(declared));
        if here != there {
            let Declaration { file, name, .. } = &mirror.host;
            said.push(format!(
                "`{name}` of {file} is no mirror of `{}` of {}:\n  {here:?}\n  {there:?}",
                declared.name, declared.file
            ));
        }
    }
    let parameters = kernels.iter().flat_map(|(file, text)| {
        text.split("__grid_constant__ ")
            .skip(1)
            .map(move |rest| (rest.split(' ').next().unwrap_or_default(), file))
    });
    let mirrored: BTreeSet<_> = keys().map(|(name, _)| name.as_str()).collect();
    said.extend(
        parameters
            .filter(|(name, _)| !mirrored.contains(name))
            .map(|(name, file)| format!("{file}: nothing mirrors `{name}`")),
    );
    said
}

#[test]
fn host_and_kernels_declare_the_same_fields() {
    let (host, kernels) = (host_files(), kernel_files());
    assert!(mirrors(&host).len() >= 35, "{} mirrors", mirrors(&host).len());
    let said = differences(&host, &kernels);
    assert!(said.is_empty(), "{}", said.join("\n"));
}

/// The sources with one change, which must be there to be made.
fn changed(files: &Files, file: &str, from: &str, to: &str) -> Files {
    let mut files = files.clone();
    let text = files.get_mut(file).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    *text = text.replacen(from, to, 1);
    files
}

#[test]
fn changed_fields_are_found() {
    let (host, kernels) = (host_files(), kernel_files());
    let found = |host: &Files, kernels: &Files, name: &str| {
        let said = differences(host, kernels);
        assert!(said.iter().any(|said| said.contains(&format!("`{name}` of"))), "{name}: {said:?}");
    };
    // Two fields of one type change places: on the kernels' side, on the host's, within a nested struct.
    let swapped = changed(&kernels, "kernels/pool.cu", "kernel, stride, padding", "stride, kernel, padding");
    found(&host, &swapped, "Pool");
    let file = "src/backend/cuda/linear.rs";
    found(
        &changed(&host, file, "    inputs: u32,\n    outputs: u32,", "    outputs: u32,\n    inputs: u32,"),
        &kernels,
        "Linear",
    );
    let swapped =
        changed(&kernels, "kernels/geometry.cuh", "u32 data, scale, shift;", "u32 data, shift, scale;");
    found(&host, &swapped, "Reader");
    // A type, a length, a constant and a kernel's parameters.
    found(
        &host,
        &changed(&kernels, "kernels/cross_entropy.cu", "float weight;", "u32 weight;"),
        "CrossEntropy",
    );
    found(&host, &changed(&kernels, "kernels/pointwise.cu", "factors[2]", "factors[3]"), "Pointwise");
    found(&host, &changed(&kernels, "kernels/geometry.cuh", "MAX_SUMMED = 24", "MAX_SUMMED = 25"), "NodeSum");
    let said = differences(
        &host,
        &changed(&kernels, "kernels/pool.cu", "__grid_constant__ Pool", "__grid_constant__ Window"),
    );
    assert!(said.iter().any(|said| said.contains("nothing mirrors `Window`")), "{said:?}");
}
