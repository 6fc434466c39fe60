//! A disk that is full.

use std::fs;

use crate::command::text;
use crate::runs::{Kind, checkpoints, finished, shell};

#[test]
fn a_full_disk_loses_nothing_that_was_stored() {
    for kind in Kind::BOTH {
        let scratch = finished(kind);
        let (here, run) = (scratch.path(), scratch.path().join("run"));
        fs::remove_file(checkpoints(&run).pop().unwrap()).unwrap();
        let stored = checkpoints(&run).pop().unwrap();
        let whole = fs::read(&stored).unwrap();
        // In units of 512 bytes: room for the files of the epoch, not for its checkpoint.
        let models = ["best.safetensors", "last.safetensors"].map(|file| run.join(file));
        let model = models.iter().filter_map(|path| fs::metadata(path).ok()).map(|data| data.len()).max();
        let room = model.unwrap_or(20_000) + 2000;
        assert!(room < whole.len() as u64, "{room} bytes, {}", whole.len());
        let line = format!("ulimit -f {}; exec darts {} --resume run", room / 512, kind.name());
        let output = shell(here, &line);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        let name = "run/checkpoints/epoch-0003-step-00000.safetensors: ";
        assert!(message.starts_with(&format!("darts: {name}")) && message.lines().count() == 1, "{message}");
        assert!(!message.contains(".writing-"), "{message}");
        let told = text(&output.stdout);
        assert!(told.contains("epochs 1 to 3 are stored in run; `darts "), "{told}");
        assert_eq!(checkpoints(&run), std::slice::from_ref(&stored));
        assert!(fs::read(&stored).unwrap() == whole);
        let mut names = fs::read_dir(run.join("checkpoints")).unwrap().map(|e| e.unwrap().file_name());
        assert!(!names.any(|name| name.to_str().unwrap().starts_with(".writing-")));
        let output = shell(here, &crate::runs::offered(&told));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        kind.check(&run, "after a full disk");
    }
}
