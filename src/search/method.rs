//! A search method is a composition: which relaxation, which gradient of the alphas, which penalties, which perturbation,
//! which guard.
//!
//! A method is read from the table `[method]` of a plan; its parts are those of [`crate::method`]. Where a part acts is one
//! place: what concerns a sample of mixing weights in [`Architecture`](super::architecture::Architecture), what concerns
//! an epoch where that begins or ends ([`session`](super::session)).

use std::sync::Arc;

use super::hypergradient::{AlphaGradient, Product};
use crate::method::guard::{Guard, guard};
use crate::method::penalty::{Penalty, penalties};
use crate::method::perturbation::{Perturbation, perturbation};
use crate::method::progress::Progress;
use crate::method::relaxation::{Relaxation, relaxation};
use crate::method::step_order::StepOrder;
use crate::plan::search::{Order, Plan};

/// What a search does with its alphas.
#[derive(Clone, Debug)]
pub struct Method {
    /// From alphas to mixing weights, and back.
    pub relaxation: Arc<dyn Relaxation>,
    /// How the gradient of the validation loss is found.
    pub gradient: AlphaGradient,
    /// What is added to that loss.
    pub penalties: Vec<Arc<dyn Penalty>>,
    /// What disturbs the mixing weights in a step of the weights.
    pub perturbation: Perturbation,
    /// What ends the search before its last epoch.
    pub guard: Option<Guard>,
    /// Whether a step of the alphas comes before that of the weights.
    pub step_order: StepOrder,
    /// So many epochs at the start have no step of the alphas.
    pub frozen_epochs: usize,
    /// The deviation of the initial alphas.
    pub alpha_deviation: f64,
}

impl Method {
    /// DARTS (Liu, Simonyan and Yang, ICLR 2019).
    pub fn darts(gradient: AlphaGradient) -> Self {
        Method { gradient, ..Method::from(&Plan::default()) }
    }

    /// Whether there is a step of the alphas.
    pub fn moves_alphas(&self, progress: Progress) -> bool {
        progress.epoch >= self.frozen_epochs
    }
}

impl From<&Plan> for Method {
    /// # Panics
    /// If the plan names a part that its check refuses.
    fn from(plan: &Plan) -> Self {
        let gradient = match plan.order {
            Order::First => AlphaGradient::First,
            Order::Second => AlphaGradient::Second(Product::Difference(plan.finite_difference)),
            Order::Extrapolated => AlphaGradient::Second(Product::Extrapolated),
        };
        let refused = |expected: String| -> ! { panic!("a plan is checked; expected {expected}") };
        Method {
            relaxation: relaxation(&plan.relaxation).unwrap_or_else(|expected| refused(expected)),
            gradient,
            penalties: penalties(&plan.penalty).unwrap_or_else(|expected| refused(expected)),
            perturbation: perturbation(&plan.perturbation).unwrap_or_else(|expected| refused(expected)),
            guard: guard(&plan.guard).unwrap_or_else(|expected| refused(expected)),
            step_order: plan.step_order,
            frozen_epochs: plan.frozen_epochs,
            alpha_deviation: plan.alpha_deviation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_plan_is_the_gradient_of_its_method() {
        let of = |order| Method::from(&Plan { order, ..Plan::default() }).gradient;
        assert_eq!(of(Order::First), AlphaGradient::First);
        assert_eq!(of(Order::Second), AlphaGradient::Second(Product::Difference(0.01)));
        assert_eq!(of(Order::Extrapolated), AlphaGradient::Second(Product::Extrapolated));
    }
}
