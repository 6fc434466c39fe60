//! Bilevel optimisation.
