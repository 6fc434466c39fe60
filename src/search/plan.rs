//! The plan of a search: everything that determines its result.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::backend::cuda;
use crate::backend::gpu::Precision;
use crate::data::{Colour, Reading};
use crate::space::alphas::edges_of;
use crate::{Error, Result};

/// The order of the approximation of the alpha gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The weights are taken as they are.
    First,
    /// The weights are taken after one virtual step; about three times the cost.
    Second,
}

impl Order {
    /// The name in a plan.
    pub const fn name(self) -> &'static str {
        match self {
            Order::First => "first",
            Order::Second => "second",
        }
    }
}

/// Where a search runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// The best device that this binary and this machine have.
    Auto,
}

impl Device {
    fn resolve(self) -> Result<Device> {
        match self {
            Device::Cpu => Ok(Device::Cpu),
            Device::Auto => Ok(cuda::first().map_or(Device::Cpu, |_| Device::Cuda)),
            Device::Cuda => cuda::first().map(|_| Device::Cuda),
        }
    }
}

/// The most edges of a supernet, eighteen times those of the paper's.
const MOST_EDGES: usize = 2000;

/// Everything that determines a search. Its TOML keys are the long flags with `_` for `-`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// The data set.
    pub data: String,
    /// The side that pictures of a folder are resized to.
    pub image_size: usize,
    /// The values of a pixel of such pictures.
    pub colour: Colour,
    /// First or second order.
    pub order: Order,
    /// Passes over the training half.
    pub epochs: usize,
    /// Images in a step, from each half.
    pub batch_size: usize,
    /// Channels of the first cell's nodes.
    pub init_channels: usize,
    /// Cells of the supernet.
    pub cells: usize,
    /// Nodes of a cell.
    pub nodes: usize,
    /// Determines all random numbers.
    pub seed: u64,
    /// The learning rate of the weights in the first epoch.
    pub weight_lr: f64,
    /// The learning rate that the cosine schedule ends at.
    pub weight_lr_min: f64,
    /// The momentum of the weights.
    pub weight_momentum: f64,
    /// The weight decay of the weights.
    pub weight_decay: f64,
    /// The largest norm of a weight gradient.
    pub gradient_clip: f64,
    /// The learning rate of the alphas.
    pub alpha_lr: f64,
    /// Adam's first decay rate for the alphas.
    pub alpha_beta1: f64,
    /// Adam's second decay rate for the alphas.
    pub alpha_beta2: f64,
    /// The weight decay of the alphas.
    pub alpha_weight_decay: f64,
    /// Threads of the CPU backend; 0 for all cores.
    pub threads: usize,
    /// The device.
    pub device: Device,
    /// What feature maps are stored as; only GPUs store less than f32.
    pub precision: Precision,
}

impl Default for Plan {
    /// The small plan: a search on the digits that takes half a minute on a laptop.
    fn default() -> Self {
        Plan {
            data: "digits".to_owned(),
            epochs: 12,
            batch_size: 32,
            init_channels: 8,
            cells: 3,
            alpha_lr: 0.01,
            ..Plan::paper()
        }
    }
}

/// A value that a plan must not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The key.
    pub key: &'static str,
    /// The value found.
    pub value: String,
    /// What is allowed.
    pub expected: String,
}

impl Plan {
    /// The search of the paper on CIFAR-10. The data set is left empty: it must be given.
    pub fn paper() -> Self {
        Plan {
            data: String::new(),
            image_size: Reading::default().image_size,
            colour: Colour::Rgb,
            order: Order::First,
            epochs: 50,
            batch_size: 64,
            init_channels: 16,
            cells: 8,
            nodes: 4,
            seed: 0,
            weight_lr: 0.025,
            weight_lr_min: 0.001,
            weight_momentum: 0.9,
            weight_decay: 3e-4,
            gradient_clip: 5.0,
            alpha_lr: 3e-4,
            alpha_beta1: 0.5,
            alpha_beta2: 0.999,
            alpha_weight_decay: 1e-3,
            threads: 0,
            device: Device::Auto,
            precision: Precision::F32,
        }
    }

    /// Reads a plan; keys that are absent keep the values of the small plan. The path is for messages.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self> {
        let plan = Plan::default().overlaid(text, path)?;
        plan.validate()?;
        Ok(plan)
    }

    /// This plan with the values of the keys that the text holds; not validated.
    pub fn overlaid(&self, text: &str, path: &Path) -> Result<Self> {
        // Read as a plan first: these errors know their line.
        toml::from_str::<Plan>(text).map_err(|error| located(&error, text, path))?;
        self.with(text.parse().map_err(|error| located(&error, text, path))?)
    }

    /// This plan with the values of a table; not validated.
    pub fn with(&self, values: toml::Table) -> Result<Self> {
        let mut table = self.to_table()?;
        table.extend(values);
        table.try_into().map_err(|error: toml::de::Error| Error::Plan(error.message().replace('\n', " ")))
    }

    /// The plan as a table of its keys.
    pub fn to_table(&self) -> Result<toml::Table> {
        toml::Table::try_from(self).map_err(|error| Error::Plan(error.to_string()))
    }

    /// The plan as TOML; [`Plan::from_toml`] gives back the same plan, bit for bit.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| Error::Plan(error.to_string()))
    }

    /// How the pictures of a folder are read.
    pub fn reading(&self, strict: bool) -> Reading {
        Reading { image_size: self.image_size, colour: self.colour, strict }
    }

    /// Refuses a plan that cannot be run, naming the key, its value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        self.violation().map_or(Ok(()), |violation| Err(violation.into()))
    }

    /// The first value that the plan must not hold.
    pub fn violation(&self) -> Option<Violation> {
        let counts = [
            ("image_size", self.image_size, 4, 1024),
            ("epochs", self.epochs, 1, 100_000),
            ("batch_size", self.batch_size, 1, 65_536),
            ("init_channels", self.init_channels, 1, 1024),
            ("cells", self.cells, 3, 100),
            ("nodes", self.nodes, 1, 16),
            ("threads", self.threads, 0, 1024),
        ];
        // With one or two cells both kinds of reduction fall together and no cell is a normal one.
        for (key, value, least, most) in counts {
            if !(least..=most).contains(&value) {
                let expected = format!("a whole number from {least} to {most}");
                return Some(Violation { key, value: value.to_string(), expected });
            }
        }
        let edges = self.cells * edges_of(self.nodes);
        if edges > MOST_EDGES {
            let expected = format!("at most {} with {} nodes", MOST_EDGES / edges_of(self.nodes), self.nodes);
            return Some(Violation { key: "cells", value: self.cells.to_string(), expected });
        }
        if self.data.trim().is_empty() {
            let expected = "the name of a data set, such as digits".to_owned();
            return Some(Violation { key: "data", value: "empty".to_owned(), expected });
        }
        if i64::try_from(self.seed).is_err() {
            let expected = format!("a whole number from 0 to {}", i64::MAX);
            return Some(Violation { key: "seed", value: self.seed.to_string(), expected });
        }
        if self.device == Device::Cpu && self.precision != Precision::F32 {
            let expected = "f32, the only one of device cpu".to_owned();
            return Some(Violation { key: "precision", value: self.precision.name().to_owned(), expected });
        }
        self.rate_violation()
    }

    /// The device that the search will run on, or why it cannot.
    pub fn resolve_device(&self) -> Result<Device> {
        let device = self.device.resolve()?;
        if device == Device::Cpu && self.precision != Precision::F32 {
            // A device that was left open: say why there is no GPU.
            return cuda::first().map(|_| device);
        }
        Ok(device)
    }

    fn rate_violation(&self) -> Option<Violation> {
        /// The largest rate that is not surely a slip.
        const LARGEST: f64 = 1e6;
        let rates = [
            ("weight_lr", self.weight_lr),
            ("weight_lr_min", self.weight_lr_min),
            ("weight_decay", self.weight_decay),
            ("gradient_clip", self.gradient_clip),
            ("alpha_lr", self.alpha_lr),
            ("alpha_weight_decay", self.alpha_weight_decay),
        ];
        let outside = rates.into_iter().find(|(_, value)| !(0.0..=LARGEST).contains(value));
        if let Some((key, value)) = outside {
            let expected = format!("a number from 0 to {LARGEST}");
            return Some(Violation { key, value: value.to_string(), expected });
        }
        if self.gradient_clip == 0.0 {
            let expected = "a number above 0: at 0 nothing is learnt".to_owned();
            return Some(Violation { key: "gradient_clip", value: "0".to_owned(), expected });
        }
        let fractions = [
            ("weight_momentum", self.weight_momentum),
            ("alpha_beta1", self.alpha_beta1),
            ("alpha_beta2", self.alpha_beta2),
        ];
        let outside = fractions.into_iter().find(|(_, value)| !(0.0..1.0).contains(value));
        if let Some((key, value)) = outside {
            let expected = "a number from 0 to below 1".to_owned();
            return Some(Violation { key, value: value.to_string(), expected });
        }
        (self.weight_lr_min > self.weight_lr).then(|| Violation {
            key: "weight_lr_min",
            value: self.weight_lr_min.to_string(),
            expected: format!("at most weight_lr, which is {}", self.weight_lr),
        })
    }

    /// The batch, where one half of the data set, so many images, cannot fill it.
    pub fn violation_by_data(&self, images_per_half: usize) -> Option<Violation> {
        (self.batch_size > images_per_half).then(|| Violation {
            key: "batch_size",
            value: self.batch_size.to_string(),
            expected: format!("at most {images_per_half}, half of the images of {}", self.data),
        })
    }

    /// Refuses a batch that one half of the data set cannot fill.
    pub fn check_against(&self, images_per_half: usize) -> Result<()> {
        self.violation_by_data(images_per_half).map_or(Ok(()), |violation| Err(violation.into()))
    }
}

impl From<Violation> for Error {
    fn from(Violation { key, value, expected }: Violation) -> Self {
        Error::Plan(format!("{key} is {value}; expected {expected}"))
    }
}

/// The sentence for an error of the TOML reader: the file, the line, the key and what was expected.
fn located(error: &toml::de::Error, text: &str, path: &Path) -> Error {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..start).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let key = match line.split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => format!(", key {}", key.trim()),
        _ => String::new(),
    };
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    // The names of Rust's types say nothing to the author of a plan.
    let message = message.replace("expected usize", "expected a whole number");
    let message = message
        .replace("expected u64", "expected a whole number")
        .replace("expected f64", "expected a number");
    Error::Plan(format!("{}, line {number}{key}: {message}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Plan> {
        Plan::from_toml(text, Path::new("some.toml"))
    }

    fn refusal(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn a_plan_comes_back_exactly() {
        let plan = Plan {
            order: Order::Second,
            seed: i64::MAX as u64,
            weight_lr: 0.1 + 0.2,
            weight_lr_min: 5e-324,
            weight_decay: 0.0,
            alpha_lr: 1.0,
            ..Plan::default()
        };
        assert_eq!(read(&plan.to_toml().unwrap()).unwrap(), plan);
        assert_eq!(read("").unwrap(), Plan::default());
        assert_eq!(read("alpha_lr = 1").unwrap().alpha_lr, 1.0);
    }

    #[test]
    fn an_overlay_keeps_what_it_does_not_name() {
        let plan = Plan::paper().overlaid("data = \"digits\"\ncells = 2", Path::new("x")).unwrap();
        assert_eq!(plan, Plan { data: "digits".into(), cells: 2, ..Plan::paper() });
        assert!(Plan::paper().validate().unwrap_err().to_string().starts_with("plan: data is empty"));
    }

    #[test]
    fn errors_name_file_line_and_key() {
        assert!(
            refusal("cells = 3\nepoch = 5").starts_with("plan: some.toml, line 2, key epoch: unknown field")
        );
        let refused = refusal("# comment\n\nepochs = \"many\"");
        assert!(refused.starts_with("plan: some.toml, line 3, key epochs: invalid type"), "{refused}");
        assert!(refused.ends_with("expected a whole number"), "{refused}");
        assert!(refusal("epochs = -1").contains("line 1, key epochs: "));
        assert!(refusal("order = \"third\"").contains("line 1, key order: unknown variant `third`"));
        assert!(refusal("cells = ").contains("some.toml, line 1, key cells"));
        assert!(refusal("cells = 1\ncells = 2").contains("line 2"));
    }

    #[test]
    fn impossible_values_are_refused_with_what_is_allowed() {
        assert_eq!(refusal("epochs = 0"), "plan: epochs is 0; expected a whole number from 1 to 100000");
        assert!(refusal("cells = 101").contains("cells is 101; expected a whole number from 3 to 100"));
        assert!(refusal("nodes = 17").contains("from 1 to 16"));
        assert!(
            refusal("precision = \"bf16\"\ndevice = \"cpu\"").contains("precision is bf16; expected f32")
        );
        assert!(refusal("weight_lr = nan").contains("weight_lr is NaN"));
        assert!(refusal("alpha_lr = -inf").contains("alpha_lr is -inf"));
        assert!(
            refusal("alpha_beta2 = 1.0").contains("alpha_beta2 is 1; expected a number from 0 to below 1")
        );
        assert!(refusal("weight_lr = 0.0001").contains("at most weight_lr, which is 0.0001"));
    }

    #[test]
    fn a_batch_must_fit_into_half_the_data() {
        let plan = Plan { batch_size: 500, ..Plan::default() };
        assert!(plan.check_against(500).is_ok());
        let refused = plan.check_against(499).unwrap_err().to_string();
        assert!(refused.contains("500") && refused.contains("499"));
    }
}
