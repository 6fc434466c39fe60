//! The keys of the guards that watch a search.

use super::Violation;
use super::keys::{Key, count, text};
use super::search::Plan;
use crate::method::guard::{self, Bound, EARLIER, Guard};
use crate::method::relaxation::{Bounds, relaxation};

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
             grew. A measurement takes about 20 passes forward and backward",
        )
        .at("guards.eigenvalue"),
        count("eigenvalue_every", 1..=100_000, [1, 2], "Epochs from one measurement of the eigenvalue to the next")
            .at("guards.eigenvalue_every"),
    ]
}

/// The guards that a plan asks for.
///
/// # Errors
/// A text is none of a guard; the sentence says what is expected.
pub fn guards_of(plan: &Plan) -> Result<Vec<Guard>, String> {
    let skips = guard::count(&plan.guard_skips)?.map(|(answer, most)| (answer, Bound::Skips(most)));
    let ranking = guard::count(&plan.guard_ranking)?.map(|(answer, epochs)| (answer, Bound::Ranking(epochs)));
    let entropy = guard::share(&plan.guard_entropy)?.map(|(answer, most)| (answer, Bound::Entropy(most)));
    let eigenvalue = guard::growth(&plan.guard_eigenvalue)?;
    let every = plan.eigenvalue_every;
    let eigenvalue = eigenvalue.map(|(answer, growth)| (answer, Bound::Eigenvalue { growth, every }));
    let all = [skips, ranking, entropy, eigenvalue].into_iter().flatten();
    Ok(all.map(|(answer, bound)| Guard { bound, answer }).collect())
}

/// A guard that cannot see, or never could speak.
pub(super) fn guard_conflict(plan: &Plan) -> Option<Violation> {
    let Ok(Some(_)) = guard::growth(&plan.guard_eigenvalue) else { return None };
    if relaxation(&plan.relaxation).is_ok_and(|relaxation| relaxation.bounds() == Bounds::OneHot) {
        let reason = "as the loss has no derivative by the mixing weights of";
        let expected = format!("off, {reason} {}", plan.relaxation);
        let other =
            format!("softmax, sigmoid or gumbel with the guard eigenvalue, {}", plan.guard_eigenvalue);
        return Some(
            Violation::new("guard_eigenvalue", &plan.guard_eigenvalue, expected).or(Violation::new(
                "relaxation",
                &plan.relaxation,
                other,
            )),
        );
    }
    let (every, epochs) = (plan.eigenvalue_every, plan.epochs);
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
            .or(Violation::new("guard_eigenvalue", &plan.guard_eigenvalue, format!("off with {epochs} epochs: {reason}")))
    })
}

#[cfg(test)]
mod tests {
    use toml::Table;

    use super::*;
    use crate::plan::keys::Preset;
    use crate::plan::merge::Written;

    fn refusal(flags: &str) -> String {
        let mut flags: Table = flags.parse().unwrap();
        flags.insert("data".to_owned(), "digits".into());
        let written = Written { preset: Preset::Small, file: None, flags };
        written.plan::<Plan>(Table::new()).err().unwrap().to_string()
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

    #[test]
    fn each_guard_is_asked_for_by_a_key_of_its_own() {
        let names = |plan: Plan| -> Vec<_> {
            guards_of(&plan).unwrap().iter().map(|guard| guard.bound.name()).collect()
        };
        assert_eq!(names(Plan::default()), ["skips", "ranking", "entropy"]);
        let plan = Plan {
            guard_skips: "off".into(),
            guard_ranking: "off".into(),
            guard_entropy: "off".into(),
            guard_eigenvalue: "stop 1.3".into(),
            ..Plan::default()
        };
        assert_eq!(names(plan), ["eigenvalue"]);
    }
}
