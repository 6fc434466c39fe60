//! Where the literal of a genotype stands in a text: alone, in a Python module, a log or a Markdown fence.
//!
//! Nothing is executed: a name is found as an assignment that begins a line.

use crate::{Error, Result};

/// What a literal begins with.
const OPENING: &str = "Genotype(";
/// How many assignments of one name to another are followed.
const MOST_ALIASES: usize = 16;

/// Where a literal begins, and the name that it is assigned to.
struct Place<'a> {
    start: usize,
    name: Option<&'a str>,
}

/// Where to begin to read: at the only literal of a text, or at that of a name.
///
/// # Errors
/// No literal of that name, or several and no name.
pub(super) fn locate(text: &str, name: Option<&str>) -> Result<usize> {
    let places = places(text);
    if let Some(name) = name {
        return named(text, &places, name);
    }
    match &places[..] {
        // The reader says what it finds in the place of a literal.
        [] => Ok(0),
        [place] => Ok(place.start),
        several => {
            let count = several.len();
            let which = match names(several) {
                names if names.is_empty() => "give the one that is meant alone".to_owned(),
                names => format!("name one as FILE:NAME, of {names}"),
            };
            Err(Error::Genotype(format!("{count} genotypes are in the text; {which}")))
        }
    }
}

/// The literal of a name. Of several assignments the last counts, as in Python.
fn named(text: &str, places: &[Place], name: &str) -> Result<usize> {
    let mut wanted = name;
    for _ in 0..MOST_ALIASES {
        if let Some(place) = places.iter().rev().find(|place| place.name == Some(wanted)) {
            return Ok(place.start);
        }
        let alias = text.lines().rev().find_map(|line| {
            let (left, right) = line.split_once('=')?;
            let right = right.split('#').next().unwrap_or_default().trim();
            (left.trim_end() == wanted && is_name(right)).then_some(right)
        });
        match alias {
            Some(alias) => wanted = alias,
            None => break,
        }
    }
    let known = match names(places) {
        names if names.is_empty() => String::new(),
        names => format!("; it has {names}"),
    };
    Err(Error::Genotype(format!("the text assigns no genotype to {name}{known}")))
}

fn names(places: &[Place]) -> String {
    places.iter().filter_map(|place| place.name).take(20).collect::<Vec<_>>().join(", ")
}

/// Whether a text is a name of Python, in ASCII.
pub fn is_name(text: &str) -> bool {
    let letter = |letter: char| letter == '_' || letter.is_ascii_alphanumeric();
    text.chars().all(letter) && text.starts_with(|first: char| !first.is_ascii_digit())
}

/// The literals of a text in their order, without those in lines of comment, and definitions of what they call.
fn places(text: &str) -> Vec<Place<'_>> {
    let found = text.match_indices(OPENING).filter_map(|(start, _)| {
        let line = &text[text[..start].rfind('\n').map_or(0, |end| end + 1)..start];
        let before = line.trim_start_matches('\u{feff}');
        let is_part_of_a_word = before.ends_with(|last: char| last == '_' || last.is_alphanumeric());
        let is_definition = ["def ", "class "].iter().any(|keyword| before.ends_with(keyword));
        if is_part_of_a_word || is_definition || before.trim_start().starts_with('#') {
            return None;
        }
        // The module of the class may stand before it.
        let module = |letter: char| letter == '.' || letter == '_' || letter.is_ascii_alphanumeric();
        let assigned = if before.ends_with('.') { before.trim_end_matches(module) } else { before };
        let name = assigned.trim_end().strip_suffix('=').map(str::trim_end).filter(|name| is_name(name));
        Some(Place { start, name })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "from collections import namedtuple\nGenotype = namedtuple('Genotype', 'normal reduce')\n\
        # OLD = Genotype(0)\nFIRST = Genotype(\n  1)\nSECOND=genotypes.Genotype(2)\nBEST = SECOND  # so far\nA = B\nB = A\n";

    #[test]
    fn a_name_is_found_as_an_assignment() {
        let at = |name| locate(MODULE, Some(name)).map(|start| &MODULE[start..start + 13]);
        assert_eq!(at("FIRST").unwrap(), "Genotype(\n  1");
        assert_eq!([at("SECOND").unwrap(), at("BEST").unwrap()], ["Genotype(2)\nB"; 2]);
        for name in ["OLD", "A", "Genotype", ""] {
            let told = at(name).unwrap_err().to_string();
            assert!(told.contains(&format!("no genotype to {name}; it has FIRST, SECOND")), "{told}");
        }
    }

    #[test]
    fn one_genotype_needs_no_name_and_several_do() {
        let log = "08/25 03:14:15 PM genotype = Genotype(normal=[])\n";
        assert_eq!(locate(log, None).unwrap(), 29);
        assert_eq!(locate("class Genotype(NamedTuple):\n  pass\nG = Genotype(1)", None).unwrap(), 39);
        assert_eq!(locate("nothing", None).unwrap(), 0);
        let told = |text: &str| locate(text, None).unwrap_err().to_string();
        assert!(
            told(MODULE).contains("2 genotypes are in the text; name one as FILE:NAME, of FIRST, SECOND")
        );
        assert!(
            told(&log.repeat(3)).contains("3 genotypes are in the text; give the one that is meant alone")
        );
    }
}
