//! What a search or a training leaves behind and shows.
//!
//! Read in this order:
//!
//! 1. [`drawing`]: a cell as text.
//! 2. [`run_directory`]: everything that a search stores; [`training_run`]: a training.
//! 3. [`checkpoints`]: the states that a run can go on from, and [`resumption`]: how it does.
//! 4. [`progress`]: everything that a search shows while it runs; `training_progress`: a training.
//! 5. [`tensorboard`]: the same numbers for TensorBoard.
//! 6. [`history`]: a run directory read back, and [`verdict`]: what it says, in words.
//! 7. [`cell_graph`] and [`cell_svg`]: a cell as a graph; [`plot`]: curves.
//! 8. [`classes`]: which classes a model takes for which.
//! 9. `parts`, made of these, and [`page`] and `training_page`, made of them: the report.

pub mod cell_graph;
pub mod cell_svg;
pub mod checkpoints;
pub mod classes;
pub mod drawing;
pub mod history;
mod lines;
pub mod page;
mod parts;
mod place;
pub mod plot;
pub mod progress;
pub mod resumption;
pub mod run_directory;
pub mod tensorboard;
mod training_page;
mod training_progress;
pub mod training_run;
pub mod verdict;
