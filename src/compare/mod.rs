//! Several searches beside each other: what each reaches over seeds, and whether it differs from another by more than
//! chance.
//!
//! Read [`study`] for what a study is, [`task`] for its pieces, [`outcome`] for what each leaves, [`work`] for how they are
//! done, [`statistics`] for what a few figures say, [`agreement`] for how alike searches are, [`standings`] for what comes out, and [`table`] for how that is written
//! down.

pub mod agreement;
pub mod outcome;
pub mod standings;
pub mod statistics;
pub mod study;
pub mod table;
pub mod task;
pub mod work;
