//! Sentences about TOML that users write.

use std::path::Path;

/// The sentence for an error of the TOML reader: the file, the line, the key and what was expected.
pub fn located(error: &toml::de::Error, text: &str, path: &Path) -> String {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..start).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let key = match line.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => format!(", key {}", key.trim()),
        _ => String::new(),
    };
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    // The names of Rust's types say nothing to the author of a file.
    let message = message.replace("expected usize", "expected a whole number");
    let message = message
        .replace("expected u64", "expected a whole number")
        .replace("expected f64", "expected a number")
        .replace("expected a boolean", "expected true or false");
    format!("{}, line {number}{key}: {message}", path.display())
}
