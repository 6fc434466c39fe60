//! Signals. Of Ctrl-C, SIGTERM and SIGHUP the first ends a run at its next step, the second ends the process at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::{Error, Result};

/// SIGHUP, which a terminal that is closed sends.
const HANG_UP: i32 = 1;

/// Whether this process is to end when its terminal is closed: `nohup` has started it with the signal ignored, which
/// stays so. Where the system does not tell, the signal keeps its meaning.
fn hangs_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (HANG_UP - 1) & 1 == 0)
}

/// Whether a signal has come.
pub struct Interruption {
    signal: Arc<AtomicUsize>,
}

/// Makes a limit on the size of files (`ulimit -f`) an error of the write that meets it, as a full disk is, not the end
/// of the process.
pub fn outlive_file_limits() {
    // Where that cannot be had, the limit ends the process as it does by default.
    #[cfg(unix)]
    let _ = flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

impl Interruption {
    /// Watches for signals, from the first call on until the process ends: a signal between two runs ends the second.
    pub fn watch() -> Result<&'static Self> {
        static WATCH: OnceLock<Interruption> = OnceLock::new();
        if let Some(watch) = WATCH.get() {
            return Ok(watch);
        }
        let (signal, first) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let hang_up = hangs_up().then_some(HANG_UP);
        for number in [SIGINT, SIGTERM].into_iter().chain(hang_up) {
            // In this order: the first signal finds no first one before it.
            flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&first))
                .and_then(|_| flag::register(number, Arc::clone(&first)))
                .and_then(|_| flag::register_usize(number, Arc::clone(&signal), number as usize))
                .map_err(|error| Error::Device(format!("signals cannot be watched for: {error}")))?;
        }
        Ok(WATCH.get_or_init(|| Interruption { signal }))
    }

    /// The number of the signal that has come, or 0.
    pub fn signal(&self) -> u8 {
        self.signal.load(Ordering::Relaxed) as u8
    }
}
