//! Guards: what watches a search for a collapse, or for its natural end. A guard sees what an epoch leaves and never touches
//! an optimiser; it warns, or it ends the search with the result that its rule names.

mod eigenvalue;
mod ranking;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::readable::counted;
use crate::space::Operation;
use crate::space::alphas::Alphas;
use crate::space::derivation::{largest_entropies, mean_entropies};
use crate::space::genotype::Genotype;
use eigenvalue::Measurement;
pub use eigenvalue::{EARLIER, early};

/// What a guard does when its bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It says so.
    Warn,
    /// It ends the search.
    Stop,
}

/// What a guard looks at, and from where on it speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// The normal cell of the genotype holds at least so many skip connections (DARTS+: Liang et al., arXiv 1909.06035,
    /// criterion 1).
    Skips(usize),
    /// For so many epochs the order of the alphas of an edge's convolutions has stayed the same on every edge (DARTS+,
    /// criterion 2).
    Ranking(usize),
    /// In each type of cell the mean entropy of the mixing weights is at most this share of that of equal weights.
    Entropy(f64),
    /// The largest eigenvalue of the validation loss's Hessian by the alphas has grown (Zela et al., Understanding and
    /// Robustifying DARTS, ICLR 2020, section 4.3).
    Eigenvalue {
        /// By so much.
        growth: f64,
        /// It is measured every so many epochs, and in the last one.
        every: usize,
    },
}

/// A guard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guard {
    /// What it looks at.
    pub bound: Bound,
    /// What it then does.
    pub answer: Answer,
}

/// What an answer is with its bound in a text; no guard for `off`.
///
/// # Errors
/// The text is none; the sentence says what is expected.
pub fn answer<N: FromStr>(text: &str, holds: impl Fn(&N) -> bool) -> Result<Option<(Answer, N)>, String> {
    let bound = |text: &str| text.parse().ok().filter(&holds);
    match text.split_once(' ') {
        None if text == "off" => Some(None),
        Some(("warn", text)) => bound(text).map(|bound| Some((Answer::Warn, bound))),
        Some(("stop", text)) => bound(text).map(|bound| Some((Answer::Stop, bound))),
        _ => None,
    }
    .ok_or_else(|| "off, warn N or stop N".to_owned())
}

/// A text of a guard whose bound is a whole number.
pub fn count(text: &str) -> Result<Option<(Answer, usize)>, String> {
    answer(text, |&count| count > 0)
}

/// A text of a guard whose bound is a share.
pub fn share(text: &str) -> Result<Option<(Answer, f64)>, String> {
    answer(text, |&share| share > 0.0 && share <= 1.0)
}

/// A text of a guard whose bound is a growth.
pub fn growth(text: &str) -> Result<Option<(Answer, f64)>, String> {
    answer(text, |&growth| growth > 1.0 && growth <= 1e6)
}

/// What an epoch leaves.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Epochs of the search.
    pub epochs: usize,
    /// The genotype of its alphas.
    pub genotype: &'a Genotype,
    /// Its alphas.
    pub alphas: &'a Alphas,
    /// The largest eigenvalue, where it was measured.
    pub eigenvalue: Option<f64>,
}

/// What a guard says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// The guard.
    pub guard: String,
    /// What it does.
    pub answer: Answer,
    /// What it saw.
    pub observed: String,
    /// The epoch, counted from 1, whose genotype is the result, where the guard ends the search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<usize>,
}

impl fmt::Display for Remark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Remark { guard, observed, .. } = self;
        match self.result {
            None => write!(formatter, "guard {guard}: {observed}"),
            Some(epoch) => write!(
                formatter,
                "guard {guard} ended the search: {observed}; the result is the genotype of epoch {epoch}"
            ),
        }
    }
}

impl Bound {
    /// The name of the guard.
    pub fn name(self) -> &'static str {
        match self {
            Bound::Skips(_) => "skips",
            Bound::Ranking(_) => "ranking",
            Bound::Entropy(_) => "entropy",
            Bound::Eigenvalue { .. } => "eigenvalue",
        }
    }

    /// How many numbers it remembers of a search of so many alphas.
    fn memory(self, alphas: usize) -> usize {
        match self {
            Bound::Skips(_) | Bound::Entropy(_) => 0,
            Bound::Ranking(_) => 1 + alphas,
            Bound::Eigenvalue { .. } => eigenvalue::MEMORY,
        }
    }

    /// How many epochs before the one that reaches the bound the result lies.
    fn reach(self) -> usize {
        match self {
            Bound::Eigenvalue { every, .. } => EARLIER * every,
            _ => 0,
        }
    }

    /// Whether an epoch has what it looks at.
    fn sees(self, outcome: &Outcome) -> bool {
        !matches!(self, Bound::Eigenvalue { .. }) || outcome.eigenvalue.is_some()
    }

    /// What an epoch shows that reaches the bound.
    fn reached(self, outcome: &Outcome, memory: &mut [f64]) -> Option<String> {
        match self {
            Bound::Skips(most) => {
                let skips = outcome.genotype.cells[0].count(Operation::is_skip);
                let title = outcome.genotype.space.cells()[0].title;
                (skips >= most).then(|| format!("the {title} has {}", counted(skips, "skip connection")))
            }
            Bound::Ranking(epochs) => ranking::reached(epochs, outcome.alphas, memory),
            Bound::Entropy(most) => {
                let largest = largest_entropies(outcome.alphas);
                let shares =
                    mean_entropies(outcome.alphas).into_iter().zip(largest).map(|(one, all)| one / all);
                let share = shares.fold(0.0, f64::max);
                let percent = 100.0 * share;
                (share <= most).then(|| {
                    format!(
                        "the mean entropy of the mixing weights is {percent:.1} % of that of equal weights"
                    )
                })
            }
            Bound::Eigenvalue { growth, every } => {
                let Outcome { epoch, epochs, eigenvalue, .. } = *outcome;
                eigenvalue::reached(growth, every, Measurement { epoch, epochs, value: eigenvalue? }, memory)
            }
        }
    }
}

/// The guards of a search and what they know of the epochs before; a run that goes on needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    guards: Vec<Guard>,
    alphas: usize,
    /// Alphas and betas.
    values: usize,
    /// The epoch whose genotype is the result, or 0 while no guard has ended the search; of each guard, whether its bound is
    /// reached, and its memory; the alphas and betas of the epochs that can become the result, as a ring.
    pub state: Vec<f64>,
}

impl Watch {
    /// At the start of a search of such alphas.
    pub fn new(guards: Vec<Guard>, alphas: &Alphas) -> Self {
        let (values, alphas) = (alphas.values().count(), alphas.len());
        let memory: usize = guards.iter().map(|guard| 1 + guard.bound.memory(alphas)).sum();
        let state = vec![0.0; 1 + memory + ring(&guards) * values];
        Watch { guards, alphas, values, state }
    }

    /// Whether the largest eigenvalue is wanted after an epoch, counted from 1.
    pub fn measures(&self, epoch: usize, epochs: usize) -> bool {
        let due = |guard: &Guard| match guard.bound {
            Bound::Eigenvalue { every, .. } => (epoch - 1).is_multiple_of(every) || epoch == epochs,
            _ => false,
        };
        self.guards.iter().any(due)
    }

    /// Whether a guard has ended the search.
    pub fn ended(&self) -> bool {
        self.state[0] != 0.0
    }

    /// The alphas of the result, row after row, and behind them its betas, where a guard has ended the search.
    pub fn result(&self) -> Option<&[f64]> {
        let epoch = self.state[0] as usize;
        let ring = ring(&self.guards);
        let first = self.state.len() - ring * self.values;
        (epoch != 0 && ring != 0).then(|| {
            let place = first + epoch % ring * self.values;
            &self.state[place..place + self.values]
        })
    }

    /// Shows the guards what an epoch leaves. A guard speaks in the epoch in which its bound is reached, and again if it was
    /// not reached between.
    pub fn show(&mut self, outcome: &Outcome) -> Vec<Remark> {
        let (ring, alphas, values) = (ring(&self.guards), self.alphas, self.values);
        let (mut rest, past) = {
            let first = self.state.len() - ring * values;
            self.state.split_at_mut(first)
        };
        if ring != 0 {
            let place = outcome.epoch % ring * values;
            let past = past[place..place + values].iter_mut();
            past.zip(outcome.alphas.values()).for_each(|(past, value)| *past = value);
        }
        let mut remarks = Vec::new();
        let ended = rest.split_off_first_mut().expect("a watch has a state");
        for Guard { bound, answer } in &self.guards {
            let (memory, others) = rest.split_at_mut(1 + bound.memory(alphas));
            rest = others;
            if !bound.sees(outcome) {
                continue;
            }
            let [before, memory @ ..] = memory else {
                unreachable!("a guard knows whether its bound is reached")
            };
            let observed = bound.reached(outcome, memory);
            let spoke = std::mem::replace(before, f64::from(u8::from(observed.is_some()))) != 0.0;
            let Some(observed) = observed.filter(|_| !spoke) else { continue };
            // Of several guards that end the search in an epoch, the first names the result.
            let ends = *answer == Answer::Stop && *ended == 0.0;
            let result = ends.then(|| outcome.epoch - bound.reach());
            if let Some(result) = result {
                *ended = result as f64;
            }
            remarks.push(Remark { guard: bound.name().to_owned(), answer: *answer, observed, result });
        }
        remarks
    }
}

/// How many epochs can become the result; none where that is always the last one.
fn ring(guards: &[Guard]) -> usize {
    let stops = guards.iter().filter(|guard| guard.answer == Answer::Stop);
    stops.map(|guard| guard.bound.reach()).max().filter(|&reach| reach > 0).map_or(0, |reach| reach + 1)
}

#[cfg(test)]
mod tests;
