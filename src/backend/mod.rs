//! The kernel catalogue and its implementations.
