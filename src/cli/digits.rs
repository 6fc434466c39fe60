//! `darts digits`: the built-in digits as pictures.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::output::{plain, tell};
use crate::data::format::write_digits;
use crate::readable::grouped;
use crate::{Error, Result};

/// Write the built-in digits as pictures in folders, every fifth of them into a test part.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The directory for the pictures; new or empty.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  darts digits pictures
  darts search --data folder:pictures --image-size 8 --colour grey";

impl Arguments {
    /// Writes the pictures and says how many there are.
    pub fn run(self) -> Result<()> {
        make_empty(&self.directory)?;
        let [train, test] = write_digits(&self.directory)?.map(grouped);
        let place = plain(&self.directory.display().to_string());
        tell(&format!("{train} pictures in {place}/train, {test} in {place}/test\n"))
    }
}

/// Makes a directory, unless it is there and empty.
fn make_empty(directory: &Path) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(directory).map(|()| 0),
        entries => entries.map(Iterator::count),
    };
    match entries {
        Ok(0) => Ok(()),
        Ok(_) => {
            let name = directory.display();
            Err(Error::Usage(format!("{name} is not empty; name a new directory for the pictures")))
        }
        Err(error) => Err(Error::io(directory, error)),
    }
}
