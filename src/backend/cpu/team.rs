//! The threads that share out the work units of a call.
//!
//! Units, not threads, own partial sums, so which thread takes which unit has no influence on a result. All memory of
//! a team is allocated before its first call: no call allocates, whichever of its threads come to help.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use crate::{Error, Result};

/// `task(member, unit)`: one unit, on one member's scratch memory.
type Task<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// How often a thread looks for what it waits for before it sleeps: calls follow each other within microseconds, and
/// waking a thread takes longer.
const LOOKS: usize = 64;

/// The caller, who is member 0, and threads that wait for its calls.
pub struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the members share. The two counters change under the lock of the call; they are read without it only to see
/// whether taking it is worthwhile.
struct Shared {
    call: Mutex<Call>,
    /// Calls so far.
    calls: AtomicUsize,
    /// Threads at work on the present call.
    helpers: AtomicUsize,
    /// The next unit that nobody has taken.
    next: AtomicUsize,
    /// A call was made, or the team is dissolved.
    called: Condvar,
    /// The last helper has finished, or a thread has started.
    finished: Condvar,
}

#[derive(Default)]
struct Call {
    /// Present while units are left that a thread could take.
    task: Option<Task<'static>>,
    units: usize,
    /// Threads that have started.
    started: usize,
    /// Threads that wait for `called`.
    asleep: usize,
    /// What a thread panicked with.
    panic: Option<Box<dyn Any + Send>>,
    dissolved: bool,
}

impl Team {
    /// A team of this many threads, the caller among them. All of them have started when this returns.
    ///
    /// # Errors
    /// The system has no such threads.
    pub fn new(threads: usize) -> Result<Self> {
        let shared = Arc::new(Shared {
            call: Mutex::default(),
            calls: AtomicUsize::new(0),
            helpers: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            called: Condvar::new(),
            finished: Condvar::new(),
        });
        let mut team = Team { shared, threads: Vec::new() };
        for member in 1..threads {
            let shared = Arc::clone(&team.shared);
            let thread = thread::Builder::new().name(format!("cpu-{member}"));
            let thread = thread.spawn(move || shared.serve(member));
            let refused = |error| Error::Device(format!("no {threads} threads: {error}"));
            team.threads.push(thread.map_err(refused)?);
        }
        // What a thread allocates, it allocates as it starts.
        let call = team.shared.call();
        drop(team.shared.finished.wait_while(call, |call| call.started < team.threads.len()));
        Ok(team)
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Runs `task(member, unit)` for each unit below `units`; returns when all are done.
    pub fn each(&mut self, units: usize, task: Task) {
        if self.threads.is_empty() || units <= 1 {
            return (0..units).for_each(|unit| task(0, unit));
        }
        // SAFETY: only the lifetime changes. Threads have the task from `open` to `close`, which returns when the last
        // of them has done with it, and which a panic of this member's units does not bypass.
        let lasting = unsafe { std::mem::transmute::<Task<'_>, Task<'static>>(task) };
        self.shared.open(lasting, units);
        let own = catch_unwind(AssertUnwindSafe(|| self.shared.take_units(task, units, 0)));
        if let Some(panic) = self.shared.close().or(own.err()) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.call().dissolved = true;
        self.shared.called.notify_all();
        // A thread catches what its tasks panic with.
        self.threads
            .drain(..)
            .for_each(|thread| thread.join().expect("a thread ends when its team is dissolved"));
    }
}

impl Shared {
    fn call(&self) -> MutexGuard<'_, Call> {
        self.call.lock().expect("nothing panics under the lock")
    }

    /// Shows the threads a new call.
    fn open(&self, task: Task<'static>, units: usize) {
        let mut call = self.call();
        (call.task, call.units) = (Some(task), units);
        self.next.store(0, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let woken = call.asleep.min(units - 1);
        drop(call);
        (0..woken).for_each(|_| self.called.notify_one());
    }

    /// Takes the call from the threads, those that are still on their way included; waits for those at work. Gives
    /// what one of them panicked with.
    fn close(&self) -> Option<Box<dyn Any + Send>> {
        self.call().task = None;
        look_for(|| self.helpers.load(Ordering::Relaxed) == 0);
        let busy = |_: &mut Call| self.helpers.load(Ordering::Relaxed) > 0;
        let waited = self.finished.wait_while(self.call(), busy);
        waited.expect("nothing panics under the lock").panic.take()
    }

    /// A thread's life: it helps with each call that it comes in time for.
    fn serve(&self, member: usize) {
        let mut call = self.call();
        call.started += 1;
        self.finished.notify_one();
        let mut seen = 0;
        loop {
            drop(call);
            look_for(|| self.calls.load(Ordering::Relaxed) != seen);
            call = self.call();
            while !call.dissolved && self.calls.load(Ordering::Relaxed) == seen {
                call.asleep += 1;
                call = self.called.wait(call).expect("nothing panics under the lock");
                call.asleep -= 1;
            }
            if call.dissolved {
                return;
            }
            seen = self.calls.load(Ordering::Relaxed);
            let (Some(task), units) = (call.task, call.units) else { continue };
            self.helpers.fetch_add(1, Ordering::Relaxed);
            drop(call);
            let outcome = catch_unwind(AssertUnwindSafe(|| self.take_units(task, units, member)));
            call = self.call();
            call.panic = call.panic.take().or(outcome.err());
            if self.helpers.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.finished.notify_one();
            }
        }
    }

    /// Does units until all are taken.
    fn take_units(&self, task: Task, units: usize, member: usize) {
        loop {
            let unit = self.next.fetch_add(1, Ordering::Relaxed);
            if unit >= units {
                return;
            }
            task(member, unit);
        }
    }
}

/// Looks for something a short while, leaving the processor to others.
fn look_for(so: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if so() {
            return;
        }
        thread::yield_now();
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
