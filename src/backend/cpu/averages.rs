//! Averages of square windows: sums of columns first, then of rows. Neighbouring windows of a row share the sums of their
//! columns, and where the window moves by a pixel a row of results is one run of vectors, whatever its channels.

use super::Pool;
use super::memory::{Area, Carver, piece};
use super::simd::Vector;
use super::stream::Block;

/// The averages of an image in scratch, and what is carved for them.
#[derive(Clone, Copy)]
pub(super) struct Averages<'a> {
    op: &'a Pool,
    channels: usize,
    in_h: usize,
    in_w: usize,
    out_h: usize,
    out_w: usize,
    /// A row of the image, padded as far as the windows reach.
    padded: Area,
    padded_len: usize,
    /// The share of a pixel in each result of a row.
    shares: Area,
}

/// Elements of a row, padded as far as the windows reach.
fn padded_len(op: &Pool) -> usize {
    let (outputs, inputs) = (op.output_shape.w as usize, op.input.shape.w as usize);
    ((outputs - 1) * op.stride + op.kernel).max(op.padding + inputs) * op.input.shape.c as usize
}

/// Elements of scratch that [`Averages::new`] carves.
pub(super) fn scratch_len(op: &Pool) -> usize {
    piece(padded_len(op)) + piece(op.output_shape.w as usize * op.output_shape.c as usize)
}

impl<'a> Averages<'a> {
    pub fn new(op: &'a Pool, carver: &mut Carver) -> Self {
        let (input, output) = (op.input.shape, op.output_shape);
        let (channels, out_w, padded_len) = (output.c as usize, output.w as usize, padded_len(op));
        Averages {
            op,
            channels,
            in_h: input.h as usize,
            in_w: input.w as usize,
            out_h: output.h as usize,
            out_w,
            padded: carver.take(padded_len),
            padded_len,
            shares: carver.take(out_w * channels),
        }
    }

    /// Runs of results between which nothing lies: their number, and the elements of each.
    fn runs(&self) -> (usize, usize) {
        match self.op.stride {
            1 => (1, self.out_w * self.channels),
            _ => (self.out_w, self.channels),
        }
    }

    /// From the first element of a run to that of the next, in the padded row.
    fn run_step(&self) -> usize {
        self.op.stride * self.channels
    }

    /// The shares in windows of so many rows.
    ///
    /// # Safety
    /// No other thread uses the scratch.
    unsafe fn share(&self, rows: usize) {
        for pixel in 0..self.out_w {
            let columns = self.op.window(pixel, self.in_w).len();
            // SAFETY: the shares were carved for all results of a row.
            let shares = unsafe { self.shares.slice_mut(pixel * self.channels, self.channels) };
            shares.fill(1.0 / (rows * columns) as f32);
        }
    }

    /// The averages of `values`.
    ///
    /// # Safety
    /// The areas hold an image of the input and of the output; no other thread uses the scratch.
    #[inline(always)]
    pub unsafe fn forward<V: Vector>(&self, values: Area, output: Area) {
        let (op, row, before) = (self.op, self.in_w * self.channels, self.op.padding * self.channels);
        let mut shared = 0;
        // SAFETY: windows end at the image; the padded row reaches as far as they do.
        unsafe {
            self.padded.slice_mut(0, self.padded_len).fill(0.0);
            for line in 0..self.out_h {
                let rows = op.window(line, self.in_h);
                if rows.len() != shared {
                    shared = rows.len();
                    self.share(shared);
                }
                let vectors = Block::<V>::new(0, row, 1, true);
                for i in 0..vectors.count {
                    let (at, mask) = (i * V::LANES, vectors.mask(i));
                    let mut sum = V::zero();
                    for y in rows.clone() {
                        sum = sum.add(V::load_masked(values, y * row + at, mask));
                    }
                    sum.store_masked(self.padded, before + at, mask);
                }
                let (runs, len) = self.runs();
                let vectors = Block::<V>::new(0, len, 1, true);
                for run in 0..runs {
                    let (from, to) = (self.padded.from(run * self.run_step()), run * len);
                    for i in 0..vectors.count {
                        let (at, mask) = (i * V::LANES, vectors.mask(i));
                        let mut sum = V::zero();
                        for column in 0..op.kernel {
                            sum = sum.add(V::load_masked(from, column * self.channels + at, mask));
                        }
                        let share = V::load_masked(self.shares, to + at, mask);
                        sum.mul(share).store_masked(
                            output,
                            line * self.out_w * self.channels + to + at,
                            mask,
                        );
                    }
                }
            }
        }
    }

    /// Spreads the gradients of the averages over `total`.
    ///
    /// # Safety
    /// The areas hold an image of the output and of the input; no other thread uses the scratch.
    #[inline(always)]
    pub unsafe fn backward<V: Vector>(&self, slopes: Area, total: Area) {
        let (op, row, before) = (self.op, self.in_w * self.channels, self.op.padding * self.channels);
        let mut shared = 0;
        // SAFETY: as in `forward`.
        unsafe {
            total.slice_mut(0, self.in_h * row).fill(0.0);
            for line in 0..self.out_h {
                let rows = op.window(line, self.in_h);
                if rows.len() != shared {
                    shared = rows.len();
                    self.share(shared);
                }
                self.padded.slice_mut(0, self.padded_len).fill(0.0);
                let (runs, len) = self.runs();
                let vectors = Block::<V>::new(0, len, 1, true);
                for (run, column) in (0..runs).flat_map(|run| (0..op.kernel).map(move |column| (run, column)))
                {
                    let to = self.padded.from(run * self.run_step() + column * self.channels);
                    let from = run * len;
                    for i in 0..vectors.count {
                        let (at, mask) = (i * V::LANES, vectors.mask(i));
                        let slope =
                            V::load_masked(slopes, line * self.out_w * self.channels + from + at, mask);
                        let share = V::load_masked(self.shares, from + at, mask);
                        slope.mul_add(share, V::load_masked(to, at, mask)).store_masked(to, at, mask);
                    }
                }
                let vectors = Block::<V>::new(0, row, 1, true);
                for i in 0..vectors.count {
                    let (at, mask) = (i * V::LANES, vectors.mask(i));
                    let sum = V::load_masked(self.padded, before + at, mask);
                    for y in rows.clone() {
                        let own = V::load_masked(total, y * row + at, mask);
                        own.add(sum).store_masked(total, y * row + at, mask);
                    }
                }
            }
        }
    }
}
