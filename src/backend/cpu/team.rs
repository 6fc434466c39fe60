//! The threads that share out the work units of a call.
//!
//! Units, not threads, own partial sums, so which thread takes which unit has no influence on a result.

use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Error, Result};

/// A pool of threads.
pub struct Team {
    pool: Arc<ThreadPool>,
}

impl Team {
    /// A team of this many threads.
    pub fn new(threads: usize) -> Result<Self> {
        let builder =
            ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("cpu-{index}"));
        let pool =
            builder.build().map_err(|error| Error::Device(format!("no {threads} threads: {error}")))?;
        Ok(Team { pool: Arc::new(pool) })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The pool, for callers that make many calls: those made on one of its threads neither wake another
    /// thread first nor allocate.
    pub fn pool(&self) -> Arc<ThreadPool> {
        Arc::clone(&self.pool)
    }

    /// Runs `task(thread, unit)` for each unit below `units`; returns when all are done.
    pub fn each(&mut self, units: usize, task: &(dyn Fn(usize, usize) + Sync)) {
        if self.threads() == 1 || units <= 1 {
            return (0..units).for_each(|unit| task(0, unit));
        }
        self.pool.install(|| {
            (0..units).into_par_iter().with_max_len(1).for_each(|unit| {
                let thread = rayon::current_thread_index().expect("a pool runs tasks on its threads");
                task(thread, unit);
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_unit_is_done_once() {
        for threads in 1..4 {
            let mut team = Team::new(threads).unwrap();
            for units in [0, 1, 2, 3, 100] {
                let counts: Vec<_> = (0..units).map(|_| AtomicUsize::new(0)).collect();
                team.each(units, &|thread, unit| {
                    assert!(thread < threads);
                    counts[unit].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_lives_on() {
        let mut team = Team::new(3).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| team.each(50, &|_, unit| assert_ne!(unit, 20))));
        assert!(outcome.is_err());
        let done = AtomicUsize::new(0);
        team.each(50, &|_, _| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 50);
    }
}
