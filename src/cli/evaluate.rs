//! `darts evaluate`: how good, how large and how fast a model is.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::data::Tolerance;
use super::model::ModelArguments;
use super::output::{plain, print, tell};
use super::pictures::{compare_with_model, dealing_of_model};
use crate::data::balance::balanced_accuracy_of;
use crate::data::{Dataset, Images, Reading, Source, format};
use crate::readable::grouped;
use crate::space::cost::Cost;
use crate::store::classes::{Confused, MOST_COLUMNS, confused, recognised};
use crate::train::Model;
use crate::train::classifier::{Evaluation, open};
use crate::train::model::Description;
use crate::{Error, Result};

/// Five guesses are always right where there are no more classes.
const FIVE: usize = 5;

/// The batches whose latency is measured.
const BATCHES: [usize; 2] = [1, 64];

/// Measure a model on the test images of a data set: accuracy, confusions, size and speed.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    #[arg(long, value_name = "DATA",
        help = format::help() + " [default: that of the run which the model is in; else that of its training, if it needs no directory]")]
    data: Option<String>,
    #[command(flatten)]
    tolerance: Tolerance,
    /// Print JSON, with the whole matrix of confusions.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  darts evaluate runs/2026-01-31-150000-digits-train
  darts evaluate runs/model/last.safetensors --data cifar10:DIR --json";

/// The figures of an evaluation.
struct Report<'a> {
    path: &'a Path,
    model: &'a Model,
    /// The data set that it was measured on.
    data: String,
    evaluation: Evaluation,
    cost: Cost,
    /// Milliseconds an image, for each of the batches.
    latency: [f64; 2],
}

impl Arguments {
    /// Measures and prints.
    pub fn run(self) -> Result<()> {
        let path = self.model.path()?;
        let model = Model::load(&path)?;
        let dataset = self.dataset(&model)?;
        fits(&path, &model, &dataset)?;
        compare_with_model(&model.description, &dataset)?;
        let (device, threads) = (self.model.device, self.model.threads);
        let mut latency = [0.0; 2];
        let mut evaluation = None;
        let data = dataset.name.clone();
        let images = Arc::new(scaled(dataset, &model.description));
        for (latency, batch) in latency.iter_mut().zip(BATCHES) {
            let mut classifier = open(&model, device, threads, batch)?;
            *latency = classifier.latency()?.as_secs_f64() * 1000.0 / batch as f64;
            if batch == BATCHES[1] {
                evaluation = Some(classifier.evaluate(Arc::clone(&images), &model)?);
            }
        }
        let Some(evaluation) = evaluation else { return Ok(()) };
        let description = &model.description;
        let cost = Cost::of(&description.genotype, &description.shape(1, false))?;
        let report = Report { path: &path, model: &model, data, evaluation, cost, latency };
        if self.json {
            return print(&report.json());
        }
        tell(&report.text())?;
        print(&format!("{}{}", report.classes(), report.confusions()))
    }

    fn dataset(&self, model: &Model) -> Result<Dataset> {
        let source = match &self.data {
            Some(name) => name.parse()?,
            None => match self.model.planned_data()? {
                Some(name) => name.parse()?,
                None => default_source(&model.description.data)?,
            },
        };
        super::data::refuse_for_own_images(&source, self.tolerance.flag())?;
        // The same seed tests with the same images, which the model has not seen in its training.
        let description = &model.description;
        let reading = match description.reading() {
            Ok(reading) => self.tolerance.of(Reading { dealing: dealing_of_model(description), ..reading }),
            // Pictures of a folder cannot fit this model: `fits` refuses them.
            Err(_) => Reading::default(),
        };
        super::data::load(&source, description.seed, &reading, self.model.threads, self.json)
    }
}

/// The data set that a model was trained on, if it can be found by its name alone.
fn default_source(name: &str) -> Result<Source> {
    match name.parse::<Source>() {
        Ok(source) if source.is_found_by_name() => Ok(source),
        _ => {
            let kind = name.split(':').next().unwrap_or(name);
            Err(Error::Usage(format!(
                "the model was trained on {name}; say where that lies with --data {kind}:DIR"
            )))
        }
    }
}

/// Refuses images or classes that are not those of the model.
fn fits(path: &Path, model: &Model, dataset: &Dataset) -> Result<()> {
    let (description, images) = (&model.description, &dataset.test);
    let refuse = |reason| Err(Error::Format { path: path.into(), reason });
    let (wanted, found) = (
        [description.height, description.width, description.channels],
        [images.height, images.width, images.channels],
    );
    if wanted != found {
        let shape = |[h, w, c]: [usize; 3]| format!("{h}x{w} pixels of {c} values");
        let (wanted, found) = (shape(wanted), shape(found));
        return refuse(format!("is a model for images of {wanted}; those of {} are {found}", dataset.name));
    }
    if description.class_names != dataset.class_names {
        let list = |names: &[String]| names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        return refuse(format!(
            "tells {} classes apart ({}...); {} has {} ({}...)",
            description.class_names.len(),
            list(&description.class_names),
            dataset.name,
            dataset.class_names.len(),
            list(&dataset.class_names),
        ));
    }
    Ok(())
}

/// The test images with the brightness of those that the model was trained on.
fn scaled(dataset: Dataset, description: &Description) -> Images {
    let (white, mut images) = (dataset.white, dataset.test);
    images.pixels.iter_mut().for_each(|byte| *byte = description.scaled(*byte, white));
    images
}

impl Report<'_> {
    fn json(&self) -> String {
        let Evaluation { images, loss, accuracy, top_five, confusion } = &self.evaluation;
        let names = &self.model.description.class_names;
        let class = |(index, (name, row)): (usize, (&String, &Vec<usize>))| {
            let all: usize = row.iter().sum();
            json!({ "name": name, "images": all, "accuracy": recognised(index, row) })
        };
        let value = json!({
            "model": self.path.display().to_string(),
            "trained_on": self.model.description.data,
            "data": self.data,
            "images": images,
            "loss": loss,
            "accuracy": accuracy,
            "balanced_accuracy": balanced_accuracy_of(confusion),
            "top_five_accuracy": (names.len() > FIVE).then_some(top_five),
            "parameters": self.cost.weights,
            "multiply_adds": self.cost.multiply_adds,
            "milliseconds_per_image": { "batch_1": self.latency[0], "batch_64": self.latency[1] },
            "classes": names.iter().zip(confusion).enumerate().map(class).collect::<Vec<_>>(),
            "confusion": confusion,
        });
        format!("{value}\n")
    }

    fn text(&self) -> String {
        let description = &self.model.description;
        let Evaluation { images, loss, accuracy, top_five, ref confusion } = self.evaluation;
        let millions = self.cost.multiply_adds as f64 / 1e6;
        let within_five = match description.class_names.len() {
            0..=FIVE => String::new(),
            _ => format!(", {:.2} % within five guesses", 100.0 * top_five),
        };
        let balanced = balanced_accuracy_of(confusion).map_or(String::new(), |balanced| {
            format!("balanced  {:.2} %, the mean of the classes\n", 100.0 * balanced)
        });
        format!(
            "model     {}: {} cells of {} channels, epoch {} on {}\n\
             network   {} weights, {millions:.1} million multiply-adds for an image of {}x{}\n\
             accuracy  {:.2} % of {} images of {}{within_five}, loss {loss:.4}\n{balanced}\
             latency   {:.3} ms an image alone, {:.3} ms in a batch of {}\n\n",
            self.path.display(),
            description.cells,
            description.init_channels,
            description.epoch,
            description.data,
            grouped(self.cost.weights),
            description.height,
            description.width,
            100.0 * accuracy,
            grouped(images),
            self.data,
            self.latency[0],
            self.latency[1],
            BATCHES[1],
        )
    }

    /// The names of the classes as they are printed.
    fn names(&self) -> Vec<String> {
        self.model.description.class_names.iter().map(|name| plain(name)).collect()
    }

    /// A line for each class: how many images it has, and how many of them were recognised.
    fn classes(&self) -> String {
        let names = self.names();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
        let mut text = format!("{:width$}  images     right\n", "class");
        for (index, (name, row)) in names.iter().zip(&self.evaluation.confusion).enumerate() {
            let all: usize = row.iter().sum();
            let share =
                recognised(index, row).map_or("-".to_owned(), |share| format!("{:.2} %", 100.0 * share));
            text.push_str(&format!("{name:width$}  {all:6}  {share:>8}\n"));
        }
        text
    }

    /// The matrix of confusions, or of many classes only the most frequent ones.
    fn confusions(&self) -> String {
        let (names, confusion) = (self.names(), &self.evaluation.confusion);
        if names.len() > MOST_COLUMNS {
            return self.most_frequent();
        }
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).clamp(4, 12);
        let short = |name: &String| name.chars().take(width).collect::<String>();
        let cells = |cells: Vec<String>| {
            cells.into_iter().map(|cell| format!(" {cell:>width$}")).collect::<String>() + "\n"
        };
        let mut text = "\nrows are classes, columns are guesses\n".to_owned();
        text += &cells(std::iter::once(String::new()).chain(names.iter().map(short)).collect());
        for (name, row) in names.iter().zip(confusion) {
            text += &cells(std::iter::once(short(name)).chain(row.iter().map(usize::to_string)).collect());
        }
        text
    }

    fn most_frequent(&self) -> String {
        let (names, confusion) = (self.names(), &self.evaluation.confusion);
        let mut text = "\nmost frequent confusions (--json has all)\n".to_owned();
        for Confused { count, class, guess } in confused(confusion).into_iter().take(MOST_COLUMNS) {
            text.push_str(&format!("{count:6}  {} taken for {}\n", names[class], names[guess]));
        }
        text
    }
}
