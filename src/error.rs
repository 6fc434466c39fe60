//! The error type of the crate: values whose text is one sentence a user can act on.

use std::path::PathBuf;

/// The result of everything that can fail for a reason outside the program.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A flag or its value makes no sense; names the flag and what was expected.
    #[error("{0}")]
    Usage(String),
    /// A plan holds an unknown key, a wrong type or an impossible value; names the key.
    #[error("plan: {0}")]
    Plan(String),
    /// A data file is missing, truncated or holds impossible values.
    #[error("data file {}: {reason}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// A genotype is malformed; names the place.
    #[error("genotype: {0}")]
    Genotype(String),
    /// A search space makes no sense or is unknown; names file and key.
    #[error("space: {0}")]
    Space(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stored file is not what its name says.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// Operands of an operator do not fit together; names the operator and both shapes.
    #[error("{operator}: {reason}")]
    Shape {
        /// The operator.
        operator: &'static str,
        /// Both shapes, as a sentence.
        reason: String,
    },
    /// A device cannot do what was asked of it.
    #[error("device: {0}")]
    Device(String),
    /// The loss is no longer a finite number.
    #[error("{0}")]
    Diverged(String),
    /// A signal ended a run, which can go on.
    #[error("{sentence}")]
    Interrupted {
        /// The number of the signal.
        signal: u8,
        /// Where the run stands, and how it goes on.
        sentence: String,
    },
    /// The time is over that a run was given, which can go on.
    #[error("{0}")]
    TimeOver(String),
}

impl Error {
    /// The exit code of the process: 2 for wrong usage, 1 for a run that failed, 128 and the signal's number for one that was
    /// interrupted, as shells have it, and 124 for one whose time is over, as `timeout` of the GNU coreutils has it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) | Error::Plan(_) | Error::Genotype(_) | Error::Space(_) => 2,
            Error::Interrupted { signal, .. } => 128 + signal,
            Error::TimeOver(_) => 124,
            _ => 1,
        }
    }

    /// The same with another way to go on, where a run was stopped that can.
    pub fn and_goes_on(self, way: &str) -> Self {
        match self {
            Error::Interrupted { signal, sentence } => {
                Error::Interrupted { signal, sentence: sentence + way }
            }
            Error::TimeOver(sentence) => Error::TimeOver(sentence + way),
            other => other,
        }
    }

    /// Wraps a system error with the path it concerns.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }
}
