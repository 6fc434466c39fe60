//! A search method is a composition: which relaxation, which gradient of the alphas, which penalties, which perturbation,
//! which guards.
//!
//! A method is read from the table `[method]` of a plan; its parts are those of [`crate::method`]. Where a part acts is one
//! place: what concerns a sample of mixing weights in [`Architecture`](super::architecture::Architecture), what concerns
//! an epoch where that begins or ends ([`session`](super::session)).

use std::sync::Arc;

use super::hypergradient::{AlphaGradient, Product};
use crate::method::edge_weights::EdgeWeights;
use crate::method::guard::{self, Bound, Guard};
use crate::method::penalty::{Penalty, penalties};
use crate::method::perturbation::{Perturbation, perturbation};
use crate::method::progress::Progress;
use crate::method::relaxation::{Relaxation, relaxation};
use crate::method::schedule::{Schedule, probability, weight};
use crate::method::selection::{Selection, selection};
use crate::method::skip_dropout::{dropped, rates};
use crate::method::step_order::StepOrder;
use crate::nn::Masks;
use crate::plan::search::{Order, Plan};
use crate::space::EdgeShape;
use crate::space::alphas::Alphas;

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
    /// What watches the search.
    pub guards: Vec<Guard>,
    /// The probability that drop path drops an image of an edge (Zela et al., ICLR 2020, section 4.2).
    pub edge_drop_path: Schedule,
    /// One of so many channels goes through the candidates of an edge.
    pub partial_channels: usize,
    /// How the edges of a node are weighed.
    pub edge_weights: EdgeWeights,
    /// The weight of an edge's auxiliary skip.
    pub auxiliary_skip: Schedule,
    /// The rate at which elements of skip connections are dropped: see [`skip_dropout`](crate::method::skip_dropout).
    pub skip_dropout: f64,
    /// How the genotype is found.
    pub selection: Selection,
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

    /// What the edges of its supernet have beside their candidates.
    pub fn edges(&self) -> EdgeShape {
        EdgeShape {
            drop_path: !self.edge_drop_path.is_zero(),
            partial: self.partial_channels,
            auxiliary_skip: !self.auxiliary_skip.is_zero(),
            skip_dropout: (self.skip_dropout > 0.0).then_some(Masks::Drawn),
        }
    }

    /// Alphas with what the method says of them, and with betas where it has some.
    pub fn describe(&self, mut alphas: Alphas) -> Alphas {
        let most_skips = match self.selection {
            Selection::Restricted(most) => Some(most),
            Selection::Strongest | Selection::Perturbation(_) | Selection::Sampled(_) => None,
        };
        if self.edge_weights == EdgeWeights::Softmax && alphas.betas.is_empty() {
            let wirings = alphas.space.wirings(alphas.nodes);
            alphas.betas = wirings.iter().map(|wiring| vec![0.0; wiring.edges.len()]).collect();
        }
        Alphas { weighing: self.relaxation.weighing(), most_skips, ..alphas }
    }

    /// The probability that an element of a skip connection is dropped.
    pub fn dropped_of_skips(&self, progress: Progress) -> f64 {
        dropped(self.skip_dropout, self.frozen_epochs, progress)
    }

    /// Whether each pass goes through a genotype drawn at random, and no alpha ever moves.
    pub fn samples_genotypes(&self) -> bool {
        matches!(self.selection, Selection::Sampled(_))
    }

    /// Whether there is a step of the alphas.
    pub fn moves_alphas(&self, progress: Progress) -> bool {
        progress.epoch >= self.frozen_epochs && !self.samples_genotypes()
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
            guards: guards(plan).unwrap_or_else(|expected| refused(expected)),
            edge_drop_path: probability(&plan.edge_drop_path)
                .unwrap_or_else(|| refused("a probability".to_owned())),
            partial_channels: plan.partial_channels,
            edge_weights: plan.edge_weights,
            auxiliary_skip: weight(&plan.auxiliary_skip).unwrap_or_else(|| refused("a weight".to_owned())),
            skip_dropout: rates(&plan.skip_dropout)
                .and_then(|rates| rates.first().copied())
                .unwrap_or_else(|| refused("a rate".to_owned())),
            selection: selection(&plan.selection).unwrap_or_else(|expected| refused(expected)),
            step_order: plan.step_order,
            frozen_epochs: plan.frozen_epochs,
            alpha_deviation: plan.alpha_deviation,
        }
    }
}

/// The guards that a plan asks for.
///
/// # Errors
/// A text is none of a guard; the sentence says what is expected.
fn guards(plan: &Plan) -> Result<Vec<Guard>, String> {
    let skips = guard::count(&plan.guard_skips)?.map(|(answer, most)| (answer, Bound::Skips(most)));
    let ranking = guard::count(&plan.guard_ranking)?.map(|(answer, epochs)| (answer, Bound::Ranking(epochs)));
    let entropy = guard::share(&plan.guard_entropy)?.map(|(answer, most)| (answer, Bound::Entropy(most)));
    let eigenvalue = guard::growth(&plan.guard_eigenvalue)?;
    let every = plan.eigenvalue_every;
    let eigenvalue = eigenvalue.map(|(answer, growth)| (answer, Bound::Eigenvalue { growth, every }));
    let all = [skips, ranking, entropy, eigenvalue].into_iter().flatten();
    Ok(all.map(|(answer, bound)| Guard { bound, answer }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guard_is_asked_for_by_a_key_of_its_own() {
        let names = |plan: Plan| -> Vec<_> {
            guards(&plan).unwrap().iter().map(|guard| guard.bound.name()).collect()
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

    #[test]
    fn the_order_of_a_plan_is_the_gradient_of_its_method() {
        let of = |order| Method::from(&Plan { order, ..Plan::default() }).gradient;
        assert_eq!(of(Order::First), AlphaGradient::First);
        assert_eq!(of(Order::Second), AlphaGradient::Second(Product::Difference(0.01)));
        assert_eq!(of(Order::Extrapolated), AlphaGradient::Second(Product::Extrapolated));
    }
}
