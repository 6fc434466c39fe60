//! What both plans have: a command, a device, keys, and conflicts between them.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::Violation;
use super::keys::{self, Key, count, text, word};
use crate::Result;
use crate::backend::cuda;
use crate::backend::gpu::Precision;
use crate::data::{Background, Colour, Dataset, Fit, Reading, format};
use crate::space::stored::Choice;

/// How many threads of the processor may be asked for; 0 for all cores.
pub const THREADS: RangeInclusive<usize> = 0..=1024;

/// The most training images that a plan asks for: as many as the images of a half have indices.
const MOST_IMAGES: i64 = u32::MAX as i64;

/// The two commands that make a run: a search, and the training of the network that it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// `darts search`.
    Search,
    /// `darts train`.
    Train,
}

impl Command {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Command::Search => "search",
            Command::Train => "train",
        }
    }

    /// Its run, with an article.
    pub fn run(self) -> &'static str {
        match self {
            Command::Search => "a search",
            Command::Train => "a training",
        }
    }
}

/// Where a run computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// The best device that this binary and this machine have.
    Auto,
}

impl DeviceChoice {
    /// All of them.
    pub const ALL: [DeviceChoice; 3] = [DeviceChoice::Cpu, DeviceChoice::Cuda, DeviceChoice::Auto];

    /// The device that a run with activations of this precision will use, or why it cannot.
    pub fn resolve(self, precision: Precision) -> Result<DeviceChoice> {
        let device = match self {
            DeviceChoice::Cpu => DeviceChoice::Cpu,
            DeviceChoice::Auto => cuda::first().map_or(DeviceChoice::Cpu, |_| DeviceChoice::Cuda),
            DeviceChoice::Cuda => cuda::first().map(|_| DeviceChoice::Cuda)?,
        };
        if device == DeviceChoice::Cpu && precision != Precision::F32 {
            // A device that was left open: say why there is no GPU.
            return cuda::first().map(|_| device);
        }
        Ok(device)
    }
}

/// Its name in a plan.
impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// The keys that say which images a run sees.
pub(super) fn images() -> [Key; 6] {
    let side = Reading::default().image_size as i64;
    [
        text(
            "data",
            "DATA",
            |text| text.trim().is_empty().then(|| "the name of a data set, such as digits".to_owned()),
            ["digits", ""],
            &format::help(),
        ),
        count(
            "image_size",
            4..=1024,
            [side; 2],
            "Side in pixels that the pictures of a folder are resized to",
        ),
        word(
            "colour",
            "COLOUR",
            &Colour::ALL,
            [Colour::Rgb; 2],
            "What is read of the pictures of a folder: rgb or grey",
        ),
        text(
            "background",
            "COLOUR",
            |text| text.parse::<Background>().err(),
            ["white"; 2],
            &format!(
                "What lies under transparent pictures and around padded ones: {}",
                Background::expected()
            ),
        ),
        word(
            "fit",
            "FIT",
            &Fit::ALL,
            [Fit::Crop; 2],
            "How the pictures of a folder become squares: crop cuts out the centre, pad lays the whole picture on the \
             background, stretch scales its sides apart",
        ),
        count(
            "train_images",
            0..=MOST_IMAGES,
            [0; 2],
            "Use only so many of the training images: of each class its share, chosen by seed and pixels; 0 for all",
        ),
    ]
}

/// What a plan says of the number of its images.
pub(super) struct Demand<'a> {
    pub data: &'a str,
    pub train_images: usize,
    pub batch_size: usize,
    /// The parts that the training images are divided into, of which each fills a batch.
    pub parts: usize,
}

impl Demand<'_> {
    /// More training images than there are, fewer than one of each class, or fewer than a batch of each part.
    pub fn violation(&self, dataset: &Dataset) -> Option<Violation> {
        let Demand { data, train_images, batch_size, parts } = *self;
        let all = dataset.train.count();
        let classes = dataset.train.class_counts(dataset.classes()).into_iter().filter(|&images| images > 0);
        let refused = |expected| Some(Violation::new("train_images", train_images, expected));
        if train_images > all {
            return refused(format!("at most {all}, the training images of {data}; 0 takes all"));
        }
        let classes = classes.count();
        if (1..classes).contains(&train_images) {
            return refused(format!("at least {classes}, one of each class of {data}; 0 takes all"));
        }
        let most = if train_images == 0 { all } else { train_images } / parts;
        let part = if parts == 1 { "the" } else { "half of the" };
        (batch_size > most).then(|| {
            let images =
                if train_images == 0 { "training images of" } else { "images that train_images takes of" };
            let own =
                Violation::new("batch_size", batch_size, format!("at most {most}, {part} {images} {data}"));
            let least = parts * batch_size;
            let batches = if parts == 1 { "a batch" } else { "a batch of each half" };
            let other = format!("at least {least}, {batches}; 0 takes all");
            if train_images == 0 { own } else { own.or(Violation::new("train_images", train_images, other)) }
        })
    }
}

/// The search space.
pub(super) fn space() -> Key {
    keys::space("space", ["darts"; 2], &format!("Search space: {} with one of your own", Choice::expected()))
}

/// A number of cells that the space does not allow.
pub(super) fn cells_conflict(choice: &str, cells: usize) -> Option<Violation> {
    let space = choice.parse().and_then(|choice: Choice| choice.space()).ok()?;
    space.cells_refusal(cells).map(|expected| Violation::new("cells", cells, expected))
}

/// Images whose sides the network of a space cannot halve as often as it does.
pub(super) fn sides_violation(choice: &str, dataset: &Dataset) -> Option<Violation> {
    let space = choice.parse().and_then(|choice: Choice| choice.space()).ok()?;
    let (height, width, step) = (dataset.train.height, dataset.train.width, space.stacking().sides_step());
    let fits = height.is_multiple_of(step) && width.is_multiple_of(step);
    let name = space.name().to_owned();
    (!fits).then(|| {
        let expected = format!(
            "another for images of {height}x{width}: its residual blocks halve sides that are multiples of {step}"
        );
        let other = format!("a multiple of {step} in the space {name}");
        match dataset.pictures {
            Some(_) => Violation::new("image_size", height, other),
            None => Violation::new("space", name, expected),
        }
    })
}

/// The seed.
pub(super) fn seed() -> Key {
    let meaning = "Seed of all random numbers; the same seed gives the same result";
    // TOML has no larger whole number.
    count("seed", 0..=i64::MAX, [0; 2], meaning)
}

/// The keys that say what a run computes on; `place` asks where.
pub(super) fn machine(place: &str) -> [Key; 3] {
    let most = *THREADS.end() as i64;
    [
        count(
            "threads",
            0..=most,
            [0; 2],
            "Threads of the CPU; 0 for all cores; the result does not depend on it",
        ),
        word(
            "device",
            "DEVICE",
            &DeviceChoice::ALL,
            [DeviceChoice::Auto; 2],
            &format!("{place}: cpu, cuda, or auto for the best that is there"),
        ),
        word(
            "precision",
            "TYPE",
            &Precision::ALL,
            [Precision::F32; 2],
            "What a GPU stores feature maps as: f32, bf16 or f16; sums stay f32",
        ),
    ]
}

/// A precision that the device has not.
pub(super) fn precision_conflict(device: DeviceChoice, precision: Precision) -> Option<Violation> {
    (device == DeviceChoice::Cpu && precision != Precision::F32).then(|| {
        let other = format!("cuda or auto for the precision {precision}");
        Violation::new("precision", precision, "f32, the only one of device cpu")
            .or(Violation::new("device", device, other))
    })
}

/// A schedule that rises.
pub(super) fn schedule_conflict([first, last]: [f64; 2]) -> Option<Violation> {
    (last > first).then(|| {
        Violation::new("weight_lr_min", last, format!("at most weight_lr, which is {first}"))
            .or(Violation::new("weight_lr", first, format!("at least weight_lr_min, which is {last}")))
    })
}
