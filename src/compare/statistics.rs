//! What can be said of a few measurements.

use rand::seq::SliceRandom;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::random::{Stream, generator};

/// Some measurements in figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// The standard deviation of what they are a sample of; nothing of a single one.
    pub deviation: Option<f64>,
    /// The least.
    pub minimum: f64,
    /// The largest.
    pub maximum: f64,
}

impl Summary {
    /// Of some measurements; nothing where there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        let fold = |start, pick: fn(f64, f64) -> f64| values.iter().copied().fold(start, pick);
        (count > 0).then(|| Summary {
            count,
            mean: mean(values),
            deviation: (count > 1).then(|| variance(values).sqrt()),
            minimum: fold(f64::INFINITY, f64::min),
            maximum: fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

/// How two lists of measurements differ in the mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The mean of the first less that of the second.
    pub difference: f64,
    /// An interval that holds the difference of the means of what they are samples of with a probability of 95 %, by
    /// Welch's approximation (Biometrika, 1947); nothing where a list has no spread to go by.
    pub interval: Option<[f64; 2]>,
    /// How likely chance alone gives a difference as large, whatever its sign: of all ways in which the measurements can be
    /// dealt to two lists as long, the share whose means differ at least as much (Fisher, 1935).
    pub p_value: f64,
    /// Whether every way was counted; a large number of them is drawn where there are too many.
    pub exact: bool,
}

/// The probability of the interval.
const CONFIDENCE: f64 = 0.95;
/// The most ways that are counted one by one.
const MOST_WAYS: u64 = 200_000;
/// The ways that are drawn where there are more.
const DRAWN: u64 = 100_000;

impl Difference {
    /// Of two lists; nothing where one is empty.
    pub fn of(one: &[f64], other: &[f64]) -> Option<Self> {
        if one.is_empty() || other.is_empty() {
            return None;
        }
        let (p_value, exact) = permutation_test(one, other);
        let difference = mean(one) - mean(other);
        Some(Difference { difference, interval: welch_interval(one, other), p_value, exact })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of what the values are a sample of.
fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

fn welch_interval(one: &[f64], other: &[f64]) -> Option<[f64; 2]> {
    if one.len() < 2 || other.len() < 2 {
        return None;
    }
    let [a, b] = [one, other].map(|values| variance(values) / values.len() as f64);
    let squares = a * a / (one.len() as f64 - 1.0) + b * b / (other.len() as f64 - 1.0);
    let freedom = (a + b).powi(2) / squares;
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
    let half = student.inverse_cdf(0.5 + CONFIDENCE / 2.0) * (a + b).sqrt();
    let difference = mean(one) - mean(other);
    Some([difference - half, difference + half])
}

/// How likely dealing the measurements anew gives means at least as far apart; and whether all ways were counted.
fn permutation_test(one: &[f64], other: &[f64]) -> (f64, bool) {
    let all = [one, other].concat();
    let total: f64 = all.iter().sum();
    let lengths = [one.len() as f64, other.len() as f64];
    let apart = |sum: f64| (sum / lengths[0] - (total - sum) / lengths[1]).abs();
    // Equal differences must count, whatever the order of their sums.
    let scale = all.iter().fold(0f64, |most, value| most.max(value.abs()));
    let observed = apart(one.iter().sum()) - 1e-12 * scale;
    match ways(all.len() as u64, one.len() as u64) {
        Some(ways) if ways <= MOST_WAYS => {
            let mut extreme = 0u64;
            each_sum(&all, one.len(), 0.0, &mut |sum| extreme += u64::from(apart(sum) >= observed));
            (extreme as f64 / ways as f64, true)
        }
        _ => {
            let (mut random, mut dealt) = (generator(0, Stream::Permutations, 0), all);
            let extreme = (0..DRAWN).filter(|_| {
                let (first, _) = dealt.partial_shuffle(&mut random, one.len());
                apart(first.iter().sum()) >= observed
            });
            // The way that was observed is one of them.
            ((extreme.count() + 1) as f64 / (DRAWN + 1) as f64, false)
        }
    }
}

/// The least p-value that two lists of such lengths can have: only the way that was observed is as extreme, and the opposite one
/// where the lists are of equal length.
pub fn least_p_value(one: usize, other: usize) -> f64 {
    let ways = ways((one + other) as u64, one as u64).unwrap_or(u64::MAX) as f64;
    let opposite = if one == other { 2.0 } else { 1.0 };
    (opposite / ways).min(1.0)
}

/// In how many ways `taken` of `count` things can be chosen; nothing beyond 64 bits.
fn ways(count: u64, taken: u64) -> Option<u64> {
    let taken = taken.min(count - taken);
    (0..taken).try_fold(1u64, |ways, place| ways.checked_mul(count - place).map(|ways| ways / (place + 1)))
}

/// The sum of each choice of so many values.
fn each_sum(values: &[f64], taken: usize, sum: f64, visit: &mut impl FnMut(f64)) {
    match values.split_first() {
        _ if taken == 0 => visit(sum),
        Some((first, rest)) => {
            each_sum(rest, taken - 1, sum + first, visit);
            if rest.len() >= taken {
                each_sum(rest, taken, sum, visit);
            }
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_known_figures() {
        let summary = Summary::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((summary.count, summary.mean, summary.minimum, summary.maximum), (8, 5.0, 2.0, 9.0));
        assert!((summary.deviation.unwrap() - (32f64 / 7.0).sqrt()).abs() < 1e-15);
        assert_eq!(Summary::of(&[3.0]).unwrap().deviation, None);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn few_values_cannot_differ_by_more_than_chance() {
        assert_eq!([(3, 3), (1, 1), (1, 3)].map(|(one, other)| least_p_value(one, other)), [0.1, 1.0, 0.25]);
        assert_eq!(least_p_value(5, 5), 2.0 / 252.0);
        assert!(least_p_value(500, 500) < 1e-15);
    }

    /// Three against three: of the 20 ways only the observed one and its opposite are as far apart.
    #[test]
    fn all_ways_are_counted_where_they_are_few() {
        let test = |one: &[f64], other: &[f64]| {
            let difference = Difference::of(one, other).unwrap();
            assert!(difference.exact);
            difference.p_value
        };
        assert_eq!(test(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]), 0.1);
        assert_eq!(test(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]), 0.1);
        assert_eq!(test(&[1.0, 2.0], &[1.0, 2.0]), 1.0);
        assert_eq!(test(&[7.0; 4], &[7.0; 4]), 1.0);
        // {9, 3} against {1, 2, 8}: sums of two of the five are 12, 10, 11, 17, 4, 5, 11, 3, 9 and 10. The means are
        // apart by |sum / 2 - (23 - sum) / 3|, here 7/3; so are those of 17, 4, 5, 3, and no others.
        assert_eq!(test(&[9.0, 3.0], &[1.0, 2.0, 8.0]), 0.5);
        assert_eq!(Difference::of(&[], &[1.0]), None);
    }

    /// Sums in another order differ in their last bits; such ways are as far apart all the same.
    #[test]
    fn equal_differences_count_whatever_the_order_of_their_sums() {
        let one = [0.1, 0.2, 0.3, 93.7];
        let reversed: Vec<f64> = one.iter().rev().copied().collect();
        assert_eq!(Difference::of(&one, &reversed).unwrap().p_value, 1.0);
    }

    #[test]
    fn many_ways_are_drawn() {
        let one: Vec<f64> = (0..30).map(f64::from).collect();
        let other: Vec<f64> = (0..30).map(|value| f64::from(value) + 3.0).collect();
        let difference = Difference::of(&one, &other).unwrap();
        assert!(!difference.exact);
        // The normal approximation: z = 3 / (sqrt(79.6) * sqrt(2 / 30)) = 1.30, two-sided 0.193.
        assert!((difference.p_value - 0.193).abs() < 0.02, "{}", difference.p_value);
        assert_eq!(Difference::of(&one, &other).unwrap(), difference);
        let apart: Vec<f64> = one.iter().map(|value| value + 1000.0).collect();
        assert_eq!(Difference::of(&one, &apart).unwrap().p_value, 1.0 / 100_001.0);
    }

    /// Welch's example with equal lists: by hand, freedom 2 * (n - 1) where the variances are equal.
    #[test]
    fn the_interval_is_that_of_student() {
        let difference = Difference::of(&[1.0, 2.0, 3.0], &[2.0, 3.0, 4.0]).unwrap();
        // Student's quantile at 0.975 with four degrees of freedom is 2.776445; the standard error is sqrt(2 / 3).
        let half = 2.776_445_105 * (2f64 / 3.0).sqrt();
        let [low, high] = difference.interval.unwrap();
        assert!((low + 1.0 + half).abs() < 1e-6 && (high + 1.0 - half).abs() < 1e-6, "{low} to {high}");
        assert_eq!(Difference::of(&[1.0], &[2.0, 3.0]).unwrap().interval, None);
        assert_eq!(Difference::of(&[1.0, 1.0], &[2.0, 2.0]).unwrap().interval, None);
    }
}
