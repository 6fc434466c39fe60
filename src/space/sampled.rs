//! Genotypes drawn at random: the baseline that a search has to beat (Li, Talwalkar, UAI 2019; Yang, Esperança,
//! Carlucci, ICLR 2020).

use std::sync::Arc;

use rand::seq::index;
use rand::{Rng, RngExt};

use super::genotype::{CellGenotype, ChosenEdge, Genotype};
use super::{Edge, Keep, Operation, Space, Wiring};
use crate::random::{Stream, generator};
use crate::{Error, Result};

/// What such a genotype's name begins with; the seed follows.
pub const PREFIX: &str = "random:";

/// Finds the genotype of a name such as `random:7` in a space; nothing, where the name begins otherwise.
pub fn find(name: &str, space: &Arc<Space>) -> Option<Result<Genotype>> {
    let seed = name.strip_prefix(PREFIX)?;
    let refusal = || {
        let seed: String = seed.chars().take(40).collect();
        Error::Genotype(format!("{PREFIX}{seed}: expected a whole number as the seed, as in {PREFIX}7"))
    };
    let digits = seed.bytes().all(|byte| byte.is_ascii_digit());
    let seed = seed.parse().ok().filter(|_| digits);
    Some(seed.map(|seed| draw(seed, space)).ok_or_else(refusal))
}

/// Draws a genotype uniformly from a space: each node of its cells keeps different edges, each with one of the
/// operations that a derivation may choose there, so in most spaces not `none`. In the paper's space four nodes keep two edges each.
pub fn draw(seed: u64, space: &Arc<Space>) -> Genotype {
    draw_nodes(seed, space, space.nodes())
}

/// The same with so many nodes in each cell, of which the space must have some.
pub fn draw_nodes(seed: u64, space: &Arc<Space>, nodes: usize) -> Genotype {
    let mut random = generator(seed, Stream::Genotype, 0);
    let cells = space.wirings(nodes).iter().map(|wiring| cell(&mut random, space, wiring)).collect();
    Genotype { space: Arc::clone(space), cells }
}

fn cell(random: &mut impl Rng, space: &Space, wiring: &Wiring) -> CellGenotype {
    let mut nodes = Vec::with_capacity(wiring.nodes);
    for node in 0..wiring.nodes {
        let edges: Vec<&Edge> = wiring.entering(node).collect();
        let kept: Vec<usize> = match space.keep() {
            Keep::Strongest(kept) => index::sample(random, edges.len(), kept).into_vec(),
            Keep::All => (0..edges.len()).collect(),
        };
        let chosen = kept.into_iter().map(|index| {
            let others: Vec<&'static Operation> = edges[index]
                .candidates
                .iter()
                .copied()
                .filter(|operation| space.may_choose(operation))
                .collect();
            ChosenEdge { operation: others[random.random_range(0..others.len())], from: edges[index].from }
        });
        nodes.push(chosen.collect());
    }
    CellGenotype { nodes, concat: space.concat(wiring.nodes) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn darts(seed: u64) -> Genotype {
        draw(seed, &Space::darts())
    }

    #[test]
    fn a_seed_names_one_valid_genotype() {
        for seed in 0..200 {
            let genotype = darts(seed);
            assert_eq!(Genotype::from_json(&genotype.to_json()).unwrap(), genotype);
            assert_eq!(find(&format!("random:{seed}"), &Space::darts()).unwrap().unwrap(), genotype);
            assert_ne!(darts(seed + 1), genotype);
            for cell in genotype.cells {
                assert_eq!((cell.nodes.len(), cell.concat), (4, vec![2, 3, 4, 5]));
                assert!(cell.nodes.iter().all(|pair| pair[0].from != pair[1].from));
            }
        }
    }

    /// A name stands in papers and scripts: what it means must not change with a version of this program.
    #[test]
    fn a_seed_names_the_same_genotype_in_every_version() {
        assert_eq!(
            darts(0).to_string(),
            "Genotype(normal=[('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 1), \
             ('sep_conv_3x3', 2), ('skip_connect', 1), ('avg_pool_3x3', 1), ('sep_conv_5x5', 4)], \
             normal_concat=range(2, 6), \
             reduce=[('skip_connect', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('max_pool_3x3', 1), \
             ('dil_conv_5x5', 3), ('skip_connect', 2), ('dil_conv_5x5', 4), ('skip_connect', 1)], \
             reduce_concat=range(2, 6))"
        );
    }

    /// Over 4000 cells each share of an operation, and of a state among the five that the last node may read, lies within
    /// five standard deviations of what uniform draws give; a draw that leaves out or prefers one does not.
    #[test]
    fn operations_and_inputs_are_drawn_uniformly() {
        let (mut operations, mut inputs) = (BTreeMap::new(), BTreeMap::new());
        let cells = 4000;
        for seed in 0..cells / 2 {
            for cell in darts(seed).cells {
                cell.edges().for_each(|(_, edge)| *operations.entry(edge.operation).or_insert(0u64) += 1);
                cell.nodes[3].iter().for_each(|edge| *inputs.entry(edge.from).or_insert(0u64) += 1);
            }
        }
        let within = |count: u64, draws: u64, share: f64| {
            let (mean, draws) = (draws as f64 * share, draws as f64);
            (count as f64 - mean).abs() < 5.0 * (draws * share * (1.0 - share)).sqrt()
        };
        assert_eq!((operations.len(), inputs.len()), (7, 5));
        assert!(!operations.keys().any(|operation| operation.is_zero()));
        assert!(operations.values().all(|&count| within(count, cells * 8, 1.0 / 7.0)), "{operations:?}");
        assert!(inputs.values().all(|&count| within(count, cells, 2.0 / 5.0)), "{inputs:?}");
    }

    #[test]
    fn other_names_are_none_and_other_seeds_are_refused() {
        let find = |name: &str| find(name, &Space::darts());
        assert!(find("darts-v2").is_none());
        assert!(find("random").is_none());
        for seed in ["", "-1", "+1", "1.5", "two", "18446744073709551616"] {
            let refusal = find(&format!("random:{seed}")).unwrap().unwrap_err().to_string();
            assert!(refusal.contains(&format!("random:{seed}: expected a whole number")), "{refusal}");
        }
    }

    #[test]
    fn every_space_draws_from_its_own_candidates() {
        for space in Space::known() {
            for seed in 0..20 {
                let genotype = draw(seed, space);
                assert_eq!(genotype.clone().into_space(space).unwrap(), genotype);
            }
        }
    }
}
