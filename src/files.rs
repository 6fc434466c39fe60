//! Files that appear whole or not at all, and files that are read with a bound on their size.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::{Error, Result};

/// What the names of files begin with that are being written.
const UNFINISHED: &str = ".writing-";

/// Writes a file under a temporary name beside its place, then renames it: a reader sees the whole file or none. When this
/// returns, the file is on the disk and survives a failure of power.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || {
        #[cfg(unix)]
        let place = File::open(directory)?;
        // An error of the temporary file itself would tell its name, which says nothing to the user.
        let mut file = named_like_a_plain_file(directory).map_err(|error| error.kind())?;
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|failed| failed.error)?;
        // The name, too.
        #[cfg(unix)]
        place.sync_all()?;
        Ok(())
    };
    write().map_err(|source| Error::io(path, source))
}

/// A temporary file with the permissions that the user's umask gives to any new file.
fn named_like_a_plain_file(directory: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.prefix(UNFINISHED).tempfile_in(directory)
}

/// Removes the unfinished files of a process that was killed while it wrote. No other process may be writing into the
/// directory.
pub fn remove_unfinished(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let unfinished = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED));
    // What cannot be removed does no harm.
    unfinished.for_each(|entry| drop(std::fs::remove_file(entry.path())));
}

/// Reads a file of at most `limit` bytes.
pub fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| Error::io(path, source))?;
    if bytes.len() > limit {
        let reason = format!("holds more than {limit} bytes, the most such a file can need");
        return Err(Error::Format { path: path.into(), reason });
    }
    Ok(bytes)
}

/// Reads a text file of at most `limit` bytes.
pub fn read_text(path: &Path, limit: usize) -> Result<String> {
    String::from_utf8(read_bounded(path, limit)?)
        .map_err(|_| Error::Format { path: path.into(), reason: "is not a text file in UTF-8".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("taken");
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("inside"), "x").unwrap();
        assert!(write_whole(&target, b"text").is_err());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_directory_is_told_without_the_name_of_a_temporary_file() {
        let directory = tempfile::tempdir().unwrap();
        let error = write_whole(&directory.path().join("absent/file"), b"text").unwrap_err().to_string();
        assert!(error.contains("absent/file: ") && !error.contains(UNFINISHED), "{error}");
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write_whole(&path, b"12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        assert!(read_bounded(&path, 4).unwrap_err().to_string().contains("more than 4 bytes"));
    }
}
