//! Which directories of a folder are its training and its test part.

use std::ffi::OsStr;
use std::fs::FileType;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// What archivers and systems leave between the files of their users.
const LEFT_BY_SYSTEMS: [&str; 7] = [
    "__MACOSX",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
];
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 3] = ["test", "testing", "tests"];
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];

/// The parts of a folder.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// The directory that holds the parts, or the classes.
    pub directory: PathBuf,
    /// The directory of the training part.
    pub train: PathBuf,
    /// The directory of the test part, if there is one.
    pub test: Option<PathBuf>,
    /// What is not self-evident of them, in sentences.
    pub notices: Vec<String>,
}

impl Layout {
    /// Finds the parts: `train` beside `test`, or classes alone.
    pub fn of(directory: &Path) -> Result<Layout> {
        let fail = |reason: String| Err(Error::Data { path: directory.to_path_buf(), reason });
        let names = match subdirectories(directory) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io(directory, error)),
        };
        let role = |words: &[&str]| one_of(directory, &names, words);
        let (train, test, validation) = (role(&TRAIN)?, role(&TEST)?, role(&VALIDATION)?);
        match (train, &names[..]) {
            (Some(train), _) => Ok(Layout::with(directory, &names, train, [test, validation])),
            // An archive that was unpacked into a directory of its name.
            (None, [only])
                if one_of(directory, &subdirectories(only).unwrap_or_default(), &TRAIN)?.is_some() =>
            {
                Layout::of(only)
            }
            // Whoever lists the part says that it is not there.
            (None, []) => Ok(Layout::with(directory, &[], directory.join(TRAIN[0]), [None, None])),
            (None, _) => match test.or(validation) {
                Some(other) => fail(format!("holds {}, but no directory train beside it", shown(&other))),
                None => Ok(Layout::with(directory, &names, directory.to_owned(), [None, None])),
            },
        }
    }

    fn with(
        directory: &Path,
        names: &[PathBuf],
        train: PathBuf,
        [test, validation]: [Option<PathBuf>; 2],
    ) -> Layout {
        let mut notices = Vec::new();
        let place = |path: &Path| path.display().to_string();
        let is_flat = train == directory;
        if is_flat {
            notices
                .push(format!("{} holds no train: its directories are taken for classes", place(directory)));
        }
        match (&test, &validation) {
            (Some(test), Some(validation)) => notices.push(format!(
                "{} is left alone: the test pictures are those of {}, and a search validates with half of {}",
                place(validation),
                place(test),
                place(&train)
            )),
            (None, Some(validation)) => {
                notices.push(format!("{} is the test part, for there is no test", place(validation)));
            }
            _ => {}
        }
        let known = [Some(&train), test.as_ref(), validation.as_ref()];
        let others = names.iter().filter(|name| !is_flat && !known.contains(&Some(name)));
        let others: Vec<_> = others.map(|name| shown(name)).collect();
        if !others.is_empty() {
            notices.push(format!("{}: {} beside train is left alone", place(directory), others.join(", ")));
        }
        Layout { directory: directory.to_owned(), train, test: test.or(validation), notices }
    }
}

/// The directory with one of these names, in whatever case; its exact name goes first.
fn one_of(directory: &Path, names: &[PathBuf], words: &[&str]) -> Result<Option<PathBuf>> {
    let exact = directory_named(names, words[0]);
    if exact.is_some() {
        return Ok(exact);
    }
    let is_meant = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        words.contains(&name.as_str())
    };
    let found: Vec<_> = names.iter().filter(is_meant).collect();
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [one, other, ..] => {
            let reason = format!("holds {} and {}; expected one {}", shown(one), shown(other), words[0]);
            Err(Error::Data { path: directory.to_path_buf(), reason })
        }
    }
}

fn directory_named(names: &[PathBuf], word: &str) -> Option<PathBuf> {
    names.iter().find(|path| path.file_name() == Some(OsStr::new(word))).cloned()
}

fn shown(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether a name is hidden, or one that no user gave.
pub fn is_left_alone(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || LEFT_BY_SYSTEMS.iter().any(|other| name == OsStr::new(other))
}

/// The directories in a directory that a user may mean, ascending.
pub fn subdirectories(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        // Links are followed.
        let is_directory = entry.file_type().is_ok_and(|kind: FileType| kind.is_dir()) || path.is_dir();
        if is_directory && !is_left_alone(&entry.file_name()) {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(directories: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        directories.iter().for_each(|name| std::fs::create_dir_all(folder.path().join(name)).unwrap());
        folder
    }

    /// The parts and the notices, without the place of the folder.
    fn layout(directories: &[&str]) -> (String, Option<String>, String) {
        let folder = folder(directories);
        let found = Layout::of(folder.path()).unwrap();
        let root = format!("{}", folder.path().display());
        let below = |path: &Path| path.strip_prefix(folder.path()).unwrap().display().to_string();
        let notices = found.notices.join("; ").replace(&format!("{root}/"), "").replace(&root, "DIR");
        (below(&found.train), found.test.as_deref().map(below), notices)
    }

    #[test]
    fn parts_are_known_by_their_names() {
        let parts = |directories: &[&str]| {
            let (train, test, notices) = layout(directories);
            (train, test.unwrap_or_default(), notices)
        };
        let owned = |train: &str, test: &str, notices: &str| (train.into(), test.into(), notices.into());
        assert_eq!(parts(&["train", "test", "__MACOSX", ".git"]), owned("train", "test", ""));
        assert_eq!(parts(&["Train", "Test"]), owned("Train", "Test", ""));
        assert_eq!(
            parts(&["train", "valid", "notes"]),
            owned(
                "train",
                "valid",
                "valid is the test part, for there is no test; DIR: notes beside train is left alone"
            )
        );
        let both = parts(&["train", "validation", "test"]);
        assert_eq!(both.1, "test");
        assert!(
            both.2.starts_with("validation is left alone: the test pictures are those of test"),
            "{both:?}"
        );
        let flat = "DIR holds no train: its directories are taken for classes";
        assert_eq!(parts(&["cat", "dog"]), owned("", "", flat));
        assert_eq!(parts(&["pictures/train", "pictures/test"]), owned("pictures/train", "pictures/test", ""));
        assert_eq!(parts(&["TEST", "test", "train"]).1, "test");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refusal = |directories: &[&str]| Layout::of(folder(directories).path()).unwrap_err().to_string();
        let ambiguous = refusal(&["train", "Test", "TEST"]);
        assert!(ambiguous.contains("holds TEST and Test; expected one test"), "{ambiguous}");
        let lonely = refusal(&["test", "more"]);
        assert!(lonely.contains("holds test, but no directory train beside it"), "{lonely}");
    }
}
