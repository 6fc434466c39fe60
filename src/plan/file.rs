//! A plan file: what is wrong in it is named with its line and its key.

use std::path::Path;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::keys::Keys;
use crate::toml_text::located;
use crate::{Error, Result};

/// A value, the path of its key, and where that stands in the text.
struct Entry<'a> {
    path: String,
    start: usize,
    value: Spanned<DeValue<'a>>,
}

/// The values of the text by the names of their keys, each of the right kind. The path of the file is for messages.
pub fn read(keys: &Keys, text: &str, file: &Path) -> Result<Table> {
    let parsed = DeTable::parse(text).map_err(|error| not_toml(&error, text, file))?;
    let mut entries = Vec::new();
    collect(keys, parsed.into_inner(), "", &mut entries);
    entries.sort_by_key(|entry| entry.start);
    let mut values = Table::new();
    for Entry { path, start, value } in entries {
        let fail = |message: String| {
            let line = line_of(text, start);
            Error::Plan(format!("{}, line {line}, key {path}: {message}", file.display()))
        };
        let key = keys.at(&path).ok_or_else(|| fail(unknown(keys, &path)))?;
        let value = Value::deserialize(value.into_deserializer());
        let value = value.map_err(|error| fail(one_line(error.message())))?;
        let value = key.domain.read(value).map_err(fail)?;
        if values.insert(key.name.to_owned(), value).is_some() {
            return Err(fail(format!("{} stands in the file twice", key.path)));
        }
    }
    Ok(values)
}

/// The keys of a plan file and their values, whatever they are. The path of the file is for messages.
pub fn table(text: &str, file: &Path) -> Result<Table> {
    text.parse().map_err(|error| not_toml(&error, text, file))
}

fn collect<'a>(keys: &Keys, table: DeTable<'a>, within: &str, entries: &mut Vec<Entry<'a>>) {
    for (name, value) in table {
        let (path, start) = (format!("{within}{}", name.get_ref()), name.span().start);
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) if keys.has_table(&path) => {
                collect(keys, table, &format!("{path}."), entries);
            }
            value => entries.push(Entry { path, start, value: Spanned::new(span, value) }),
        }
    }
}

/// The sentence about a key that no plan of this kind has.
fn unknown(keys: &Keys, path: &str) -> String {
    if keys.has_table(path) {
        return format!("it is a table of the plan, [{path}]");
    }
    let known = keys.0.iter().map(|key| format!("`{}`", key.path)).collect::<Vec<_>>().join(", ");
    format!("unknown field `{path}`, expected one of {known}")
}

fn not_toml(error: &toml::de::Error, text: &str, file: &Path) -> Error {
    Error::Plan(located(error, text, file))
}

fn line_of(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|&byte| byte == b'\n').count() + 1
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
