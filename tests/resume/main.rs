//! Runs that are ended at any moment, by any means, go on to the bytes that they would have had.

#[path = "../common/command.rs"]
mod command;
mod disk;
#[path = "../common/held.rs"]
mod held;
mod killed;
mod limits;
mod refusals;
mod runs;
mod signals;
mod steps;
