//! The `darts` binary.

fn main() {}
