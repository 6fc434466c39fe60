//! Dropout of elements (Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, JMLR 2014). No mask is stored: both passes
//! compute it from a key and the number of an element.

use super::{Operand, Slot, Span, Target};

/// See [`DropoutKernels::dropout_forward`].
#[derive(Clone, Debug)]
pub struct Dropout {
    /// What loses elements.
    pub input: Operand,
    /// The result.
    pub output: Slot,
    /// Which it loses.
    pub mask: DropoutMask,
}

/// Which elements are kept.
#[derive(Clone, Copy, Debug)]
pub struct DropoutMask {
    /// `[DROPOUT_KEY]`, see [`dropout_key`]. Masks share it.
    pub key: Span,
    /// The number of this mask among those that share the key.
    pub number: u32,
    /// 1 for each element that is kept and 0 for the others, instead of what the key says. For comparisons with masks that
    /// were drawn elsewhere.
    pub given: Option<Span>,
}

/// Operands of [`DropoutKernels::dropout_backward`].
#[derive(Clone, Debug)]
pub struct DropoutGradient {
    /// Gradient of the result.
    pub output: Slot,
    /// Where the input gradient goes.
    pub input: Target,
}

/// Dropout of elements on a device.
pub trait DropoutKernels {
    /// `y = factor * (scale * x + shift)` where the mask keeps the element, else 0. The result has no batch norm.
    fn dropout_forward(&mut self, operator: &Dropout);
    /// The input gradient: `factor * g` where the mask keeps the element, else 0.
    fn dropout_backward(&mut self, operator: &Dropout, gradient: &DropoutGradient);
}

/// Elements of a key.
pub const DROPOUT_KEY: usize = 4;
/// Bits of a random number: f32 holds all of them.
const BITS: u32 = 24;

/// The key of masks that keep an element with a probability above 0: how many of the numbers of 24 bits keep it, the factor
/// that makes up for those that do not, and two random words, of which 24 bits count.
pub fn dropout_key(kept: f64, words: [u32; 2]) -> [f64; DROPOUT_KEY] {
    let [first, second] = words.map(|word| f64::from(word >> (32 - BITS)));
    [(kept * f64::from(1 << BITS)).round(), 1.0 / kept, first, second]
}

/// A mask on the host.
#[derive(Clone, Copy, Debug)]
pub struct Keeper {
    keeping: u32,
    words: [u32; 2],
}

impl Keeper {
    /// The mask of a number under a key whose factor is left out.
    pub fn new([keeping, first, second]: [f64; 3], number: u32) -> Self {
        let [keeping, first, second] = [keeping, first, second].map(|element| element as u32);
        // Numbers that follow each other share no bits of this product.
        Keeper { keeping, words: [first, second ^ number.wrapping_mul(0x9e37_79b9)] }
    }

    /// Whether an element is kept. `kernels/dropout.cu` has the same.
    #[inline(always)]
    pub fn keeps(self, index: u32) -> bool {
        let [first, second] = self.words;
        mixed(mixed(index ^ first) ^ second) >> (32 - BITS) < self.keeping
    }
}

/// Each bit of the result depends on all bits of the number: the finaliser of MurmurHash3 (Appleby, 2011).
#[inline(always)]
fn mixed(number: u32) -> u32 {
    let number = (number ^ (number >> 16)).wrapping_mul(0x85eb_ca6b);
    let number = (number ^ (number >> 13)).wrapping_mul(0xc2b2_ae35);
    number ^ (number >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELEMENTS: u32 = 1 << 16;

    fn keeper(kept: f64, words: [u32; 2], number: u32) -> Keeper {
        let [keeping, _, first, second] = dropout_key(kept, words);
        Keeper::new([keeping, first, second], number)
    }

    /// Whether a count lies within five standard deviations of what independent draws give.
    fn within(count: u32, share: f64) -> bool {
        let draws = f64::from(ELEMENTS);
        (f64::from(count) - draws * share).abs() < 5.0 * (draws * share * (1.0 - share)).sqrt()
    }

    #[test]
    fn a_share_is_kept_of_each_mask_and_of_what_two_masks_keep() {
        let words = [0x1234_5678, 0x9abc_def0];
        for kept in [0.3, 0.5, 0.9] {
            let one = keeper(kept, words, 0);
            let count =
                |keeps: &dyn Fn(u32) -> bool| (0..ELEMENTS).filter(|&index| keeps(index)).count() as u32;
            assert!(within(count(&|index| one.keeps(index)), kept), "{kept}");
            let others = [
                keeper(kept, words, 1),
                keeper(kept, [words[0], 1 << 8], 0),
                keeper(kept, [1 << 8, words[1]], 0),
            ];
            for (place, other) in others.into_iter().enumerate() {
                let both = count(&|index| one.keeps(index) && other.keeps(index));
                assert!(within(both, kept * kept), "{kept}, mask {place}");
            }
            for distance in [1, 2, 16, 64, 1000] {
                let both = count(&|index| one.keeps(index) && one.keeps(index + distance));
                assert!(within(both, kept * kept), "{kept}, at a distance of {distance}");
            }
        }
    }

    #[test]
    fn a_key_that_keeps_all_keeps_all() {
        let all = keeper(1.0, [u32::MAX; 2], 3);
        assert!((0..ELEMENTS).all(|index| all.keeps(index)));
        assert_eq!(dropout_key(1.0, [0; 2])[1], 1.0);
    }
}
