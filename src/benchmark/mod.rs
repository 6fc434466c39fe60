//! Spaces of which every architecture has been trained: what a search finds in one of them has a known accuracy and rank.
//!
//! [`nasbench201`] is the table of NAS-Bench-201. No search reads it: only what reports on a search does.

pub mod nasbench201;
