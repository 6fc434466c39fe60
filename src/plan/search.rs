//! The plan of a search: everything that determines its result.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::keys::{FRACTION, Keys, POSITIVE, Preset, RATE, SHARE, count, number, switch, word};
use super::method::{complete_method, method};
use super::shared::{cells_conflict, images, machine, precision_conflict, schedule_conflict, seed, space};
use super::{Command, DeviceChoice, PlanTable, Violation};
use crate::Result;
use crate::backend::gpu::Precision;
use crate::data::{Augmentation, Colour, Fit, Reading};
use crate::method::penalty::penalties;
use crate::method::perturbation::{Perturbation, perturbation};
use crate::method::relaxation::{Bounds, relaxation};
use crate::method::step_order::StepOrder;
use crate::space::Space;
use crate::space::stored::Choice;

/// The order of the approximation of the alpha gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The weights are taken as they are.
    First,
    /// The weights are taken after one virtual step; about three times the cost.
    Second,
    /// As the second, with the finite difference at a short distance where no kink is near, else at a long one.
    Extrapolated,
}

impl Order {
    /// All of them.
    pub const ALL: [Order; 3] = [Order::First, Order::Second, Order::Extrapolated];
}

/// Its name in a plan.
impl fmt::Display for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// Whether half of the training images are mirrored left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// Where that is customary for the data set.
    Auto,
    /// Yes.
    True,
    /// No.
    False,
}

impl Flip {
    /// All of them.
    pub const ALL: [Flip; 3] = [Flip::Auto, Flip::True, Flip::False];
}

/// Its name in a plan.
impl fmt::Display for Flip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// The most edges of a supernet, eighteen times those of the paper's.
const MOST_EDGES: usize = 2000;

/// Everything that determines a search. The fields are the keys in [`Plan::keys`], which say what they mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Plan {
    pub data: String,
    pub image_size: usize,
    pub colour: Colour,
    pub background: String,
    pub fit: Fit,
    pub space: String,
    pub method: String,
    pub relaxation: String,
    pub penalty: String,
    pub perturbation: String,
    pub guard: String,
    pub step_order: StepOrder,
    pub frozen_epochs: usize,
    pub alpha_deviation: f64,
    pub order: Order,
    pub finite_difference: f64,
    pub epochs: usize,
    pub batch_size: usize,
    pub init_channels: usize,
    pub cells: usize,
    pub nodes: usize,
    pub seed: u64,
    pub weight_lr: f64,
    pub weight_lr_min: f64,
    pub weight_momentum: f64,
    pub weight_nesterov: bool,
    pub weight_decay: f64,
    pub gradient_clip: f64,
    pub alpha_lr: f64,
    pub alpha_beta1: f64,
    pub alpha_beta2: f64,
    pub alpha_weight_decay: f64,
    pub flip: Flip,
    pub threads: usize,
    pub device: DeviceChoice,
    pub precision: Precision,
}

#[rustfmt::skip]
static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let mut keys = Vec::from(images());
    keys.push(space());
    keys.extend(method());
    keys.extend([
        word("order", "ORDER", &Order::ALL, [Order::First; 2],
            "Alpha gradient: first takes the weights as they are, second after one virtual step at about \
             three times the cost, extrapolated as second with a short finite difference where no kink of \
             the loss is near, else a long one, at up to four times")
            .at("method.order").formerly("order"),
        number("finite_difference", "NORM", SHARE, [0.01; 2],
            "Distance that order second moves the weights for its finite difference")
            .at("method.finite_difference"),
        count("epochs", 1..=100_000, [12, 50],
            "Passes over the half that trains the weights"),
        count("batch_size", 1..=65_536, [32, 64],
            "Images in a step, from each half"),
        count("init_channels", 1..=1024, [8, 16],
            "Channels of a node in the first cells; each reduction doubles them"),
        count("cells", 1..=100, [3, 8],
            "Cells of the supernet; those at 1/3 and 2/3 of the depth reduce"),
        count("nodes", 1..=16, [4, 4],
            "Nodes of a cell"),
        seed(),
        number("weight_lr", "RATE", RATE, [0.025; 2],
            "Learning rate of the weights in the first epoch"),
        number("weight_lr_min", "RATE", RATE, [0.001; 2],
            "Learning rate that the cosine schedule of the weights ends at"),
        number("weight_momentum", "FACTOR", FRACTION, [0.9; 2],
            "Momentum of the weights, below 1"),
        switch("weight_nesterov", [false; 2],
            "Whether a step of the weights looks ahead along the momentum, as Nesterov's does"),
        number("weight_decay", "RATE", RATE, [3e-4; 2],
            "Weight decay of the weights"),
        number("gradient_clip", "NORM", POSITIVE, [5.0; 2],
            "Largest norm of a weight gradient; a longer one is shortened to it"),
        number("alpha_lr", "RATE", RATE, [0.01, 3e-4],
            "Learning rate of the alphas"),
        number("alpha_beta1", "FACTOR", FRACTION, [0.5; 2],
            "Decay of Adam's mean gradient of the alphas, below 1"),
        number("alpha_beta2", "FACTOR", FRACTION, [0.999; 2],
            "Decay of Adam's mean squared gradient of the alphas, below 1"),
        number("alpha_weight_decay", "RATE", RATE, [1e-3; 2],
            "Weight decay of the alphas"),
        word("flip", "WHEN", &Flip::ALL, [Flip::Auto; 2],
            "Whether half of the images are mirrored: true, false, or auto for what is customary for the data set"),
    ]);
    keys.extend(machine("Where to search"));
    Keys(keys)
});

impl Default for Plan {
    /// The small plan: a search on the digits that takes half a minute on a laptop.
    fn default() -> Self {
        Plan::preset(Preset::Small)
    }
}

impl Plan {
    /// The search of the paper on CIFAR-10. The data set is left empty: it must be given.
    pub fn paper() -> Self {
        Plan::preset(Preset::Paper)
    }

    /// The space.
    ///
    /// # Errors
    /// It is none that [`validate`](PlanTable::validate) accepts.
    pub fn space(&self) -> Result<Arc<Space>> {
        self.space.parse().and_then(|choice: Choice| choice.space())
    }

    /// How training images are varied, of a data set for which `customary` is.
    pub fn augmentation(&self, customary: Augmentation) -> Augmentation {
        let flip = match self.flip {
            Flip::Auto => customary.flip,
            Flip::True => true,
            Flip::False => false,
        };
        Augmentation { flip, ..customary }
    }

    /// A supernet larger than any that is meant, or a number of nodes that the space does not have.
    fn edge_conflict(&self) -> Option<Violation> {
        let Plan { cells, nodes, .. } = *self;
        let space = self.space().ok()?;
        if let Some(reason) = space.nodes_refusal(nodes) {
            let expected = format!("{}, as the space {space} has: {reason}", space.nodes());
            return Some(Violation::new("nodes", nodes, expected));
        }
        let edges = space.wirings(nodes).iter().map(|wiring| wiring.edges.len()).max().unwrap_or(1);
        (cells * edges > MOST_EDGES).then(|| {
            let fewer = format!("fewer with {cells} cells: the supernet has at most {MOST_EDGES} edges");
            Violation::new("cells", cells, format!("at most {} with {nodes} nodes", MOST_EDGES / edges))
                .or(Violation::new("nodes", nodes, fewer))
        })
    }

    /// The batch, where one half of the data set, so many images, cannot fill it.
    pub fn violation_by_data(&self, images_per_half: usize) -> Option<Violation> {
        (self.batch_size > images_per_half).then(|| {
            let expected = format!("at most {images_per_half}, half of the images of {}", self.data);
            Violation::new("batch_size", self.batch_size, expected)
        })
    }

    /// Refuses a batch that one half of the data set cannot fill.
    pub fn check_against(&self, images_per_half: usize) -> Result<()> {
        self.violation_by_data(images_per_half).map_or(Ok(()), |violation| Err(violation.into()))
    }
}

impl PlanTable for Plan {
    const COMMAND: Command = Command::Search;

    fn keys() -> &'static Keys {
        &KEYS
    }

    fn complete(values: &mut Table, preset: Preset, wrote: &dyn Fn(&str) -> bool) -> Result<()> {
        complete_method(values, preset, wrote);
        if let (Some(Value::String(text)), false) = (values.get("space"), wrote("nodes")) {
            let space = text.parse().and_then(|choice: Choice| choice.space())?;
            values.insert("nodes".to_owned(), Value::Integer(space.nodes() as i64));
        }
        Ok(())
    }

    fn conflict(&self) -> Option<Violation> {
        cells_conflict(&self.space, self.cells)
            .or_else(|| self.edge_conflict())
            .or_else(|| method_conflict(self))
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

/// Parts that do not go together.
fn method_conflict(plan: &Plan) -> Option<Violation> {
    let (Ok(relaxation), Ok(penalties)) = (relaxation(&plan.relaxation), penalties(&plan.penalty)) else {
        return None;
    };
    let bounds = relaxation.bounds();
    if penalties.iter().any(|penalty| penalty.bounds().is_some_and(|meant| meant != bounds)) {
        let other = "sigmoid, the only one that zero-one drives to a decision";
        return Some(
            Violation::new("penalty", &plan.penalty, format!("none or logsumexp with {}", plan.relaxation))
                .or(Violation::new("relaxation", &plan.relaxation, other)),
        );
    }
    let disturbed = perturbation(&plan.perturbation) != Ok(Perturbation::Identity);
    if disturbed && bounds == Bounds::OneHot {
        let expected = format!("none, as {} mixes nothing that could be disturbed", plan.relaxation);
        let other = format!("softmax, sigmoid or gumbel with the perturbation {}", plan.perturbation);
        return Some(Violation::new("perturbation", &plan.perturbation, expected).or(Violation::new(
            "relaxation",
            &plan.relaxation,
            other,
        )));
    }
    if disturbed && plan.order != Order::First {
        let expected = format!("none, as the look-ahead of the order {} is not disturbed", plan.order);
        let other = format!("first with the perturbation {}", plan.perturbation);
        return Some(
            Violation::new("perturbation", &plan.perturbation, expected)
                .or(Violation::new("order", plan.order, other)),
        );
    }
    if plan.order != Order::First && relaxation.inactive_as_ones() {
        let expected =
            format!("first with the relaxation {}; gumbel-hard-clean goes with each", plan.relaxation);
        let other = format!("another, such as gumbel-hard-clean, with the order {}", plan.order);
        return Some(Violation::new("order", plan.order, expected).or(Violation::new(
            "relaxation",
            &plan.relaxation,
            other,
        )));
    }
    if plan.order != Order::First && plan.weight_nesterov {
        let expected = "first with weight_nesterov: the look-ahead has no such momentum";
        let other = format!("false with the order {}, whose look-ahead has no such momentum", plan.order);
        return Some(Violation::new("order", plan.order, expected).or(Violation::new(
            "weight_nesterov",
            plan.weight_nesterov,
            other,
        )));
    }
    (plan.frozen_epochs >= plan.epochs).then(|| {
        let (frozen, epochs) = (plan.frozen_epochs, plan.epochs);
        let fewer = format!("fewer than epochs, which is {epochs}: otherwise the alphas never move");
        let more = format!("more than frozen_epochs, which is {frozen}: otherwise the alphas never move");
        Violation::new("frozen_epochs", frozen, fewer).or(Violation::new("epochs", epochs, more))
    })
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
    fn the_paper_leaves_the_data_set_open() {
        let refused = Plan::paper().validate().unwrap_err().to_string();
        assert_eq!(refused, "plan: data is empty; expected the name of a data set, such as digits");
        assert!(Plan { data: "digits".into(), ..Plan::paper() }.validate().is_ok());
    }

    #[test]
    fn the_keys_of_the_method_stand_in_a_table_of_their_own() {
        let plan = Plan { order: Order::Second, finite_difference: 0.5, ..Plan::default() };
        let text = plan.to_toml().unwrap();
        let method = "\n[method]\nname = \"darts\"\nrelaxation = \"softmax\"\npenalty = \"none\"\n\
                      perturbation = \"none\"\nguard = \"none\"\nstep_order = \"alphas_first\"\nfrozen_epochs = 0\nalpha_deviation = 0.001\n\
                      order = \"second\"\nfinite_difference = 0.5\n";
        assert!(text.ends_with(method), "{text}");
        assert_eq!(read("method.order = 'second'\nmethod.finite_difference = 0.5").unwrap(), plan);
        // The plans of version 0.1.0 have no such table.
        let text = text.replace(method, "order = \"second\"\n");
        assert_eq!(read(&text).unwrap(), Plan { finite_difference: 0.01, ..plan });
        let twice = refusal("order = \"first\"\n[method]\norder = \"first\"");
        assert_eq!(twice, "plan: some.toml, line 3, key method.order: method.order stands in the file twice");
        let refused = refusal("\n[method]\norders = 1");
        assert!(
            refused.starts_with("plan: some.toml, line 3, key method.orders: unknown field"),
            "{refused}"
        );
        assert!(refused.contains("`method.order`"), "{refused}");
        assert!(refusal("method = \"darts\"").contains("key method: it is a table of the plan, [method]"));
        assert!(refusal("[epochs]\na = 1").contains("key epochs: invalid type: table"));
        assert!(refusal("[method]\nfinite_difference = 2").contains("expected a number above 0 to 1"),);
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
        assert!(refusal("order = \"third\"").contains("line 1, key order: unknown word `third`"));
        assert!(refusal("cells = ").contains("some.toml, line 1, key cells"));
        assert!(refusal("cells = 1\ncells = 2").contains("line 2"));
    }

    #[test]
    fn impossible_values_are_refused_with_what_is_allowed() {
        assert_eq!(refusal("epochs = 0"), "plan: epochs is 0; expected a whole number from 1 to 100000");
        assert!(refusal("cells = 101").contains("cells is 101; expected a whole number from 1 to 100"));
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
    fn flips_are_those_of_the_data_set_unless_the_plan_says_otherwise() {
        let customary = |flip| Augmentation { crop_padding: 4, flip, cutout: None };
        let flips = |text: &str, flip| read(text).unwrap().augmentation(customary(flip));
        for flip in [true, false] {
            assert_eq!(flips("", flip), customary(flip));
            assert_eq!(flips("flip = \"auto\"", flip), customary(flip));
            assert_eq!(flips("flip = true", flip), customary(true));
            assert_eq!(flips("flip = \"false\"", flip), customary(false));
        }
        assert!(
            refusal("flip = 1").contains("expected `auto`, `true` or `false`"),
            "{}",
            refusal("flip = 1")
        );
    }

    #[test]
    fn a_batch_must_fit_into_half_the_data() {
        let plan = Plan { batch_size: 500, ..Plan::default() };
        assert!(plan.check_against(500).is_ok());
        let refused = plan.check_against(499).unwrap_err().to_string();
        assert!(refused.contains("500") && refused.contains("499"));
    }
}
