use super::*;
use rand::RngExt;

/// Rows of different lengths, one of a single candidate.
const ROWS: [Range<usize>; 4] = [0..8, 8..10, 10..11, 11..16];

fn numbers(stream: u64) -> Vec<f64> {
    let mut random = generator(stream, Stream::Test, 0);
    (0..16).map(|_| random.random_range(-2.0..2.0)).collect()
}

fn progress(step: u64) -> Progress {
    Progress { seed: 5, epoch: 1, epochs: 3, step }
}

fn sampled(relaxation: &dyn Relaxation, alphas: &[f64], step: u64) -> Sample {
    let mut sample = Sample::new(alphas.len());
    sample.draw(relaxation, &ROWS, alphas, progress(step), Stream::AlphaSample);
    sample
}

/// Each relaxation, with a temperature where it takes one.
fn all() -> Vec<Arc<dyn Relaxation>> {
    let text = |part: &Part<_>| {
        if part.takes.is_empty() { part.name.into() } else { format!("{} 3 to 0.5", part.name) }
    };
    RELAXATIONS.iter().map(|part| relaxation(&text(part)).unwrap()).collect()
}

#[test]
fn mixing_weights_are_within_their_bounds() {
    for relaxation in all() {
        for step in 0..20 {
            let sample = sampled(&*relaxation, &numbers(1), step);
            assert!(sample.weights.iter().all(|weight| (0.0..=1.0).contains(weight)), "{relaxation:?}");
            for row in ROWS {
                let weights = &sample.weights[row.clone()];
                let sum: f64 = weights.iter().sum();
                match relaxation.bounds() {
                    Bounds::Box => {}
                    Bounds::Simplex => assert!((sum - 1.0).abs() < 1e-15, "{relaxation:?}: {sum}"),
                    Bounds::OneHot => {
                        let ones = weights.iter().filter(|&&weight| weight == 1.0).count();
                        assert_eq!((ones, sum), (1, 1.0), "{relaxation:?}: {weights:?}");
                    }
                }
                // What is not computed weighs nothing.
                let closed = weights.iter().zip(&sample.active[row]).filter(|(_, active)| !**active);
                assert!(closed.clone().all(|(weight, _)| *weight == 0.0), "{relaxation:?}");
                let some_closed = relaxation.bounds() == Bounds::OneHot && weights.len() > 1;
                assert_eq!(closed.count() > 0, some_closed, "{relaxation:?}");
            }
        }
    }
}

/// By differences, through the soft weights: those of a hard sample are what its gradient is taken of.
#[test]
fn the_pull_back_is_the_gradient_by_the_alphas() {
    let (alphas, slopes) = (numbers(1), numbers(2));
    // A sample of a Dirichlet distribution moves with the alphas as its noise does: see the test below.
    for relaxation in all().into_iter().filter(|relaxation| !relaxation.is_dirichlet()) {
        let mut sample = sampled(&*relaxation, &alphas, 4);
        let mut gradient = vec![f64::NAN; 16];
        sample.pull_back(&*relaxation, &ROWS, [&alphas, &slopes], &mut gradient);
        let loss = |alphas: &[f64]| -> f64 {
            let mut moved = sample.clone();
            moved.mix(&*relaxation, &ROWS, alphas, progress(4));
            moved.soft.iter().zip(&slopes).map(|(weight, slope)| weight * slope).sum()
        };
        for (index, ours) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                let mut moved = alphas.clone();
                moved[index] += by;
                loss(&moved)
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((ours - expected).abs() < 1e-9, "{relaxation:?}, {index}: {ours} instead of {expected}");
        }
        if relaxation.bounds() != Bounds::Box {
            assert_eq!(gradient[10], 0.0, "{relaxation:?}: a single candidate has nothing to choose");
        }
    }
}

/// The mean of a share is its concentration as a share of all, so the mean of the gradient is known.
#[test]
fn the_pull_back_of_dirichlet_samples_is_the_gradient_of_their_mean() {
    let (alphas, slopes, dirichlet) = (numbers(1), numbers(2), relaxation("dirichlet").unwrap());
    let mean = |alphas: &[f64], row: &Range<usize>| -> f64 {
        let own = alphas[row.clone()].iter().map(|&alpha| concentration(alpha)[0]);
        let whole: f64 = own.clone().sum();
        own.zip(&slopes[row.clone()]).map(|(own, slope)| slope * own / whole).sum()
    };
    const SAMPLES: usize = 20_000;
    let (mut sums, mut squares) = ([0.0; 16], [0.0; 16]);
    for step in 0..SAMPLES {
        let mut sample = sampled(&*dirichlet, &alphas, step as u64);
        let mut gradient = [f64::NAN; 16];
        sample.pull_back(&*dirichlet, &ROWS, [&alphas, &slopes], &mut gradient);
        sums.iter_mut().zip(gradient).for_each(|(sum, gradient)| *sum += gradient);
        squares.iter_mut().zip(gradient).for_each(|(square, gradient)| *square += gradient * gradient);
    }
    for row in ROWS {
        for index in row.clone() {
            let moved = |by: f64| {
                let mut moved = alphas.clone();
                moved[index] += by;
                mean(&moved, &row)
            };
            let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let ours = sums[index] / SAMPLES as f64;
            let variance = squares[index] / SAMPLES as f64 - ours * ours;
            // Five deviations of the mean.
            let bound = 5.0 * (variance / SAMPLES as f64).sqrt() + 1e-9;
            assert!((ours - expected).abs() <= bound, "{index}: {ours} instead of {expected}");
        }
    }
}

#[test]
fn concentrations_too_small_for_a_sample_give_equal_shares() {
    let sample = sampled(&*relaxation("dirichlet").unwrap(), &[-800.0; 16], 0);
    assert_eq!(sample.weights[..8], [0.125; 8]);
    assert_eq!(sample.weights[10], 1.0);
}

/// By the theorem behind the Gumbel noise, the largest of a row is a sample of the softmax.
#[test]
fn hard_samples_have_the_distribution_of_the_softmax() {
    let alphas = numbers(1);
    let expected = sampled(&softmax::Softmax, &alphas, 0).weights;
    let hard = relaxation("gumbel-hard 10").unwrap();
    const SAMPLES: usize = 20_000;
    let mut counts = [0.0; 16];
    for step in 0..SAMPLES {
        let sample = sampled(&*hard, &alphas, step as u64);
        counts.iter_mut().zip(sample.weights).for_each(|(count, weight)| *count += weight);
    }
    for (count, expected) in counts.iter().zip(expected) {
        // Five deviations of the mean.
        let bound = 5.0 * (expected * (1.0 - expected) / SAMPLES as f64).sqrt();
        assert!((count / SAMPLES as f64 - expected).abs() <= bound, "{count} of {SAMPLES}, not {expected}");
    }
}

#[test]
fn noise_depends_on_seed_stream_and_step() {
    let soft = relaxation("gumbel 1").unwrap();
    let draw = |seed, stream, step| {
        let mut sample = Sample::new(16);
        sample.draw(&*soft, &ROWS, &[0.0; 16], Progress { seed, step, ..progress(0) }, stream);
        sample.noise
    };
    assert_eq!(draw(1, Stream::AlphaSample, 2), draw(1, Stream::AlphaSample, 2));
    assert_ne!(draw(1, Stream::AlphaSample, 2), draw(2, Stream::AlphaSample, 2));
    assert_ne!(draw(1, Stream::AlphaSample, 2), draw(1, Stream::WeightSample, 2));
    assert_ne!(draw(1, Stream::AlphaSample, 2), draw(1, Stream::AlphaSample, 3));
}

#[test]
fn a_text_names_a_relaxation() {
    for text in ["", "soft", "softmax 1", "gumbel", "gumbel 0", "gumbel 1 to 0", "gumbel-hard 1 to"] {
        let refused = relaxation(text).unwrap_err();
        assert_eq!(
            refused,
            "softmax, dirichlet, sigmoid, gumbel TEMPERATURE, gumbel-hard TEMPERATURE or gumbel-hard-clean TEMPERATURE"
        );
    }
}

#[test]
fn initial_alphas_depend_on_the_seed_alone() {
    let alphas = initial_alphas(224, 1e-3, 5);
    assert_eq!(alphas, initial_alphas(224, 1e-3, 5));
    assert_ne!(alphas, initial_alphas(224, 1e-3, 6));
    let deviation = (alphas.iter().map(|alpha| alpha * alpha).sum::<f64>() / 224.0).sqrt();
    assert!((5e-4..2e-3).contains(&deviation), "{deviation}");
    assert_eq!(initial_alphas(3, 0.0, 5), [0.0; 3]);
}
