//! The split of undivided data sets into a training and a test part, and of the training images into the two parts
//! of the bilevel search.

use std::cmp::Ordering;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::Images;
use crate::random::{Stream, generator};

/// The steps of the split stream that belong to [`stratified`] and to [`halves`].
const STRATIFIED: u64 = 0;
const HALVES: u64 = 1;

/// One image in this many goes into the test part.
const TEST_SHARE: usize = 5;

/// Which pictures of an undivided folder are set apart for the test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dealing {
    /// About a fifth, each by a hash of seed, class and name: no picture moves when others come or go.
    #[default]
    ByName,
    /// A fifth of each class by their places in the list of files, as the first version did: one file more or less
    /// deals anew.
    ByPlace,
}

/// The indices of a training and of a test part, ascending: of each class a fifth, rounded, is the test part, and the
/// seed decides which.
pub fn stratified(labels: &[u16], classes: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut generator = generator(seed, Stream::Split, STRATIFIED);
    let mut members = vec![Vec::new(); classes];
    labels.iter().enumerate().for_each(|(index, &label)| members[usize::from(label)].push(index));
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for mut members in members {
        members.shuffle(&mut generator);
        let tested = (members.len() + TEST_SHARE / 2) / TEST_SHARE;
        test.extend_from_slice(&members[..tested]);
        train.extend_from_slice(&members[tested..]);
    }
    train.sort_unstable();
    test.sort_unstable();
    (train, test)
}

/// Whether a picture of an undivided data set goes into the test part: about one in five does. Seed, class and name alone
/// decide, so that pictures that come or go move no other.
pub fn is_set_apart(seed: u64, class: &[u8], name: &[u8]) -> bool {
    keyed_hash(seed, &[class, name]).is_multiple_of(TEST_SHARE as u64)
}

/// So many of the images, or all where there are fewer, ascending: of each class its share, rounded, and at least one image
/// if `count` is at least the number of classes that have any. Of a class those with the lowest hashes of seed and pixels
/// are taken, so that images that come or go move few others.
pub(super) fn some_of_each_class(images: &Images, classes: usize, count: usize, seed: u64) -> Vec<usize> {
    let counts = images.class_counts(classes);
    let mut members = vec![Vec::new(); classes];
    for (index, &label) in images.labels.iter().enumerate() {
        members[usize::from(label)].push((keyed_hash(seed, &[images.image(index)]), index));
    }
    let mut taken = Vec::with_capacity(count);
    for (mut members, count) in members.into_iter().zip(shares(&counts, count)) {
        members.sort_unstable();
        taken.extend(members[..count].iter().map(|&(_, index)| index));
    }
    taken.sort_unstable();
    taken
}

/// How many of `count` go to each of some classes with so many images, which are at least `count` together.
fn shares(counts: &[usize], count: usize) -> Vec<usize> {
    let all: usize = counts.iter().sum();
    let count = count.min(all);
    let least = usize::from(count >= counts.iter().filter(|&&images| images > 0).count());
    let share = |class: usize| count as f64 * counts[class] as f64 / all.max(1) as f64;
    let mut shares: Vec<usize> =
        (0..counts.len()).map(|class| (share(class) as usize).max(least).min(counts[class])).collect();
    // Whole shares leave less than one image for each class, and the least share takes less than one from the others.
    loop {
        let given: usize = shares.iter().sum();
        let lacks = |class: &usize| share(*class) - shares[*class] as f64;
        let change = match given.cmp(&count) {
            Ordering::Equal => return shares,
            Ordering::Less => {
                let open = (0..counts.len()).rev().filter(|&class| shares[class] < counts[class]);
                open.max_by(|one, other| lacks(one).total_cmp(&lacks(other))).map(|class| (class, 1))
            }
            Ordering::Greater => {
                let open = (0..counts.len()).filter(|&class| shares[class] > least);
                open.min_by(|one, other| lacks(one).total_cmp(&lacks(other))).map(|class| (class, -1))
            }
        };
        let Some((class, change)) = change else { return shares };
        shares[class] = shares[class].saturating_add_signed(change);
    }
}

/// FNV-1a with a key in its start, and the finalizer of SplitMix64 (Steele, Lea and Flood, 2014), without which the last
/// letters of names would hardly reach the upper bits.
fn keyed_hash(key: u64, parts: &[&[u8]]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mix = |value: u64| {
        let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    };
    // No name of a file holds a slash, so that it separates.
    let bytes = parts.iter().flat_map(|part| part.iter().chain(b"/"));
    mix(bytes.fold(OFFSET ^ mix(key), |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME)))
}

/// Two disjoint, equally long, shuffled parts of `0..count`: the first to train weights on, the second to
/// train alphas on. Of an odd count one index is left out.
///
/// # Panics
/// When `count` is more than 2^32.
pub fn halves(count: usize, seed: u64) -> (Vec<u32>, Vec<u32>) {
    assert!(count as u64 <= 1 << 32, "{count} images have no 32-bit indices");
    let mut first: Vec<u32> = (0..count).map(|index| index as u32).collect();
    first.shuffle(&mut generator(seed, Stream::Split, HALVES));
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
    fn a_fifth_of_each_class_is_set_apart() {
        let labels: Vec<u16> = (0..97).map(|index| if index < 7 { 0 } else { 1 + index % 3 }).collect();
        let (train, test) = stratified(&labels, 4, 1);
        let count = |part: &[usize], class| part.iter().filter(|&&index| labels[index] == class).count();
        assert_eq!([0, 1, 2, 3].map(|class| count(&test, class)), [1, 6, 6, 6]);
        assert!(train.is_sorted() && test.is_sorted());
        let mut all = [train, test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..97).collect::<Vec<_>>());
        assert_eq!(stratified(&labels, 4, 1).1, test);
        assert_ne!(stratified(&labels, 4, 2).1, test);
    }

    #[test]
    fn shares_are_those_of_the_classes_and_none_goes_without() {
        assert_eq!(shares(&[500, 300, 200], 10), [5, 3, 2]);
        assert_eq!(shares(&[10, 10, 10], 4), [2, 1, 1]);
        assert_eq!(shares(&[10, 10, 10], 5), [2, 2, 1]);
        // A share of less than one is one, which a larger class gives.
        assert_eq!(shares(&[1000, 1, 1, 0, 1], 10), [7, 1, 1, 0, 1]);
        assert_eq!(shares(&[1000, 1, 1], 3), [1, 1, 1]);
        // Fewer than there are classes.
        assert_eq!(shares(&[10, 5, 5], 2), [1, 1, 0]);
        assert_eq!([shares(&[3, 2], 5), shares(&[3, 2], 9), shares(&[3, 0], 0)], [[3, 2], [3, 2], [0, 0]]);
        for count in 0..=60 {
            let shares = shares(&[33, 1, 17, 9], count);
            assert_eq!(shares.iter().sum::<usize>(), count);
            assert!(count < 4 || !shares.contains(&0), "{count}: {shares:?}");
        }
    }

    /// Images of two pixels, all of them different.
    fn numbered(labels: Vec<u16>) -> Images {
        let pixels = (0..labels.len()).flat_map(|index| (index as u16).to_le_bytes()).collect();
        Images { height: 1, width: 2, channels: 1, pixels, labels }
    }

    #[test]
    fn images_are_taken_by_their_pixels_and_the_seed() {
        let images = numbered((0..600).map(|index| u16::from(index % 3 == 0)).collect());
        let taken = |images: &Images, count, seed| {
            let indices = some_of_each_class(images, 2, count, seed);
            assert!(indices.is_sorted_by(|one, other| one < other));
            images.select(&indices)
        };
        let some = taken(&images, 60, 1);
        assert_eq!(some.class_counts(2), [40, 20]);
        assert_ne!(taken(&images, 60, 2), some);
        assert_eq!(taken(&images, 600, 1), images);
        assert_eq!(taken(&images, 9999, 1), images);
        // More images are these and others.
        let more = taken(&images, 120, 1);
        let of = |images: &Images| images.pixels.chunks(2).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert!(of(&some).iter().all(|image| of(&more).contains(image)));
        // An image that is gone leaves its place to one other.
        let without = images.select(&(0..600).filter(|&index| index != 300).collect::<Vec<_>>());
        let same = of(&taken(&without, 60, 1)).iter().filter(|image| of(&some).contains(image)).count();
        assert!(same >= 58, "{same}");
    }

    #[test]
    fn names_are_set_apart_evenly_and_by_the_seed() {
        let share = |seed, class: &str| {
            let names = (0..10_000).map(|number| format!("IMG_{number:04}.jpg"));
            names.filter(|name| is_set_apart(seed, class.as_bytes(), name.as_bytes())).count()
        };
        // Five standard deviations of 10,000 draws are 200.
        for (seed, class) in [(0, "a"), (0, "b"), (1, "a"), (u64::MAX, "")] {
            assert!(share(seed, class).abs_diff(2000) < 200, "{} of seed {seed}", share(seed, class));
        }
        let both = (0..10_000u32).filter(|number| {
            let name = number.to_string();
            is_set_apart(0, b"a", name.as_bytes()) && is_set_apart(1, b"a", name.as_bytes())
        });
        assert!(both.count().abs_diff(400) < 100, "two seeds choose independently");
        assert_ne!(keyed_hash(0, &[b"a", b"bc"]), keyed_hash(0, &[b"ab", b"c"]));
        // Stored runs rely on it.
        assert_eq!(keyed_hash(7, &[b"cat", b"IMG_0001.jpg"]), 13506063098691962588);
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
