//! Search space, supernet, genotype, derivation.
