//! How evenly images are spread over the classes, and what makes up for it.

/// How many times the images of the smallest class the largest may have before that is worth a word.
const UNEVEN: usize = 3;

/// The classes with the fewest and with the most images, where the latter has three times as many or more. Classes
/// without images do not count.
pub fn uneven(counts: &[usize]) -> Option<[usize; 2]> {
    let present = || (0..counts.len()).filter(|&class| counts[class] > 0);
    let fewest = present().min_by_key(|&class| counts[class])?;
    // Of equal ones the first.
    let most = present().rev().max_by_key(|&class| counts[class])?;
    (counts[most] > counts[fewest] && counts[most] >= UNEVEN * counts[fewest]).then_some([fewest, most])
}

/// Weights of the classes with which all of them count alike, and an image 1 on average: `n / (K * n_k)` for the `n_k` of
/// `n` images that are of a class, with K classes that have any.
pub fn balanced_weights(counts: &[usize]) -> Vec<f64> {
    let images: usize = counts.iter().sum();
    let classes = counts.iter().filter(|&&count| count > 0).count();
    let weight = |&count: &usize| match count {
        0 => 0.0,
        count => images as f64 / (classes * count) as f64,
    };
    counts.iter().map(weight).collect()
}

/// The mean over the classes of the share that was right (Brodersen et al., The Balanced Accuracy and Its Posterior
/// Distribution, 2010), of how many images of each class were right and how many there are. None where all classes have
/// as many images, with which it is the accuracy.
pub fn balanced_accuracy(classes: impl Iterator<Item = [usize; 2]>) -> Option<f64> {
    let classes: Vec<_> = classes.filter(|&[_, all]| all > 0).collect();
    let shares: f64 = classes.iter().map(|&[right, all]| right as f64 / all as f64).sum();
    let differ = classes.iter().any(|class| class[1] != classes[0][1]);
    differ.then(|| shares / classes.len() as f64)
}

/// The same, of how many images of a class were taken for one: `[class][guess]`.
pub fn balanced_accuracy_of(confusion: &[Vec<usize>]) -> Option<f64> {
    balanced_accuracy(confusion.iter().enumerate().map(|(class, row)| [row[class], row.iter().sum()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_class_is_held_against_the_smallest_that_has_images() {
        assert_eq!(uneven(&[30, 0, 10, 29, 30]), Some([2, 0]));
        assert_eq!([uneven(&[29, 10]), uneven(&[0, 5]), uneven(&[]), uneven(&[0, 0])], [None; 4]);
    }

    #[test]
    fn with_balanced_weights_all_classes_count_alike() {
        let counts = [10, 0, 30];
        let weights = balanced_weights(&counts);
        assert_eq!(weights, [2.0, 0.0, 40.0 / 60.0]);
        let sum: f64 = weights.iter().zip(counts).map(|(weight, count)| weight * count as f64).sum();
        assert!((sum - 40.0).abs() < 1e-12);
    }

    #[test]
    fn balanced_accuracy_is_the_mean_of_the_classes() {
        // All of 95 and none of 5 are right: 95 % of the images, half of the classes.
        assert_eq!(balanced_accuracy([[95, 95], [0, 5], [0, 0]].into_iter()), Some(0.5));
        assert_eq!(balanced_accuracy([[4, 5], [1, 5]].into_iter()), None);
        assert_eq!(balanced_accuracy_of(&[vec![3, 1], vec![1, 1]]), Some((0.75 + 0.5) / 2.0));
    }
}
