//! How alike searches of one space are: in the edges that they choose, and in how they order the candidates.

use serde::Serialize;

use crate::space::alphas::Alphas;
use crate::space::genotype::Genotype;
use crate::space::{Edge, Keep, Space, Wiring};
use crate::{Error, Result};

/// What a search ended with.
#[derive(Clone, Debug)]
pub struct Found {
    /// The alphas.
    pub alphas: Alphas,
    /// The genotype that they give.
    pub genotype: Genotype,
}

/// How alike some searches are, and how alike they would be by chance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// The mean of [`equal_edges`] over all pairs.
    pub equal_edges: f64,
    /// What is expected of two genotypes that are drawn from the space as `random:SEED` draws them.
    pub equal_edges_by_chance: f64,
    /// The mean of [`kendall_tau`] over all pairs and, for each pair, over the edges of all types of cells: between the
    /// alphas that both searches give to the candidates of an edge.
    pub kendall_tau: f64,
    /// What is expected of orders that are drawn at random.
    pub kendall_tau_by_chance: f64,
    /// The standard deviation of that mean around what chance gives.
    pub kendall_tau_deviation_by_chance: f64,
}

impl Agreement {
    /// Compares searches.
    ///
    /// # Errors
    /// There are fewer than two, or their cells are of different spaces or sizes.
    pub fn of(searches: &[Found]) -> Result<Self> {
        let [first, _, ..] = searches else {
            return Err(Error::Usage("a comparison needs at least two searches".to_owned()));
        };
        let (space, nodes) = (&first.alphas.space, first.alphas.nodes);
        if let Some(Found { alphas, .. }) =
            searches.iter().find(|found| found.alphas.space != *space || found.alphas.nodes != nodes)
        {
            let (found, other) = (alphas.nodes, &alphas.space);
            return Err(Error::Space(format!(
                "searches of {nodes} nodes in the space {space} and of {found} nodes in the space {other} have no \
                 edges in common"
            )));
        }
        let pairs = || {
            let behind =
                |place: usize| searches[place + 1..].iter().map(move |other| (&searches[place], other));
            (0..searches.len()).flat_map(behind)
        };
        let mean = |measure: &dyn Fn(&Found, &Found) -> f64| {
            pairs().map(|(one, other)| measure(one, other)).sum::<f64>() / pairs().count() as f64
        };
        let wirings = space.wirings(nodes);
        Ok(Agreement {
            equal_edges: mean(&|one, other| equal_edges(&one.genotype, &other.genotype)),
            equal_edges_by_chance: equal_edges_by_chance(space, &wirings),
            kendall_tau: mean(&|one, other| tau_of_alphas(&one.alphas, &other.alphas)),
            kendall_tau_by_chance: 0.0,
            kendall_tau_deviation_by_chance: tau_deviation(&wirings) / (pairs().count() as f64).sqrt(),
        })
    }
}

/// The edges that two genotypes have in common, with the same node, input and operation, as a share of the edges of one:
/// of both on average, where one has more than the other.
pub fn equal_edges(one: &Genotype, other: &Genotype) -> f64 {
    let (mut equal, mut edges) = (0, 0);
    for (one, other) in one.cells.iter().zip(&other.cells) {
        equal += one.edges().filter(|edge| other.edges().any(|candidate| candidate == *edge)).count();
        edges += one.edges().count() + other.edges().count();
    }
    2.0 * equal as f64 / edges as f64
}

/// Two genotypes both keep an edge with the probability `(kept / entering)^2`, and then with the same of its operations other
/// than `none` with the probability of one of these.
fn equal_edges_by_chance(space: &Space, wirings: &[Wiring]) -> f64 {
    let (mut equal, mut edges) = (0.0, 0.0);
    for wiring in wirings {
        for node in 0..wiring.nodes {
            let entering = wiring.entering(node).count() as f64;
            let kept = match space.keep() {
                Keep::Strongest(kept) => kept as f64,
                Keep::All => entering,
            };
            let operations = |edge: &Edge| {
                edge.candidates.iter().filter(|candidate| space.may_choose(candidate)).count() as f64
            };
            let both = (kept / entering).powi(2);
            equal += wiring.entering(node).map(|edge| both / operations(edge)).sum::<f64>();
            edges += kept;
        }
    }
    equal / edges
}

/// The mean of Kendall's tau over all edges.
fn tau_of_alphas(one: &Alphas, other: &Alphas) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for (cell, (one_table, other_table)) in one.tables.iter().zip(&other.tables).enumerate() {
        for row in one.wiring(cell).rows() {
            sum += kendall_tau(&one_table[row.clone()], &other_table[row]);
            count += 1;
        }
    }
    sum / f64::from(count)
}

/// Kendall's tau-b (Kendall, The Treatment of Ties in Ranking Problems, 1945) of two lists of the same things: the pairs that
/// both order alike, less those that they order otherwise, as a share of the geometric mean of the pairs that each list
/// orders. 1 for the same order, -1 for the opposite one; 0 where one list orders no pair.
pub fn kendall_tau(one: &[f64], other: &[f64]) -> f64 {
    let (mut alike, mut ordered) = (0.0, [0.0; 2]);
    for place in 0..one.len() {
        for before in 0..place {
            let sign = |list: &[f64]| match list[place].partial_cmp(&list[before]) {
                Some(order) => f64::from(order as i8),
                None => 0.0,
            };
            let [one, other] = [sign(one), sign(other)];
            alike += one * other;
            ordered = [ordered[0] + one.abs(), ordered[1] + other.abs()];
        }
    }
    let pairs = (ordered[0] * ordered[1]).sqrt();
    if pairs > 0.0 { alike / pairs } else { 0.0 }
}

/// The standard deviation of the mean tau of two searches whose edges order their candidates at random. Of n candidates
/// tau has the variance `2 (2n + 5) / (9 n (n - 1))` (Kendall, A New Measure of Rank Correlation, 1938). Of several searches
/// the pairs are uncorrelated, although they share searches.
fn tau_deviation(wirings: &[Wiring]) -> f64 {
    let variance = |count: f64| 2.0 * (2.0 * count + 5.0) / (9.0 * count * (count - 1.0));
    let edges = || wirings.iter().flat_map(|wiring| &wiring.edges);
    let sum: f64 = edges().map(|edge| variance(edge.candidates.len() as f64)).sum();
    sum.sqrt() / edges().count() as f64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rand::RngExt;

    use super::*;
    use crate::random::{Stream, generator};
    use crate::space::alphas::ramp;
    use crate::space::derivation::derive;
    use crate::space::sampled;

    #[test]
    fn tau_has_the_known_values() {
        assert_eq!(kendall_tau(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 4.0, 3.0]), 4.0 / 6.0);
        assert_eq!(kendall_tau(&[1.0, 2.0, 3.0], &[0.1, 0.2, 0.3]), 1.0);
        assert_eq!(kendall_tau(&[1.0, 2.0, 3.0], &[3.0, 2.0, -9.0]), -1.0);
        // With ties: 2 pairs alike and 6 otherwise, of which 8 and 9 are ordered.
        let tied = kendall_tau(&[12.0, 2.0, 1.0, 12.0, 2.0], &[1.0, 4.0, 7.0, 1.0, 0.0]);
        assert!((tied + 4.0 / 72f64.sqrt()).abs() < 1e-12, "{tied}");
        assert_eq!([kendall_tau(&[1.0; 3], &[1.0, 2.0, 3.0]), kendall_tau(&[], &[])], [0.0; 2]);
    }

    fn found(alphas: Alphas) -> Found {
        Found { genotype: derive(&alphas), alphas }
    }

    #[test]
    fn a_search_agrees_with_itself_and_not_with_its_opposite() {
        let alphas = ramp(4);
        let mut opposite = alphas.clone();
        opposite.tables.iter_mut().flatten().for_each(|alpha| *alpha = -*alpha);
        let of =
            |searches: [&Alphas; 2]| Agreement::of(&searches.map(|alphas| found(alphas.clone()))).unwrap();
        let same = of([&alphas, &alphas]);
        assert_eq!((same.equal_edges, same.kendall_tau), (1.0, 1.0));
        assert_eq!(of([&alphas, &opposite]).kendall_tau, -1.0);
        // Of three searches of which two agree, one pair of three does.
        let three = [&alphas, &alphas, &opposite].map(|alphas| found(alphas.clone()));
        assert!((Agreement::of(&three).unwrap().kendall_tau + 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn searches_without_edges_in_common_are_refused() {
        let refusal = |searches: &[Found]| Agreement::of(searches).unwrap_err().to_string();
        assert_eq!(refusal(&[found(ramp(4))]), "a comparison needs at least two searches");
        let other = refusal(&[found(ramp(4)), found(ramp(3))]);
        assert!(other.contains("of 4 nodes in the space darts and of 3 nodes"), "{other}");
    }

    /// What is computed of chance is what many draws give, within five standard deviations of their mean.
    #[test]
    fn chance_is_that_of_draws() {
        let own = "nodes = 3\nedges_kept = 1\ncandidates = [\"none\", \"skip_connect\", \"sep_conv_3x3\"]\n\
                   [edges.reduce]\n\"3<-1\" = [\"max_pool_3x3\", \"avg_pool_3x3\"]";
        let own = Space::from_toml(own, Path::new("own.toml")).unwrap();
        for space in [Space::darts(), own] {
            let expected = equal_edges_by_chance(&space, &space.wirings(space.nodes()));
            let shares = (0..2000).map(|seed| {
                equal_edges(&sampled::draw(2 * seed, &space), &sampled::draw(2 * seed + 1, &space))
            });
            within(&shares.collect::<Vec<_>>(), expected);
        }
        // In the paper's space: of 8 edges a cell, 4 / 7 (1/2 + 1/3 + 1/4 + 1/5).
        let darts = Space::darts();
        let exact = 4.0 / 7.0 * (1.0 / 2.0 + 1.0 / 3.0 + 1.0 / 4.0 + 1.0 / 5.0) / 8.0;
        assert!((equal_edges_by_chance(&darts, &darts.wirings(4)) - exact).abs() < 1e-12);
    }

    /// Refuses values whose mean is five standard deviations of it away from what is expected.
    fn within(values: &[f64], expected: f64) {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        assert!((mean - expected).abs() < 5.0 * (variance / count).sqrt(), "{mean} instead of {expected}");
    }

    #[test]
    fn the_deviation_of_tau_is_that_of_random_orders() {
        let mut random = generator(5, Stream::Test, 0);
        let mut drawn = || {
            let mut alphas = Alphas::zeros(Space::darts(), 2);
            alphas.tables.iter_mut().flatten().for_each(|alpha| *alpha = random.random());
            found(alphas)
        };
        let agreements: Vec<_> =
            (0..1000).map(|_| Agreement::of(&[drawn(), drawn(), drawn()]).unwrap()).collect();
        let taus: Vec<f64> = agreements.iter().map(|agreement| agreement.kendall_tau).collect();
        within(&taus, 0.0);
        let deviation = agreements[0].kendall_tau_deviation_by_chance;
        let measured = (taus.iter().map(|tau| tau * tau).sum::<f64>() / 1000.0).sqrt();
        // The deviation of a deviation of 1000 values is a 45th of it.
        assert!((measured / deviation - 1.0).abs() < 5.0 / 45.0, "{measured} instead of {deviation}");
    }
}
