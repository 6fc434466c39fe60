//! The keys of the guards that watch a search.

use super::Violation;
use super::keys::{Key, count, text};
use crate::method::guard::{self, EARLIER};
use crate::method::relaxation::{Bounds, Relaxation, relaxation};

/// The keys of the guards.
pub(super) fn guards() -> [Key; 5] {
    [
        text(
            "guard_skips",
            "ANSWER",
            |text| guard::count(text).err(),
            ["warn 4"; 2],
            "Guard: off, \"warn N\" or \"stop N\" as soon as the normal cell has N skip connections; stop ends the search \
             with that genotype",
        )
        .at("guards.skips"),
        text(
            "guard_ranking",
            "ANSWER",
            |text| guard::count(text).err(),
            ["warn 10"; 2],
            "Guard: off, \"warn N\" or \"stop N\" as soon as the order of each edge's convolutions has not changed for N \
             epochs",
        )
        .at("guards.ranking"),
        text(
            "guard_entropy",
            "ANSWER",
            |text| guard::share(text).err(),
            ["warn 0.1"; 2],
            "Guard: off, \"warn N\" or \"stop N\" as soon as the mean entropy of the mixing weights is the share N of that of \
             equal weights",
        )
        .at("guards.entropy"),
        text(
            "guard_eigenvalue",
            "ANSWER",
            |text| guard::growth(text).err(),
            ["off"; 2],
            "Guard: off, \"warn N\" or \"stop N\" as soon as the largest eigenvalue of the validation loss's Hessian by the \
             alphas is N times that of four measurements before; stop ends the search with the genotype from before it \
             grew. A measurement takes 20 to 60 passes forward and backward",
        )
        .at("guards.eigenvalue"),
        count("eigenvalue_every", 1..=100_000, [1, 2], "Epochs from one measurement of the eigenvalue to the next")
            .at("guards.eigenvalue_every"),
    ]
}

/// A guard that cannot see, or never could speak.
pub(super) fn guard_conflict(
    eigenvalue: &str,
    every: usize,
    relaxed: &str,
    epochs: usize,
) -> Option<Violation> {
    let Ok(Some(_)) = guard::growth(eigenvalue) else { return None };
    // A difference of alphas at the same random numbers says nothing of these two.
    let drawn =
        |relaxation: &dyn Relaxation| relaxation.bounds() == Bounds::OneHot || relaxation.is_dirichlet();
    if relaxation(relaxed).is_ok_and(|relaxation| drawn(&*relaxation)) {
        let reason = "as the loss has no derivative by the mixing weights of";
        let expected = format!("off, {reason} {relaxed}");
        let other = format!("softmax, sigmoid or gumbel with the guard eigenvalue, {eigenvalue}");
        return Some(Violation::new("guard_eigenvalue", eigenvalue, expected).or(Violation::new(
            "relaxation",
            relaxed,
            other,
        )));
    }
    let most = (epochs - 1 - guard::early(epochs)) / EARLIER;
    (every > most).then(|| {
        let reason = format!(
            "the guard compares measurements that lie {EARLIER} apart, of which the first fifth of the epochs has none"
        );
        let expected = match most {
            0 => format!("more epochs than {epochs}: {reason}"),
            _ => format!("at most {most} with {epochs} epochs: {reason}"),
        };
        Violation::new("eigenvalue_every", every, expected)
            .or(Violation::new("guard_eigenvalue", eigenvalue, format!("off with {epochs} epochs: {reason}")))
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
    fn guards_that_cannot_watch_are_refused() {
        assert_eq!(
            refusal("guard_skips = \"skips 2\""),
            "--guard-skips is skips 2; expected off, warn N or stop N"
        );
        assert_eq!(
            refusal("method = \"gdas\"\nguard_eigenvalue = \"warn 1.3\""),
            "--guard-eigenvalue is warn 1.3; expected off, as the loss has no derivative by the mixing weights of \
             gumbel-hard 10 through 0.1"
        );
        assert_eq!(
            refusal("guard_eigenvalue = \"stop 1.3\"\neigenvalue_every = 2"),
            "--eigenvalue-every is 2; expected at most 1 with 12 epochs: the guard compares measurements that lie 6 \
             apart, of which the first fifth of the epochs has none"
        );
    }
}
