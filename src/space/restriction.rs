//! The derivation of P-DARTS (Chen, Xie, Wu, Tian, ICCV 2019, section 3.3; the official code): the normal cell has at most so
//! many skip connections.

use super::genotype::ChosenEdge;
use super::{Space, Wiring};

/// The nodes of a cell whose edges have these weights, row after row. Each node keeps the edges whose best candidate other
/// than none weighs most, the later ones among equals, in their order. While there are more than `most` skip connections,
/// the lightest one weighs nothing, and the choice is made anew; another skip connection may then come in.
pub(super) fn nodes(
    space: &Space,
    wiring: &Wiring,
    weights: &mut [Vec<f64>],
    most: Option<usize>,
) -> Vec<Vec<ChosenEdge>> {
    loop {
        let chosen = chosen(space, wiring, weights);
        let skips =
            chosen.iter().filter(|(edge, candidate)| wiring.edges[*edge].candidates[*candidate].is_skip());
        // One that weighs nothing is chosen where no other candidate is left, and stays.
        let lightest = (skips.clone().copied())
            .filter(|&(edge, candidate)| weights[edge][candidate] > 0.0)
            .min_by(|&(one, own), &(other, its)| weights[one][own].total_cmp(&weights[other][its]));
        match lightest.filter(|_| most.is_some_and(|most| skips.count() > most)) {
            Some((edge, candidate)) => weights[edge][candidate] = 0.0,
            None => {
                let of_node = |node| {
                    let own = chosen.iter().filter(|(edge, _)| wiring.edges[*edge].node == node);
                    let edge = |&(edge, candidate): &(usize, usize)| ChosenEdge {
                        operation: wiring.edges[edge].candidates[candidate],
                        from: wiring.edges[edge].from,
                    };
                    own.map(edge).collect()
                };
                return (0..wiring.nodes).map(of_node).collect();
            }
        }
    }
}

/// The kept edges, ascending, each with its candidate.
fn chosen(space: &Space, wiring: &Wiring, weights: &[Vec<f64>]) -> Vec<(usize, usize)> {
    let best = |edge: usize| {
        let candidates =
            (0..weights[edge].len()).filter(|&place| space.may_choose(wiring.edges[edge].candidates[place]));
        // The first one among equals.
        let best =
            candidates.rev().max_by(|&one, &other| weights[edge][one].total_cmp(&weights[edge][other]));
        best.expect("an edge has two candidates, of which one at most is none")
    };
    let mut all = Vec::new();
    for node in 0..wiring.nodes {
        let entering = (0..wiring.edges.len()).filter(|&edge| wiring.edges[edge].node == node);
        let mut ranked: Vec<(usize, usize)> = entering.map(|edge| (edge, best(edge))).collect();
        ranked.sort_by(|&(one, own), &(other, its)| weights[one][own].total_cmp(&weights[other][its]));
        let dropped = ranked.len() - space.keep().of(ranked.len()).min(ranked.len());
        let mut kept = ranked.split_off(dropped);
        kept.sort_unstable();
        all.extend(kept);
    }
    all
}
