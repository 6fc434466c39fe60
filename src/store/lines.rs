//! A file that grows by one line of JSON an epoch, and never holds half a line.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::read_bounded;
use crate::{Error, Result};

/// The most bytes that are read: two thousand for each of the most epochs.
pub(super) const MAX_LINES: usize = 200 << 20;

/// Such a file, open to be written.
pub(super) struct LineFile {
    path: PathBuf,
    file: File,
}

impl LineFile {
    /// Creates it; there must be none.
    pub fn create(path: PathBuf) -> Result<Self> {
        Self::open_with(path, OpenOptions::new().create_new(true).append(true))
    }

    /// Goes on with it, or creates it.
    pub fn open(path: PathBuf) -> Result<Self> {
        Self::open_with(path, OpenOptions::new().create(true).append(true))
    }

    fn open_with(path: PathBuf, options: &OpenOptions) -> Result<Self> {
        match options.open(&path) {
            Ok(file) => Ok(LineFile { path, file }),
            Err(source) => Err(Error::io(path, source)),
        }
    }

    /// Appends a line, whole or not at all.
    pub fn append(&mut self, record: &impl Serialize) -> Result<()> {
        let unwritten = |source| Error::io(&self.path, source);
        let mut line = serde_json::to_string(record).map_err(|error| unwritten(error.into()))?;
        line.push('\n');
        let before = self.file.metadata().map_err(unwritten)?.len();
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line would spoil the records before it.
            let _ = self.file.set_len(before);
            return Err(unwritten(error));
        }
        Ok(())
    }

    /// How many lines there are before the first that `is_right` refuses.
    pub fn count_while(&self, mut is_right: impl FnMut(usize, &[u8]) -> bool) -> Result<usize> {
        let bytes = read_bounded(&self.path, MAX_LINES)?;
        let right = whole_lines(&bytes).enumerate().take_while(|&(index, line)| is_right(index, line));
        Ok(right.count())
    }

    /// Drops the first line that `keep` refuses and all after it, and an incomplete last line. Returns the number of lines
    /// that are left.
    pub fn keep_while(&mut self, mut keep: impl FnMut(usize, &[u8]) -> bool) -> Result<usize> {
        let bytes = read_bounded(&self.path, MAX_LINES)?;
        let (mut kept, mut end) = (0, 0);
        for line in whole_lines(&bytes) {
            if !keep(kept, line) {
                break;
            }
            (kept, end) = (kept + 1, end + line.len() + 1);
        }
        if end < bytes.len() {
            let cut = self.file.set_len(end as u64).and_then(|()| self.file.sync_data());
            cut.map_err(|source| Error::io(&self.path, source))?;
        }
        Ok(kept)
    }
}

/// The lines of a file without their ends. A last line without one is about to be written, or was torn.
pub(super) fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"))
}

/// The epoch that a line is about.
pub(super) fn epoch_of(line: &[u8]) -> Option<usize> {
    #[derive(Deserialize)]
    struct Line {
        epoch: usize,
    }
    serde_json::from_slice(line).ok().map(|Line { epoch }| epoch)
}

/// How many whole lines a file has; none if there is no such file.
pub(super) fn count_lines(path: &Path) -> Result<usize> {
    if !path.exists() {
        return Ok(0);
    }
    Ok(whole_lines(&read_bounded(path, MAX_LINES)?).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_behind_those_that_are_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("lines");
        let mut lines = LineFile::create(path.clone()).unwrap();
        (1..=3).for_each(|number| lines.append(&number).unwrap());
        std::fs::write(&path, "1\n2\n3\n{\"torn\":").unwrap();
        let mut lines = LineFile::open(path.clone()).unwrap();
        assert_eq!((lines.keep_while(|_, _| true).unwrap(), count_lines(&path).unwrap()), (3, 3));
        assert_eq!(lines.keep_while(|index, line| index < 2 && line != b"2").unwrap(), 1);
        lines.append(&5).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n5\n");
        assert_eq!(count_lines(&scratch.path().join("absent")).unwrap(), 0);
    }
}
