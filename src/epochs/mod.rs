//! What a search and a training share: epochs of steps that can be interrupted at any step, and go on to the same bytes.
//!
//! Read in this order:
//!
//! 1. [`input`]: what a step is given; [`sum`]: the results of batches; [`schedule`]: the learning rate.
//! 2. [`observer`]: what a run reports while it goes on.
//! 3. [`checkpoint`]: everything that the next step depends on, as a file.
//! 4. [`device`]: where a run computes; [`budget`]: whether a run fits the memory of its device; [`forecast`]: how long it
//!    still takes.
//! 5. [`driver`]: the epochs; [`estimate`]: what they will take, by a few of their steps.

pub mod budget;
pub mod checkpoint;
pub mod device;
pub mod driver;
pub mod estimate;
pub mod forecast;
pub mod input;
pub mod observer;
pub mod schedule;
pub mod sum;

pub use budget::{Budget, Ready, fit_memory, largest_batch};
pub use checkpoint::{Checkpoint, Identity, Numbers, Position};
pub use device::{OpenDevice, open_cpu, open_gpu};
pub use driver::{Control, Ended, Epochs, drive};
pub use estimate::{Estimate, measure};
pub use input::{BatchView, Input};
pub use observer::{Observer, Observers, Phase, StepRecord, Timing};
pub use sum::{BatchResult, Sum, check_finite};
