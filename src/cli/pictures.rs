//! What has changed among the pictures of a folder since a run or a model was made of them.

use std::path::Path;

use super::output::report;
use crate::data::format::FORMATS;
use crate::data::manifest::some;
use crate::data::{Dataset, Dealing, Manifest, Reading};
use crate::store::pictures::load_pictures;
use crate::train::model::Description;
use crate::{Error, Result};

/// How a run that goes on read its pictures: one of the first version stored no names.
pub fn reading_of_run(run: &Path, planned: Reading) -> Result<Reading> {
    Ok(match load_pictures(run)? {
        Some(pictures) => Reading { dealing: pictures.dealing.unwrap_or_default(), ..planned },
        None => planned.of_first_version(),
    })
}

/// How the pictures were dealt that a model was trained on.
pub fn dealing_of_model(description: &Description) -> Dealing {
    match &description.pictures {
        Some(pictures) => pictures.dealing.unwrap_or_default(),
        None if is_of_unknown_pictures(description) => Dealing::ByPlace,
        None => Dealing::ByName,
    }
}

/// Whether a model was trained on pictures whose names it does not hold.
fn is_of_unknown_pictures(description: &Description) -> bool {
    let name = description.data.split(':').next().unwrap_or_default();
    let pictures = FORMATS.iter().any(|format| format.pictures && format.name == name);
    pictures && description.pictures.is_none()
}

fn manifest(dataset: &Dataset) -> Option<&Manifest> {
    dataset.pictures.as_ref().map(|pictures| &pictures.manifest)
}

/// Refuses to go on with a run on other pictures than those that it was begun with.
pub fn check_resumed(run: &Path, dataset: &Dataset) -> Result<()> {
    let (Some(begun), Some(now)) = (load_pictures(run)?, manifest(dataset)) else { return Ok(()) };
    let changes = now.changes_since(&begun);
    if changes.is_empty() {
        return Ok(());
    }
    let reason = format!("these are other pictures than those that the run was begun with: {changes}");
    Err(Error::Data { path: dataset.name.clone().into(), reason })
}

/// Says how the pictures differ from those of the search whose network is to be trained; `seed` is that of the search where
/// the training has another.
///
/// # Errors
/// Pictures that the search was made with are to be test pictures.
pub fn compare_with_search(run: &Path, dataset: &Dataset, seed: Option<u64>) -> Result<()> {
    let (Some(begun), Some(now)) = (load_pictures(run)?, manifest(dataset)) else { return Ok(()) };
    let searched = now.tested_but_trained_on_in(&begun);
    match seed {
        Some(seed) if !searched.is_empty() => {
            let (count, all) = (searched.len(), now.test.len());
            let reason = format!(
                "by another --seed than that of the search, {count} of {all} test pictures are among those that it was \
                 made on; train with --seed {seed}, or name test pictures in a directory test"
            );
            Err(Error::Data { path: dataset.name.clone().into(), reason })
        }
        Some(_) => Ok(()),
        None => {
            refuse_trained(dataset, "the search was made", &searched)?;
            let changes = now.changes_since(&begun);
            if !changes.is_empty() {
                report(&format!(
                    "the pictures have changed since the search in {}: {changes}",
                    run.display()
                ));
            }
            Ok(())
        }
    }
}

/// Says how the test pictures differ from those of a model.
///
/// # Errors
/// The model was trained on some of them.
pub fn compare_with_model(description: &Description, dataset: &Dataset) -> Result<()> {
    let Some(now) = manifest(dataset) else { return Ok(()) };
    let Some(made) = &description.pictures else {
        if is_of_unknown_pictures(description) {
            report(UNKNOWN);
        }
        return Ok(());
    };
    refuse_trained(dataset, "the model was trained", &made.trained_on(now))?;
    let changes = made.changes_of_test(now);
    if !changes.is_empty() {
        report(&format!("the test pictures are not those of the training: {changes}"));
    }
    Ok(())
}

/// What is said of a model of the first version.
const UNKNOWN: &str = "it is unknown which pictures this model was trained on: its version did not store their names, and set \
                       pictures apart by their places in the list of files; if any came or went since, trained pictures are \
                       tested";

fn refuse_trained(dataset: &Dataset, what: &str, names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let all = manifest(dataset).map_or(0, |manifest| manifest.test.len());
    let reason = format!(
        "{} of {all} test pictures are no test, for {what} on them: {}; move them back, or test with others",
        names.len(),
        some(names)
    );
    Err(Error::Data { path: dataset.name.clone().into(), reason })
}
