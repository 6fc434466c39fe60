//! What a search cannot have that draws genotypes at random.

use super::Violation;
use crate::method::selection::{Selection, selection};

/// A part of a search that has no meaning where no alpha moves: `parts` are keys with their values and the only one that goes
/// with such a search.
pub(super) fn sampled_conflict(selected: &str, parts: &[(&'static str, String, &str)]) -> Option<Violation> {
    let Ok(Selection::Sampled(_)) = selection(selected) else { return None };
    let (key, value, only) = parts.iter().find(|(_, value, only)| value != only)?;
    let expected = format!("{only} with the selection {selected}, in which no alpha moves");
    let other = format!("another with the {} {value}, as no alpha moves", key.replace('_', " "));
    Some(Violation::new(key, value, expected).or(Violation::new("selection", selected, other)))
}

#[cfg(test)]
mod tests {
    use crate::plan::merge;
    use crate::plan::search::Plan;

    fn refusal(flags: &str) -> String {
        merge::refusal::<Plan>(flags)
    }

    #[test]
    fn what_takes_moving_alphas_is_refused() {
        assert_eq!(
            refusal("method = \"random-search\"\nstages = \"keep 5 +1\""),
            "--stages is keep 5 +1; expected none with the selection sampled 50, in which no alpha moves"
        );
        assert_eq!(
            refusal("method = \"drnas\"\nselection = \"sampled 10\""),
            "--selection is sampled 10; expected another with the relaxation dirichlet, as no alpha moves"
        );
        assert_eq!(
            refusal("method = \"random-search\"\nguard_skips = \"stop 2\""),
            "--guard-skips is stop 2; expected off with the selection sampled 50, in which no alpha moves"
        );
    }
}
