//! What is known of the pictures of a folder before a run begins.

use serde::{Deserialize, Serialize};

use super::fit::Fit;

/// The share of a picture's area beyond which a cut is worth a word.
const MUCH: f64 = 0.2;

/// A class by its pictures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassCount {
    /// Its name.
    pub name: String,
    /// Pictures to search and train on.
    pub train: usize,
    /// Pictures that are only measured on.
    pub test: usize,
}

/// Files of which no images were made, for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// Why.
    pub reason: String,
    /// How many they are.
    pub count: usize,
    /// The names of the first.
    pub names: Vec<String>,
}

impl LeftOut {
    /// One file.
    pub(super) fn new(reason: &str, name: String) -> Self {
        LeftOut { reason: reason.to_owned(), count: 1, names: vec![name] }
    }

    /// Counts another file.
    pub(super) fn add(&mut self, name: String) {
        const MOST_NAMES: usize = 10;
        self.count += 1;
        if self.names.len() < MOST_NAMES {
            self.names.push(name);
        }
    }
}

/// What is known of the pictures of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survey {
    /// The classes in the order of their labels.
    pub classes: Vec<ClassCount>,
    /// Width and height of the picture with the fewest pixels.
    pub smallest: [u32; 2],
    /// Width and height of the picture with the most pixels.
    pub largest: [u32; 2],
    /// How many pictures have more than a fifth of their area outside the square in their centre.
    pub elongated: usize,
    /// Where the test pictures come from.
    pub test: String,
    /// The files of which no images were made.
    pub left_out: Vec<LeftOut>,
}

impl Survey {
    /// Counts one picture's width and height.
    pub(super) fn add(&mut self, size: [u32; 2]) {
        let pixels = |[width, height]: [u32; 2]| u64::from(width) * u64::from(height);
        if pixels(self.smallest) == 0 || pixels(size) < pixels(self.smallest) {
            self.smallest = size;
        }
        if pixels(size) > pixels(self.largest) {
            self.largest = size;
        }
        self.elongated += usize::from(Fit::cut(size) > MUCH);
    }

    /// All pictures.
    pub fn pictures(&self) -> usize {
        self.classes.iter().map(|class| class.train + class.test).sum()
    }

    /// The class with the fewest training pictures and the one with the most.
    pub fn extremes(&self) -> Option<[&ClassCount; 2]> {
        let fewest = self.classes.iter().min_by_key(|class| class.train)?;
        // Of equal ones the first.
        let most = self.classes.iter().rev().max_by_key(|class| class.train)?;
        Some([fewest, most])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_classes_are_surveyed() {
        let mut survey = Survey::default();
        [[30, 20], [8, 8], [16, 100], [4, 20]].into_iter().for_each(|size| survey.add(size));
        assert_eq!((survey.smallest, survey.largest, survey.elongated), ([8, 8], [16, 100], 3));
        let class = |(name, train)| ClassCount { name: String::from(name), train, test: 1 };
        survey.classes = [("a", 3), ("b", 9), ("c", 9), ("d", 3)].map(class).into();
        assert_eq!(survey.extremes().unwrap().map(|class| &class.name[..]), ["a", "b"]);
        assert_eq!(survey.pictures(), 28);
    }
}
