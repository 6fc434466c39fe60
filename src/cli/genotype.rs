//! A genotype by what a user calls it.

use std::path::Path;
use std::sync::Arc;

use crate::plan::file::table;
use crate::space::excerpt::is_name;
use crate::space::genotype::{Genotype, MAX_TEXT};
use crate::space::published::{self, Published};
use crate::space::stored::Choice;
use crate::space::{Space, sampled};
use crate::store::genotype::{error_in, load_genotype};
use crate::store::place::{MAX_PLAN, PLAN};
use crate::{Error, Result, files};

/// A genotype that was found.
pub struct Found {
    /// It.
    pub genotype: Genotype,
    /// Its entry, if it was found by a published name.
    pub published: Option<Published>,
    /// What the plan of its run says of the images, if it was found by a run directory; and its space.
    pub images: toml::Table,
}

/// The keys of a plan that say which images a run sees, and how an undivided data set is divided.
const IMAGES: [&str; 6] = ["data", "image_size", "colour", "background", "fit", "seed"];

/// Finds the genotype of a published name, of a seed, of a run directory, in a file, or in the text itself. `space` is that
/// of what does not say of which space it is, and must have all edges of what does.
pub fn find(given: &str, space: Option<&Arc<Space>>) -> Result<Found> {
    let mut found = find_in(given, space.unwrap_or(&Space::darts()))?;
    // Published genotypes hold operations beyond the candidates of the paper's space, which needs no asking for.
    if let Some(space) = space.filter(|space| **space != found.genotype.space || ***space != *Space::darts())
    {
        let refused = |error: Error| match error {
            Error::Genotype(reason) if given.len() < 60 => Error::Genotype(format!("{given}: {reason}")),
            error => error,
        };
        found.genotype = found.genotype.into_space(space).map_err(refused)?;
    }
    let space = Choice::of(&found.genotype.space).to_string();
    found.images.insert("space".to_owned(), toml::Value::String(space));
    Ok(found)
}

fn find_in(given: &str, space: &Arc<Space>) -> Result<Found> {
    let unpublished = |genotype| Found { genotype, published: None, images: toml::Table::new() };
    if given.contains(['(', '{', '|']) && !Path::new(given).exists() {
        return Ok(unpublished(Genotype::from_text(given, space)?));
    }
    let path = Path::new(given);
    if path.is_dir() {
        return Ok(Found { images: images_of(path)?, ..unpublished(load_genotype(path)?) });
    }
    if path.exists() {
        let text = files::read_text(path, MAX_TEXT)?;
        return Ok(unpublished(Genotype::from_text(&text, space).map_err(|error| error_in(path, error))?));
    }
    if let Some((file, name)) =
        given.rsplit_once(':').filter(|(file, name)| Path::new(file).is_file() && is_name(name))
    {
        let text = files::read_text(Path::new(file), MAX_TEXT)?;
        let read = Genotype::from_named_literal(&text, name, space);
        return Ok(unpublished(read.map_err(|error| error_in(Path::new(file), error))?));
    }
    if let Some(drawn) = sampled::find(given, space) {
        return drawn.map(unpublished);
    }
    if given.contains(['/', '\\', '.']) {
        return Err(Error::Genotype(format!(
            "{given}: no such file or run directory; `darts show --list` lists the published names"
        )));
    }
    let entry = published::find(given)?;
    Ok(Found { published: Some(entry.clone()), ..unpublished(entry.genotype) })
}

/// What the plan of a run says of its images; nothing, if it has none.
pub fn images_of(run: &Path) -> Result<toml::Table> {
    let path = run.join(PLAN);
    if !path.is_file() {
        return Ok(toml::Table::new());
    }
    let plan = table(&files::read_text(&path, MAX_PLAN)?, &path)?;
    Ok(plan.into_iter().filter(|(key, _)| IMAGES.contains(&key.as_str())).collect())
}
