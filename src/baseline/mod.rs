//! Searches without gradients, from which the field came and which a gradient search has to beat: [`random`],
//! [`evolution`] and [`reinforce`], each a [`Strategy`]. Each proposes one candidate after another and learns only how these score.
//!
//! A candidate is one option for each of several choices, whatever the space: in NAS-Bench-201 an operation for each edge.
//! What a search proposes depends on its seed and on the scores so far alone, so that it goes on from a list of them.

pub mod evolution;
pub mod random;
pub mod reinforce;
pub mod strategy;

pub use strategy::{Query, Strategy};

use crate::Result;
use crate::random::{Stream, generator};

/// The searches by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`random::Uniform`].
    Random,
    /// [`evolution::RegularisedEvolution`].
    Evolution,
    /// [`reinforce::Reinforce`].
    Reinforce,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Random, Kind::Evolution, Kind::Reinforce];

    /// Its name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Random => "random-search",
            Kind::Evolution => "regularised-evolution",
            Kind::Reinforce => "reinforce",
        }
    }

    /// The search at its start, over choices with so many options each.
    fn strategy(self, options: &[usize], seed: u64) -> Box<dyn Strategy> {
        let options = options.to_vec();
        match self {
            Kind::Random => Box::new(random::Uniform::new(options)),
            Kind::Evolution => Box::new(evolution::RegularisedEvolution::new(options)),
            Kind::Reinforce => {
                Box::new(reinforce::Reinforce::new(options, &mut generator(seed, Stream::Baseline, START)))
            }
        }
    }
}

/// The step of the stream from which a search draws what it begins with.
const START: u64 = u32::MAX as u64;

/// Continues a search over choices with so many options each, after the queries that it has made, until there are `budget`.
/// `score` is asked for each new one, and `made` is shown it.
///
/// # Errors
/// What `score` or `made` fail with.
///
/// # Panics
/// A choice without options, or `past` holds queries of another search.
pub fn run(
    kind: Kind,
    options: &[usize],
    seed: u64,
    budget: usize,
    past: Vec<Query>,
    mut score: impl FnMut(&[usize]) -> Result<f64>,
    mut made: impl FnMut(&Query) -> Result<()>,
) -> Result<Vec<Query>> {
    assert!(options.iter().all(|&count| count > 0), "each choice has options: {options:?}");
    let mut strategy = kind.strategy(options, seed);
    let mut queries: Vec<Query> = Vec::with_capacity(budget);
    let mut past = past.into_iter();
    while queries.len() < budget {
        let candidate = strategy.propose(&mut generator(seed, Stream::Baseline, queries.len() as u64));
        let query = match past.next() {
            Some(query) => {
                assert_eq!(query.candidate, candidate, "the search of a seed proposes the same again");
                query
            }
            None => {
                let query = Query { score: score(&candidate)?, candidate };
                made(&query)?;
                query
            }
        };
        strategy.learn(&query.candidate, query.score);
        queries.push(query);
    }
    Ok(queries)
}

/// The query of the highest score, the first one among equals.
pub fn best(queries: &[Query]) -> Option<&Query> {
    queries.iter().reduce(|best, query| if query.score > best.score { query } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::nasbench201::{Column, Part, table};
    use crate::space::architecture::Architecture;

    const OPTIONS: [usize; 6] = [5; 6];
    const SCORE: Column = Column { data_set: 0, epochs: 12, part: Part::Validation };

    fn score(candidate: &[usize]) -> Result<f64> {
        let architecture = Architecture::new(candidate.try_into().unwrap());
        Ok(table().entry(architecture).accuracy(SCORE))
    }

    fn search(kind: Kind, seed: u64, budget: usize, past: Vec<Query>) -> Vec<Query> {
        run(kind, &OPTIONS, seed, budget, past, score, |_| Ok(())).unwrap()
    }

    #[test]
    fn a_search_goes_on_where_it_ended() {
        for kind in Kind::ALL {
            let whole = search(kind, 3, 60, Vec::new());
            for length in [0, 1, 9, 10, 11, 59, 60] {
                assert_eq!(search(kind, 3, 60, whole[..length].to_vec()), whole, "{kind:?} after {length}");
            }
            assert_ne!(search(kind, 4, 60, Vec::new()), whole);
            let mut made = 0;
            let count = |_: &Query| {
                made += 1;
                Ok(())
            };
            run(kind, &OPTIONS, 3, 60, whole[..40].to_vec(), score, count).unwrap();
            assert_eq!(made, 20);
        }
    }

    #[test]
    fn the_first_of_the_best_is_the_result() {
        let query = |score: f64| Query { candidate: vec![score as usize], score };
        let queries = [query(1.0), query(3.0), Query { candidate: vec![7], score: 3.0 }];
        assert_eq!(best(&queries).unwrap().candidate, [3]);
        assert_eq!(best(&[]), None);
    }

    /// 100 queries, each of a validation accuracy after 12 epochs, and the test accuracy after 200 epochs of the best.
    /// The benchmark's authors (Dong and Yang, ICLR 2020) give 93.70 for random search, 93.92 for evolution and 93.85 for
    /// REINFORCE, with a budget in simulated seconds, and with the accuracy of one training where the table has a mean.
    #[test]
    fn each_search_reaches_on_the_benchmark_what_its_authors_report() {
        let mean = |kind: Kind| {
            let found = (0..500).map(|seed| {
                let queries = search(kind, seed, 100, Vec::new());
                let best = Architecture::new(best(&queries).unwrap().candidate[..].try_into().unwrap());
                table().entry(best).accuracy(Column::judging(0))
            });
            found.sum::<f64>() / 500.0
        };
        let means = Kind::ALL.map(mean);
        println!("random {:.3}, evolution {:.3}, REINFORCE {:.3}", means[0], means[1], means[2]);
        for (mean, published) in means.into_iter().zip([93.70, 93.92, 93.85]) {
            assert!((mean - published).abs() < 0.15, "{means:?}");
        }
        assert!(means[1] > means[0] && means[2] > means[0], "{means:?}");
    }
}
