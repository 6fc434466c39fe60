//! Genotypes from the literature, compiled in and found by name.

use serde::Deserialize;

use super::genotype::Genotype;
use crate::{Error, Result};

/// A genotype from the literature.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The name it is found by: lower case, with hyphens.
    pub name: String,
    /// Other names for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The reported test error on CIFAR-10 in per cent, where one is known.
    pub test_error: Option<f64>,
    /// Where the genotype was published.
    pub source: String,
    /// Both cells.
    pub genotype: Genotype,
}

/// All published genotypes, the best known first.
pub fn all() -> Result<Vec<Published>> {
    serde_json::from_str(include_str!("published.json"))
        .map_err(|error| Error::Genotype(format!("the published genotypes of this binary: {error}")))
}

/// Finds a published genotype; case does not matter, and an underscore is as good as a hyphen.
pub fn find(name: &str) -> Result<Published> {
    let wanted = name.trim().to_lowercase().replace('_', "-");
    let published = all()?;
    let found = published.iter().find(|entry| names(entry).any(|name| name == wanted));
    if let Some(entry) = found {
        return Ok(entry.clone());
    }
    let nearest = nearest(&published, &wanted);
    let hint =
        if nearest.is_empty() { String::new() } else { format!("did you mean {}? ", nearest.join(" or ")) };
    let name: String = name.chars().take(60).collect();
    Err(Error::Genotype(format!(
        "{name:?} is not a published genotype; {hint}`darts show --list` lists all {}",
        published.len()
    )))
}

fn names(entry: &Published) -> impl Iterator<Item = &str> {
    std::iter::once(entry.name.as_str()).chain(entry.aliases.iter().map(String::as_str))
}

/// Up to three names that a small number of changes turns into the wanted one, or that it begins.
fn nearest<'a>(published: &'a [Published], wanted: &str) -> Vec<&'a str> {
    let wanted: Vec<char> = wanted.chars().take(40).collect();
    let mut ranked: Vec<(usize, &str)> = published
        .iter()
        .filter_map(|entry| {
            let distance = names(entry).map(|name| distance(&wanted, name)).min()?;
            Some((distance, entry.name.as_str()))
        })
        .filter(|&(distance, _)| distance <= 1 + wanted.len() / 3)
        .collect();
    ranked.sort_by_key(|&(distance, _)| distance);
    ranked.into_iter().take(3).map(|(_, name)| name).collect()
}

/// The edit distance: insertions, deletions and substitutions.
fn distance(wanted: &[char], name: &str) -> usize {
    let mut row: Vec<usize> = (0..=wanted.len()).collect();
    for (line, letter) in name.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, &other) in wanted.iter().enumerate() {
            let substituted = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[wanted.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_valid_and_its_names_are_its_own() {
        let published = all().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for name in published.iter().flat_map(names) {
            assert_eq!(name, name.to_lowercase().replace('_', "-"));
            assert!(seen.insert(name), "{name} names two genotypes");
        }
        assert!(published.len() > 50);
    }

    #[test]
    fn names_are_forgiving_and_hints_are_near() {
        assert_eq!(find("DARTS_V2").unwrap().test_error, Some(2.76));
        assert_eq!(find("PC_DARTS_cifar").unwrap().name, "pc-darts");
        assert_eq!(find("NASNet").unwrap().genotype.cells[0].nodes.len(), 5);
        assert!(find("drats-v2").unwrap_err().to_string().contains("did you mean darts-v2"));
        assert!(find("zzzzzzzzzz").unwrap_err().to_string().contains("genotype; `darts show --list`"));
        assert_eq!(distance(&['a', 'b'], "abc"), 1);
        assert_eq!(distance(&[], "abc"), 3);
    }
}
