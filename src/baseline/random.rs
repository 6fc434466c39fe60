//! Random search: each candidate is drawn uniformly, whatever was learnt (Bergstra and Bengio, JMLR 2012).

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::strategy::Strategy;

/// An option of each choice, all equally likely.
pub(super) fn uniform(options: &[usize], random: &mut impl Rng) -> Vec<usize> {
    options.iter().map(|&count| random.random_range(0..count)).collect()
}

/// Random search.
pub struct Uniform {
    options: Vec<usize>,
}

impl Uniform {
    /// Over choices with so many options each.
    pub fn new(options: Vec<usize>) -> Self {
        Uniform { options }
    }
}

impl Strategy for Uniform {
    fn propose(&mut self, random: &mut ChaCha8Rng) -> Vec<usize> {
        uniform(&self.options, random)
    }

    fn learn(&mut self, _: &[usize], _: f64) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, generator};

    #[test]
    fn every_option_is_as_likely_as_another() {
        let mut search = Uniform::new(vec![2, 3]);
        let mut counts = [[0; 3]; 2];
        for step in 0..6000 {
            let candidate = search.propose(&mut generator(1, Stream::Test, step));
            counts.iter_mut().zip(&candidate).for_each(|(counts, &option)| counts[option] += 1);
        }
        assert_eq!(counts[0][2], 0);
        // Five standard deviations of 6000 draws are at most 194.
        assert!(counts[0][..2].iter().all(|count: &i32| count.abs_diff(3000) < 194), "{counts:?}");
        assert!(counts[1].iter().all(|count| count.abs_diff(2000) < 183), "{counts:?}");
    }
}
