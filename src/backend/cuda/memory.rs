//! The device's memories: two flat buffers of the tape, the labels, and scratch for partial results.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::CUdeviceptr;
use cudarc::driver::{CudaSlice, DevicePtr};
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

use super::context::{Context, failure};
use super::geometry::{MemoryPlace, small};
use super::{Slot, Span};
use crate::backend::gpu::Precision;
use crate::{Error, Result};

/// Kernels count elements in 32 bits, with room for an index to run a grid's width beyond the end.
const MAX_ELEMENTS: usize = 1 << 31;
/// Parts of the scratch memory start on a cache line.
const ALIGNMENT: usize = 32;

/// All memories.
pub struct Memory {
    /// Bytes of stored values.
    activations: CudaSlice<u8>,
    precision: Precision,
    /// Values on their way to or from a narrower storage type.
    staging: Vec<u16>,
    state: CudaSlice<f32>,
    scratch: CudaSlice<f32>,
    labels: CudaSlice<u32>,
    place: MemoryPlace,
}

/// Parts of the scratch memory that one call hands out, from the start.
#[derive(Default)]
pub struct Scratch {
    taken: usize,
}

impl Scratch {
    /// The place of `len` elements.
    pub fn take(&mut self, len: usize) -> u32 {
        let place = self.taken;
        self.taken += len.next_multiple_of(ALIGNMENT);
        small(place)
    }
}

fn zeroed<T: cudarc::driver::DeviceRepr + cudarc::driver::ValidAsZeroBits>(
    context: &Context,
    len: usize,
) -> Result<CudaSlice<T>> {
    let what = || format!("the GPU cannot give {} MiB", (len * size_of::<T>()) >> 20);
    context.stream().alloc_zeros(len.max(1)).map_err(|error| failure(&what(), error))
}

/// Where a slot's stored values lie.
fn byte_range(slot: Slot, precision: Precision) -> std::ops::Range<usize> {
    let bytes = precision.bytes();
    slot.offset * bytes..(slot.offset + slot.len) * bytes
}

/// The driver failed at a copy: earlier work failed, and nothing on the device can be trusted.
fn copied(result: std::result::Result<(), DriverError>) {
    result.unwrap_or_else(|error| panic!("{}", failure("the GPU cannot copy", error)));
}

impl Memory {
    /// No memory yet.
    pub fn new(context: &Context, precision: Precision) -> Result<Self> {
        let mut memory = Memory {
            activations: zeroed(context, 0)?,
            precision,
            staging: Vec::new(),
            state: zeroed(context, 0)?,
            scratch: zeroed(context, 0)?,
            labels: zeroed(context, 0)?,
            place: MemoryPlace::default(),
        };
        memory.locate(context);
        Ok(memory)
    }

    /// What activations are stored as.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Addresses, as kernels get them.
    pub fn place(&self) -> MemoryPlace {
        self.place
    }

    fn locate(&mut self, context: &Context) {
        let stream = context.stream();
        self.place = MemoryPlace {
            activations: self.activations.device_ptr(stream).0,
            state: self.state.device_ptr(stream).0,
            scratch: self.scratch.device_ptr(stream).0,
            labels: self.labels.device_ptr(stream).0,
        };
    }

    /// Zeroed memory of the tape.
    pub fn reserve(&mut self, context: &Context, activations: usize, state: usize) -> Result<()> {
        if activations.max(state) > MAX_ELEMENTS {
            let needed = activations.max(state);
            return Err(Error::Device(format!(
                "the network takes {needed} numbers, more than the {MAX_ELEMENTS} that the CUDA kernels can count; \
                 use a smaller --batch-size"
            )));
        }
        // The old goes before the new comes.
        self.activations = zeroed(context, 0)?;
        self.state = zeroed(context, 0)?;
        self.activations = zeroed(context, activations * self.precision.bytes())?;
        self.state = zeroed(context, state)?;
        self.locate(context);
        Ok(())
    }

    /// Makes room for what a call hands out.
    pub fn scratch(&mut self, context: &Context, scratch: &Scratch) {
        if scratch.taken <= self.scratch.len() {
            return;
        }
        assert!(
            scratch.taken <= MAX_ELEMENTS,
            "an operator takes more scratch than the CUDA kernels can count"
        );
        // Work that uses the old scratch is queued on the same stream, which frees it after that.
        let grown = zeroed(context, 0).and_then(|none| {
            self.scratch = none;
            zeroed(context, scratch.taken)
        });
        self.scratch = grown.unwrap_or_else(|error| panic!("{error}"));
        self.locate(context);
    }

    /// Copies values to the device, rounding them to the storage type.
    pub fn write_activations(&mut self, context: &Context, slot: Slot, values: &[f32]) {
        let stored: &[u8] = match self.precision {
            Precision::F32 => bytemuck::cast_slice(values),
            narrow => {
                self.staging.resize(values.len(), 0);
                match narrow {
                    Precision::F16 => {
                        self.staging.reinterpret_cast_mut::<f16>().convert_from_f32_slice(values)
                    }
                    _ => self.staging.reinterpret_cast_mut::<bf16>().convert_from_f32_slice(values),
                }
                bytemuck::cast_slice(&self.staging)
            }
        };
        let mut part = self.activations.slice_mut(byte_range(slot, self.precision));
        copied(context.stream().memcpy_htod(stored, &mut part));
    }

    /// Copies values from the device, when all that was queued is done.
    pub fn read_activations(&self, context: &Context, slot: Slot, values: &mut [f32]) {
        let part = self.activations.slice(byte_range(slot, self.precision));
        let mut narrow = Vec::new();
        let stored: &mut [u8] = match self.precision {
            Precision::F32 => bytemuck::cast_slice_mut(values),
            _ => {
                narrow.resize(values.len(), 0u16);
                bytemuck::cast_slice_mut(&mut narrow)
            }
        };
        copied(context.stream().memcpy_dtoh(&part, stored));
        copied(context.stream().synchronize());
        match self.precision {
            Precision::F32 => {}
            Precision::Bf16 => narrow.reinterpret_cast::<bf16>().convert_to_f32_slice(values),
            Precision::F16 => narrow.reinterpret_cast::<f16>().convert_to_f32_slice(values),
        }
    }

    /// Copies state to the device.
    pub fn write(&mut self, context: &Context, span: Span, values: &[f32]) {
        copied(context.stream().memcpy_htod(values, &mut self.state.slice_mut(span.range())));
    }

    /// Copies state from the device, when all that was queued is done.
    pub fn read(&self, context: &Context, span: Span, values: &mut [f32]) {
        copied(context.stream().memcpy_dtoh(&self.state.slice(span.range()), values));
        copied(context.stream().synchronize());
    }

    /// Copies labels to the device.
    pub fn write_labels(&mut self, context: &Context, labels: &[u32]) {
        if labels.len() > self.labels.len() {
            self.labels = zeroed(context, labels.len()).unwrap_or_else(|error| panic!("{error}"));
            self.locate(context);
        }
        if !labels.is_empty() {
            copied(context.stream().memcpy_htod(labels, &mut self.labels));
        }
    }

    /// Copies state on the device.
    pub fn copy(&mut self, context: &Context, target: Span, source: Span) {
        let within = |span: Span| span.offset + span.len <= self.state.len();
        assert!(
            target.len == source.len && within(target) && within(source),
            "copy between spans of one length"
        );
        let address = |span: Span| self.place.state + (span.offset * size_of::<f32>()) as CUdeviceptr;
        let bytes = source.len * size_of::<f32>();
        copied(context.device().bind_to_thread());
        // SAFETY: both lie in the state memory, as just checked.
        copied(unsafe {
            result::memcpy_dtod_async(address(target), address(source), bytes, context.stream().cu_stream())
        });
    }
}
