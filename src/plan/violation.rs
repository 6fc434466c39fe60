//! What is wrong with a plan.

use std::fmt;

use crate::Error;

/// A value that a plan must not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The key.
    pub key: &'static str,
    /// The value found.
    pub value: String,
    /// What is allowed.
    pub expected: String,
    /// The same conflict of two keys as a violation of the other, which is to blame if the user wrote only that one.
    pub other: Option<Box<Violation>>,
}

impl Violation {
    /// A value and what is allowed instead.
    pub fn new(key: &'static str, value: impl ToString, expected: impl Into<String>) -> Self {
        Violation { key, value: value.to_string(), expected: expected.into(), other: None }
    }

    /// A conflict of two keys.
    pub fn or(self, other: Violation) -> Self {
        Violation { other: Some(Box::new(other)), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { key, value, expected, .. } = self;
        write!(f, "{key} is {value}; expected {expected}")
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Error::Plan(violation.to_string())
    }
}

/// A key for which a plan holds another value than the one that a run was begun with.
#[derive(Clone, Debug, PartialEq)]
pub struct Contradiction {
    /// The name of the key.
    pub key: String,
    /// The value found, as TOML writes it.
    pub given: String,
    /// The value that the run was begun with.
    pub begun: String,
}
