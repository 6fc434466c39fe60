//! What kernels read and write: places in the two memories, shapes, and values as their readers see them.

use bytemuck::{Pod, Zeroable};

/// A run of elements in the activation memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// First element.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

/// A run of elements in the state memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First element.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

impl Span {
    /// The part of this span that starts at element `start` and has `len` elements.
    pub fn part(self, start: usize, len: usize) -> Span {
        assert!(start + len <= self.len, "part {start}+{len} of a span of {}", self.len);
        Span { offset: self.offset + start, len }
    }

    /// The elements as a range of indices.
    pub fn range(self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len
    }
}

impl Slot {
    /// The elements as a range of indices.
    pub fn range(self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len
    }
}

/// Images, height, width, channels: NHWC, contiguous. Mirrors `Shape` of `kernels/geometry.cuh`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Shape {
    /// Images.
    pub n: u32,
    /// Rows.
    pub h: u32,
    /// Columns.
    pub w: u32,
    /// Channels.
    pub c: u32,
}

impl Shape {
    /// A shape from host-sized numbers.
    pub fn new(n: usize, h: usize, w: usize, c: usize) -> Self {
        let small = |x: usize| u32::try_from(x).expect("a side of a tensor fits 32 bits");
        Shape { n: small(n), h: small(h), w: small(w), c: small(c) }
    }

    /// Number of elements.
    pub fn len(self) -> usize {
        self.pixels() * self.c as usize
    }

    /// Whether there are no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Number of pixels of all images.
    pub fn pixels(self) -> usize {
        self.n as usize * self.image_pixels()
    }

    /// Number of pixels of one image.
    pub fn image_pixels(self) -> usize {
        self.h as usize * self.w as usize
    }

    /// The shape of the result of a window of side `kernel` that moves over the image with `padding` around it, with
    /// `c` channels; none where the window does not fit.
    pub fn windows(self, kernel: usize, stride: usize, padding: usize, c: usize) -> Option<Shape> {
        let side =
            |side: u32| (side as usize + 2 * padding).checked_sub(kernel).map(|room| room / stride + 1);
        Some(Shape::new(self.n as usize, side(self.h)?, side(self.w)?, c))
    }

    /// The shape of the result of a padded ("same") window at a stride, with `c` channels.
    pub fn strided(self, stride: usize, c: usize) -> Shape {
        let side = |x: u32| (x as usize).div_ceil(stride);
        Shape::new(self.n as usize, side(self.h), side(self.w), c)
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}x{}", self.n, self.h, self.w, self.c)
    }
}

/// A batch norm as its readers see it: spans of `[c]`.
#[derive(Clone, Copy, Debug)]
pub struct Norm {
    /// Mean of the batch, or the running mean in inference.
    pub mean: Span,
    /// `1/sqrt(variance + epsilon)`.
    pub inverse_deviation: Span,
    /// `gamma * inverse_deviation`.
    pub scale: Span,
    /// `beta - scale * mean`.
    pub shift: Span,
    /// Learned factor; 1 where absent.
    pub gamma: Option<Span>,
    /// Learned offset; 0 where absent.
    pub beta: Option<Span>,
}

/// An activation as its readers see it: `scale[c] * x + shift[c]`, or `x` where nothing normalises it.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// The raw values.
    pub data: Slot,
    /// Their shape.
    pub shape: Shape,
    /// The batch norm that readers apply.
    pub norm: Option<Norm>,
}

/// The gradient of the loss by a raw value in front of a batch norm. It is never stored; readers compute
/// `sum_t factor_t[c] * gradient_t + raw_factor[c] * raw + constant[c]`.
#[derive(Clone, Debug)]
pub struct UnstoredGradient {
    /// Gradients of the loss by the values (or nodes) that the normalised value flows into.
    pub terms: Vec<Term>,
    /// The raw value.
    pub raw: Slot,
    /// `[c]`.
    pub raw_factor: Span,
    /// `[c]`.
    pub constant: Span,
}

/// One term of a [`UnstoredGradient`].
#[derive(Clone, Copy, Debug)]
pub struct Term {
    /// A stored gradient, shaped as the raw value.
    pub gradient: Slot,
    /// `[c]`.
    pub factor: Span,
}

/// The gradient of the loss by the result of an operator, which has a batch norm behind it or not.
#[derive(Clone, Debug)]
pub enum ResultGradient {
    /// The result is plain: its readers deliver the gradient.
    Stored(Slot),
    /// The result stands in front of a batch norm.
    Unstored(UnstoredGradient),
}

/// Where an input gradient goes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its place.
    pub slot: Slot,
    /// Whether it is added to what is there (another consumer came first) or assigned.
    pub accumulate: bool,
    /// The gate of the value whose gradient this is: see [`Backend`](super::Backend).
    pub gate: Option<Span>,
}

/// The two sums of batch norm's backward, `[c]` each.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// `sum(g)`.
    pub total: Span,
    /// `sum(g * xhat)`.
    pub products: Span,
}

/// A data set as bytes, and how they become inputs of a network.
#[derive(Clone, Copy, Debug)]
pub struct ImageBytes<'a> {
    /// `[image][row][column][channel]`.
    pub pixels: &'a [u8],
    /// Of all of it.
    pub shape: Shape,
    /// The mean of each channel, in units of byte values.
    pub mean: &'a [f32],
    /// The standard deviation of each channel, in units of byte values.
    pub deviation: &'a [f32],
}

/// Which image of the data set stands at a place of a batch, and how it is shown there: pixel `(y, x)` is that of the
/// image at `(y + down, x' + right)`, with `x'` counted from the right where it is mirrored; black outside the image;
/// `(value - mean) / deviation`; zero in the cutout. Mirrors `PlacedImage` of `kernels/augment.cu`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PlacedImage {
    /// Index of the image.
    pub image: u32,
    /// Its class.
    pub label: u32,
    /// Rows that the view is moved down.
    pub down: i32,
    /// Columns that the view is moved to the right.
    pub right: i32,
    /// 1 where the view is mirrored left to right.
    pub flip: u32,
    /// First row, last row (exclusive), first column and last column (exclusive) of the cutout; all 0 without one.
    pub cutout: [u32; 4],
}
