//! The plan of a training: everything that determines its result, but for the genotype.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::backend::gpu::Precision;
use crate::data::{Augmentation, Colour, Dataset, Reading};
use crate::plan::{
    Command, Device, PlanTable, THREADS, Violation, count_violation, descent_violation, fraction_violation,
    rate_violation, run_violation,
};
use crate::space::NetworkShape;

/// Everything that determines a training. Its TOML keys are the long flags with `_` for `-`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// The data set.
    pub data: String,
    /// The side that pictures of a folder are resized to.
    pub image_size: usize,
    /// The values of a pixel of such pictures.
    pub colour: Colour,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images in a step.
    pub batch_size: usize,
    /// Channels of the first cell's nodes.
    pub init_channels: usize,
    /// Cells of the network.
    pub cells: usize,
    /// Determines all random numbers.
    pub seed: u64,
    /// The learning rate in the first epoch.
    pub weight_lr: f64,
    /// The learning rate that the cosine schedule ends at.
    pub weight_lr_min: f64,
    /// The momentum of the weights.
    pub weight_momentum: f64,
    /// The weight decay.
    pub weight_decay: f64,
    /// The largest norm of a gradient.
    pub gradient_clip: f64,
    /// The share of the auxiliary head's loss; at 0 there is no such head.
    pub auxiliary_weight: f64,
    /// The probability that drop path rises to.
    pub drop_path: f64,
    /// Black pixels around an image before a part of its size is cut out at random.
    pub crop_padding: usize,
    /// Whether half of the images are mirrored.
    pub flip: bool,
    /// The side of the square that is set to the mean; 0 for none.
    pub cutout: usize,
    /// Threads of the CPU backend; 0 for all cores.
    pub threads: usize,
    /// The device.
    pub device: Device,
    /// What feature maps are stored as; only GPUs store less than f32.
    pub precision: Precision,
}

impl Default for Plan {
    /// The small plan: a model of the digits in half a minute on a laptop. A flipped digit is another character, and
    /// the feature maps of 8x8 images are too small for the auxiliary head.
    fn default() -> Self {
        Plan {
            data: "digits".to_owned(),
            epochs: 40,
            batch_size: 32,
            init_channels: 16,
            cells: 5,
            auxiliary_weight: 0.0,
            drop_path: 0.1,
            crop_padding: 1,
            flip: false,
            cutout: 2,
            ..Plan::paper()
        }
    }
}

impl Plan {
    /// The training of the paper on CIFAR-10. The data set is left empty: it must be given.
    pub fn paper() -> Self {
        Plan {
            data: String::new(),
            image_size: Reading::default().image_size,
            colour: Colour::Rgb,
            epochs: 600,
            batch_size: 96,
            init_channels: 36,
            cells: 20,
            seed: 0,
            weight_lr: 0.025,
            weight_lr_min: 0.0,
            weight_momentum: 0.9,
            weight_decay: 3e-4,
            gradient_clip: 5.0,
            auxiliary_weight: 0.4,
            drop_path: 0.2,
            crop_padding: 4,
            flip: true,
            cutout: 16,
            threads: 0,
            device: Device::Auto,
            precision: Precision::F32,
        }
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

    /// The first value that does not fit the data set.
    pub fn violation_by_data(&self, dataset: &Dataset) -> Option<Violation> {
        let (images, side) = (&dataset.train, dataset.train.height.min(dataset.train.width));
        let (count, name) = (images.count(), &self.data);
        if self.batch_size > count {
            let expected = format!("at most {count}, the training images of {name}");
            return Some(Violation::new("batch_size", self.batch_size, expected));
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

    fn paper() -> Self {
        Plan::paper()
    }

    fn violation(&self) -> Option<Violation> {
        let counts = [
            ("image_size", self.image_size, 4..=1024),
            ("epochs", self.epochs, 1..=100_000),
            ("batch_size", self.batch_size, 1..=65_536),
            ("init_channels", self.init_channels, 1..=1024),
            // With one or two cells both reductions fall together and no cell is a normal one.
            ("cells", self.cells, 3..=100),
            ("crop_padding", self.crop_padding, 0..=1024),
            ("cutout", self.cutout, 0..=1024),
            ("threads", self.threads, THREADS),
        ];
        let rates = [
            ("weight_lr", self.weight_lr),
            ("weight_lr_min", self.weight_lr_min),
            ("weight_decay", self.weight_decay),
            ("gradient_clip", self.gradient_clip),
            ("auxiliary_weight", self.auxiliary_weight),
        ];
        count_violation(&counts)
            .or_else(|| run_violation(&self.data, self.seed, self.device, self.precision))
            .or_else(|| rate_violation(&rates))
            .or_else(|| {
                fraction_violation(&[
                    ("weight_momentum", self.weight_momentum),
                    ("drop_path", self.drop_path),
                ])
            })
            .or_else(|| descent_violation(self.learning_rates(), self.gradient_clip))
    }

    fn data(&self) -> &str {
        &self.data
    }

    fn reading(&self, strict: bool) -> Reading {
        Reading { image_size: self.image_size, colour: self.colour, strict }
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn resolve_device(&self) -> Result<Device> {
        self.device.resolve(self.precision)
    }

    fn learning_rates(&self) -> [f64; 2] {
        [self.weight_lr, self.weight_lr_min]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::{Reading, Source};

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
        assert!(sentence(Plan { crop_padding: 8, ..small() }).unwrap().contains("less than 8"));
        assert!(sentence(Plan { cutout: 9, ..small() }).unwrap().contains("at most 8"));
        let found = sentence(Plan { auxiliary_weight: 0.4, ..small() }).unwrap();
        assert!(found.contains("auxiliary_weight is 0.4; expected 0 for images of 8x8"), "{found}");
    }

    #[test]
    fn the_sizes_that_suit_the_auxiliary_head_are_those_that_are_told() {
        let suits: Vec<usize> = (1..100).filter(|&side| NetworkShape::suits_auxiliary(side, side)).collect();
        assert_eq!(suits, (29..=40).collect::<Vec<_>>());
    }
}
