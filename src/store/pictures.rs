//! The pictures that a run sees: stored when it begins, with their names where they are files of their own.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::sheet::Sheet;
use crate::data::{Augmentation, Dataset, Manifest, Pictures, Survey};
use crate::files::read_bounded;
use crate::{Error, Result};

/// The file of the [`Manifest`] in a run directory.
const MANIFEST: &str = "pictures.json";
/// The file of the [`Survey`].
const SURVEY: &str = "survey.json";
/// The file of the [`Sheet`].
const SHEET: &str = "sheet.json";
/// The most bytes of a file: a hundred for each of five million pictures.
const MAX_FILE: usize = 500 << 20;

/// Names and contents of the files about the images of a run with this seed, which varies them so.
pub(super) fn pictures_files(
    dataset: Option<&Dataset>,
    augmentation: impl FnOnce(&Dataset) -> Augmentation,
    seed: u64,
) -> Result<Vec<(&'static str, String)>> {
    let Some(dataset) = dataset else { return Ok(Vec::new()) };
    let sheet = Sheet::of(dataset, augmentation(dataset), seed)?;
    let mut files = vec![(SHEET, json(SHEET, &sheet)?)];
    if let Some(Pictures { manifest, survey, .. }) = &dataset.pictures {
        files.extend([(MANIFEST, json(MANIFEST, manifest)?), (SURVEY, json(SURVEY, survey)?)]);
    }
    Ok(files)
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

/// What a run shows of its images, if it stored that.
pub fn load_sheet(run: &Path) -> Result<Option<Sheet>> {
    load(run, SHEET)
}

fn load<T: DeserializeOwned>(run: &Path, name: &str) -> Result<Option<T>> {
    let path = run.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let value = serde_json::from_slice(&read_bounded(&path, MAX_FILE)?);
    value.map(Some).map_err(|error| Error::Format { path, reason: format!("is malformed: {error}") })
}
