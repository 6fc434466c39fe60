//! The plan of a training: everything that determines its result, but for the genotype.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::keys::{FRACTION, Keys, POSITIVE, Preset, RATE, count, number, switch, word};
use super::shared::{
    Demand, cells_conflict, images, machine, precision_conflict, schedule_conflict, seed, sides_violation,
    space,
};
use super::spaces::complete_for_space;
use super::{Command, DeviceChoice, PlanTable, Violation};
use crate::Result;
use crate::backend::gpu::Precision;
use crate::data::{Augmentation, Colour, Dataset, Fit, Reading, Source};
use crate::space::auxiliary::REDUCTIONS;
use crate::space::stored::Choice;
use crate::space::{NetworkShape, Space};

/// How often the loss counts the images of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All images count alike.
    #[default]
    None,
    /// All classes count alike, however many images they have.
    Balanced,
}

impl ClassWeights {
    const ALL: [ClassWeights; 2] = [ClassWeights::None, ClassWeights::Balanced];
}

/// Its name in a plan.
impl fmt::Display for ClassWeights {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// Everything that determines a training. The fields are the keys in [`Plan::keys`], which say what they mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Plan {
    pub data: String,
    pub image_size: usize,
    pub colour: Colour,
    pub background: String,
    pub fit: Fit,
    pub train_images: usize,
    pub space: String,
    pub epochs: usize,
    pub batch_size: usize,
    pub init_channels: usize,
    pub cells: usize,
    pub seed: u64,
    pub weight_lr: f64,
    pub weight_lr_min: f64,
    pub weight_momentum: f64,
    pub weight_nesterov: bool,
    pub weight_decay: f64,
    pub gradient_clip: f64,
    pub class_weights: ClassWeights,
    pub auxiliary_weight: f64,
    pub drop_path: f64,
    pub crop_padding: usize,
    pub flip: bool,
    pub cutout: usize,
    pub threads: usize,
    pub device: DeviceChoice,
    pub precision: Precision,
}

// A flipped digit is another character, and the feature maps of 8x8 images are too small for the auxiliary head.
#[rustfmt::skip]
static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let mut keys = Vec::from(images());
    keys.push(space());
    keys.extend([
        count("epochs", 1..=100_000, [40, 600],
            "Passes over the training images"),
        count("batch_size", 1..=65_536, [32, 96],
            "Images in a step"),
        count("init_channels", 1..=1024, [16, 36],
            "Channels of a node in the first cells; each reduction doubles them"),
        count("cells", 1..=100, [5, 20],
            "Cells of the network; those at 1/3 and 2/3 of the depth reduce, or residual blocks there do, as in \
             nas-bench-201"),
        seed(),
        number("weight_lr", "RATE", RATE, [0.025; 2],
            "Learning rate in the first epoch"),
        number("weight_lr_min", "RATE", RATE, [0.0; 2],
            "Learning rate that the cosine schedule ends at"),
        number("weight_momentum", "FACTOR", FRACTION, [0.9; 2],
            "Momentum of the weights, below 1"),
        switch("weight_nesterov", [false; 2],
            "Whether a step looks ahead along the momentum, as Nesterov's does"),
        number("weight_decay", "RATE", RATE, [3e-4; 2],
            "Weight decay"),
        number("gradient_clip", "NORM", POSITIVE, [5.0; 2],
            "Largest norm of a gradient; a longer one is shortened to it"),
        word("class_weights", "WEIGHTS", &ClassWeights::ALL, [ClassWeights::None; 2],
            "What an image counts in the training loss: balanced for as much as makes all classes count alike, or none"),
        number("auxiliary_weight", "FACTOR", RATE, [0.0, 0.4],
            "Share of the auxiliary head's loss; 0 for no such head"),
        number("drop_path", "SHARE", FRACTION, [0.1, 0.2],
            "Probability of drop path, to which it rises epoch by epoch"),
        count("crop_padding", 0..=1024, [1, 4],
            "Black pixels around an image before its size is cut out at random; pictures of a folder take an \
             eighth of their side where nothing is given"),
        switch("flip", [false, true],
            "Whether half of the images are mirrored: true or false"),
        count("cutout", 0..=1024, [2, 16],
            "Side of a square that is set to the mean; 0 for none; pictures of a folder take a \
             quarter of their side where nothing is given, and half with the preset paper"),
    ]);
    keys.extend(machine("Where to train"));
    Keys(keys)
});

impl Default for Plan {
    /// The small plan: a model of the digits in half a minute on a laptop.
    fn default() -> Self {
        Plan::preset(Preset::Small)
    }
}

impl Plan {
    /// The training of the paper on CIFAR-10. The data set is left empty: it must be given.
    pub fn paper() -> Self {
        Plan::preset(Preset::Paper)
    }

    /// The space of the genotype.
    ///
    /// # Errors
    /// It is none that [`validate`](PlanTable::validate) accepts.
    pub fn space(&self) -> Result<Arc<Space>> {
        self.space.parse().and_then(|choice: Choice| choice.space())
    }

    /// How training images are varied.
    pub fn augmentation(&self) -> Augmentation {
        let cutout = (self.cutout > 0).then_some(self.cutout);
        Augmentation { crop_padding: self.crop_padding, flip: self.flip, cutout }
    }

    /// The share of the auxiliary head's loss, where there is a head.
    pub fn auxiliary(&self) -> Option<f64> {
        (self.auxiliary_weight > 0.0).then_some(self.auxiliary_weight)
    }

    /// An auxiliary head in a network that is too short for it.
    fn auxiliary_conflict(&self) -> Option<Violation> {
        let Plan { cells, auxiliary_weight, .. } = *self;
        let space = self.space().ok()?;
        if self.auxiliary().is_some() && !space.stacking().has_auxiliary() {
            let expected = format!("0 in the space {space}, whose networks have no auxiliary head");
            return Some(Violation::new("auxiliary_weight", auxiliary_weight, expected));
        }
        (self.auxiliary().is_some() && cells < REDUCTIONS).then(|| {
            let before = format!("{REDUCTIONS} cells halve the resolution before an auxiliary head");
            let without = format!("0 with {cells} cell: {before}");
            Violation::new("cells", cells, format!("at least {REDUCTIONS}: {before}")).or(Violation::new(
                "auxiliary_weight",
                auxiliary_weight,
                without,
            ))
        })
    }

    /// The first value that does not fit the data set.
    pub fn violation_by_data(&self, dataset: &Dataset) -> Option<Violation> {
        let (images, side) = (&dataset.train, dataset.train.height.min(dataset.train.width));
        let Plan { data: ref name, train_images, batch_size, .. } = *self;
        let demand = Demand { data: name, train_images, batch_size, parts: 1 };
        if let Some(violation) = demand.violation(dataset) {
            return Some(violation);
        }
        if let Some(violation) = sides_violation(&self.space, dataset) {
            return Some(violation);
        }
        if self.crop_padding >= side {
            let expected = format!("less than {side}, the side of an image of {name}");
            return Some(Violation::new("crop_padding", self.crop_padding, expected));
        }
        if self.cutout > side {
            let expected = format!("at most {side}, the side of an image of {name}");
            return Some(Violation::new("cutout", self.cutout, expected));
        }
        let suits = NetworkShape::suits_auxiliary(images.height, images.width);
        (self.auxiliary().is_some() && !suits).then(|| {
            let expected = format!(
                "0 for images of {}x{}: the auxiliary head is made for those of 29 to 40 pixels a side",
                images.height, images.width
            );
            Violation::new("auxiliary_weight", self.auxiliary_weight, expected)
        })
    }
}

impl PlanTable for Plan {
    const COMMAND: Command = Command::Train;

    fn keys() -> &'static Keys {
        &KEYS
    }

    /// A preset's padding and cutout suit images of one side; on pictures of one's own they are the same shares of
    /// `image_size`.
    fn complete(values: &mut Table, preset: Preset, wrote: &dyn Fn(&str) -> bool) -> Result<()> {
        complete_for_space(values, Self::COMMAND, preset, wrote);
        let source = values.get("data").and_then(Value::as_str).map(str::parse::<Source>);
        let own_pictures = source.and_then(Result::ok).is_some_and(|source| source.format().pictures);
        let Some(side) = values.get("image_size").and_then(Value::as_integer).filter(|_| own_pictures) else {
            return Ok(());
        };
        let suited = match preset {
            Preset::Small => 8,
            Preset::Paper => 32,
        };
        for key in ["crop_padding", "cutout"].into_iter().filter(|key| !wrote(key)) {
            if let Some(Value::Integer(pixels)) = values.get_mut(key) {
                *pixels = pixels.saturating_mul(side) / suited;
            }
        }
        Ok(())
    }

    fn conflict(&self) -> Option<Violation> {
        cells_conflict(&self.space, self.cells)
            .or_else(|| self.auxiliary_conflict())
            .or_else(|| precision_conflict(self.device, self.precision))
            .or_else(|| schedule_conflict([self.weight_lr, self.weight_lr_min]))
    }

    fn data(&self) -> &str {
        &self.data
    }

    fn reading(&self) -> Reading {
        let Plan { image_size, colour, fit, .. } = *self;
        // A validated plan holds a background.
        let background = self.background.parse().ok();
        Reading { image_size, colour, background, fit, ..Reading::default() }
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn resolve_device(&self) -> Result<DeviceChoice> {
        self.device.resolve(self.precision)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::{Reading, Source};
    use crate::plan::merge::Written;

    #[test]
    fn a_plan_comes_back_exactly_and_absent_keys_are_those_of_the_small_one() {
        let plan = Plan { drop_path: 0.1 + 0.2, flip: true, seed: 7, ..Plan::default() };
        let read = |text: &str| Plan::from_toml(text, Path::new("some.toml"));
        assert_eq!(read(&plan.to_toml().unwrap()).unwrap(), plan);
        assert_eq!(read("").unwrap(), Plan::default());
        let refusal = |text: &str| read(text).unwrap_err().to_string();
        assert!(refusal("flip = 3").contains("line 1, key flip: "));
        assert_eq!(refusal("drop_path = 1.0"), "plan: drop_path is 1; expected a number from 0 to below 1");
        assert!(
            refusal("auxiliary_weight = -1").contains("auxiliary_weight is -1; expected a number from 0")
        );
    }

    #[test]
    fn what_does_not_fit_the_images_is_named() {
        let digits = "digits".parse::<Source>().unwrap().load(0, &Reading::default(), &()).unwrap();
        let sentence =
            |plan: Plan| plan.violation_by_data(&digits).map(|v| crate::Error::from(v).to_string());
        assert_eq!(sentence(Plan::default()), None);
        let small = Plan::default;
        let found = sentence(Plan { batch_size: 40_000, ..small() }).unwrap();
        assert_eq!(found, "plan: batch_size is 40000; expected at most 1438, the training images of digits");
        let found = sentence(Plan { train_images: 31, ..small() }).unwrap();
        let expected =
            "plan: batch_size is 32; expected at most 31, the images that train_images takes of digits";
        assert_eq!(found, expected);
        assert!(sentence(Plan { train_images: 1439, ..small() }).unwrap().contains("expected at most 1438"));
        assert_eq!(sentence(Plan { train_images: 32, ..small() }), None);
        assert!(sentence(Plan { crop_padding: 8, ..small() }).unwrap().contains("less than 8"));
        assert!(sentence(Plan { cutout: 9, ..small() }).unwrap().contains("at most 8"));
        let found = sentence(Plan { auxiliary_weight: 0.4, ..small() }).unwrap();
        assert!(found.contains("auxiliary_weight is 0.4; expected 0 for images of 8x8"), "{found}");
    }

    #[test]
    fn shifts_and_cutout_are_shares_of_the_side_of_own_pictures() {
        let sizes = |preset, flags: &str| {
            let flags = flags.parse::<Table>().unwrap();
            let written = Written { preset, file: None, flags };
            let Plan { crop_padding, cutout, .. } = written.plan::<Plan>(Table::new()).unwrap().plan;
            [crop_padding, cutout]
        };
        let folder = |side: usize| format!("data = \"folder:x\"\nimage_size = {side}\n");
        assert_eq!(
            [4, 8, 28, 64].map(|side| sizes(Preset::Small, &folder(side))),
            [[0, 1], [1, 2], [3, 7], [8, 16]]
        );
        assert_eq!([32, 64].map(|side| sizes(Preset::Paper, &folder(side))), [[4, 16], [8, 32]]);
        // What is written stays, and other images have one size.
        assert_eq!(sizes(Preset::Small, &(folder(64) + "cutout = 3")), [8, 3]);
        assert_eq!(sizes(Preset::Small, &(folder(64) + "crop_padding = 0")), [0, 16]);
        assert_eq!(sizes(Preset::Small, "data = \"cifar10:x\""), [1, 2]);
        assert_eq!(sizes(Preset::Small, ""), [1, 2]);
    }

    #[test]
    fn an_auxiliary_head_needs_two_cells() {
        let space = "{\"name\": \"own\", \"candidates\": [\"none\", \"skip_connect\"], \"fewest_cells\": 1}";
        let plan =
            |cells, auxiliary_weight| Plan { cells, auxiliary_weight, space: space.into(), ..Plan::paper() };
        let refusal = |cells, weight| plan(cells, weight).conflict().map(|found| found.to_string());
        assert_eq!([refusal(2, 0.4), refusal(1, 0.0)], [None, None]);
        assert_eq!(
            refusal(1, 0.4).unwrap(),
            "cells is 1; expected at least 2: 2 cells halve the resolution before an auxiliary head"
        );
    }

    #[test]
    fn the_sizes_that_suit_the_auxiliary_head_are_those_of_its_refusal() {
        let suits: Vec<usize> = (1..100).filter(|&side| NetworkShape::suits_auxiliary(side, side)).collect();
        assert_eq!(suits, (29..=40).collect::<Vec<_>>());
    }
}
