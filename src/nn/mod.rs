//! Parameters and initialisation.
