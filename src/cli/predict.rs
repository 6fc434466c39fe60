//! `darts predict`: what a model sees in pictures.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::model::ModelArguments;
use super::output::{plain, print, report};
use super::plan::whole_number;
use crate::data::format::pictures_below;
use crate::readable::counted;
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
    /// Pictures, and directories with any below them: PNG, JPEG, WebP, BMP or GIF of any size, read as those of the training were.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Guesses for a picture.
    #[arg(long, value_name = "N", value_parser = at_least_one, default_value = "3")]
    top: usize,
    /// Print a line of JSON for each picture.
    #[arg(long)]
    json: bool,
    /// Print comma-separated values under a line of headings.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

const EXAMPLES: &str = "\
Examples:
  darts predict runs/2026-01-31-150000-digits-train digit.png
  darts predict runs/model/best.safetensors --top 1 --json *.jpg
  darts predict runs/model pictures --top 1 --csv > guesses.csv";

fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    match whole_number(text)? {
        0 => Err("expected 1 or more".to_owned()),
        count => Ok(count),
    }
}

impl Arguments {
    /// Classifies and prints picture after picture. Each that cannot be read is named in a line of its own.
    pub fn run(self) -> Result<()> {
        let model = Model::load(&self.model.path()?)?;
        let mut classifier = open(&model, self.model.device, self.model.threads, 1)?;
        let pictures = self.pictures()?;
        if self.csv {
            print(&headings(self.top.min(model.description.class_names.len())))?;
        }
        let mut failed = None;
        for path in &pictures {
            match read(path, &model.description) {
                Ok(pixels) => print(&self.line(path, &model, classifier.as_mut(), &pixels)?)?,
                Err(error) => {
                    if let Some(earlier) = failed.replace(error) {
                        report(&earlier.to_string());
                    }
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// The pictures that are named, and those below directories that are.
    fn pictures(&self) -> Result<Vec<PathBuf>> {
        let mut pictures = Vec::new();
        for path in &self.images {
            if !path.is_dir() {
                pictures.push(path.clone());
                continue;
            }
            let [found, others] = pictures_below(path)?;
            if found.is_empty() {
                return Err(Error::Data { path: path.clone(), reason: "holds no pictures".into() });
            }
            if !others.is_empty() {
                let files = counted(others.len(), "file");
                report(&format!("{}: {files} left out for want of a picture", path.display()));
            }
            pictures.extend(found);
        }
        Ok(pictures)
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
        if self.csv {
            let guess = |(probability, name): &(f64, &String)| format!(",{},{probability}", field(name));
            let guesses: String = guesses.iter().map(guess).collect();
            return Ok(format!("{}{guesses}\n", field(&path)));
        }
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

/// The line above comma-separated guesses, of which there are so many a picture.
fn headings(guesses: usize) -> String {
    let pair = |place: usize| match place {
        1 => ",class,probability".to_owned(),
        _ => format!(",class_{place},probability_{place}"),
    };
    format!("image{}\n", (1..=guesses).map(pair).collect::<String>())
}

/// A text as a comma-separated value, in quotes where it needs them (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
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
