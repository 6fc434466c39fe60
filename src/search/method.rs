//! A search method is a composition: which relaxation, which gradient of the alphas, which penalties, which selection.
//!
//! A method is read from the table `[method]` of a plan. All of it is host code in f64 over a few hundred numbers: the
//! supernet sees mixing weights alone. A component that DARTS does not have is not here either; it joins as a field, and
//! where it acts is one place: a perturbation of the mixing weights where [`Architecture`](super::architecture::Architecture)
//! has sampled them, a schedule or a guard where an epoch begins or ends ([`session`](super::session)).

use std::sync::Arc;

use super::hypergradient::{AlphaGradient, Product};
use super::penalty::Penalty;
use super::relaxation::Relaxation;
use crate::plan::search::{Order, Plan};
use crate::space::alphas::Alphas;
use crate::space::derivation::derive;
use crate::space::genotype::Genotype;

/// What a search does with its alphas.
#[derive(Clone, Debug)]
pub struct Method {
    /// From alphas to mixing weights, and back.
    pub relaxation: Relaxation,
    /// How the gradient of the validation loss is found.
    pub gradient: AlphaGradient,
    /// What is added to that loss.
    pub penalties: Vec<Arc<dyn Penalty>>,
    /// From alphas to a genotype.
    pub selection: Selection,
}

/// How a genotype is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The strongest edges of each node, each with its strongest operation: [`derive`](fn@derive).
    Strongest,
}

impl Method {
    /// DARTS (Liu, Simonyan and Yang, ICLR 2019).
    pub fn darts(gradient: AlphaGradient) -> Self {
        Method {
            relaxation: Relaxation::Softmax,
            gradient,
            penalties: Vec::new(),
            selection: Selection::Strongest,
        }
    }
}

impl From<&Plan> for Method {
    /// # Panics
    /// If the plan names a method that its check refuses.
    fn from(plan: &Plan) -> Self {
        let gradient = match plan.order {
            Order::First => AlphaGradient::First,
            Order::Second => AlphaGradient::Second(Product::Difference(plan.finite_difference)),
            Order::Extrapolated => AlphaGradient::Second(Product::Extrapolated),
        };
        match plan.method.as_str() {
            "darts" => Method::darts(gradient),
            name => panic!("a plan of the method {name:?}, which its check refuses"),
        }
    }
}

impl Selection {
    /// The genotype of these alphas.
    pub fn genotype(self, alphas: &Alphas) -> Genotype {
        match self {
            Selection::Strongest => derive(alphas),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlanTable;
    use crate::plan::keys::Domain;

    #[test]
    fn every_name_of_the_plan_is_a_method() {
        let key = Plan::keys().0.iter().find(|key| key.name == "method").unwrap();
        let Domain::Word(names) = &key.domain else { panic!("{:?}", key.domain) };
        assert!(!names.is_empty());
        for name in names {
            let plan = Plan { method: name.clone(), order: Order::Second, ..Plan::default() };
            assert_eq!(Method::from(&plan).gradient, AlphaGradient::Second(Product::Difference(0.01)));
        }
    }
}
