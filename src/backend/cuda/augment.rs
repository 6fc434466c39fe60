//! Augmented batches from the bytes of a data set: `kernels/augment.cu`.

use bytemuck::{Pod, Zeroable};

use super::geometry::{ImagePlace, Placed, small};
use super::{Augmenter, Cuda, ImageBytes, Kernel, PlacedImage, Shape, Slot};
use crate::Result;

/// Mirrors `Augment` of `kernels/augment.cu`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Parameters {
    images: ImagePlace,
    labels: u64,
    output: u32,
    count: u32,
}
const _: () = assert!(size_of::<Parameters>() == 56);
const _: () = assert!(size_of::<PlacedImage>() == 36);

impl Augmenter for Cuda {
    fn upload(&mut self, images: &ImageBytes) -> Result<()> {
        self.memory.upload(&self.context, images)
    }

    fn augment(&mut self, output: Slot, placements: &[PlacedImage]) {
        self.settle();
        let Shape { n, h, w, c } = self.memory.images().shape;
        if self.context.active() {
            assert!(placements.iter().all(|place| place.image < n), "a batch shows images of the data set");
            let len = Shape { n: small(placements.len()), h, w, c }.len();
            assert!(output.len == len, "a batch of {len} values for a slot of {}", output.len);
        }
        self.memory.write_placements(&self.context, placements);
        let parameters = Parameters {
            images: self.memory.images(),
            labels: self.memory.place().labels,
            output: output.place(),
            count: small(placements.len()),
        };
        let packs = output.len.div_ceil(16 / self.memory.precision().bytes());
        self.launch_each(Kernel::augment, packs.max(placements.len()), 1, &parameters);
    }
}
