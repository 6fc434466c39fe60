//! How a trained network does class by class: stored with a run.

use std::cmp::Reverse;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files::{read_bounded, write_whole};
use crate::{Error, Result};

/// The file in a run directory.
const FILE: &str = "classes.json";
/// The most bytes of it: some for each of the pairs of a thousand classes.
const MAX_FILE: usize = 32 << 20;
/// The most classes whose confusions are shown one and all, on a page as in a terminal.
pub const MOST_COLUMNS: usize = 20;

/// The classes of a network, and the confusion matrix of the test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// The epoch of the network.
    pub epoch: usize,
    /// The names of the classes.
    pub names: Vec<String>,
    /// How many images of a class were taken for one: `[class][guess]`.
    pub confusion: Vec<Vec<usize>>,
}

/// How many images of a class were taken for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confused {
    /// Number of images.
    pub count: usize,
    /// What they are.
    pub class: usize,
    /// What they were taken for.
    pub guess: usize,
}

/// All that was confused, the most frequent first.
pub fn confused(confusion: &[Vec<usize>]) -> Vec<Confused> {
    let mut wrong = Vec::new();
    for (class, row) in confusion.iter().enumerate() {
        let others = row.iter().enumerate().filter(|&(guess, &count)| guess != class && count > 0);
        wrong.extend(others.map(|(guess, &count)| Confused { count, class, guess }));
    }
    wrong.sort_by_key(|wrong| (Reverse(wrong.count), wrong.class, wrong.guess));
    wrong
}

/// The fraction of a class's images that was recognised, of a row of a matrix of confusions.
pub fn recognised(class: usize, row: &[usize]) -> Option<f64> {
    let all: usize = row.iter().sum();
    (all > 0).then(|| row[class] as f64 / all as f64)
}

impl Classes {
    /// Writes the file into a run directory.
    pub fn save(&self, run: &Path) -> Result<()> {
        let path = run.join(FILE);
        let text = serde_json::to_string(self).map_err(|error| Error::io(&path, error.into()))?;
        write_whole(&path, format!("{text}\n").as_bytes())
    }

    /// Removes the file from a run directory, if it is there.
    pub fn remove(run: &Path) -> Result<()> {
        let path = run.join(FILE);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, error)),
            _ => Ok(()),
        }
    }

    /// Reads the file of a run directory, if it is there: a training writes it at its end.
    pub fn load(run: &Path) -> Result<Option<Self>> {
        let path = run.join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let fail = |reason: String| Error::Format { path: path.clone(), reason };
        let classes: Classes = serde_json::from_slice(&read_bounded(&path, MAX_FILE)?)
            .map_err(|error| fail(format!("is malformed: {error}")))?;
        let count = classes.names.len();
        if classes.confusion.len() != count || classes.confusion.iter().any(|row| row.len() != count) {
            return Err(fail(format!("holds no {count}x{count} confusions for its {count} classes")));
        }
        Ok(Some(classes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(count: usize) -> Classes {
        let row = |class: usize| (0..count).map(|guess| if guess == class { 5 } else { guess % 2 }).collect();
        let names = (0..count).map(|class| format!("<{class}>")).collect();
        Classes { epoch: 3, names, confusion: (0..count).map(row).collect() }
    }

    #[test]
    fn classes_are_stored_and_read_back() {
        let run = tempfile::tempdir().unwrap();
        assert_eq!(Classes::load(run.path()).unwrap(), None);
        classes(3).save(run.path()).unwrap();
        assert_eq!(Classes::load(run.path()).unwrap(), Some(classes(3)));
        let refusal = |classes: Classes| {
            classes.save(run.path()).unwrap();
            Classes::load(run.path()).unwrap_err().to_string()
        };
        let missing = Classes { confusion: classes(2).confusion, ..classes(3) };
        assert!(refusal(missing).ends_with("classes.json: holds no 3x3 confusions for its 3 classes"));
    }

    #[test]
    fn confusions_are_told_in_the_order_of_their_number() {
        let confusion = [vec![9, 2, 0], vec![3, 0, 2], vec![0, 0, 0]];
        let found: Vec<_> = confused(&confusion).iter().map(|c| (c.count, c.class, c.guess)).collect();
        assert_eq!(found, [(3, 1, 0), (2, 0, 1), (2, 1, 2)]);
        assert_eq!((recognised(0, &confusion[0]), recognised(2, &confusion[2])), (Some(9.0 / 11.0), None));
    }
}
