//! A network of cells: a stem, cells that each read one or two before, in some spaces residual blocks between them, and a
//! classifier; while it is trained, an auxiliary classifier at two thirds of the depth. Supernet and derived network are
//! the same but for what their cells hold.

use super::Space;
use super::auxiliary::AuxiliaryHead;
use super::cell::Cell;
use super::contents::Contents;
use super::declared_edge::CellShape;
use super::layout::{Form, Layer};
use super::residual::ResidualBlock;
use crate::Result;
use crate::backend::ConvolutionWindow;
use crate::nn::{ClassifierBlock, ConvolutionBlock, ConvolutionNames, Graph, NormBlock, Parameters};

/// The side of the stem's window.
const STEM_KERNEL: usize = 3;

/// The size of a network.
#[derive(Clone, Copy, Debug)]
pub struct StackShape {
    /// Values of a pixel.
    pub image_channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// Channels of the first cell's nodes.
    pub init_channels: usize,
    /// Number of cells.
    pub cells: usize,
    /// Whether there is an auxiliary head.
    pub auxiliary: bool,
    /// One of so many channels of a cell goes through its operations.
    pub partial: usize,
}

/// What stem and layers compute.
pub struct Features<V> {
    /// The stem's output.
    pub stem: V,
    /// The values that the output of each cell or residual block concatenates: none for a cell that nothing reads.
    pub layers: Vec<Vec<V>>,
}

/// A declared layer.
enum Declared {
    Cell(Cell),
    Residual(Box<ResidualBlock>),
}

impl Declared {
    /// Channels of the output.
    fn width(&self) -> usize {
        match self {
            Declared::Cell(cell) => cell.width(),
            Declared::Residual(block) => block.width(),
        }
    }

    /// Which layers before the output depends on, as how far back they are.
    fn reads(&self) -> Vec<usize> {
        match self {
            Declared::Cell(cell) => {
                let read = (0..cell.inputs()).filter(|&input| cell.reads(input));
                read.map(|input| cell.inputs() - input).collect()
            }
            Declared::Residual(_) => vec![1],
        }
    }
}

/// A declared network.
pub struct Stack {
    stem: ConvolutionBlock,
    layers: Vec<Declared>,
    /// The batch norm and the ReLU in front of the classifier, in some spaces.
    closing: Option<NormBlock>,
    /// The auxiliary head and the cell that it reads.
    pub(super) auxiliary: Option<(AuxiliaryHead, usize)>,
    classifier: ClassifierBlock,
}

impl Stack {
    /// Declares the parameters of a network whose cells of each type hold `contents`.
    pub fn declare(
        parameters: &mut Parameters,
        space: &Space,
        contents: &[Contents],
        shape: StackShape,
        form: Form,
    ) -> Self {
        let stacking = space.stacking();
        let stem_channels = stacking.stem_multiplier() * shape.init_channels;
        let names = ConvolutionNames {
            relu: None,
            convolution: "stem.0".to_owned(),
            norm: Some("stem.1".to_owned()),
        };
        let widths = [shape.image_channels, stem_channels];
        let window = ConvolutionWindow::square(STEM_KERNEL, 1, STEM_KERNEL / 2);
        let stem = ConvolutionBlock::declare(parameters, names, window, widths, true);
        let stem = ConvolutionBlock { of_images: true, ..stem };
        let mut inputs = vec![stem_channels; space.inputs()];
        let (mut channels, mut previous_reduction) = (shape.init_channels, false);
        let mut layers: Vec<Declared> = Vec::with_capacity(shape.cells);
        for (index, layer) in space.layers(shape.cells).into_iter().enumerate() {
            let name = format!("cells.{index}");
            let layer = match layer {
                Layer::Cell(kind) => {
                    let reduction = space.cells()[kind].reduces;
                    channels *= if reduction { 2 } else { 1 };
                    let (inputs, partial) = (inputs.clone(), shape.partial);
                    let cell = CellShape { inputs, channels, reduction, previous_reduction, partial };
                    previous_reduction = reduction;
                    Declared::Cell(Cell::declare(parameters, space, &name, &contents[kind], cell, form))
                }
                Layer::Residual => {
                    channels *= 2;
                    let widths = [inputs[inputs.len() - 1], channels];
                    Declared::Residual(Box::new(ResidualBlock::declare(parameters, &name, widths)))
                }
            };
            inputs.remove(0);
            inputs.push(layer.width());
            layers.push(layer);
        }
        let features = inputs[inputs.len() - 1];
        let auxiliary = shape.auxiliary.then(|| {
            let read = auxiliary_cell(shape.cells);
            let declare = |parameters: &mut Parameters| {
                AuxiliaryHead::declare(parameters, layers[read].width(), shape.classes)
            };
            (parameters.for_training_only(declare), read)
        });
        let closing = stacking.closes().then(|| NormBlock::declare(parameters, "lastact", features));
        let classifier = ClassifierBlock::declare(parameters, "classifier", features, shape.classes);
        Stack { stem, layers, closing, auxiliary, classifier }
    }

    /// Describes stem and layers.
    pub fn emit<G: Graph>(&self, graph: &mut G, images: &G::Value) -> Result<Features<G::Value>> {
        let stem = graph.convolution(images, &self.stem)?;
        let mut outputs: Vec<Vec<G::Value>> = Vec::with_capacity(self.layers.len());
        for ((index, layer), live) in self.layers.iter().enumerate().zip(self.live_layers()) {
            let output = |back: usize| match index.checked_sub(back) {
                Some(before) => outputs[before].as_slice(),
                None => std::slice::from_ref(&stem),
            };
            let values = match layer {
                _ if !live => Vec::new(),
                Declared::Cell(cell) => {
                    let inputs: Vec<_> = (1..=cell.inputs()).rev().map(output).collect();
                    cell.emit(graph, &inputs)?
                }
                // Where there are residual blocks, the output of a cell is one value: a definition says so.
                Declared::Residual(block) => vec![block.emit(graph, &output(1)[0])?],
            };
            outputs.push(values);
        }
        Ok(Features { stem, layers: outputs })
    }

    /// Describes the classifier on the last layer's output; returns the logits.
    pub fn classify<G: Graph>(&self, graph: &mut G, features: &[G::Value]) -> Result<G::Value> {
        match &self.closing {
            None => graph.classifier(features, &self.classifier),
            Some(block) => {
                let closed: Result<Vec<_>> =
                    features.iter().map(|value| graph.normalise(value, block)).collect();
                graph.classifier(&closed?, &self.classifier)
            }
        }
    }

    /// Number of branches that drop path may drop.
    pub fn droppable(&self) -> usize {
        let live = self.layers.iter().zip(self.live_layers()).filter(|(_, live)| *live);
        let of_layer = |layer: &Declared| match layer {
            Declared::Cell(cell) => cell.droppable(),
            Declared::Residual(_) => 0,
        };
        live.map(|(layer, _)| of_layer(layer)).sum()
    }

    /// Which layers the classifiers depend on: a genotype may read one of its two inputs only.
    fn live_layers(&self) -> Vec<bool> {
        let mut live = vec![false; self.layers.len()];
        let read = self.auxiliary.as_ref().map(|(_, read)| *read);
        for index in self.layers.len().checked_sub(1).into_iter().chain(read) {
            live[index] = true;
        }
        for index in (1..self.layers.len()).rev() {
            let reads = if live[index] { self.layers[index].reads() } else { Vec::new() };
            reads
                .into_iter()
                .filter_map(|back| index.checked_sub(back))
                .for_each(|before| live[before] = true);
        }
        live
    }
}

/// The cell that the auxiliary head reads.
pub fn auxiliary_cell(cells: usize) -> usize {
    2 * cells / 3
}
