//! The order of the two steps of an iteration.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which of the two steps of an iteration comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOrder {
    /// That of the alphas.
    AlphasFirst,
    /// That of the weights.
    WeightsFirst,
}

impl StepOrder {
    /// All of them.
    pub const ALL: [StepOrder; 2] = [StepOrder::AlphasFirst, StepOrder::WeightsFirst];
}

/// Its name in a plan.
impl fmt::Display for StepOrder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}
