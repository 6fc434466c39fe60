//! Which pixels lie under a sliding window.

use darts::backend::Shape;

/// A window that slides over an image with padding `dilation * (kernel - 1) / 2`.
#[derive(Clone, Copy)]
pub struct Window {
    pub kernel: usize,
    pub dilation: usize,
    pub stride: usize,
}

impl Window {
    /// The rows (or columns) of an input `side` long under result `position`.
    fn under(self, position: usize, side: usize) -> impl Iterator<Item = usize> {
        let padding = self.dilation * (self.kernel - 1) / 2;
        let taps = (0..self.kernel).map(move |tap| position * self.stride + tap * self.dilation);
        taps.filter_map(move |place| place.checked_sub(padding).filter(|&place| place < side))
    }

    /// Pairs of a result's pixel and a tap that lies within the image.
    pub fn taps(self, input: Shape, output: Shape) -> usize {
        let along = |side: u32, results: u32| -> usize {
            (0..results as usize).map(|position| self.under(position, side as usize).count()).sum()
        };
        input.n as usize * along(input.h, output.h) * along(input.w, output.w)
    }
}

/// Pixels of the input that lie under any tap of any of the windows.
pub fn touched(input: Shape, output: Shape, windows: impl Iterator<Item = Window>) -> usize {
    let (height, width) = (input.h as usize, input.w as usize);
    let mut seen = vec![false; height * width];
    for window in windows {
        for row in (0..output.h as usize).flat_map(|position| window.under(position, height)) {
            for column in (0..output.w as usize).flat_map(|position| window.under(position, width)) {
                seen[row * width + column] = true;
            }
        }
    }
    input.n as usize * seen.iter().filter(|&&seen| seen).count()
}

#[test]
fn windows_end_at_the_image() {
    let shape = Shape::new(2, 4, 4, 1);
    let dense = Window { kernel: 3, dilation: 1, stride: 1 };
    // Rows 0 and 3 have two taps within the image, rows 1 and 2 three; columns the same.
    assert_eq!(dense.taps(shape, shape), 2 * 10 * 10);
    assert_eq!(touched(shape, shape, [dense].into_iter()), shape.pixels());
    // Taps of a dilated window at stride 2 fall on even rows and columns.
    let sparse = Window { kernel: 3, dilation: 2, stride: 2 };
    let half = shape.strided(2, 1);
    assert_eq!(touched(shape, half, [sparse].into_iter()), shape.pixels() / 4);
    let strided = Window { stride: 2, ..dense };
    assert_eq!(touched(shape, half, [sparse, strided].into_iter()), shape.pixels());
}
