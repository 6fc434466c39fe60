//! The stages of a search, each a search of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::Result;
use crate::method::skip_dropout::rates;
use crate::method::stages::transitions;
use crate::plan::search::Plan;
use crate::space::Space;
use crate::space::alphas::Alphas;
use crate::space::definition::Definition;
use crate::space::pruning::GONE;

/// A stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// What determines it, of the whole search's plan.
    pub plan: Plan,
    /// Its epochs among those of the whole search, counted from 0.
    pub epochs: Range<usize>,
    /// How many candidates each edge keeps after it, if another stage follows.
    pub keep: Option<usize>,
}

/// The stages of a plan. They share its epochs in equal parts, and a selection follows on the last.
///
/// # Errors
/// The space is none that the plan's check accepts.
///
/// # Panics
/// If the plan has stages that its check refuses.
pub fn stages(plan: &Plan) -> Result<Vec<Stage>> {
    let transitions =
        transitions(&plan.stages).unwrap_or_else(|expected| panic!("a plan is checked; {expected}"));
    let count = transitions.len() + 1;
    let each = plan.epochs / count;
    let stage = |index: usize| {
        let keep = transitions.get(index).map(|transition| transition.keep);
        let cells = plan.cells + index.checked_sub(1).map_or(0, |before| transitions[before].cells);
        let skip_dropout = rate_of(plan, index);
        let mut own = Plan { epochs: each, cells, skip_dropout, ..plan.clone() };
        if keep.is_some() && own.selection.starts_with("perturbation") {
            // It begins behind the last stage.
            own.selection = "strongest".to_owned();
        }
        let first = index * each;
        Ok(Stage { epochs: first..first + own.epochs_in_all()?, plan: own, keep })
    };
    (0..count).map(stage).collect()
}

/// The rate of skip dropout in a stage: its own, or the one of all stages.
fn rate_of(plan: &Plan, stage: usize) -> String {
    let rates = rates(&plan.skip_dropout).unwrap_or_default();
    rates.get(stage).or(rates.first()).map_or_else(|| plan.skip_dropout.clone(), f64::to_string)
}

/// The space that is left of a search with these alphas: each edge has the candidates that are not gone.
///
/// # Errors
/// An edge has fewer than two.
pub fn left(alphas: &Alphas) -> Result<Arc<Space>> {
    let space = &alphas.space;
    let mut edges = BTreeMap::new();
    for (cell, kind) in space.cells().iter().enumerate() {
        let lists = alphas.wiring(cell).edges.into_iter().map(|edge| {
            let row = edge.candidates.iter().zip(&alphas.tables[cell][edge.row.clone()]);
            let names =
                row.filter(|(_, alpha)| **alpha != GONE).map(|(candidate, _)| candidate.name.to_owned());
            (format!("{}<-{}", edge.node + space.inputs(), edge.from), names.collect())
        });
        edges.insert(kind.name.to_owned(), lists.collect());
    }
    let definition = space.definition().clone();
    Space::new(Definition { candidates: Vec::new(), nodes: alphas.nodes, edges, ..definition }).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::alphas::ramp;

    #[test]
    fn a_plan_without_transitions_is_one_stage() {
        let plan = Plan::default();
        assert_eq!(stages(&plan).unwrap(), [Stage { epochs: 0..plan.epochs, plan, keep: None }]);
    }

    #[test]
    fn stages_share_the_epochs_and_grow() {
        let plan = Plan {
            stages: "keep 5 +1, keep 3 +4".into(),
            selection: "perturbation".into(),
            nodes: 1,
            ..Plan::default()
        };
        let stages = stages(&plan).unwrap();
        let of = |stage: &Stage| (stage.epochs.clone(), stage.plan.epochs, stage.plan.cells, stage.keep);
        // A node of two edges has two choices, between which an epoch lies.
        let expected = [(0..4, 4, 3, Some(5)), (4..8, 4, 4, Some(3)), (8..13, 4, 7, None)];
        assert_eq!(stages.iter().map(of).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn each_edge_keeps_candidates_of_its_own() {
        let mut alphas = ramp(2);
        alphas.prune(3);
        let space = left(&alphas).unwrap();
        for cell in 0..2 {
            for (edge, whole) in space.wiring(cell, 2).edges.iter().zip(alphas.wiring(cell).edges) {
                let row = &alphas.tables[cell][whole.row.clone()];
                let kept = whole.candidates.iter().zip(row).filter(|(_, alpha)| **alpha != GONE);
                assert_eq!(edge.candidates, kept.map(|(candidate, _)| *candidate).collect::<Vec<_>>());
                assert_eq!(edge.candidates.len(), 3);
            }
        }
    }
}
