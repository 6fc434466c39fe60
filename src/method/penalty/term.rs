//! What a penalty is.

use std::fmt::Debug;
use std::ops::Range;

use crate::method::progress::Progress;
use crate::method::relaxation::Relaxation;

/// A term of the alphas' loss. The alphas lie row after row; a row is an edge.
pub trait Penalty: Debug + Send + Sync {
    /// The term.
    fn value(&self, rows: &[Range<usize>], alphas: &[f64], progress: Progress) -> f64;
    /// Adds its gradient by the alphas.
    fn add_gradient(&self, rows: &[Range<usize>], alphas: &[f64], progress: Progress, gradient: &mut [f64]);
    /// Whether the term is meant for a relaxation.
    fn suits(&self, relaxation: &dyn Relaxation) -> bool {
        let _ = relaxation;
        true
    }
    /// The relaxation that the term is meant for, and why, in words; empty where it is meant for all.
    fn meant_for(&self) -> &'static str {
        ""
    }
}
