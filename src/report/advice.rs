//! What to change in another search: one flag, its value, and why.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::readable::shell_word;
use crate::store::history::History;
use crate::store::place::PLAN;

/// The step between the strengths of regularisation that Zela et al. (Understanding and Robustifying DARTS, 2020) tried.
const STRONGER: f64 = 3.0;
/// By how much the entropy should stay below that of equal weights: twice as much as the report asks for.
const DECIDED: f64 = 0.1;
/// The least and the most by which the steps of the alphas become longer.
const LONGER: [f64; 2] = [2.0, 10.0];
/// The rates of DARTS, where a plan has none: those of the alphas and of the weight decay.
const RATE_OF_DARTS: f64 = 3e-4;
/// The most epochs that are advised.
const MOST_EPOCHS: usize = 100_000;

/// A flag to change, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The flag, with its dashes.
    pub flag: &'static str,
    /// Its new value, as a command line has it.
    pub value: String,
    /// Why that helps, in a clause.
    pub reason: String,
}

impl Advice {
    /// The command line of a search that repeats the one of a run but for what is advised.
    pub fn command(&self, run: &Path) -> String {
        let plan = shell_word(&run.join(PLAN).display().to_string());
        format!("darts search --plan {plan} {} {}", self.flag, self.value)
    }
}

/// The command line that trains the network of a search.
pub fn train_command(run: &Path) -> String {
    format!("darts train {}", shell_word(&run.display().to_string()))
}

impl fmt::Display for Advice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Advice { flag, value, reason } = self;
        write!(formatter, "search again with {flag} {value}: {reason}")
    }
}

/// Against a collapse: more weight decay. Nothing where the plan does not say how much there was.
pub fn regularise(history: &History) -> Option<Advice> {
    let value = times(STRONGER, planned(history, "weight_decay")?);
    let reason = "a stronger regularisation of the weights kept searches from filling their cells with skip connections \
                  (Zela et al., 2020)";
    Some(Advice { flag: "--weight-decay", value, reason: reason.to_owned() })
}

/// Against nearly equal weights, whose entropy is such a share of the largest one: longer steps of the alphas. Searches on
/// the digits come about as far below the largest entropy as their steps are long.
pub fn decide(history: &History, share: f64) -> Option<Advice> {
    let [least, most] = LONGER;
    let longer = (DECIDED / (1.0 - share).max(f64::MIN_POSITIVE)).clamp(least, most);
    let value = times(longer, planned(history, "alpha_lr")?);
    let reason = "longer steps let the alphas go further apart in as many epochs".to_owned();
    Some(Advice { flag: "--alpha-lr", value, reason })
}

/// Against a genotype that still changes: twice the epochs.
pub fn longer(history: &History) -> Option<Advice> {
    let epochs = planned::<usize>(history, "epochs")?;
    let value = epochs.saturating_mul(2).min(MOST_EPOCHS).to_string();
    let reason = "the genotype needs more time to settle".to_owned();
    Some(Advice { flag: "--epochs", value, reason })
}

/// Against a loss of accuracy: no epochs after the best one.
pub fn shorter(best: usize) -> Advice {
    let reason = "the validation accuracy fell after that epoch".to_owned();
    Advice { flag: "--epochs", value: best.to_string(), reason }
}

/// The number that a key of the plan holds.
fn planned<T: std::str::FromStr>(history: &History, key: &str) -> Option<T> {
    history.planned(key)?.parse().ok()
}

/// So many times a rate, to two digits.
fn times(factor: f64, rate: f64) -> String {
    let product = if rate > 0.0 { factor * rate } else { RATE_OF_DARTS };
    let rounded: f64 = format!("{product:.1e}").parse().unwrap_or(product);
    rounded.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_without_the_noise_of_their_bits() {
        let written = [3e-4, 0.1, 0.025, 1.0, 0.0].map(|rate| times(3.0, rate));
        assert_eq!(written, ["0.0009", "0.3", "0.075", "3", "0.0003"]);
    }
}
