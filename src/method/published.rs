//! The methods of the literature, compiled in and found by name.

use std::sync::LazyLock;

use serde::Deserialize;
use toml::Table;

/// A method of the literature.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The name that a plan finds it by.
    pub name: String,
    /// What it changes, as one line.
    pub changes: String,
    /// What a step costs, in passes forward and backward through the supernet.
    pub cost: String,
    /// Where it was published.
    pub source: String,
    /// The keys of a plan that make the method, by their names.
    #[serde(default)]
    pub plan: Table,
    /// In how many of how many epochs of a stage the weights alone are trained, where a plan does not say.
    #[serde(default)]
    pub frozen: Option<[i64; 2]>,
    /// The keys that its authors use on CIFAR-10, where these are others than those of DARTS.
    #[serde(default)]
    pub paper: Table,
}

#[derive(Deserialize)]
struct File {
    method: Vec<Published>,
}

/// All of them, DARTS first.
pub fn all() -> &'static [Published] {
    static ALL: LazyLock<Vec<Published>> = LazyLock::new(|| {
        let file: Result<File, _> = toml::from_str(include_str!("methods.toml"));
        file.unwrap_or_else(|error| panic!("the methods of this program: {error}")).method
    });
    &ALL
}

/// The method of a name.
pub fn find(name: &str) -> Option<&'static Published> {
    all().iter().find(|method| method.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_nothing_is_empty() {
        let mut names: Vec<_> = all().iter().map(|method| &method.name).collect();
        assert_eq!(names[0], "darts");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all().len());
        for method in all() {
            assert!([&method.changes, &method.cost, &method.source].into_iter().all(|text| !text.is_empty()));
            assert_eq!(find(&method.name).map(|found| &found.source), Some(&method.source));
        }
    }
}
