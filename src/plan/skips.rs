//! What a supernet does with skip connections beside mixing them.

use super::Violation;
use super::keys::{Key, text};
use crate::method::relaxation::{Bounds, relaxation};
use crate::method::schedule::weight;

/// The key of the auxiliary skip.
pub(super) fn auxiliary_skip() -> Key {
    text(
        "auxiliary_skip",
        "WEIGHT",
        |text| match weight(text) {
            Some(_) => None,
            None => Some(
                "a weight from 0, or a schedule such as \"1 to 0\", \"1 to 0 by cosine\" or \"1 to 0 by slow-cosine\""
                    .to_owned(),
            ),
        },
        ["0"; 2],
        "Weight of a skip connection that each edge has beside its candidates while the search runs, as in DARTS-; a \
         schedule, too: \"1 to 0\" falls along a line, \"1 to 0 by cosine\" and \"1 to 0 by slow-cosine\" along waves",
    )
    .at("method.auxiliary_skip")
}

/// A skip connection that is computed beside the one candidate that a sample chooses.
pub(super) fn skips_conflict(auxiliary_skip: &str, relaxed: &str) -> Option<Violation> {
    let one_hot = relaxation(relaxed).is_ok_and(|relaxation| relaxation.bounds() == Bounds::OneHot);
    let computed = weight(auxiliary_skip).is_some_and(|weight| !weight.is_zero());
    (one_hot && computed).then(|| {
        let expected = format!("0, as {relaxed} computes one candidate of an edge alone");
        let other = format!("one that mixes all candidates, with the auxiliary skip {auxiliary_skip}");
        Violation::new("auxiliary_skip", auxiliary_skip, expected).or(Violation::new(
            "relaxation",
            relaxed,
            other,
        ))
    })
}

#[cfg(test)]
mod tests {
    use toml::Table;

    use crate::plan::keys::Preset;
    use crate::plan::merge::Written;
    use crate::plan::search::Plan;

    fn refusal(flags: &str) -> String {
        let mut flags: Table = flags.parse().unwrap();
        flags.insert("data".to_owned(), "digits".into());
        let written = Written { preset: Preset::Small, file: None, flags };
        written.plan::<Plan>(Table::new()).err().unwrap().to_string()
    }

    #[test]
    fn skips_that_cannot_be_are_refused() {
        assert_eq!(
            refusal("auxiliary_skip = \"-1 to 0\""),
            "--auxiliary-skip is -1 to 0; expected a weight from 0, or a schedule such as \"1 to 0\", \"1 to 0 by cosine\" or \
             \"1 to 0 by slow-cosine\""
        );
        assert_eq!(
            refusal("method = \"gdas\"\nauxiliary_skip = \"1 to 0\""),
            "--auxiliary-skip is 1 to 0; expected 0, as gumbel-hard 10 through 0.1 computes one candidate of an edge alone"
        );
    }
}
