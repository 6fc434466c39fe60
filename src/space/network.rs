//! The derived network of the evaluation phase: a stem, a stack of cells of a genotype, a classifier, and while it is
//! trained an auxiliary classifier at two thirds of the depth. `NetworkCIFAR` of the official code, whose names its
//! parameters have.

use super::cell::CellShape;
use super::derived_cell::{DerivedCell, DropPath};
use super::genotype::{CellGenotype, Genotype};
use super::supernet::STEM_MULTIPLIER;
use crate::autograd::{Loss, Recorder, Value, Window};
use crate::backend::{Backend, PoolKind, Shape, Span};
use crate::nn::parameters::NormParts;
use crate::nn::{Layout, Parameters, Part, Spans};
use crate::{Error, Result};

/// Channels of the auxiliary head's two convolutions.
const AUXILIARY_CHANNELS: [usize; 2] = [128, 768];
/// The window of the auxiliary head's average pooling.
const AUXILIARY_POOL: Window = Window { kernel: 5, stride: 3, padding: 0 };
/// The side of the auxiliary head's second convolution, which leaves one pixel.
const AUXILIARY_KERNEL: usize = 2;

/// The size of a derived network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkShape {
    /// The images of a batch.
    pub images: Shape,
    /// Number of classes.
    pub classes: usize,
    /// Channels of the first cell's nodes.
    pub init_channels: usize,
    /// Number of cells; those at one and two thirds of the depth halve the resolution.
    pub cells: usize,
    /// The share of the auxiliary head's loss; without it there is no such head.
    pub auxiliary: Option<f64>,
    /// Whether branches of nodes are multiplied by the factors of drop path.
    pub drop_path: bool,
    /// Whether the classifier sees the last cell behind the ReLU of the auxiliary head, where both read the same cell:
    /// the official head overwrites what it reads, in training only. That is a slip that three cells show, so
    /// nothing but the comparison with the official code asks for it.
    pub rectified: bool,
}

impl NetworkShape {
    /// Whether cell `index` halves the resolution and doubles the channels.
    pub fn is_reduction(&self, index: usize) -> bool {
        index == self.cells / 3 || index == 2 * self.cells / 3
    }

    /// The cell whose output the auxiliary head reads.
    pub fn auxiliary_cell(&self) -> usize {
        2 * self.cells / 3
    }

    /// Whether images of these sides leave the auxiliary head the feature maps that it is made for.
    pub fn suits_auxiliary(height: usize, width: usize) -> bool {
        // Two cells up to there halve the resolution.
        let maps = Shape::new(1, height, width, 1).strided(2, 1).strided(2, 1);
        auxiliary_pooled(maps).is_some()
    }

    fn check(&self) -> Result<()> {
        let smallest = self.images.h.min(self.images.w);
        if self.cells == 0 || self.init_channels == 0 || self.classes == 0 || smallest == 0 {
            let reason = format!(
                "images {}, {} classes, {} cells and {} channels: none may be zero",
                self.images, self.classes, self.cells, self.init_channels
            );
            return Err(Error::Shape { operator: "derived network", reason });
        }
        Ok(())
    }
}

/// The auxiliary head's pooled feature maps, if they are of 2x2 pixels.
fn auxiliary_pooled(maps: Shape) -> Option<Shape> {
    let Window { kernel, stride, padding } = AUXILIARY_POOL;
    let pooled = maps.windows(kernel, stride, padding, maps.c as usize)?;
    let side = AUXILIARY_KERNEL as u32;
    (pooled.h == side && pooled.w == side).then_some(pooled)
}

/// A recorded network: where everything lies.
pub struct Network {
    /// Names, shapes and places of the weights.
    pub parameters: Parameters,
    /// The flat vectors.
    pub spans: Spans,
    /// The batch's images.
    pub images: Value,
    /// The classifier's output.
    pub logits: Value,
    /// The classifier's loss.
    pub loss: Loss,
    /// Output and loss of the auxiliary head.
    pub auxiliary: Option<(Value, Loss)>,
    /// The factors of drop path, `[branch][n]`: cell after cell, node after node.
    pub drop_path: Option<Span>,
    /// Its size.
    pub shape: NetworkShape,
}

struct Declared {
    stem: Part,
    stem_norm: NormParts,
    cells: Vec<DerivedCell>,
    auxiliary: Option<AuxiliaryHead>,
    classifier: (Part, Part),
}

struct AuxiliaryHead {
    first: (Part, NormParts),
    second: (Part, NormParts),
    classifier: (Part, Part),
}

impl Network {
    /// What the names of the auxiliary head's parameters begin with.
    pub const AUXILIARY: &str = "auxiliary_head.";

    /// Number of weights of the auxiliary head, which the network is used and counted without.
    pub fn auxiliary_weights(&self) -> usize {
        let head = self.parameters.iter().filter(|parameter| parameter.name.starts_with(Self::AUXILIARY));
        head.map(|parameter| parameter.part.len).sum()
    }

    /// The parameters of a network that is not recorded.
    pub fn parameters(genotype: &Genotype, shape: &NetworkShape) -> Result<Parameters> {
        let mut parameters = Parameters::default();
        declare(&mut parameters, genotype, shape)?;
        Ok(parameters)
    }

    /// Records the network of a genotype.
    pub fn record<B: Backend>(
        recorder: &mut Recorder<B>,
        genotype: &Genotype,
        shape: NetworkShape,
    ) -> Result<Network> {
        shape.check()?;
        let mut parameters = Parameters::default();
        let declared = declare(&mut parameters, genotype, &shape)?;
        let spans = Spans {
            weights: recorder.span(parameters.len()),
            gradients: recorder.span(parameters.len()),
            running: recorder.span(parameters.running_len()),
        };
        recorder.unscale(spans.gradients, None);
        let images = recorder.input(shape.images);
        let live = live_cells(&declared, &shape);
        let drop_path = shape.drop_path.then(|| {
            let cells = declared.cells.iter().zip(&live).filter(|(_, live)| **live);
            let branches: usize = cells.map(|(cell, _)| cell.droppable()).sum();
            recorder.span(branches * shape.images.n as usize)
        });
        let cells = record_cells(recorder, &declared, &spans, images, &live, drop_path, &shape)?;
        let auxiliary = match (&declared.auxiliary, shape.auxiliary) {
            (Some(head), Some(weight)) => {
                Some(head.record(recorder, &spans, &cells[shape.auxiliary_cell()], weight)?)
            }
            _ => None,
        };
        let mut features = cells.last().cloned().unwrap_or_default();
        if shape.rectified && auxiliary.is_some() && shape.auxiliary_cell() + 1 == shape.cells {
            features = rectify(recorder, &features)?;
        }
        let pooled = recorder.global_pool(&features)?;
        let (weight, bias) = declared.classifier;
        let logits = recorder.linear(pooled, spans.weight(weight), spans.weight(bias))?;
        recorder.keep(logits);
        let loss = recorder.cross_entropy(logits, 1.0);
        Ok(Network { parameters, spans, images, logits, loss, auxiliary, drop_path, shape })
    }
}

/// The values behind a ReLU.
fn rectify<B: Backend>(recorder: &mut Recorder<B>, values: &[Value]) -> Result<Vec<Value>> {
    let pixel = Window { kernel: 1, stride: 1, padding: 0 };
    values.iter().map(|&value| recorder.pool(value, PoolKind::Average, pixel, true)).collect()
}

/// Records the stem and the cells; gives the outputs of the cells, none for those that nothing reads.
fn record_cells<B: Backend>(
    recorder: &mut Recorder<B>,
    declared: &Declared,
    spans: &Spans,
    images: Value,
    live: &[bool],
    drop_path: Option<Span>,
    shape: &NetworkShape,
) -> Result<Vec<Vec<Value>>> {
    let mut drop_path = drop_path.map(|factors| DropPath::new(factors, shape.images.n as usize));
    let channels = STEM_MULTIPLIER * shape.init_channels;
    let norm = spans.norm(declared.stem_norm);
    let stem = recorder.convolution(images, spans.weight(declared.stem), 3, channels, norm)?;
    let mut cells: Vec<Vec<Value>> = Vec::new();
    for (index, cell) in declared.cells.iter().enumerate() {
        let output = |back: usize| index.checked_sub(back).map_or(std::slice::from_ref(&stem), |i| &cells[i]);
        let inputs = [output(2), output(1)];
        let nodes =
            if live[index] { cell.record(recorder, spans, inputs, &mut drop_path)? } else { Vec::new() };
        cells.push(nodes);
    }
    Ok(cells)
}

/// Which cells the two classifiers depend on: a genotype may read one of its two inputs only.
fn live_cells(declared: &Declared, shape: &NetworkShape) -> Vec<bool> {
    let mut live = vec![false; shape.cells];
    live[shape.cells - 1] = true;
    if declared.auxiliary.is_some() {
        live[shape.auxiliary_cell()] = true;
    }
    for index in (0..shape.cells).rev().filter(|&index| index > 0) {
        for (input, back) in [(0, 2), (1, 1)] {
            if live[index] && declared.cells[index].reads(input) && index >= back {
                live[index - back] = true;
            }
        }
    }
    live
}

fn declare(parameters: &mut Parameters, genotype: &Genotype, shape: &NetworkShape) -> Result<Declared> {
    let stem_channels = STEM_MULTIPLIER * shape.init_channels;
    let layout = Layout::Dense { kernel: 3, inputs: shape.images.c as usize, outputs: stem_channels };
    let stem = parameters.weight("stem.0.weight", layout);
    let stem_norm = parameters.norm(vec!["stem.1".to_string()], stem_channels, true);
    let (mut before_previous, mut previous) = (stem_channels, stem_channels);
    let (mut channels, mut previous_reduction) = (shape.init_channels, false);
    let (mut cells, mut auxiliary_channels) = (Vec::new(), 0);
    for index in 0..shape.cells {
        let reduction = shape.is_reduction(index);
        let genotype: &CellGenotype = if reduction { &genotype.reduce } else { &genotype.normal };
        channels *= if reduction { 2 } else { 1 };
        let nodes = genotype.nodes();
        let cell = CellShape { nodes, before_previous, previous, channels, reduction, previous_reduction };
        cells.push(DerivedCell::declare(parameters, &format!("cells.{index}"), genotype, cell)?);
        let width = genotype.concat.len() * channels;
        (before_previous, previous, previous_reduction) = (previous, width, reduction);
        if index == shape.auxiliary_cell() {
            auxiliary_channels = width;
        }
    }
    let auxiliary =
        shape.auxiliary.map(|_| AuxiliaryHead::declare(parameters, auxiliary_channels, shape.classes));
    let classifier = declare_classifier(parameters, "classifier", previous, shape.classes);
    Ok(Declared { stem, stem_norm, cells, auxiliary, classifier })
}

fn declare_classifier(
    parameters: &mut Parameters,
    name: &str,
    inputs: usize,
    classes: usize,
) -> (Part, Part) {
    let weight = parameters.weight(format!("{name}.weight"), Layout::Linear { inputs, outputs: classes });
    (weight, parameters.bias(format!("{name}.bias"), classes, inputs))
}

impl AuxiliaryHead {
    fn declare(parameters: &mut Parameters, inputs: usize, classes: usize) -> Self {
        let name = |member: usize| format!("{}features.{member}", Network::AUXILIARY);
        let [middle, features] = AUXILIARY_CHANNELS;
        let layout = Layout::Matrix { inputs, outputs: middle };
        let first = parameters.weight(format!("{}.weight", name(2)), layout);
        let first = (first, parameters.norm(vec![name(3)], middle, true));
        let layout = Layout::Dense { kernel: AUXILIARY_KERNEL, inputs: middle, outputs: features };
        let second = parameters.weight(format!("{}.weight", name(5)), layout);
        let second = (second, parameters.norm(vec![name(6)], features, true));
        let name = format!("{}classifier", Network::AUXILIARY);
        let classifier = declare_classifier(parameters, &name, features, classes);
        AuxiliaryHead { first, second, classifier }
    }

    /// ReLU, average pooling to 2x2, a 1x1 and a 2x2 convolution, each with batch norm and ReLU, and a classifier.
    fn record<B: Backend>(
        &self,
        recorder: &mut Recorder<B>,
        spans: &Spans,
        cell: &[Value],
        weight: f64,
    ) -> Result<(Value, Loss)> {
        let mut pooled = Vec::new();
        for &node in cell {
            let shape = recorder.shape(node);
            if auxiliary_pooled(shape).is_none() {
                let reason = format!("it reads feature maps of 8 to 10 pixels a side, not {shape}");
                return Err(Error::Shape { operator: "auxiliary head", reason });
            }
            pooled.push(recorder.pool(node, PoolKind::Average, AUXILIARY_POOL, true)?);
        }
        let [middle, features] = AUXILIARY_CHANNELS;
        // This convolution begins with a ReLU of its own, which changes nothing: averages behind a ReLU are not
        // negative, and where one is zero so are the gradients of all its pixels.
        let (part, norm) = self.first;
        let value = recorder.pointwise(&pooled, &[spans.weight(part)], middle, spans.norm(norm))?;
        let (part, norm) = self.second;
        let (part, norm) = (spans.weight(part), spans.norm(norm));
        let value = recorder.activated_convolution(value, part, AUXILIARY_KERNEL, features, norm)?;
        let value = rectify(recorder, &[value])?[0];
        let (weights, bias) = self.classifier;
        let logits = recorder.linear(value, spans.weight(weights), spans.weight(bias))?;
        recorder.keep(logits);
        Ok((logits, recorder.cross_entropy(logits, weight)))
    }
}
