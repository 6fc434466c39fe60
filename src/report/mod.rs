//! The report of a run: one page.
//!
//! Read in this order:
//!
//! 1. [`advice`]: what to change in another search; [`verdict`]: what a search found, in words.
//! 2. `parts`: what the pages share; `weights`: the mixing weights; `classes`: which classes a model takes for which;
//!    `survey` and `sheet`: the pictures.
//! 3. [`page`]: the page of a search; `training_page`: the page of a training; `beginning`: that of a run in its first epoch;
//!    [`comparison`]: that of a study.

pub mod advice;
mod beginning;
mod classes;
pub mod comparison;
pub mod page;
mod parts;
mod sheet;
mod survey;
mod training_page;
pub mod verdict;
mod weights;
