//! A space as files hold it: its name where it is one of this program, else its whole definition, so that a run does not
//! depend on a file that may change.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Definition, Space};
use crate::{Error, Result, files};

/// A name, or a definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected the name of a space, a file of one, or its definition")]
pub enum Choice {
    /// The name of a space of this program, or in a plan that was not resolved yet, a file.
    Name(String),
    /// A user's space.
    Definition(Box<Definition>),
}

impl Choice {
    /// The choice of a space.
    pub fn of(space: &Space) -> Self {
        match Space::named(space.name()) {
            Some(known) if *known == *space => Choice::Name(space.name().to_owned()),
            _ => Choice::Definition(Box::new(space.definition().clone())),
        }
    }

    /// The space. No file is read.
    pub fn space(&self) -> Result<Arc<Space>> {
        match self {
            Choice::Name(name) => Space::named(name).ok_or_else(|| unknown(name)),
            Choice::Definition(definition) => Space::new((**definition).clone()).map(Arc::new),
        }
    }

    /// The choice after its file, if it names one, was read.
    pub fn resolved(&self) -> Result<Choice> {
        match self {
            Choice::Name(name) if Space::named(name).is_none() && name.ends_with(".toml") => {
                let path = Path::new(name);
                let text = files::read_text(path, super::definition::MAX_TEXT)?;
                Space::from_toml(&text, path).map(|space| Choice::of(&space))
            }
            other => other.space().map(|space| Choice::of(&space)),
        }
    }
}

fn unknown(name: &str) -> Error {
    let known: Vec<_> = Space::known().iter().map(|space| space.name()).collect();
    let name: String = name.chars().take(60).collect();
    Error::Space(format!("{name:?} is unknown; expected {} or a file FILE.toml", known.join(", ")))
}

/// For `#[serde(with)]`.
pub fn serialize<S: Serializer>(space: &Arc<Space>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    Choice::of(space).serialize(serializer)
}

/// For `#[serde(with)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Arc<Space>, D::Error> {
    Choice::deserialize(deserializer)?.space().map_err(serde::de::Error::custom)
}
