//! The split of the training images into the two parts of the bilevel search.

use rand::seq::SliceRandom;

use crate::random::{Stream, generator};

/// The step of the split stream that belongs to [`halves`]; step 0 divides undivided data sets.
const STEP: u64 = 1;

/// Two disjoint, equally long, shuffled parts of `0..count`: the first to train weights on, the second to
/// train alphas on. Of an odd count one index is left out.
///
/// # Panics
/// When `count` is more than 2^32.
pub fn halves(count: usize, seed: u64) -> (Vec<u32>, Vec<u32>) {
    assert!(count as u64 <= 1 << 32, "{count} images have no 32-bit indices");
    let mut first: Vec<u32> = (0..count).map(|index| index as u32).collect();
    first.shuffle(&mut generator(seed, Stream::Split, STEP));
    let half = count / 2;
    let second = first[half..2 * half].to_vec();
    first.truncate(half);
    (first, second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_share_nothing_and_leave_out_at_most_one() {
        for count in [0, 1, 2, 7, 100, 1001] {
            let (first, second) = halves(count, 3);
            assert_eq!((first.len(), second.len()), (count / 2, count / 2));
            let mut all = [first, second].concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count / 2 * 2);
            assert!(all.iter().all(|&index| (index as usize) < count));
        }
    }

    #[test]
    fn the_seed_alone_decides() {
        assert_eq!(halves(100, 5), halves(100, 5));
        assert_ne!(halves(100, 5), halves(100, 6));
    }

    #[test]
    fn neither_half_is_a_run_of_the_files() {
        // A split without a shuffle would put all of 0..500 into the first half.
        let low = halves(1000, 1).0.iter().filter(|&&index| index < 500).count();
        assert!((200..300).contains(&low), "{low} of the first half come from the first 500 images");
    }
}
