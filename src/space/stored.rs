//! A space as files hold it: its name where it is one of this program, else its whole definition, so that a run does not
//! depend on a file that may change.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
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

    /// What may stand for a space in a plan.
    pub fn expected() -> String {
        let known: Vec<_> = Space::known().iter().map(|space| space.name()).collect();
        format!("{} or a file FILE.toml", known.join(", "))
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

/// The form of a plan, whose values are texts: a name, or a definition in JSON.
impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Name(name) => formatter.write_str(name),
            Choice::Definition(definition) => {
                formatter.write_str(&serde_json::to_string(definition).map_err(|_| fmt::Error)?)
            }
        }
    }
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if !text.trim_start().starts_with('{') {
            return Ok(Choice::Name(text.to_owned()));
        }
        let definition = serde_json::from_str(text);
        definition.map(Choice::Definition).map_err(|error| Error::Space(format!("its definition: {error}")))
    }
}

fn unknown(name: &str) -> Error {
    let name: String = name.chars().take(60).collect();
    Error::Space(format!("{name:?} is unknown; expected {}", Choice::expected()))
}

/// For `#[serde(with)]`.
pub fn serialize<S: Serializer>(space: &Arc<Space>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    Choice::of(space).serialize(serializer)
}

/// For `#[serde(with)]`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Arc<Space>, D::Error> {
    Choice::deserialize(deserializer)?.space().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_comes_back_from_its_text() {
        let text = "candidates = [\"none\", \"skip_connect\"]\nnodes = 2\nedges_kept = \"all\"\n\
                    [edges.reduce]\n\"2<-0\" = [\"sep_conv_3x3\", \"sep_conv_7x7\"]";
        let own = Space::from_toml(text, Path::new("own.toml")).unwrap();
        for space in Space::known().iter().chain([&own]) {
            let text = Choice::of(space).to_string();
            let choice: Choice = text.parse().unwrap();
            assert_eq!((choice.to_string(), &choice.space().unwrap()), (text, space));
            assert_eq!(choice.resolved().unwrap(), choice);
        }
        assert_eq!(Choice::of(&own).to_string().matches("own").count(), 1);
    }

    #[test]
    fn a_file_is_read_once_and_then_carried_along() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("own.toml");
        std::fs::write(&path, "candidates = [\"skip_connect\", \"sep_conv_7x7\"]").unwrap();
        let resolved = Choice::Name(path.display().to_string()).resolved().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(resolved.space().unwrap().name(), "own");
        let refusal = |text: &str| text.parse::<Choice>().and_then(|choice| choice.resolved()).unwrap_err();
        assert!(
            refusal("s9")
                .to_string()
                .contains("\"s9\" is unknown; expected darts, s1, s2, s3, s5, nas-bench-201 or a file")
        );
        assert!(refusal(&path.display().to_string()).to_string().contains("own.toml"));
        assert!(refusal("{\"name\": \"own\", \"nodes\": 2}").to_string().contains("candidates is missing"));
        assert!(refusal("{\"node\": 2}").to_string().contains("unknown field"));
    }
}
