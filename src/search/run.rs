//! The search itself.

use super::observer::Observer;
use super::plan::Plan;
use crate::data::Dataset;
use crate::space::alphas::Alphas;
use crate::{Error, Result};

/// Runs the search that the plan describes.
pub fn run(_: &Plan, _: Dataset, _: &mut dyn Observer) -> Result<Alphas> {
    Err(Error::Device("the engine is not part of this build".into()))
}
