//! Which pictures a data set is made of, so that what comes later knows which of them are new, gone or changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::split::Dealing;

/// The most names that a sentence lists.
const MOST_NAMES: usize = 10;

/// A checksum of the bytes of a file; as text, 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content(u64);

impl Content {
    /// Two CRCs of different polynomials: 32 bits would repeat among some ten thousand pictures.
    pub fn of(bytes: &[u8]) -> Self {
        let mut second = flate2::Crc::new();
        second.update(bytes);
        Content(u64::from(crc32c::crc32c(bytes)) << 32 | u64::from(second.sum()))
    }
}

impl fmt::Display for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let value = u64::from_str_radix(&text, 16).ok().filter(|_| digits);
        let expected = || serde::de::Error::custom(format!("'{text}' is not 16 hexadecimal digits"));
        value.map(Content).ok_or_else(expected)
    }
}

/// The pictures of a data set by their paths below its directory, with `/` between the parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// How the test pictures were set apart; `None` where they have a directory of their own.
    pub dealing: Option<Dealing>,
    /// Those to search and train on.
    pub train: BTreeMap<String, Content>,
    /// Those that are only ever measured on.
    pub test: BTreeMap<String, Content>,
}

/// What a model keeps of the pictures that it was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The checksum of the [`Manifest`].
    pub manifest: Content,
    /// How the test pictures were set apart; `None` where they have a directory of their own.
    pub dealing: Option<Dealing>,
    /// The contents of the training pictures.
    pub train: BTreeSet<Content>,
    /// The test pictures.
    pub test: BTreeMap<String, Content>,
}

/// How the pictures of one time differ from those of an earlier one, by their names, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that are there now only.
    pub new: Vec<String>,
    /// Those that were there before only.
    pub gone: Vec<String>,
    /// Those whose content is another, or whose part is.
    pub changed: Vec<String>,
}

impl Manifest {
    /// What a model keeps of it.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            manifest: self.checksum(),
            dealing: self.dealing,
            train: self.train.values().copied().collect(),
            test: self.test.clone(),
        }
    }

    /// A checksum of all names and contents.
    pub fn checksum(&self) -> Content {
        let mut text = String::new();
        for (part, pictures) in [("train", &self.train), ("test", &self.test)] {
            for (name, content) in pictures {
                text += &format!("{part}\0{name}\0{content}\n");
            }
        }
        Content::of(text.as_bytes())
    }

    /// What changed since an earlier manifest.
    pub fn changes_since(&self, earlier: &Manifest) -> Changes {
        let all = |manifest: &Manifest| -> BTreeMap<String, (bool, Content)> {
            let part = |test| move |(name, content): (&String, &Content)| (name.clone(), (test, *content));
            let train = manifest.train.iter().map(part(false));
            train.chain(manifest.test.iter().map(part(true))).collect()
        };
        changes(&all(earlier), &all(self))
    }

    /// The test pictures that another manifest has among those to train on.
    pub fn tested_but_trained_on_in(&self, other: &Manifest) -> Vec<&str> {
        trained_on(&self.test, &other.test, &other.train.values().copied().collect())
    }
}

impl Provenance {
    /// What changed among the test pictures since the model was made.
    pub fn changes_of_test(&self, now: &Manifest) -> Changes {
        changes(&self.test, &now.test)
    }

    /// The test pictures of today that the model was trained on.
    pub fn trained_on<'a>(&self, now: &'a Manifest) -> Vec<&'a str> {
        trained_on(&now.test, &self.test, &self.train)
    }
}

fn changes<T: PartialEq>(earlier: &BTreeMap<String, T>, now: &BTreeMap<String, T>) -> Changes {
    let absent = |from: &BTreeMap<String, T>, to: &BTreeMap<String, T>| {
        from.keys().filter(|name| !to.contains_key(*name)).cloned().collect()
    };
    let changed = now.iter().filter(|(name, content)| earlier.get(*name).is_some_and(|c| c != *content));
    Changes {
        new: absent(now, earlier),
        gone: absent(earlier, now),
        changed: changed.map(|(name, _)| name.clone()).collect(),
    }
}

/// The test pictures of today with the content of a training picture. One that was a test picture before is none, though
/// a copy of it may have been trained on.
fn trained_on<'a>(
    now: &'a BTreeMap<String, Content>,
    tested: &BTreeMap<String, Content>,
    trained: &BTreeSet<Content>,
) -> Vec<&'a str> {
    let known = |(name, content): &(&String, &Content)| tested.get(*name) == Some(*content);
    let new = now.iter().filter(|picture| !known(picture));
    new.filter(|(_, content)| trained.contains(content)).map(|(name, _)| name.as_str()).collect()
}

impl Changes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty() && self.changed.is_empty()
    }
}

/// Such as `1 new (train/cat/7.png), 2 gone (train/cat/1.png, train/dog/3.png)`.
impl fmt::Display for Changes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [(&self.new, "new"), (&self.gone, "gone"), (&self.changed, "changed")];
        let kinds = kinds.iter().filter(|(names, _)| !names.is_empty());
        let sentence = |(names, kind): &(&Vec<String>, &str)| {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            format!("{} {kind} ({})", names.len(), some(&names))
        };
        formatter.write_str(&kinds.map(sentence).collect::<Vec<_>>().join(", "))
    }
}

/// The first names, and how many more there are.
pub fn some(names: &[&str]) -> String {
    let (first, rest) = names.split_at(names.len().min(MOST_NAMES));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    first.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(pictures: &[(&str, &str)]) -> BTreeMap<String, Content> {
        let of = |(name, bytes): &(&str, &str)| (name.to_string(), Content::of(bytes.as_bytes()));
        pictures.iter().map(of).collect()
    }

    fn manifest(train: &[(&str, &str)], test: &[(&str, &str)]) -> Manifest {
        Manifest { dealing: Some(Dealing::ByName), train: pictures(train), test: pictures(test) }
    }

    #[test]
    fn new_gone_and_changed_pictures_are_told_apart() {
        let before = manifest(&[("a/1", "x"), ("a/2", "y"), ("a/3", "z")], &[("a/4", "w")]);
        let now = manifest(&[("a/2", "other"), ("a/4", "w"), ("a/5", "v")], &[("a/3", "z")]);
        let changes = now.changes_since(&before);
        assert_eq!(changes.to_string(), "1 new (a/5), 1 gone (a/1), 3 changed (a/2, a/3, a/4)");
        assert!(before.changes_since(&before).is_empty());
        assert_eq!(some(&["x"; 12]), format!("{} and 2 more", ["x"; 10].join(", ")));
    }

    #[test]
    fn a_picture_that_was_trained_on_is_no_test() {
        let before = manifest(&[("a/1", "x"), ("a/2", "copied")], &[("a/4", "w"), ("a/5", "copied")]);
        // The name is new and the content is not; the second was a test picture before; the third is new altogether.
        let now = manifest(&[("a/2", "copied")], &[("b/1", "x"), ("a/5", "copied"), ("a/6", "new")]);
        assert_eq!(before.provenance().trained_on(&now), ["b/1"]);
        assert_eq!(now.tested_but_trained_on_in(&before), ["b/1"]);
        let changes = before.provenance().changes_of_test(&now);
        assert_eq!(changes.to_string(), "2 new (a/6, b/1), 1 gone (a/4)");
    }

    #[test]
    fn a_manifest_comes_back_and_every_part_is_in_its_checksum() {
        let one = manifest(&[("a/1", "x")], &[("b\"/2", "y")]);
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), one);
        assert!(serde_json::from_str::<Content>("\"+00000000000000f\"").is_err());
        let others = [
            manifest(&[("a/1", "y")], &[("b\"/2", "y")]),
            manifest(&[("a/2", "x")], &[("b\"/2", "y")]),
            manifest(&[("a/1", "x"), ("b\"/2", "y")], &[]),
        ];
        assert!(others.iter().all(|other| other.checksum() != one.checksum()));
    }
}
