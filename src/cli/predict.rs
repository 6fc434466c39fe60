//! `darts predict`: what a model sees in pictures.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::model::ModelArguments;
use super::output::{plain, print};
use super::plan::whole_number;
use crate::train::Model;
use crate::train::classifier::{Classify, open, probabilities};
use crate::train::model::Description;
use crate::{Error, Result};

/// Tell what a model takes pictures for, with probabilities.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Pictures: PNG, JPEG, WebP, BMP or GIF of any size, read as those of the training were.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Guesses for a picture.
    #[arg(long, value_name = "N", value_parser = at_least_one, default_value = "3")]
    top: usize,
    /// Print a line of JSON for each picture.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  darts predict runs/2026-01-31-150000-digits-train digit.png
  darts predict runs/model/best.safetensors --top 1 --json *.jpg";

fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    match whole_number(text)? {
        0 => Err("expected 1 or more".to_owned()),
        count => Ok(count),
    }
}

impl Arguments {
    /// Classifies and prints picture after picture. A picture that cannot be read is named, and the others follow.
    pub fn run(self) -> Result<()> {
        let model = Model::load(&self.model.path()?)?;
        let mut classifier = open(&model, self.model.device, self.model.threads, 1)?;
        let mut failed = Vec::new();
        for path in &self.images {
            match read(path, &model.description) {
                Ok(pixels) => print(&self.line(path, &model, classifier.as_mut(), &pixels)?)?,
                Err(error) => failed.push((path.clone(), error)),
            }
        }
        all_failures(failed)
    }

    fn line(
        &self,
        path: &Path,
        model: &Model,
        classifier: &mut dyn Classify,
        pixels: &[f32],
    ) -> Result<String> {
        let names = &model.description.class_names;
        let mut guesses: Vec<(f64, &String)> =
            probabilities(&classifier.logits(pixels)?).into_iter().zip(names).collect();
        // Stable: of equal probabilities the first class goes first.
        guesses.sort_by(|a, b| b.0.total_cmp(&a.0));
        guesses.truncate(self.top);
        let path = path.display().to_string();
        if self.json {
            let guess =
                |(probability, name): &(f64, &String)| json!({ "class": name, "probability": probability });
            let guesses: Vec<_> = guesses.iter().map(guess).collect();
            return Ok(format!("{}\n", json!({ "image": path, "guesses": guesses })));
        }
        let guess = |(probability, name): &(f64, &String)| format!("{name} {:.1} %", 100.0 * probability);
        let guesses: Vec<_> = guesses.iter().map(guess).collect();
        Ok(format!("{}\n", plain(&format!("{path}  {}", guesses.join("  ")))))
    }
}

/// One error for all pictures that cannot be read: it names each and says why.
fn all_failures(failed: Vec<(PathBuf, Error)>) -> Result<()> {
    let mut failed = failed.into_iter();
    let Some((path, first)) = failed.next() else { return Ok(()) };
    let why = |error| match error {
        Error::Data { reason, .. } => reason,
        Error::Io { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    let mut reason = why(first);
    for (path, error) in failed {
        reason.push_str(&format!("; {}: {}", path.display(), why(error)));
    }
    Err(Error::Data { path, reason })
}

/// A picture as the network reads it: as those of a folder are read.
fn read(path: &Path, description: &Description) -> Result<Vec<f32>> {
    let reading = description.reading().map_err(|reason| Error::Data { path: path.into(), reason })?;
    let mut bytes = vec![0; reading.size()];
    reading.read(path, &mut bytes)?;
    let normalisation = description.normalisation();
    let input = |(index, byte): (usize, u8)| {
        normalisation.apply(description.scaled(byte, u8::MAX), index % description.channels)
    };
    Ok(bytes.into_iter().enumerate().map(input).collect())
}
