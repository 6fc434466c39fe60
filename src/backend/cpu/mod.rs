//! The vectorised, threaded backend.
