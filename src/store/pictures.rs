//! The pictures that a run sees, where they are files of their own: stored when it begins.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::{Manifest, Pictures, Survey};
use crate::files::read_bounded;
use crate::{Error, Result};

/// The file of the [`Manifest`] in a run directory.
const MANIFEST: &str = "pictures.json";
/// The file of the [`Survey`].
const SURVEY: &str = "survey.json";
/// The most bytes of a file: a hundred for each of five million pictures.
const MAX_FILE: usize = 500 << 20;

/// Names and contents of the files, if the images are files of their own.
pub(super) fn pictures_files(pictures: Option<&Pictures>) -> Result<Vec<(&'static str, String)>> {
    let Some(Pictures { manifest, survey, .. }) = pictures else { return Ok(Vec::new()) };
    Ok(vec![(MANIFEST, json(MANIFEST, manifest)?), (SURVEY, json(SURVEY, survey)?)])
}

fn json(name: &str, value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(value).map_err(|error| Error::io(name, error.into()))?;
    Ok(text + "\n")
}

/// The pictures that a run was begun with, if it stored them.
pub fn load_pictures(run: &Path) -> Result<Option<Manifest>> {
    load(run, MANIFEST)
}

/// What a run knew of its pictures, if it stored that.
pub fn load_survey(run: &Path) -> Result<Option<Survey>> {
    load(run, SURVEY)
}

fn load<T: DeserializeOwned>(run: &Path, name: &str) -> Result<Option<T>> {
    let path = run.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let value = serde_json::from_slice(&read_bounded(&path, MAX_FILE)?);
    value.map(Some).map_err(|error| Error::Format { path, reason: format!("is malformed: {error}") })
}
