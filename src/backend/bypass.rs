//! A node with partial channel connections (Xu et al., PC-DARTS, ICLR 2020, equation 2): the mixed operation computes one
//! of `groups` channels, and the others pass it by.

use super::{Operand, Shape, Slot, Span, Target};

/// See [`BypassKernels::bypass_forward`].
#[derive(Clone, Debug)]
pub struct Bypass {
    /// What the mixed operation computes: `[n][h][w][c / groups]`.
    pub mixed: Slot,
    /// What passes it by, an edge each: other values, one beside another, of the node's shape. Their first
    /// `c / groups` channels are not read.
    pub sources: Vec<BypassSource>,
    /// The node.
    pub output: Slot,
    /// Its shape.
    pub shape: Shape,
    /// One of so many channels is computed; the number of channels is a multiple.
    pub groups: usize,
}

/// What passes a mixed operation by on one edge.
#[derive(Clone, Copy, Debug)]
pub struct BypassSource {
    /// The value.
    pub input: Operand,
    /// The weight of the edge, one element.
    pub weight: Span,
}

/// Operands of [`BypassKernels::bypass_backward`].
#[derive(Clone, Debug)]
pub struct BypassGradient {
    /// Gradient of the node.
    pub output: Slot,
    /// Where the gradient of the mixed operation goes.
    pub mixed: Target,
    /// In the order of [`Bypass::sources`].
    pub sources: Vec<BypassSourceGradient>,
}

/// Gradients of what passes by on one edge.
#[derive(Clone, Copy, Debug)]
pub struct BypassSourceGradient {
    /// Where the value's gradient goes.
    pub input: Target,
    /// Gradient of the weight, one element, accumulated.
    pub weight: Span,
}

impl Bypass {
    /// Channels of a group.
    pub fn group_channels(&self) -> usize {
        self.shape.c as usize / self.groups
    }

    /// Where channel `channel` of the concatenation of the mixed operation and what passes it by stands in the node: the
    /// channel shuffle of ShuffleNet (Zhang et al., CVPR 2018), by which all channels are computed in the course of cells.
    pub fn shuffled(&self, channel: usize) -> usize {
        let each = self.group_channels();
        channel % each * self.groups + channel / each
    }
}

/// The node of partial channel connections on a device.
pub trait BypassKernels {
    /// With `x[e]` the values of the edges, `p` the channels of a group and `z[c] = mixed[c]` for `c < p`, else
    /// `z[c] = sum_e weight_e * (scale_e[c] * x_e[c] + shift_e[c])`, channel `c * groups + g` of the node is
    /// `z[g * p + c]`.
    fn bypass_forward(&mut self, operator: &Bypass);
    /// With `dz` the node's gradient in the order of z: the gradient of the mixed operation; for each edge the input
    /// gradient, `weight_e * dz[c]`, zero for `c < p`, and the gradient of the weight, `sum(dz * y_e)` over the other
    /// channels with `y_e` the normalised value (accumulated).
    fn bypass_backward(&mut self, operator: &Bypass, gradient: &BypassGradient);
}
