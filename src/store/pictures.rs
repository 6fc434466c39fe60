//! The pictures that a run sees, where they are files of their own: stored when it begins.

use std::path::Path;

use crate::data::Manifest;
use crate::files::read_bounded;
use crate::{Error, Result};

/// The file in a run directory.
const FILE: &str = "pictures.json";
/// The most bytes of it: a hundred for each of five million pictures.
const MAX_FILE: usize = 500 << 20;

/// Name and content of the file, if the images are files of their own.
pub(super) fn pictures_file(pictures: Option<&Manifest>) -> Result<Option<(&'static str, String)>> {
    let text = pictures.map(serde_json::to_string).transpose();
    let text = text.map_err(|error| Error::io(FILE, error.into()))?;
    Ok(text.map(|text| (FILE, text + "\n")))
}

/// The pictures that a run was begun with, if it stored them.
pub fn load_pictures(run: &Path) -> Result<Option<Manifest>> {
    let path = run.join(FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let pictures = serde_json::from_slice(&read_bounded(&path, MAX_FILE)?);
    pictures.map(Some).map_err(|error| Error::Format { path, reason: format!("is malformed: {error}") })
}
