//! Spaces of which every architecture has been trained: what a search finds in one of them has a known accuracy and rank.
//!
//! [`nasbench201`] is the table of NAS-Bench-201. No search can read it, for this module stands above those of searches: only
//! what stores, shows and compares them does.

pub mod nasbench201;
