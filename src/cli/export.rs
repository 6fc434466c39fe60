//! `darts export`: a model for other programs.

use std::path::{Path, PathBuf};

use super::model::file_of;
use super::output::print;
use crate::export::Format;
use crate::files::write_whole;
use crate::train::Model;
use crate::{Error, Result};

/// Export a model for other programs: as ONNX for onnxruntime and others, or as safetensors for PyTorch.
///
/// onnx: opset 17; images as float32 [batch, channels, height, width] with values from 0 to 1 go in,
/// probabilities and logits come out; the metadata holds the names of the classes. safetensors: names and
/// layouts of the official NetworkCIFAR, for its load_state_dict.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A model file, or the run directory of a training, whose last model is taken; best.safetensors in it was chosen by
    /// the test images.
    model: PathBuf,
    /// What to export it as: onnx or safetensors.
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Format,
    /// The file to write [default: beside the model, with the ending .onnx or .state_dict.safetensors].
    #[arg(long, short, alias = "output", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the file if there is one.
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  darts export runs/2026-01-31-150000-digits-train --format onnx
  darts export runs/model/last.safetensors --format onnx --out digits.onnx --force
  darts export runs/model --format safetensors --out weights.safetensors";

fn format(text: &str) -> std::result::Result<Format, String> {
    text.parse()
}

impl Arguments {
    /// Reads the model, writes the file and prints its name.
    pub fn run(self) -> Result<()> {
        let path = file_of(&self.model)?;
        let output = self.out.unwrap_or_else(|| path.with_extension(self.format.ending()));
        let place = place(&path, &output, self.force)?;
        let model = Model::load(&path)?;
        let bytes = self.format.bytes(&model).map_err(|reason| Error::Format { path, reason })?;
        write_whole(&place, &bytes)?;
        print(&format!("{}\n", output.display()))
    }
}

/// The file to write: the output, or what it links to, which is replaced and not the link.
///
/// # Errors
/// The model itself, a file without being asked, and what is no file: a directory, a pipe or a device.
fn place(model: &Path, output: &Path, force: bool) -> Result<PathBuf> {
    let name = output.display();
    let refuse = |reason: &str| Err(Error::Usage(format!("--out {name} {reason}")));
    // A link that leads nowhere is something that exists, too.
    if output.symlink_metadata().is_err() {
        return Ok(output.to_owned());
    }
    if output.is_dir() {
        return refuse("is a directory; name a file");
    }
    if output.exists() && !output.is_file() {
        return refuse("is a pipe or a device; name a file");
    }
    let place = output.canonicalize().unwrap_or_else(|_| output.to_owned());
    if model.canonicalize().is_ok_and(|model| model == place) {
        return Err(Error::Usage(format!("{name} is the model itself; name another file with --out")));
    }
    if force { Ok(place) } else { Err(Error::Usage(format!("{name} exists already; --force replaces it"))) }
}
