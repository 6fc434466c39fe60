//! The plan of a search: everything that determines its result.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::guards::{guard_conflict, guards};
use super::keys::{FRACTION, Keys, POSITIVE, Preset, RATE, SHARE, count, number, switch, text, word};
use super::method::{complete_method, method};
use super::partial::{partial_conflict, partial_violation};
use super::sampled::sampled_conflict;
use super::shared::{
    Demand, cells_conflict, images, machine, precision_conflict, schedule_conflict, seed, sides_violation,
    space,
};
use super::skips::{auxiliary_skip_conflict, skip_dropout_conflict};
use super::spaces::complete_for_space;
use super::{Command, DeviceChoice, PlanTable, Violation};
use crate::Result;
use crate::backend::gpu::Precision;
use crate::data::{Augmentation, Colour, Dataset, Fit, Reading};
use crate::method::edge_weights::EdgeWeights;
use crate::method::penalty::penalties;
use crate::method::perturbation::{Perturbation, perturbation};
use crate::method::projection::Projections;
use crate::method::relaxation::{Bounds, relaxation};
use crate::method::selection::{Selection, selection};
use crate::method::stages::transitions;
use crate::method::step_order::StepOrder;
use crate::space::Space;
use crate::space::stored::Choice;
use crate::space::supernet::halvings;

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
    pub train_images: usize,
    pub space: String,
    pub method: String,
    pub relaxation: String,
    pub penalty: String,
    pub perturbation: String,
    pub edge_drop_path: String,
    pub partial_channels: usize,
    pub edge_weights: EdgeWeights,
    pub auxiliary_skip: String,
    pub skip_dropout: String,
    pub selection: String,
    pub selection_interval: usize,
    pub stages: String,
    pub step_order: StepOrder,
    pub frozen_epochs: usize,
    pub alpha_deviation: f64,
    pub guard_skips: String,
    pub guard_ranking: String,
    pub guard_entropy: String,
    pub guard_eigenvalue: String,
    pub eigenvalue_every: usize,
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
    pub crop_padding: String,
    pub flip: Flip,
    pub threads: usize,
    pub device: DeviceChoice,
    pub precision: Precision,
}

/// The word for what is customary for a data set.
const CUSTOMARY: &str = "auto";

/// What is expected instead of a padding that is none.
fn crop_padding_refusal(text: &str) -> Option<String> {
    const MOST: usize = 1024;
    let is_count = text.parse::<usize>().is_ok_and(|pixels| pixels <= MOST);
    (text != CUSTOMARY && !is_count).then(|| format!("{CUSTOMARY} or a whole number from 0 to {MOST}"))
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
    ]);
    keys.extend(guards());
    keys.extend([
        count("epochs", 1..=100_000, [12, 50],
            "Passes over the half that trains the weights"),
        count("batch_size", 1..=65_536, [32, 64],
            "Images in a step, from each half"),
        count("init_channels", 1..=1024, [8, 16],
            "Channels of a node in the first cells; each reduction doubles them"),
        count("cells", 1..=100, [3, 8],
            "Cells of the supernet; those at 1/3 and 2/3 of the depth reduce, or residual blocks there do, as in \
             nas-bench-201"),
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
        text("crop_padding", "N", crop_padding_refusal, [CUSTOMARY; 2],
            "Black pixels around an image before its size is cut out at random, or auto for what is customary: 4 for \
             CIFAR, an eighth of the side for pictures of a folder, else none"),
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

    /// Stages of the search.
    fn stage_count(&self) -> usize {
        1 + transitions(&self.stages).map_or(0, |transitions| transitions.len())
    }

    /// Stages that cannot be: of unequal lengths, with too many cells, or with more candidates than there are.
    fn stages_conflict(&self) -> Option<Violation> {
        let Plan { epochs, cells, nodes, frozen_epochs, .. } = *self;
        let (space, count) = (self.space().ok()?, self.stage_count());
        if !epochs.is_multiple_of(count) {
            let expected = format!("a multiple of {count}, as the stages {} share them", self.stages);
            return Some(Violation::new("epochs", epochs, expected));
        }
        if frozen_epochs >= epochs / count {
            let each = epochs / count;
            let many = if count > 1 { "the epochs of a stage" } else { "epochs" };
            let fewer = format!("fewer than {many}, which is {each}: otherwise the alphas never move");
            let more =
                format!("more than frozen_epochs, which is {frozen_epochs}: otherwise the alphas never move");
            let violation = Violation::new("frozen_epochs", frozen_epochs, fewer);
            return Some(if count > 1 {
                violation
            } else {
                violation.or(Violation::new("epochs", epochs, more))
            });
        }
        let transitions = transitions(&self.stages).ok()?;
        let stage = |cells: usize| space.cells_refusal(cells).map(|expected| (cells, expected));
        if let Some((cells, expected)) = transitions.iter().find_map(|next| stage(cells + next.cells)) {
            let expected = format!("other cells; a stage has {cells}, and expected is {expected}");
            return Some(Violation::new("stages", &self.stages, expected));
        }
        let most = space.wirings(nodes).iter().map(|wiring| wiring.edges.len()).max().unwrap_or(1);
        if let Some(grown) = transitions.iter().find(|next| (cells + next.cells) * most > MOST_EDGES) {
            let expected = format!(
                "at most {} cells in a stage; +{} to {cells} makes more",
                MOST_EDGES / most,
                grown.cells
            );
            return Some(Violation::new("stages", &self.stages, expected));
        }
        let wirings = space.wirings(nodes);
        let fewest =
            wirings.iter().flat_map(|wiring| &wiring.edges).map(|edge| edge.candidates.len()).min()?;
        let expected = match fewest {
            0..=2 => format!(
                "none, as an edge of the space {space} has {fewest} candidates, and a stage leaves two at least"
            ),
            _ => format!(
                "fewer than {fewest} candidates kept at first, as an edge of the space {space} has {fewest}"
            ),
        };
        let more = transitions.first().is_some_and(|first| first.keep >= fewest);
        more.then(|| Violation::new("stages", &self.stages, expected))
    }

    /// Epochs of the search and of the selection behind it.
    ///
    /// # Errors
    /// The space is none that [`validate`](PlanTable::validate) accepts.
    pub fn epochs_in_all(&self) -> Result<usize> {
        let selecting = match selection(&self.selection) {
            Ok(Selection::Perturbation(_)) => {
                let space = self.space()?;
                let choices = Projections::new(&space, self.nodes, self.seed).count();
                choices.saturating_sub(1).saturating_mul(self.selection_interval)
            }
            _ => 0,
        };
        Ok(self.epochs.saturating_add(selecting))
    }

    /// How training images are varied, of a data set for which `customary` is.
    pub fn augmentation(&self, customary: Augmentation) -> Augmentation {
        let flip = match self.flip {
            Flip::Auto => customary.flip,
            Flip::True => true,
            Flip::False => false,
        };
        // A validated plan holds a count, or the word for what is customary.
        let crop_padding = self.crop_padding.parse().unwrap_or(customary.crop_padding);
        Augmentation { crop_padding, flip, ..customary }
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

    /// Parts that act on alphas, each with the one that does nothing.
    fn of_alphas(&self) -> [(&'static str, String, &'static str); 12] {
        [
            ("relaxation", self.relaxation.clone(), "softmax"),
            ("penalty", self.penalty.clone(), "none"),
            ("perturbation", self.perturbation.clone(), "none"),
            ("edge_weights", self.edge_weights.to_string(), "none"),
            ("auxiliary_skip", self.auxiliary_skip.clone(), "0"),
            ("frozen_epochs", self.frozen_epochs.to_string(), "0"),
            ("stages", self.stages.clone(), "none"),
            ("order", self.order.to_string(), "first"),
            ("guard_skips", self.guard_skips.clone(), "off"),
            ("guard_ranking", self.guard_ranking.clone(), "off"),
            ("guard_entropy", self.guard_entropy.clone(), "off"),
            ("guard_eigenvalue", self.guard_eigenvalue.clone(), "off"),
        ]
    }

    /// A guard that cannot see, or never could speak.
    fn guard_conflict(&self) -> Option<Violation> {
        let epochs = self.epochs / self.stage_count();
        guard_conflict(&self.guard_eigenvalue, self.eigenvalue_every, &self.relaxation, epochs)
    }

    /// By how much the cells of the largest stage make the sides of images smaller.
    fn halvings(&self) -> Option<usize> {
        let (space, transitions) = (self.space().ok()?, transitions(&self.stages).ok()?);
        let cells = [0].into_iter().chain(transitions.iter().map(|next| next.cells));
        cells.map(|more| halvings(&space, self.cells + more)).max()
    }

    /// The first value that does not fit the data set.
    pub fn violation_by_data(&self, dataset: &Dataset) -> Option<Violation> {
        let Plan { ref data, train_images, batch_size, .. } = *self;
        let side = dataset.train.height.min(dataset.train.width);
        if self.augmentation(dataset.augmentation).crop_padding >= side {
            let expected = format!("less than {side}, the side of an image of {data}");
            return Some(Violation::new("crop_padding", &self.crop_padding, expected));
        }
        let sides = [dataset.train.height, dataset.train.width];
        sides_violation(&self.space, dataset)
            .or_else(|| partial_violation(self.partial_channels, sides, self.halvings().unwrap_or(1)))
            .or_else(|| Demand { data, train_images, batch_size, parts: 2 }.violation(dataset))
    }
}

impl PlanTable for Plan {
    const COMMAND: Command = Command::Search;

    fn keys() -> &'static Keys {
        &KEYS
    }

    fn complete(values: &mut Table, preset: Preset, wrote: &dyn Fn(&str) -> bool) -> Result<()> {
        let own_space = complete_for_space(values, Self::COMMAND, preset, wrote);
        complete_method(values, preset, own_space, wrote);
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
            .or_else(|| partial_conflict(self.partial_channels, self.init_channels, &self.edge_drop_path))
            .or_else(|| auxiliary_skip_conflict(&self.auxiliary_skip, &self.relaxation))
            .or_else(|| sampled_conflict(&self.selection, &self.of_alphas()))
            .or_else(|| skip_dropout_conflict(&self.skip_dropout, &self.stages))
            .or_else(|| self.stages_conflict())
            .or_else(|| self.guard_conflict())
            .or_else(|| selection_conflict(self))
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
    if let Some(penalty) = penalties.iter().find(|penalty| !penalty.suits(&*relaxation)) {
        return Some(
            Violation::new("penalty", &plan.penalty, format!("none or logsumexp with {}", plan.relaxation))
                .or(Violation::new("relaxation", &plan.relaxation, penalty.meant_for())),
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
    None
}

/// A search that may end before its selection begins.
fn selection_conflict(plan: &Plan) -> Option<Violation> {
    if !matches!(selection(&plan.selection), Ok(Selection::Perturbation(_))) {
        return None;
    }
    if relaxation(&plan.relaxation).is_ok_and(|relaxation| relaxation.bounds() == Bounds::OneHot) {
        let expected = format!(
            "strongest or restricted SKIPS with {}, which draws one candidate of an edge",
            plan.relaxation
        );
        let other = "one that mixes all candidates, with the selection perturbation";
        return Some(Violation::new("selection", &plan.selection, expected).or(Violation::new(
            "relaxation",
            &plan.relaxation,
            other,
        )));
    }
    let guards = [
        ("guard_skips", &plan.guard_skips),
        ("guard_ranking", &plan.guard_ranking),
        ("guard_entropy", &plan.guard_entropy),
        ("guard_eigenvalue", &plan.guard_eigenvalue),
    ];
    let (name, text) = guards.into_iter().find(|(_, text)| text.starts_with("stop"))?;
    let expected = "off or warn N with the selection perturbation, which begins at the end of the search";
    let other = format!("strongest with a guard that ends the search, {text}");
    Some(Violation::new(name, text, expected).or(Violation::new("selection", &plan.selection, other)))
}

#[cfg(test)]
mod tests;
