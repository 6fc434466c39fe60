//! What the commands that use a model share.

use std::path::{Path, PathBuf};

use super::genotype::images_of;
use super::plan::whole_number;
use crate::plan::{DeviceChoice, THREADS};
use crate::store::training_run::LAST;
use crate::{Error, Result};

/// The model, and where it computes.
#[derive(clap::Args)]
pub struct ModelArguments {
    /// A model file, or the run directory of a training, whose last model is taken; best.safetensors in it was chosen by
    /// the test images.
    model: PathBuf,
    /// Threads of the CPU; 0 for all cores.
    #[arg(long, value_name = "N", value_parser = threads, default_value = "0")]
    pub threads: usize,
    /// Where to compute: cpu, cuda, or auto for the best that is there.
    #[arg(long, value_name = "DEVICE", value_parser = device, default_value = "auto")]
    pub device: DeviceChoice,
}

fn threads(text: &str) -> std::result::Result<usize, String> {
    let threads = whole_number(text)?;
    if THREADS.contains(&threads) {
        return Ok(threads);
    }
    Err(format!("expected a whole number from {} to {}", THREADS.start(), THREADS.end()))
}

fn device(text: &str) -> std::result::Result<DeviceChoice, String> {
    let named = DeviceChoice::ALL.into_iter().find(|device| device.to_string() == text);
    named.ok_or_else(|| "expected cpu, cuda or auto".to_owned())
}

impl ModelArguments {
    /// The file of the model.
    pub fn path(&self) -> Result<PathBuf> {
        file_of(&self.model)
    }

    /// The data set of the plan beside the model, if that is in a run directory.
    pub fn planned_data(&self) -> Result<Option<String>> {
        let run = if self.model.is_dir() { Some(&*self.model) } else { self.model.parent() };
        let planned = run.map(images_of).transpose()?.unwrap_or_default();
        Ok(planned.get("data").and_then(|data| data.as_str()).map(str::to_owned))
    }
}

/// The file of a model that is named by itself or by the run directory of its training.
pub fn file_of(model: &Path) -> Result<PathBuf> {
    if !model.is_dir() {
        return Ok(model.into());
    }
    let last = model.join(LAST);
    if last.is_file() {
        return Ok(last);
    }
    let reason = format!("holds no {LAST}; expected a model file or the run directory of a training");
    Err(Error::Format { path: model.into(), reason })
}
