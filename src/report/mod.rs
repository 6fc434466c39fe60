//! What a search leaves behind and shows.
//!
//! Read in this order:
//!
//! 1. [`drawing`]: a cell as text.
//! 2. [`run_directory`]: everything that a search stores.
//! 3. [`progress`]: everything that a search shows while it runs.

pub mod drawing;
pub mod progress;
pub mod run_directory;
