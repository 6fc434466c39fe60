//! Several searches beside each other: what each reaches over seeds, and whether it differs from another by more than
//! chance.

pub mod statistics;
