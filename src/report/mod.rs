//! Run directory, metrics, drawings.
