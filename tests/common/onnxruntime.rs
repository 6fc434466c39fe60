//! onnxruntime from PyPI, in a virtual environment of its own.

// Each test binary uses a part of this.
#![allow(dead_code)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the environment: another set of packages must have another.
const NAME: &str = "onnxruntime-1.32.0-pillow-13.0.0";
const PACKAGES: [&str; 4] = ["onnxruntime==1.32.0", "onnx==1.23.2", "numpy==2.4.6", "pillow==13.0.0"];

/// Checks a model, runs it on images and writes probabilities and logits as they lie in memory.
const SCRIPT: &str = "
import sys, numpy, onnx, onnxruntime
path, images, *shape = sys.argv[1:]
onnx.checker.check_model(onnx.load(path), full_check=True)
session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
images = numpy.fromfile(images, '<f4').reshape([int(side) for side in shape])
for output in session.run(['probabilities', 'logits'], {'images': images}):
    sys.stdout.buffer.write(output.astype('<f4').tobytes())
";

/// An interpreter that has onnxruntime.
pub struct OnnxRuntime(PathBuf);

/// What a model makes of images, each `[image][class]`.
pub struct Outputs {
    pub probabilities: Vec<Vec<f32>>,
    pub logits: Vec<Vec<f32>>,
}

impl OnnxRuntime {
    /// Installs it on first use; without Python or PyPI tells why the test is skipped.
    pub fn find() -> Option<Self> {
        let found = install().map(OnnxRuntime);
        found.map_err(|reason| println!("skipped: onnxruntime cannot be installed: {reason}")).ok()
    }

    /// Its path.
    pub fn interpreter(&self) -> &Path {
        &self.0
    }

    /// Runs a model on images `[n][c][h][w]`. What it refuses fails the test.
    pub fn run(&self, model: &Path, images: &[f32], shape: [usize; 4]) -> Outputs {
        let scratch = tempfile::tempdir().unwrap();
        let input = scratch.path().join("images");
        fs::write(&input, bytemuck::cast_slice(images)).unwrap();
        let output = Command::new(&self.0)
            .args(["-c", SCRIPT])
            .args([model, &input])
            .args(shape.map(|side| side.to_string()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let numbers: Vec<f32> = output
            .stdout
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        let rows = |half: &[f32]| half.chunks(half.len() / shape[0]).map(<[f32]>::to_vec).collect();
        let (probabilities, logits) = numbers.split_at(numbers.len() / 2);
        Outputs { probabilities: rows(probabilities), logits: rows(logits) }
    }
}

/// The interpreter of the environment. Tests that need it at the same time wait for the first.
fn install() -> Result<PathBuf, String> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(home).ok_or("neither XDG_CACHE_HOME nor HOME is set")?.join("darts");
    let place = cache.join(NAME);
    let python = place.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let complete = place.join("complete");
    let unwritable = |error: std::io::Error| format!("{}: {error}", cache.display());
    fs::create_dir_all(&cache).map_err(unwritable)?;
    let lock = File::create(place.with_added_extension("lock")).map_err(unwritable)?;
    lock.lock().map_err(unwritable)?;
    if complete.is_file() {
        return Ok(python);
    }
    let environment = place.to_str().ok_or("the path of the cache is not text")?;
    call(Path::new("python3"), &["-m", "venv", "--clear", environment])?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let patience = ["--retries=1", "--timeout=20", "--only-binary=:all:"];
    call(&python, &[&pip[..], &patience, &PACKAGES].concat())?;
    File::create(&complete).map_err(unwritable)?;
    Ok(python)
}

fn call(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let last = told.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    if output.status.success() { Ok(()) } else { Err(last.to_owned()) }
}
