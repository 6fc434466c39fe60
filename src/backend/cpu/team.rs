//! A team of threads that share out a list of work units.
//!
//! Units, not threads, own partial sums, so which thread takes which unit has no influence on a result.
//! The team is hand-written because a call must not allocate: a rayon pool entered from outside pushes
//! into a queue that takes a new block from the heap every sixty calls or so.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::{Error, Result};

/// What a member does for one unit: `(member, unit)`.
pub type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// How often a member looks for the next call before it sleeps: some tens of microseconds.
const PATIENCE: usize = 1000;

/// Threads that wait for calls of [`Team::each`].
pub struct Team {
    shared: Arc<Shared>,
    members: Vec<JoinHandle<()>>,
}

struct Shared {
    call: Mutex<Call>,
    /// The number of the current call, to be watched without the lock.
    number: AtomicUsize,
    /// Members that have not finished the current call.
    busy: AtomicUsize,
    next_unit: AtomicUsize,
    begin: Condvar,
    end: Condvar,
}

#[derive(Default)]
struct Call {
    number: usize,
    units: usize,
    task: Option<&'static Task<'static>>,
    panic: Option<Box<dyn Any + Send>>,
    closing: bool,
}

impl Team {
    /// A team of this many threads, the caller's among them.
    pub fn new(threads: usize) -> Result<Self> {
        let shared = Arc::new(Shared {
            call: Mutex::default(),
            number: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            next_unit: AtomicUsize::new(0),
            begin: Condvar::new(),
            end: Condvar::new(),
        });
        let mut team = Team { shared, members: Vec::new() };
        for member in 1..threads {
            let shared = team.shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("cpu-{member}"))
                .spawn(move || shared.serve(member))
                .map_err(|error| Error::Device(format!("no thread {member} of {threads}: {error}")))?;
            team.members.push(thread);
        }
        Ok(team)
    }

    /// Number of threads, the caller's among them.
    pub fn threads(&self) -> usize {
        self.members.len() + 1
    }

    /// Runs `task` for each unit below `units`; returns when all are done.
    pub fn each(&mut self, units: usize, task: &Task<'_>) {
        if self.members.is_empty() || units <= 1 {
            return (0..units).for_each(|unit| task(0, unit));
        }
        // SAFETY: the reference is dropped by every member before `each` returns, also on a panic.
        let task: &'static Task<'static> = unsafe { std::mem::transmute(task) };
        let shared = &*self.shared;
        {
            let mut call = shared.lock();
            call.number += 1;
            call.units = units;
            call.task = Some(task);
            shared.next_unit.store(0, Ordering::Relaxed);
            shared.busy.store(self.members.len(), Ordering::Relaxed);
            shared.number.store(call.number, Ordering::Release);
        }
        shared.begin.notify_all();
        let own = catch_unwind(AssertUnwindSafe(|| shared.work(0, units, task)));
        let theirs = shared.wait_for_members();
        if let Some(panic) = own.err().or(theirs) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.begin.notify_all();
        for member in self.members.drain(..) {
            // A member that panicked has told the caller of `each`.
            let _ = member.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Call> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes units until none is left.
    fn work(&self, member: usize, units: usize, task: &Task<'_>) {
        loop {
            let unit = self.next_unit.fetch_add(1, Ordering::Relaxed);
            if unit >= units {
                return;
            }
            task(member, unit);
        }
    }

    /// The life of a member other than the caller.
    fn serve(&self, member: usize) {
        let mut seen = 0;
        loop {
            spin_until(|| self.number.load(Ordering::Acquire) != seen);
            let mut call = self.lock();
            while call.number == seen && !call.closing {
                call = self.begin.wait(call).unwrap_or_else(PoisonError::into_inner);
            }
            if call.closing {
                return;
            }
            seen = call.number;
            let (units, task) = (call.units, call.task);
            drop(call);
            let outcome = catch_unwind(AssertUnwindSafe(|| task.map(|task| self.work(member, units, task))));
            let mut call = self.lock();
            if let Err(panic) = outcome {
                call.panic = Some(panic);
            }
            if self.busy.fetch_sub(1, Ordering::Release) == 1 {
                self.end.notify_all();
            }
        }
    }

    /// Returns when no member holds the task any longer, with the panic of one where there was one.
    fn wait_for_members(&self) -> Option<Box<dyn Any + Send>> {
        spin_until(|| self.busy.load(Ordering::Acquire) == 0);
        let mut call = self.lock();
        while self.busy.load(Ordering::Acquire) > 0 {
            call = self.end.wait(call).unwrap_or_else(PoisonError::into_inner);
        }
        call.task = None;
        call.panic.take()
    }
}

/// Looks for a condition for a short while.
fn spin_until(condition: impl Fn() -> bool) {
    for _ in 0..PATIENCE {
        if condition() {
            return;
        }
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_done_once() {
        for threads in 1..4 {
            let mut team = Team::new(threads).unwrap();
            for units in [0, 1, 2, 3, 100] {
                let counts: Vec<_> = (0..units).map(|_| AtomicUsize::new(0)).collect();
                team.each(units, &|member, unit| {
                    assert!(member < threads);
                    counts[unit].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_lives_on() {
        let mut team = Team::new(3).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            team.each(50, &|_, unit| assert_ne!(unit, 20));
        }));
        assert!(outcome.is_err());
        let done = AtomicUsize::new(0);
        team.each(50, &|_, _| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 50);
    }
}
