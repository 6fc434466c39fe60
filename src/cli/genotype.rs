//! A genotype by what a user calls it.

use std::path::Path;

use crate::report::run_directory::{error_in, load_genotype};
use crate::space::genotype::{Genotype, MAX_TEXT};
use crate::space::published::{self, Published};
use crate::{Error, Result, files};

/// A genotype that was found.
pub struct Found {
    /// It.
    pub genotype: Genotype,
    /// Its entry, if it was found by a published name.
    pub published: Option<Published>,
}

/// Finds the genotype of a published name, of a run directory, in a file, or in the text itself.
pub fn find(given: &str) -> Result<Found> {
    let unpublished = |genotype| Found { genotype, published: None };
    if given.contains(['(', '{']) && !Path::new(given).exists() {
        return Ok(unpublished(Genotype::from_text(given)?));
    }
    let path = Path::new(given);
    if path.is_dir() {
        return Ok(unpublished(load_genotype(path)?));
    }
    if path.exists() {
        let text = files::read_text(path, MAX_TEXT)?;
        return Ok(unpublished(Genotype::from_text(&text).map_err(|error| error_in(path, error))?));
    }
    if given.contains(['/', '\\', '.']) {
        return Err(Error::Genotype(format!(
            "{given}: no such file or run directory; `darts show --list` lists the published names"
        )));
    }
    let entry = published::find(given)?;
    Ok(Found { genotype: entry.genotype.clone(), published: Some(entry) })
}
