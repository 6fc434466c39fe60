//! A network of cells: a stem, cells that each read the two before, and a classifier; while it is trained, an auxiliary
//! classifier at two thirds of the depth. Supernet and derived network are the same but for what their cells hold.

use super::Space;
use super::auxiliary::AuxiliaryHead;
use super::cell::{Cell, CellShape, Contents, Form};
use super::wiring::INPUTS;
use crate::Result;
use crate::backend::ConvolutionWindow;
use crate::nn::{ClassifierBlock, ConvolutionBlock, ConvolutionNames, Graph, Parameters};

/// The stem has three times the channels of the first cell.
const STEM_MULTIPLIER: usize = 3;
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

/// What stem and cells compute.
pub struct Features<V> {
    /// The stem's output.
    pub stem: V,
    /// The nodes that each cell's output concatenates: none for a cell that nothing reads.
    pub cells: Vec<Vec<V>>,
}

/// A declared network.
pub struct Stack {
    stem: ConvolutionBlock,
    cells: Vec<Cell>,
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
        let stem_channels = STEM_MULTIPLIER * shape.init_channels;
        let names = ConvolutionNames {
            relu: None,
            convolution: "stem.0".to_owned(),
            norm: Some("stem.1".to_owned()),
        };
        let widths = [shape.image_channels, stem_channels];
        let window = ConvolutionWindow::square(STEM_KERNEL, 1, STEM_KERNEL / 2);
        let stem = ConvolutionBlock::declare(parameters, names, window, widths, true);
        let stem = ConvolutionBlock { of_images: true, ..stem };
        let mut inputs = [stem_channels; INPUTS];
        let (mut channels, mut previous_reduction) = (shape.init_channels, false);
        let mut cells: Vec<Cell> = Vec::with_capacity(shape.cells);
        for index in 0..shape.cells {
            let kind = space.cell_at(index, shape.cells);
            let reduction = space.cells()[kind].reduces;
            channels *= if reduction { 2 } else { 1 };
            let partial = shape.partial;
            let cell = CellShape { inputs, channels, reduction, previous_reduction, partial };
            let cell = Cell::declare(parameters, &format!("cells.{index}"), &contents[kind], cell, form);
            (inputs, previous_reduction) = ([inputs[1], cell.width()], reduction);
            cells.push(cell);
        }
        let auxiliary = shape.auxiliary.then(|| {
            let read = auxiliary_cell(shape.cells);
            let declare = |parameters: &mut Parameters| {
                AuxiliaryHead::declare(parameters, cells[read].width(), shape.classes)
            };
            (parameters.for_training_only(declare), read)
        });
        let classifier = ClassifierBlock::declare(parameters, "classifier", inputs[1], shape.classes);
        Stack { stem, cells, auxiliary, classifier }
    }

    /// Describes stem and cells.
    pub fn emit<G: Graph>(&self, graph: &mut G, images: &G::Value) -> Result<Features<G::Value>> {
        let stem = graph.convolution(images, &self.stem)?;
        let mut outputs: Vec<Vec<G::Value>> = Vec::with_capacity(self.cells.len());
        for ((index, cell), live) in self.cells.iter().enumerate().zip(self.live_cells()) {
            let output = |back: usize| match index.checked_sub(back) {
                Some(before) => outputs[before].as_slice(),
                None => std::slice::from_ref(&stem),
            };
            let nodes = if live { cell.emit(graph, [output(2), output(1)])? } else { Vec::new() };
            outputs.push(nodes);
        }
        Ok(Features { stem, cells: outputs })
    }

    /// Describes the classifier on the last cell's output; returns the logits.
    pub fn classify<G: Graph>(&self, graph: &mut G, features: &[G::Value]) -> Result<G::Value> {
        graph.classifier(features, &self.classifier)
    }

    /// Number of branches that drop path may drop.
    pub fn droppable(&self) -> usize {
        let live = self.cells.iter().zip(self.live_cells()).filter(|(_, live)| *live);
        live.map(|(cell, _)| cell.droppable()).sum()
    }

    /// Which cells the classifiers depend on: a genotype may read one of its two inputs only.
    fn live_cells(&self) -> Vec<bool> {
        let mut live = vec![false; self.cells.len()];
        let read = self.auxiliary.as_ref().map(|(_, read)| *read);
        for index in self.cells.len().checked_sub(1).into_iter().chain(read) {
            live[index] = true;
        }
        for index in (1..self.cells.len()).rev() {
            for (input, back) in [(0, 2), (1, 1)] {
                if live[index] && self.cells[index].reads(input) && index >= back {
                    live[index - back] = true;
                }
            }
        }
        live
    }
}

/// The cell that the auxiliary head reads.
pub fn auxiliary_cell(cells: usize) -> usize {
    2 * cells / 3
}
