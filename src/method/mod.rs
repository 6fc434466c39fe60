//! The parts that a search method is composed of. All of it is host code in f64 over a few hundred numbers: the supernet
//! sees mixing weights alone.
//!
//! A plan names each part in a text of its own: the name of the part and, behind it, what the part takes, such as
//! `zero-one 10`. To add a part, write it in a file and name it in the table of its kind; a published method is a table
//! in `methods.toml`.
//!
//! Read in this order:
//!
//! 1. [`progress`] and [`schedule`]: numbers that change from epoch to epoch.
//! 2. [`relaxation`]: from alphas to mixing weights, and back; [`special`]: the functions that a Dirichlet distribution takes.
//! 3. [`edge_weights`]: what multiplies all that an edge brings; [`skip_dropout`]: how much of skip connections is dropped.
//! 4. [`penalty`]: terms that are added to the loss of the alphas.
//! 5. [`perturbation`]: what disturbs the mixing weights in a step of the weights.
//! 6. [`step_order`]: which of the two steps of an iteration comes first.
//! 7. [`guard`]: what watches a search, warns, or ends it before its last epoch.
//! 8. [`selection`]: how the genotype is found; [`projection`]: what a selection by perturbation decides;
//!    [`sampled`]: genotypes drawn at random.
//! 9. [`stages`]: a search in several parts.
//! 10. [`published`]: the methods of the literature, as compositions.

pub mod edge_weights;
pub mod guard;
pub mod penalty;
pub mod perturbation;
pub mod progress;
pub mod projection;
pub mod published;
pub mod relaxation;
pub mod sampled;
pub mod schedule;
pub mod selection;
pub mod skip_dropout;
pub mod special;
pub mod stages;
pub mod step_order;

/// One name of a kind of parts.
pub struct Part<T: 'static> {
    /// The name in a plan.
    pub name: &'static str,
    /// What stands behind the name, such as `TEMPERATURE`; empty for nothing.
    pub takes: &'static str,
    /// The part, of what stands behind the name; nothing where that cannot be.
    pub make: fn(&str) -> Option<T>,
}

/// The part that a text names.
///
/// # Errors
/// The text names none; the sentence says what is expected.
pub fn named<T>(parts: &[Part<T>], text: &str) -> Result<T, String> {
    let (name, takes) = text.split_once(' ').unwrap_or((text, ""));
    let part = parts.iter().find(|part| part.name == name && part.takes.is_empty() == takes.is_empty());
    part.and_then(|part| (part.make)(takes)).ok_or_else(|| expected(parts))
}

/// What a text may say, as a list in a sentence.
pub fn expected<T>(parts: &[Part<T>]) -> String {
    let spelled = |part: &Part<T>| match part.takes {
        "" => part.name.to_owned(),
        takes => format!("{} {takes}", part.name),
    };
    let spelled: Vec<_> = parts.iter().map(spelled).collect();
    match &spelled[..] {
        [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => spelled.concat(),
    }
}
