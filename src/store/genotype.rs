//! The genotype of a run directory, as JSON and as a literal of Python.

use std::path::Path;

use crate::files::{read_text, write_whole};
use crate::space::genotype::{Genotype, MAX_TEXT};
use crate::{Error, Result};

/// The file of the genotype.
pub(super) const GENOTYPE: &str = "genotype.json";
/// The file of the genotype as a literal of Python.
const LITERAL: &str = "genotype.txt";

/// Both forms of a genotype, with the names of their files.
pub(super) fn genotype_files(genotype: &Genotype) -> [(&'static str, String); 2] {
    [(GENOTYPE, format!("{}\n", genotype.to_json())), (LITERAL, format!("{genotype}\n"))]
}

/// Stores the genotype of a run.
pub(super) fn write_genotype(run: &Path, genotype: &Genotype) -> Result<()> {
    for (name, text) in genotype_files(genotype) {
        write_whole(&run.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// Removes the genotype of a run, if it has one.
pub(super) fn remove_genotype(run: &Path) -> Result<()> {
    for path in [GENOTYPE, LITERAL].map(|name| run.join(name)).iter().filter(|path| path.exists()) {
        std::fs::remove_file(path).map_err(|source| Error::io(path, source))?;
    }
    Ok(())
}

/// Reads the genotype of a run.
pub fn load_genotype(run: &Path) -> Result<Genotype> {
    let path = run.join(GENOTYPE);
    if !path.exists() {
        let reason = "holds no genotype.json: it is no run directory, or no epoch of its run was finished";
        return Err(Error::Format { path: run.into(), reason: reason.to_owned() });
    }
    Genotype::from_json(&read_text(&path, MAX_TEXT)?).map_err(|error| error_in(&path, error))
}

/// The error with the file that holds the malformed genotype.
pub fn error_in(path: &Path, error: Error) -> Error {
    match error {
        Error::Genotype(reason) => Error::Genotype(format!("{}: {reason}", path.display())),
        other => other,
    }
}
