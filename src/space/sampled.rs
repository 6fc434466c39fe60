//! Genotypes drawn at random: the baseline that a search has to beat (Li, Talwalkar, UAI 2019; Yang, Esperança,
//! Carlucci, ICLR 2020).

use rand::seq::index;
use rand::{Rng, RngExt};

use super::genotype::{CellGenotype, EDGES_PER_NODE, Genotype, INPUTS, Operation};
use crate::random::{Stream, generator};
use crate::{Error, Result};

/// Nodes of a cell, as in the paper.
const NODES: usize = 4;

/// What such a genotype's name begins with; the seed follows.
pub const PREFIX: &str = "random:";

/// Finds the genotype of a name such as `random:7`; nothing, where the name begins otherwise.
pub fn find(name: &str) -> Option<Result<Genotype>> {
    let seed = name.strip_prefix(PREFIX)?;
    let refusal = || {
        let seed: String = seed.chars().take(40).collect();
        Error::Genotype(format!("{PREFIX}{seed}: expected a whole number as the seed, as in {PREFIX}7"))
    };
    let digits = seed.bytes().all(|byte| byte.is_ascii_digit());
    Some(seed.parse().ok().filter(|_| digits).map(draw).ok_or_else(refusal))
}

/// Draws a genotype uniformly from the space of a search: each of the four nodes of both cells reads two different
/// earlier states, each through one of the seven operations that a derivation may choose, so not through `none`.
pub fn draw(seed: u64) -> Genotype {
    let mut random = generator(seed, Stream::Genotype, 0);
    let normal = cell(&mut random);
    Genotype { normal, reduce: cell(&mut random) }
}

fn cell(random: &mut impl Rng) -> CellGenotype {
    let mut edges = Vec::with_capacity(NODES * EDGES_PER_NODE);
    for node in 0..NODES {
        for input in index::sample(random, INPUTS + node, EDGES_PER_NODE) {
            // The first candidate is `none`.
            edges.push((Operation::ALL[random.random_range(1..Operation::ALL.len())], input));
        }
    }
    CellGenotype { edges, concat: (INPUTS..INPUTS + NODES).collect() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_seed_names_one_valid_genotype() {
        for seed in 0..200 {
            let genotype = draw(seed);
            assert_eq!(Genotype::from_json(&genotype.to_json()).unwrap(), genotype);
            assert_eq!(find(&format!("random:{seed}")).unwrap().unwrap(), genotype);
            assert_ne!(draw(seed + 1), genotype);
            for cell in [genotype.normal, genotype.reduce] {
                assert_eq!((cell.nodes(), cell.concat), (4, vec![2, 3, 4, 5]));
                assert!(cell.edges.chunks(EDGES_PER_NODE).all(|pair| pair[0].1 != pair[1].1));
            }
        }
    }

    /// A name stands in papers and scripts: what it means must not change with a version of this program.
    #[test]
    fn a_seed_names_the_same_genotype_in_every_version() {
        assert_eq!(
            draw(0).to_string(),
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
            let genotype = draw(seed);
            for cell in [&genotype.normal, &genotype.reduce] {
                cell.edges.iter().for_each(|edge| *operations.entry(edge.0).or_insert(0u64) += 1);
                cell.edges[6..].iter().for_each(|edge| *inputs.entry(edge.1).or_insert(0u64) += 1);
            }
        }
        let within = |count: u64, draws: u64, share: f64| {
            let (mean, draws) = (draws as f64 * share, draws as f64);
            (count as f64 - mean).abs() < 5.0 * (draws * share * (1.0 - share)).sqrt()
        };
        assert_eq!((operations.len(), inputs.len()), (7, 5));
        assert!(!operations.contains_key(&Operation::None));
        assert!(operations.values().all(|&count| within(count, cells * 8, 1.0 / 7.0)), "{operations:?}");
        assert!(inputs.values().all(|&count| within(count, cells, 2.0 / 5.0)), "{inputs:?}");
    }

    #[test]
    fn other_names_are_none_and_other_seeds_are_refused() {
        assert!(find("darts-v2").is_none());
        assert!(find("random").is_none());
        for seed in ["", "-1", "+1", "1.5", "two", "18446744073709551616"] {
            let refusal = find(&format!("random:{seed}")).unwrap().unwrap_err().to_string();
            assert!(refusal.contains(&format!("random:{seed}: expected a whole number")), "{refusal}");
        }
    }
}
