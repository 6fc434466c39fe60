//! What a supernet does with skip connections beside mixing them.

use super::Violation;
use super::keys::{Key, text};
use crate::method::relaxation::{Bounds, relaxation};
use crate::method::schedule::weight;
use crate::method::skip_dropout::rates;
use crate::method::stages::transitions;

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

/// The key of the dropout of skip connections.
pub(super) fn skip_dropout() -> Key {
    text(
        "skip_dropout",
        "RATES",
        |text| match rates(text) {
            Some(_) => None,
            None => Some("a probability from 0 to below 1, or one for each stage, such as \"0, 0.4, 0.7\"".to_owned()),
        },
        ["0"; 2],
        "Probability that an element of a skip connection at stride 1 is dropped while the search runs, as in P-DARTS: one for \
         all stages, or one for each, such as \"0, 0.4, 0.7\"; it falls in the course of a stage",
    )
    .at("method.skip_dropout")
}

/// Rates for other stages than there are.
pub(super) fn skip_dropout_conflict(skip_dropout: &str, stages: &str) -> Option<Violation> {
    let (rates, stage_count) = (rates(skip_dropout)?.len(), 1 + transitions(stages).ok()?.len());
    (rates != 1 && rates != stage_count).then(|| {
        let expected = match stage_count {
            1 => "one probability, as the search has one stage".to_owned(),
            _ => format!("one probability for all of the {stage_count} stages, or one for each"),
        };
        let other = format!("{} stages, as skip_dropout has so many rates", rates);
        Violation::new("skip_dropout", skip_dropout, expected).or(Violation::new("stages", stages, other))
    })
}

/// A skip connection that is computed beside the one candidate that a sample chooses.
pub(super) fn auxiliary_skip_conflict(auxiliary_skip: &str, relaxed: &str) -> Option<Violation> {
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
    use crate::plan::merge;
    use crate::plan::search::Plan;

    fn refusal(flags: &str) -> String {
        merge::refusal::<Plan>(flags)
    }

    #[test]
    fn skips_that_cannot_be_are_refused() {
        assert_eq!(
            refusal("auxiliary_skip = \"-1 to 0\""),
            "--auxiliary-skip is -1 to 0; expected a weight from 0, or a schedule such as \"1 to 0\", \"1 to 0 by cosine\" or \
             \"1 to 0 by slow-cosine\""
        );
        assert_eq!(
            refusal("skip_dropout = \"1\""),
            "--skip-dropout is 1; expected a probability from 0 to below 1, or one for each stage, such as \"0, 0.4, 0.7\""
        );
        assert_eq!(
            refusal("skip_dropout = \"0, 0.4\""),
            "--skip-dropout is 0, 0.4; expected one probability, as the search has one stage"
        );
        assert_eq!(
            refusal("skip_dropout = \"0, 0.4\"\nstages = \"keep 5 +1, keep 3 +2\""),
            "--skip-dropout is 0, 0.4; expected one probability for all of the 3 stages, or one for each"
        );
        assert_eq!(
            refusal("method = \"gdas\"\nauxiliary_skip = \"1 to 0\""),
            "--auxiliary-skip is 1 to 0; expected 0, as gumbel-hard 10 through 0.1 computes one candidate of an edge alone"
        );
    }
}
