//! A key of a plan is one row: its name, what it may hold, its value in each preset, and what it means. How a plan file
//! is read and written, what is refused, the flags of a command and their help are loops over these rows.
//!
//! To add a key, add its row in [`search`](super::search) or [`train`](super::train), and a field of that name.

use std::ops::{Bound, RangeBounds, RangeInclusive};

use toml::{Table, Value};

use super::{Contradiction, Violation};
use crate::Error;
use crate::space::stored::Choice;

/// The set of values that a command begins from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Suits the digits and a laptop.
    Small,
    /// What the paper does.
    Paper,
}

impl Preset {
    /// All of them.
    pub const ALL: [Preset; 2] = [Preset::Small, Preset::Paper];

    /// The name of each.
    pub const NAMES: [&str; 2] = ["small", "paper"];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        Preset::NAMES[self as usize]
    }
}

/// One key of a plan.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name among the keys of its plan: that of its field, and of its flag with `-` for `_`.
    pub name: &'static str,
    /// The long flag, without its dashes.
    pub flag: String,
    /// Where a plan file has it: its name, or the name of a table, a dot, and a name in it.
    pub path: &'static str,
    /// Where the files of earlier versions had it.
    pub formerly: Option<&'static str>,
    /// What stands for its value in the help, such as `N`.
    pub placeholder: &'static str,
    /// What it may hold.
    pub domain: Domain,
    /// Its value in each preset.
    pub presets: [Value; 2],
    /// What it means.
    pub meaning: String,
}

/// What a key may hold.
#[derive(Clone, Debug)]
pub enum Domain {
    /// A whole number in this range.
    Count(RangeInclusive<i64>),
    /// A number between two bounds.
    Number(Bound<f64>, Bound<f64>),
    /// One of these words.
    Word(Vec<String>),
    /// True or false.
    Switch,
    /// A text. The function says what is expected where a text cannot be.
    Text(fn(&str) -> Option<String>),
    /// A search space: a name, or a definition.
    Space,
}

/// A rate: not below 0, and below what is surely a slip.
pub const RATE: Domain = Domain::Number(Bound::Included(0.0), Bound::Included(1e6));
/// A rate without which nothing happens.
pub const POSITIVE: Domain = Domain::Number(Bound::Excluded(0.0), Bound::Included(1e6));
/// From 0 to below 1.
pub const FRACTION: Domain = Domain::Number(Bound::Included(0.0), Bound::Excluded(1.0));
/// Above 0, to 1.
pub const SHARE: Domain = Domain::Number(Bound::Excluded(0.0), Bound::Included(1.0));

/// A key that holds a whole number in a range.
pub fn count(name: &'static str, range: RangeInclusive<i64>, presets: [i64; 2], meaning: &str) -> Key {
    Key::new(name, "N", Domain::Count(range), presets.map(Value::Integer), meaning)
}

/// A key that holds a number, for which `placeholder` stands in the help.
pub fn number(
    name: &'static str,
    placeholder: &'static str,
    domain: Domain,
    presets: [f64; 2],
    meaning: &str,
) -> Key {
    Key::new(name, placeholder, domain, presets.map(Value::Float), meaning)
}

/// A key that holds one of some words, such as the variants of an enum.
pub fn word<W: ToString>(
    name: &'static str,
    placeholder: &'static str,
    words: &[W],
    presets: [W; 2],
    meaning: &str,
) -> Key {
    let words = words.iter().map(W::to_string).collect();
    let presets = presets.map(|word| Value::String(word.to_string()));
    Key::new(name, placeholder, Domain::Word(words), presets, meaning)
}

/// A key that is true or false.
pub fn switch(name: &'static str, presets: [bool; 2], meaning: &str) -> Key {
    Key::new(name, "BOOL", Domain::Switch, presets.map(Value::Boolean), meaning)
}

/// A key that holds a text, which `expected` refuses with what it expects instead.
pub fn text(
    name: &'static str,
    placeholder: &'static str,
    expected: fn(&str) -> Option<String>,
    presets: [&str; 2],
    meaning: &str,
) -> Key {
    let presets = presets.map(|text| Value::String(text.to_owned()));
    Key::new(name, placeholder, Domain::Text(expected), presets, meaning)
}

/// The key of the search space.
pub fn space(name: &'static str, presets: [&str; 2], meaning: &str) -> Key {
    let presets = presets.map(|text| Value::String(text.to_owned()));
    Key::new(name, "SPACE", Domain::Space, presets, meaning)
}

impl Key {
    fn new(
        name: &'static str,
        placeholder: &'static str,
        domain: Domain,
        presets: [Value; 2],
        meaning: &str,
    ) -> Self {
        let (flag, meaning) = (name.replace('_', "-"), meaning.to_owned());
        Key { name, flag, path: name, formerly: None, placeholder, domain, presets, meaning }
    }

    /// The same key in a table of the plan file.
    pub fn at(self, path: &'static str) -> Self {
        Key { path, ..self }
    }

    /// The same key, which the files of earlier versions had at another place.
    pub fn formerly(self, path: &'static str) -> Self {
        Key { formerly: Some(path), ..self }
    }

    /// The name of its table, empty for none, and its name in it.
    pub fn place(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }

    /// What it means, and its value in each preset, but for a value of the paper that the user must give.
    pub fn help(&self) -> String {
        let Key { meaning, presets, .. } = self;
        let [small, paper] = presets.each_ref().map(|value| value.to_string().replace('"', ""));
        match () {
            () if paper.is_empty() => format!("{meaning} [small: {small}]"),
            () if small == paper => format!("{meaning} [default: {small}]"),
            () => format!("{meaning} [small: {small}, paper: {paper}]"),
        }
    }
}

impl Domain {
    /// The value of a plan file, if it is of the right kind; otherwise what is wrong.
    pub fn read(&self, value: Value) -> Result<Value, String> {
        match (self, value) {
            (Domain::Count(_), value @ Value::Integer(0..)) => Ok(value),
            (Domain::Number(..), value @ Value::Float(_)) => Ok(value),
            (Domain::Number(..), Value::Integer(whole)) => Ok(Value::Float(whole as f64)),
            (Domain::Switch, value @ Value::Boolean(_)) => Ok(value),
            (Domain::Text(_) | Domain::Space, value @ Value::String(_)) => Ok(value),
            (Domain::Word(words), Value::String(word)) if words.contains(&word) => Ok(Value::String(word)),
            // TOML writes the words true and false without quotes.
            (Domain::Word(words), Value::Boolean(word)) if words.contains(&word.to_string()) => {
                Ok(Value::String(word.to_string()))
            }
            (Domain::Word(_), Value::String(word)) => {
                Err(format!("unknown word `{word}`, expected {}", self.kind()))
            }
            (_, value) => {
                Err(format!("invalid type: {} {value}, expected {}", value.type_str(), self.kind()))
            }
        }
    }

    /// The value of a flag, if it is of the right kind; otherwise what is expected.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let value = match self {
            Domain::Count(range) if digits => {
                let count = text.parse().map_err(|_| format!("expected {}", counts(range)))?;
                Some(Value::Integer(count))
            }
            Domain::Count(_) => None,
            Domain::Number(..) => text.parse().ok().map(Value::Float),
            Domain::Switch => text.parse().ok().map(Value::Boolean),
            Domain::Word(words) => words.iter().find(|word| *word == text).cloned().map(Value::String),
            Domain::Text(_) | Domain::Space => Some(Value::String(text.to_owned())),
        };
        value.ok_or_else(|| format!("expected {}", self.kind()))
    }

    /// What is expected instead of a value of the right kind, if it cannot be.
    pub fn refusal(&self, value: &Value) -> Option<String> {
        match (self, value) {
            (Domain::Count(range), Value::Integer(value)) => (!range.contains(value)).then(|| counts(range)),
            (Domain::Number(from, to), Value::Float(value)) => {
                (!(*from, *to).contains(value)).then(|| numbers(*from, *to))
            }
            (Domain::Text(expected), Value::String(text)) => expected(text),
            (Domain::Space, Value::String(text)) => space_refusal(text),
            _ => None,
        }
    }

    /// Whether two values mean the same: a space may be written in many ways.
    fn same(&self, one: &Value, other: &Value) -> bool {
        let space = |value: &Value| value.as_str()?.parse::<Choice>().ok()?.space().ok();
        one == other
            || matches!(self, Domain::Space) && space(one).is_some_and(|one| space(other) == Some(one))
    }

    /// A value as TOML writes it; of a space that the plan defines, its name.
    fn written(&self, value: &Value) -> String {
        let choice = match (self, value) {
            (Domain::Space, Value::String(text)) => text.parse().ok(),
            _ => None,
        };
        match choice {
            Some(Choice::Definition(definition)) => format!("the space {}", definition.name),
            _ => value.to_string(),
        }
    }

    /// What a value of it looks like.
    fn kind(&self) -> String {
        match self {
            Domain::Count(_) => "a whole number".to_owned(),
            Domain::Number(..) => "a number".to_owned(),
            Domain::Switch => "true or false".to_owned(),
            Domain::Text(_) | Domain::Space => "a text".to_owned(),
            Domain::Word(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                match &quoted[..] {
                    [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
                    _ => quoted.concat(),
                }
            }
        }
    }
}

/// What is expected instead of a text that is no space.
fn space_refusal(text: &str) -> Option<String> {
    let choice = text.parse::<Choice>();
    let defined = !matches!(choice, Ok(Choice::Name(_)));
    match choice.and_then(|choice| choice.space()) {
        Ok(_) => None,
        Err(Error::Space(reason)) if defined => Some(format!("the definition of a space: {reason}")),
        Err(_) => Some(Choice::expected()),
    }
}

fn counts(range: &RangeInclusive<i64>) -> String {
    format!("a whole number from {} to {}", range.start(), range.end())
}

fn numbers(from: Bound<f64>, to: Bound<f64>) -> String {
    let from = match from {
        Bound::Included(from) => format!(" from {from}"),
        Bound::Excluded(from) => format!(" above {from}"),
        Bound::Unbounded => String::new(),
    };
    let to = match to {
        Bound::Included(to) => format!(" to {to}"),
        Bound::Excluded(to) => format!(" to below {to}"),
        Bound::Unbounded => String::new(),
    };
    format!("a number{from}{to}")
}

/// The keys of a plan, in the order of its file and of the help.
#[derive(Debug)]
pub struct Keys(pub Vec<Key>);

impl Keys {
    /// The key of a name.
    pub fn named(&self, name: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.name == name)
    }

    /// The key that a plan file has, or had, at a path.
    pub fn at(&self, path: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.path == path || key.formerly == Some(path))
    }

    /// Where a plan file has a key.
    pub fn path<'a>(&'a self, name: &'a str) -> &'a str {
        self.named(name).map_or(name, |key| key.path)
    }

    /// Whether a plan file has a table of this name.
    pub fn has_table(&self, name: &str) -> bool {
        self.0.iter().any(|key| key.place().0 == name && !name.is_empty())
    }

    /// The values of a plan file, which may be of another version, and the paths that their keys have today.
    pub fn paths<'a>(&self, file: &'a Table) -> impl Iterator<Item = (String, &'a Value)> {
        let within = |(name, value): (&'a String, &'a Value)| match value {
            Value::Table(table) => {
                table.iter().map(|(inner, value)| (format!("{name}.{inner}"), value)).collect()
            }
            value => vec![(name.clone(), value)],
        };
        file.iter().flat_map(within).map(|(path, value)| match self.at(&path) {
            Some(key) => (key.path.to_owned(), value),
            None => (path, value),
        })
    }

    /// The values of a preset by the names of their keys.
    pub fn preset(&self, preset: Preset) -> Table {
        let value = |key: &Key| (key.name.to_owned(), key.presets[preset as usize].clone());
        self.0.iter().map(value).collect()
    }

    /// The first value that its key cannot hold.
    pub fn violation(&self, values: &Table) -> Option<Violation> {
        self.0.iter().find_map(|key| {
            let value = values.get(key.name)?;
            Some(Violation::new(key.name, shown(value), key.domain.refusal(value)?))
        })
    }

    /// The first key whose value differs from that of a run's beginning. What a beginning does not hold was added by a
    /// later version, and is what the small plan holds. The number of threads may differ: the result does not depend on
    /// it.
    pub fn contradiction(&self, given: &Table, begun: &Table) -> Option<Contradiction> {
        let of_key = |key: &Key| {
            let begun = begun.get(key.name).unwrap_or(&key.presets[Preset::Small as usize]);
            let given = given.get(key.name).filter(|given| !key.domain.same(given, begun))?;
            let [given, begun] = [given, begun].map(|value| key.domain.written(value));
            let given = if given == begun { format!("another than {given}") } else { given };
            Some(Contradiction { key: key.name.into(), given, begun })
        };
        let unknown = |(name, begun): (&String, &Value)| {
            self.named(name).is_none().then(|| Contradiction {
                key: name.clone(),
                given: "absent".into(),
                begun: begun.to_string(),
            })
        };
        let keys = self.0.iter().filter(|key| key.name != "threads");
        keys.filter_map(of_key).next().or_else(|| begun.iter().find_map(unknown))
    }

    /// Values as a plan file.
    pub fn to_toml(&self, values: &Table) -> String {
        let (plain, in_tables): (Vec<_>, Vec<_>) = self.0.iter().partition(|key| key.place().0.is_empty());
        let (mut text, mut within) = (String::new(), "");
        for key in plain.into_iter().chain(in_tables) {
            let (table, name) = key.place();
            if table != within {
                text += &format!("\n[{table}]\n");
                within = table;
            }
            text += &values.get(key.name).map_or_else(String::new, |value| format!("{name} = {value}\n"));
        }
        text
    }
}

/// A value in a sentence.
fn shown(value: &Value) -> String {
    match value {
        Value::Float(number) => number.to_string(),
        Value::String(text) if text.trim().is_empty() => "empty".to_owned(),
        Value::String(text) if text.trim_start().starts_with('{') => "a definition".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests;
