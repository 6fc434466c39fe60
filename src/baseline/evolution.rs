//! Regularised evolution (Real et al., AAAI 2019): of a few members of the population, drawn at random, the best one has a
//! child that differs in one choice; the child joins the population, and the oldest member leaves it.

use std::collections::VecDeque;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::random::uniform;
use super::strategy::{Query, Strategy};

/// Members of the population: as many as the authors of NAS-Bench-201 take.
const POPULATION: usize = 10;
/// Members that are drawn, each from all, before the best of them has a child: as many as those authors take.
const TOURNAMENT: usize = 3;

/// Regularised evolution.
pub struct RegularisedEvolution {
    options: Vec<usize>,
    /// The oldest one first.
    population: VecDeque<Query>,
}

impl RegularisedEvolution {
    /// Over choices with so many options each.
    pub fn new(options: Vec<usize>) -> Self {
        RegularisedEvolution { options, population: VecDeque::with_capacity(POPULATION + 1) }
    }

    /// The best of a tournament, the first drawn among equals.
    fn parent(&self, random: &mut impl Rng) -> &Query {
        let mut draw = || &self.population[random.random_range(0..self.population.len())];
        let first = draw();
        (1..TOURNAMENT).map(|_| draw()).fold(first, |best, drawn| match drawn.score > best.score {
            true => drawn,
            false => best,
        })
    }

    /// A candidate that differs in one choice, as far as a choice has other options.
    fn child(&self, parent: &Query, random: &mut impl Rng) -> Vec<usize> {
        let open: Vec<usize> = (0..self.options.len()).filter(|&choice| self.options[choice] > 1).collect();
        let mut child = parent.candidate.clone();
        if open.is_empty() {
            return child;
        }
        let choice = open[random.random_range(0..open.len())];
        let other = random.random_range(0..self.options[choice] - 1);
        child[choice] = other + usize::from(other >= child[choice]);
        child
    }
}

impl Strategy for RegularisedEvolution {
    fn propose(&mut self, random: &mut ChaCha8Rng) -> Vec<usize> {
        if self.population.len() < POPULATION {
            return uniform(&self.options, random);
        }
        let parent = self.parent(random);
        self.child(parent, random)
    }

    fn learn(&mut self, candidate: &[usize], score: f64) {
        self.population.push_back(Query { candidate: candidate.to_vec(), score });
        if self.population.len() > POPULATION {
            self.population.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, generator};

    /// The best of a population of ten leaves it after ten children, whatever their scores.
    #[test]
    fn the_oldest_member_leaves() {
        let mut search = RegularisedEvolution::new(vec![100]);
        for member in 0..10 {
            search.learn(&[member], -(member as f64));
        }
        for child in 10..20 {
            assert!(search.population.iter().any(|member| member.candidate == [child - 10]));
            search.learn(&[child], -100.0);
            assert!(!search.population.iter().any(|member| member.candidate == [child - 10]));
            assert_eq!(search.population.len(), 10);
        }
    }

    #[test]
    fn a_child_differs_from_a_good_parent_in_one_choice() {
        let options = vec![3, 1, 4, 2, 2];
        let mut search = RegularisedEvolution::new(options.clone());
        let (good, poor) = ([2, 0, 3, 1, 1], [0; 5]);
        for member in 0..10 {
            assert_eq!(search.propose(&mut generator(0, Stream::Test, member))[1], 0);
            let candidate = if member == 4 { good } else { poor };
            search.learn(&candidate, f64::from(u8::from(member == 4)));
        }
        let (mut of_good, mut changed) = (0, [0; 5]);
        for step in 0..1000 {
            let child = search.propose(&mut generator(1, Stream::Test, step));
            assert!(child.iter().zip(&options).all(|(option, count)| option < count), "{child:?}");
            let differs = |parent: [usize; 5]| {
                (0..5).filter(|&choice| child[choice] != parent[choice]).collect::<Vec<_>>()
            };
            match (&differs(good)[..], &differs(poor)[..]) {
                (&[choice], _) => {
                    of_good += 1;
                    changed[choice] += 1;
                }
                (_, &[_]) => {}
                _ => panic!("{child:?} is no child"),
            }
        }
        // Three draws from ten meet the good one with a probability of 1 - 0.9^3 = 0.271; five standard deviations are 70.
        assert!((201..=341).contains(&of_good), "{of_good}");
        assert!((0..5).all(|choice| (changed[choice] > 0) == (options[choice] > 1)), "{changed:?}");
    }
}
