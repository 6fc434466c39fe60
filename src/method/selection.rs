//! Selection: how a search finds its genotype.

use super::{Part, named};

/// How the genotype is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// By the alphas: each node keeps its strongest edges, each edge its strongest candidate.
    Strongest,
    /// By the alphas and the rule of P-DARTS (Chen et al., ICCV 2019): the normal cell has at most so many skip connections.
    Restricted(usize),
    /// DARTS-PT (Wang et al., Rethinking Architecture Selection in Differentiable NAS, ICLR 2021): edge after edge takes the
    /// candidate without which the supernet is worst on the validation half, and then each node drops the edges without
    /// which it is best. Between two choices the search goes on.
    Perturbation(Criterion),
    /// Random search with shared weights (Li, Talwalkar, UAI 2019): each pass goes through a genotype drawn at random, and of so
    /// many the one is found whose loss on the validation half is the lowest. No alpha moves.
    Sampled(usize),
}

/// The most genotypes that a selection tries.
const MOST_SAMPLES: usize = 100_000;

/// What is worst or best on the validation half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// The accuracy, and the loss where accuracies are equal.
    Accuracy,
    /// The loss.
    Loss,
}

/// The selections by their names.
static SELECTIONS: [Part<Selection>; 5] = [
    Part { name: "strongest", takes: "", make: |_| Some(Selection::Strongest) },
    Part { name: "restricted", takes: "SKIPS", make: |text| text.parse().ok().map(Selection::Restricted) },
    Part {
        name: "sampled",
        takes: "COUNT",
        make: |text| {
            let count = text.parse().ok().filter(|count| (1..=MOST_SAMPLES).contains(count));
            count.map(Selection::Sampled)
        },
    },
    Part { name: "perturbation", takes: "", make: |_| Some(Selection::Perturbation(Criterion::Accuracy)) },
    Part {
        name: "perturbation",
        takes: "loss",
        make: |text| (text == "loss").then_some(Selection::Perturbation(Criterion::Loss)),
    },
];

/// The selection that a text names.
///
/// # Errors
/// The text names none; the sentence says what is expected.
pub fn selection(text: &str) -> Result<Selection, String> {
    named(&SELECTIONS, text)
}

impl Criterion {
    /// How bad a supernet of this loss and accuracy is: of two, the one that compares greater is worse.
    pub fn badness(self, loss: f64, accuracy: f64) -> (f64, f64) {
        match self {
            Criterion::Accuracy => (-accuracy, loss),
            Criterion::Loss => (loss, 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_a_selection() {
        assert_eq!(selection("strongest"), Ok(Selection::Strongest));
        assert_eq!(selection("restricted 2"), Ok(Selection::Restricted(2)));
        assert_eq!(selection("sampled 100"), Ok(Selection::Sampled(100)));
        assert_eq!(selection("perturbation"), Ok(Selection::Perturbation(Criterion::Accuracy)));
        assert_eq!(selection("perturbation loss"), Ok(Selection::Perturbation(Criterion::Loss)));
        for text in
            ["", "perturbation accuracy", "loss", "strongest 2", "restricted", "restricted -1", "sampled 0"]
        {
            assert_eq!(
                selection(text).unwrap_err(),
                "strongest, restricted SKIPS, sampled COUNT, perturbation or perturbation loss"
            );
        }
    }
}
