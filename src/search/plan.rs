//! The plan of a search: everything that determines its result.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::backend::gpu::Precision;
use crate::data::{Colour, Reading};
use crate::plan::{
    Command, Device, PlanTable, THREADS, Violation, count_violation, descent_violation, fraction_violation,
    rate_violation, run_violation,
};
use crate::space::Space;

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

    /// A supernet larger than any that is meant.
    fn edge_violation(&self) -> Option<Violation> {
        let edges = Space::darts().wiring(0, self.nodes).edges.len();
        let expected = || format!("at most {} with {} nodes", MOST_EDGES / edges, self.nodes);
        (self.cells * edges > MOST_EDGES).then(|| Violation::new("cells", self.cells, expected()))
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

impl PlanTable for Plan {
    const COMMAND: Command = Command::Search;

    fn paper() -> Self {
        Plan::paper()
    }

    fn violation(&self) -> Option<Violation> {
        let counts = [
            ("image_size", self.image_size, 4..=1024),
            ("epochs", self.epochs, 1..=100_000),
            ("batch_size", self.batch_size, 1..=65_536),
            ("init_channels", self.init_channels, 1..=1024),
            // With one or two cells both kinds of reduction fall together and no cell is a normal one.
            ("cells", self.cells, 3..=100),
            ("nodes", self.nodes, 1..=16),
            ("threads", self.threads, THREADS),
        ];
        let rates = [
            ("weight_lr", self.weight_lr),
            ("weight_lr_min", self.weight_lr_min),
            ("weight_decay", self.weight_decay),
            ("gradient_clip", self.gradient_clip),
            ("alpha_lr", self.alpha_lr),
            ("alpha_weight_decay", self.alpha_weight_decay),
        ];
        let fractions = [
            ("weight_momentum", self.weight_momentum),
            ("alpha_beta1", self.alpha_beta1),
            ("alpha_beta2", self.alpha_beta2),
        ];
        count_violation(&counts)
            .or_else(|| self.edge_violation())
            .or_else(|| run_violation(&self.data, self.seed, self.device, self.precision))
            .or_else(|| rate_violation(&rates))
            .or_else(|| fraction_violation(&fractions))
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
