//! Parameters are declared first, which fixes their places in one flat vector, then recorded.
//!
//! Names are those of the official implementation's `state_dict`. Here depthwise weights lie `[kh][kw][c]` and
//! matrices `[inputs][outputs]`, as NHWC kernels read them; [`Layout::official`] tells where an element lies in
//! PyTorch's layout.

use rand::Rng;
use rand_distr::{Distribution, Uniform};

use crate::autograd::{NormParameters, Weight};
use crate::backend::Span;
use crate::random::{Stream, generator};

/// The shape of a weight tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[rows][columns][inputs][outputs]` of a window; officially `[outputs, inputs, rows, columns]`.
    Dense {
        /// Rows and columns of the window.
        kernel: [usize; 2],
        /// Input channels.
        inputs: usize,
        /// Output channels.
        outputs: usize,
    },
    /// `[kernel][kernel][channels]`; officially `[channels, 1, kernel, kernel]`.
    Depthwise {
        /// Side of the window.
        kernel: usize,
        /// Channels.
        channels: usize,
    },
    /// `[inputs][outputs]`; officially `[outputs, inputs, 1, 1]`, of 1x1 convolutions.
    Matrix {
        /// Input channels.
        inputs: usize,
        /// Output channels.
        outputs: usize,
    },
    /// `[inputs][outputs]`; officially `[outputs, inputs]`, of linear layers.
    Linear {
        /// Features.
        inputs: usize,
        /// Results.
        outputs: usize,
    },
    /// A vector, the same in both.
    Vector {
        /// Number of elements.
        len: usize,
    },
}

impl Layout {
    /// Number of elements.
    pub fn len(self) -> usize {
        match self {
            Layout::Dense { kernel: [rows, columns], inputs, outputs } => rows * columns * inputs * outputs,
            Layout::Depthwise { kernel, channels } => kernel * kernel * channels,
            Layout::Matrix { inputs, outputs } | Layout::Linear { inputs, outputs } => inputs * outputs,
            Layout::Vector { len } => len,
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The index in PyTorch's layout of the element that lies here at `index`.
    pub fn official(self, index: usize) -> usize {
        match self {
            Layout::Dense { kernel: [rows, columns], inputs, outputs } => {
                let (tap, input, output) =
                    (index / (inputs * outputs), index / outputs % inputs, index % outputs);
                (output * inputs + input) * rows * columns + tap
            }
            Layout::Depthwise { kernel, channels } => {
                let (tap, channel) = (index / channels, index % channels);
                channel * kernel * kernel + tap
            }
            Layout::Matrix { inputs, outputs } | Layout::Linear { inputs, outputs } => {
                index % outputs * inputs + index / outputs
            }
            Layout::Vector { .. } => index,
        }
    }

    /// The shape in PyTorch.
    pub fn official_shape(self) -> Vec<usize> {
        match self {
            Layout::Dense { kernel: [rows, columns], inputs, outputs } => {
                vec![outputs, inputs, rows, columns]
            }
            Layout::Depthwise { kernel, channels } => vec![channels, 1, kernel, kernel],
            Layout::Matrix { inputs, outputs } => vec![outputs, inputs, 1, 1],
            Layout::Linear { inputs, outputs } => vec![outputs, inputs],
            Layout::Vector { len } => vec![len],
        }
    }

    /// Number of inputs that one output sums over.
    fn fan_in(self) -> usize {
        match self {
            Layout::Dense { kernel: [rows, columns], inputs, .. } => rows * columns * inputs,
            Layout::Depthwise { kernel, .. } => kernel * kernel,
            Layout::Matrix { inputs, .. } | Layout::Linear { inputs, .. } => inputs,
            Layout::Vector { len } => len,
        }
    }
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Every element the same: batch norm's gamma and beta.
    Constant(f64),
    /// Uniform within `1/sqrt(fan_in)` of zero: PyTorch's default for convolutions and linear layers.
    Uniform {
        /// Number of inputs that one output sums over.
        fan_in: usize,
    },
}

/// A run of elements of a flat vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// First element.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

/// One weight tensor.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its official name.
    pub name: String,
    /// Its shape.
    pub layout: Layout,
    /// Its place in the flat vector.
    pub part: Part,
    /// Whether only training needs it.
    pub training_only: bool,
    initial: Initial,
}

/// The running statistics of one batch norm: mean, then variance.
#[derive(Clone, Debug)]
pub struct Running {
    /// The official names of the batch norms that it stands for. Several edges share the pools of a state.
    pub names: Vec<String>,
    /// Number of channels.
    pub channels: usize,
    /// Its place in the flat vector.
    pub part: Part,
    /// Whether only training needs it.
    pub training_only: bool,
}

/// A declared batch norm.
#[derive(Clone, Copy, Debug)]
pub struct NormParts {
    /// Running mean and variance, of the running statistics.
    pub running: Part,
    /// Learned factor and offset, of the weights.
    pub affine: Option<(Part, Part)>,
}

/// All parameters of a network, in the official order.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    list: Vec<Parameter>,
    running: Vec<Running>,
    len: usize,
    running_len: usize,
    /// Whether only training needs what is declared now.
    training_only: bool,
}

impl Parameters {
    /// Declares what only training needs, such as a head that the finished network is used without.
    pub fn for_training_only<T>(&mut self, declare: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.training_only, true);
        let declared = declare(self);
        self.training_only = before;
        declared
    }

    /// Declares a convolution's or linear layer's weights.
    pub fn weight(&mut self, name: impl Into<String>, layout: Layout) -> Part {
        self.declare(name.into(), layout, Initial::Uniform { fan_in: layout.fan_in() })
    }

    /// Declares the bias of a linear layer with `fan_in` features.
    pub fn bias(&mut self, name: impl Into<String>, len: usize, fan_in: usize) -> Part {
        self.declare(name.into(), Layout::Vector { len }, Initial::Uniform { fan_in })
    }

    /// Declares a batch norm that stands for all of `names`, with learned factor and offset or without.
    pub fn norm(&mut self, names: Vec<String>, channels: usize, affine: bool) -> NormParts {
        let layout = Layout::Vector { len: channels };
        let name = names.first().cloned().unwrap_or_default();
        let affine = affine.then(|| {
            let gamma = self.declare(format!("{name}.weight"), layout, Initial::Constant(1.0));
            (gamma, self.declare(format!("{name}.bias"), layout, Initial::Constant(0.0)))
        });
        let running = Part { offset: self.running_len, len: 2 * channels };
        self.running_len += running.len;
        self.running.push(Running { names, channels, part: running, training_only: self.training_only });
        NormParts { running, affine }
    }

    fn declare(&mut self, name: String, layout: Layout, initial: Initial) -> Part {
        let part = Part { offset: self.len, len: layout.len() };
        self.len += part.len;
        self.list.push(Parameter { name, layout, part, training_only: self.training_only, initial });
        part
    }

    /// The weight tensor at a place.
    ///
    /// # Panics
    /// If none was declared there.
    pub fn at(&self, part: Part) -> &Parameter {
        let found = self.list.binary_search_by_key(&part.offset, |parameter| parameter.part.offset);
        &self.list[found.expect("the place of a declared weight tensor")]
    }

    /// Number of weights.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of running statistics.
    pub fn running_len(&self) -> usize {
        self.running_len
    }

    /// All weight tensors.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.list.iter()
    }

    /// All running statistics.
    pub fn running(&self) -> impl Iterator<Item = &Running> {
        self.running.iter()
    }

    /// Initial weights for a seed. Every tensor has its own random numbers.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.len);
        for (index, parameter) in self.list.iter().enumerate() {
            let mut random = generator(seed, Stream::Weights, index as u64);
            values.extend((0..parameter.part.len).map(|_| parameter.initial.draw(&mut random)));
        }
        values
    }

    /// Initial running statistics: mean 0, variance 1.
    pub fn initial_running(&self) -> Vec<f32> {
        let halves = |running: &Running| [(0.0, running.channels), (1.0, running.channels)];
        let runs = self.running.iter().flat_map(halves);
        runs.flat_map(|(value, channels)| std::iter::repeat_n(value, channels)).collect()
    }
}

impl Initial {
    fn draw(self, random: &mut impl Rng) -> f32 {
        match self {
            Initial::Constant(value) => value as f32,
            Initial::Uniform { fan_in } => {
                let bound = 1.0 / (fan_in.max(1) as f32).sqrt();
                Uniform::new(-bound, bound).map_or(0.0, |uniform| uniform.sample(random))
            }
        }
    }
}

/// Where the flat vectors lie on a device.
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    /// All weights.
    pub weights: Span,
    /// Their gradients.
    pub gradients: Span,
    /// All running statistics.
    pub running: Span,
}

impl Spans {
    /// A weight tensor.
    pub fn weight(&self, part: Part) -> Weight {
        Weight {
            value: self.weights.part(part.offset, part.len),
            gradient: self.gradients.part(part.offset, part.len),
        }
    }

    /// A batch norm's parameters.
    pub fn norm(&self, parts: NormParts) -> NormParameters {
        NormParameters {
            running: self.running.part(parts.running.offset, parts.running.len),
            affine: parts.affine.map(|(gamma, beta)| (self.weight(gamma), self.weight(beta))),
            gate: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn official_indices_are_permutations() {
        let layouts = [
            Layout::Dense { kernel: [3, 3], inputs: 2, outputs: 5 },
            Layout::Dense { kernel: [1, 7], inputs: 3, outputs: 2 },
            Layout::Depthwise { kernel: 5, channels: 3 },
            Layout::Matrix { inputs: 4, outputs: 7 },
            Layout::Linear { inputs: 5, outputs: 3 },
            Layout::Vector { len: 6 },
        ];
        for layout in layouts {
            let mut indices: Vec<usize> = (0..layout.len()).map(|i| layout.official(i)).collect();
            indices.sort_unstable();
            assert!(indices.iter().copied().eq(0..layout.len()), "{layout:?}");
            assert_eq!(layout.official_shape().iter().product::<usize>(), layout.len());
        }
        // Tap (0, 1) of input 1 and output 4.
        assert_eq!(
            Layout::Dense { kernel: [3, 3], inputs: 2, outputs: 5 }.official(10 + 5 + 4),
            (4 * 2 + 1) * 9 + 1
        );
    }

    #[test]
    fn initial_weights_fill_their_range() {
        let mut parameters = Parameters::default();
        parameters.weight("w", Layout::Matrix { inputs: 16, outputs: 64 });
        parameters.norm(vec!["n".into()], 4, true);
        let values = parameters.initial(1);
        let (low, high) = values[..1024].iter().fold((0f32, 0f32), |(l, h), &x| (l.min(x), h.max(x)));
        assert!(low < -0.24 && high > 0.24 && low >= -0.25 && high <= 0.25);
        assert_eq!(values[1024..], [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(parameters.initial_running(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        assert_ne!(values, parameters.initial(2));
    }
}
