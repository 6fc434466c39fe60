//! Random numbers addressed by (seed, stream, step): the same address gives the same numbers,
//! whatever was drawn elsewhere, on any number of threads and after a resume.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What a sequence of random numbers is for; each use has a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Initial weights.
    Weights = 1,
    /// Initial alphas.
    Alphas = 2,
    /// The split of a data set into parts.
    Split = 3,
    /// The order of the training images in a pass.
    TrainOrder = 4,
    /// The order of the validation images in a pass.
    ValidOrder = 5,
    /// Crops, flips and cutout of the training images.
    Augmentation = 6,
    /// Branches that drop path drops.
    DropPath = 8,
    /// Genotypes drawn at random.
    Genotype = 9,
    /// Samples of mixing weights in steps of the alphas.
    AlphaSample = 10,
    /// Samples of mixing weights in steps of the weights.
    WeightSample = 11,
    /// Samples of mixing weights in evaluations.
    EvaluationSample = 12,
    /// What disturbs mixing weights.
    Perturbation = 13,
    /// The vector from which the search for an eigenvalue begins.
    Curvature = 14,
    /// Edges that drop path drops in steps of the alphas of a search.
    AlphaDropPath = 15,
    /// Edges that drop path drops in steps of the weights of a search.
    WeightDropPath = 16,
    /// Genotypes that a search tries at its end.
    GenotypeTrials = 27,
    /// Masks of skip connections in steps of the alphas of a search.
    AlphaSkipDropout = 25,
    /// Masks of skip connections in steps of the weights of a search.
    WeightSkipDropout = 26,
    /// How the images of a contact sheet are varied.
    Sheet = 17,
    /// The order of the choices of a selection by perturbation.
    Projection = 24,
    /// What searches without gradients try.
    Baseline = 18,
    /// Ways of dealing measurements to two lists.
    Permutations = 19,
    /// Test inputs.
    Test = 7,
}

/// The generator at (seed, stream, step). A step may draw up to 2^34 words before it meets the next.
pub fn generator(seed: u64, stream: Stream, step: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream as u64);
    generator.set_word_pos(u128::from(step) << 34);
    generator
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn an_address_names_its_numbers() {
        let draw = |seed, stream, step| generator(seed, stream, step).next_u64();
        assert_eq!(draw(1, Stream::Weights, 5), draw(1, Stream::Weights, 5));
        assert_ne!(draw(1, Stream::Weights, 5), draw(1, Stream::Weights, 6));
        assert_ne!(draw(1, Stream::Weights, 5), draw(1, Stream::Alphas, 5));
        assert_ne!(draw(1, Stream::Weights, 5), draw(2, Stream::Weights, 5));
    }
}
