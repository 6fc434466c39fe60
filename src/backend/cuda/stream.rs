//! Runs of channels in one access: `kernels/stream.cuh`.

use super::{Cuda, Slot};

/// Bytes of the widest access.
const ACCESS: usize = 16;

impl Cuda {
    /// Whether a run of channels of these values is one access, as a number that kernels take.
    pub(super) fn packed(&self, channels: usize, slots: impl IntoIterator<Item = Slot>) -> u32 {
        let pack = ACCESS / self.memory.precision().bytes();
        let aligned = slots.into_iter().all(|slot| slot.offset.is_multiple_of(pack));
        u32::from(aligned && channels.is_multiple_of(pack))
    }
}
