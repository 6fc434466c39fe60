//! The device's memories: two flat buffers of the tape, what a batch brings, the data set, and scratch for partial
//! results. A dry run learns how large they must be; [`Memory::reserve`] provides them, so a step allocates nothing.

use std::cell::Cell;

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::CUdeviceptr;
use cudarc::driver::{CudaSlice, DevicePtr, DevicePtrMut, DeviceRepr, ValidAsZeroBits};
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};

use super::context::{Context, State, failure};
use super::geometry::{ImagePlace, MemoryPlace, small};
use super::{ImageBytes, PlacedImage, Slot, Span};
use crate::backend::gpu::Precision;
use crate::{Error, Result};

/// Kernels count elements in 32 bits, with room for an index to run a grid's width beyond the end.
const MAX_ELEMENTS: usize = 1 << 31;
/// Parts of the scratch memory start on a cache line.
const ALIGNMENT: usize = 32;
/// Bytes that the driver takes beside what it is asked for: recorded graphs, and allocations in whole pages.
const DRIVER: usize = 64 << 20;

/// All memories.
pub struct Memory {
    /// Bytes of stored values.
    activations: CudaSlice<u8>,
    precision: Precision,
    /// Values on their way to a narrower storage type.
    staging: Vec<u16>,
    state: CudaSlice<f32>,
    scratch: CudaSlice<f32>,
    labels: CudaSlice<u32>,
    placements: CudaSlice<u8>,
    pixels: CudaSlice<u8>,
    constants: CudaSlice<f32>,
    images: ImagePlace,
    place: MemoryPlace,
    needs: Needs,
    /// Where the scratch of the present call starts, and how much it takes.
    call: (usize, usize),
    /// Where the scratch of the next call may start: behind parts that still wait to be combined.
    next: Cell<usize>,
}

/// The largest requests of all calls.
#[derive(Clone, Copy, Default)]
struct Needs {
    scratch: usize,
    labels: usize,
    placements: usize,
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
        // What cannot be counted is refused before it is used.
        small(place.min(MAX_ELEMENTS))
    }
}

fn zeroed<T: DeviceRepr + ValidAsZeroBits>(context: &Context, len: usize) -> Result<CudaSlice<T>> {
    let what = || format!("the GPU cannot give {} MiB", (len * size_of::<T>()) >> 20);
    context.stream().alloc_zeros(len.max(1)).map_err(|error| failure(&what(), error))
}

/// Where a slot's stored values lie.
fn byte_range(slot: Slot, precision: Precision) -> std::ops::Range<usize> {
    let bytes = precision.bytes();
    slot.offset * bytes..(slot.offset + slot.len) * bytes
}

/// Copies values to the start of a buffer.
fn upload<T: DeviceRepr>(context: &Context, values: &[T], target: &mut impl DevicePtrMut<T>) {
    if context.active() && !values.is_empty() {
        context.check("the GPU cannot copy", context.stream().memcpy_htod(values, target));
    }
}

/// Copies values from the device, when all that was queued is done.
fn download<T: DeviceRepr>(context: &Context, source: &impl DevicePtr<T>, values: &mut [T]) {
    if context.active() {
        let stream = context.stream();
        let copied = stream.memcpy_dtoh(source, values).and_then(|()| stream.synchronize());
        context.check("the GPU cannot copy", copied);
    }
}

/// After a failure there are no values.
fn blank(context: &Context, values: &mut [f32]) {
    if context.status().is_err() {
        values.fill(f32::NAN);
    }
}

/// Refuses more elements than kernels can count.
fn count(elements: usize, whose: &str) -> Result<()> {
    if elements <= MAX_ELEMENTS {
        return Ok(());
    }
    Err(Error::Device(format!(
        "{whose} {elements} numbers, more than the {MAX_ELEMENTS} that the CUDA kernels can count"
    )))
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
            placements: zeroed(context, 0)?,
            pixels: zeroed(context, 0)?,
            constants: zeroed(context, 0)?,
            images: ImagePlace::default(),
            place: MemoryPlace::default(),
            needs: Needs::default(),
            call: (0, 0),
            next: Cell::new(0),
        };
        memory.locate(context);
        Ok(memory)
    }

    /// What activations are stored as.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Addresses, as the kernels of a call get them.
    pub fn place(&self) -> MemoryPlace {
        let start = (self.call.0 * size_of::<f32>()) as CUdeviceptr;
        MemoryPlace { scratch: self.place.scratch + start, ..self.place }
    }

    /// Addresses of all memory.
    pub fn origin(&self) -> MemoryPlace {
        self.place
    }

    /// Keeps the scratch of the present call until [`Memory::release`]; returns where it starts.
    pub fn keep(&self) -> u32 {
        self.next.set(self.call.0 + self.call.1);
        small(self.call.0)
    }

    /// Lets the next call have all scratch.
    pub fn release(&self) {
        self.next.set(0);
    }

    /// Addresses of the data set.
    pub fn images(&self) -> ImagePlace {
        self.images
    }

    fn locate(&mut self, context: &Context) {
        let stream = context.stream();
        self.place = MemoryPlace {
            activations: self.activations.device_ptr(stream).0,
            state: self.state.device_ptr(stream).0,
            scratch: self.scratch.device_ptr(stream).0,
            labels: self.labels.device_ptr(stream).0,
        };
        self.images = ImagePlace {
            pixels: self.pixels.device_ptr(stream).0,
            constants: self.constants.device_ptr(stream).0,
            placements: self.placements.device_ptr(stream).0,
            ..self.images
        };
    }

    /// Forgets the requests of the last dry run.
    pub fn begin_dry_run(&mut self) {
        self.needs = Needs::default();
    }

    /// Bytes that [`Memory::reserve`] takes after a dry run.
    pub fn demand(&self, activations: usize, state: usize) -> Result<usize> {
        count(activations.max(state), "the network takes")?;
        count(self.needs.scratch, "an operator takes scratch for")?;
        let numbers = state + self.needs.scratch + self.needs.labels;
        let placements = self.needs.placements * size_of::<PlacedImage>();
        Ok(activations * self.precision.bytes() + numbers * size_of::<f32>() + placements)
    }

    /// Bytes that can be had, with what is held.
    pub fn spare(&self, context: &Context) -> Option<usize> {
        let (free, _) = context.device().mem_get_info().ok()?;
        let numbers = self.state.len() + self.scratch.len() + self.labels.len();
        let bytes = self.activations.len() + self.placements.len() + self.pixels.len();
        let held = numbers * size_of::<f32>() + bytes;
        Some((free + held).saturating_sub(DRIVER))
    }

    /// Zeroed memory of the tape, and what the last dry run asked for.
    pub fn reserve(&mut self, context: &Context, activations: usize, state: usize) -> Result<()> {
        self.demand(activations, state)?;
        // The old goes before the new comes.
        self.activations = zeroed(context, 0)?;
        self.state = zeroed(context, 0)?;
        self.scratch = zeroed(context, 0)?;
        self.activations = zeroed(context, activations * self.precision.bytes())?;
        self.state = zeroed(context, state)?;
        self.scratch = zeroed(context, self.needs.scratch)?;
        self.labels = zeroed(context, self.needs.labels)?;
        self.placements = zeroed(context, self.needs.placements * size_of::<PlacedImage>())?;
        self.locate(context);
        Ok(())
    }

    /// Takes a data set.
    pub fn upload(&mut self, context: &Context, images: &ImageBytes) -> Result<()> {
        self.pixels = zeroed(context, 0)?;
        self.pixels = zeroed(context, images.pixels.len())?;
        let constants = [images.mean, images.deviation].concat();
        self.constants = zeroed(context, constants.len())?;
        self.images.shape = images.shape;
        self.locate(context);
        upload(context, images.pixels, &mut self.pixels);
        upload(context, &constants, &mut self.constants);
        context.status()
    }

    /// Makes room for what a call hands out. Only calls that no dry run has seen find too little.
    pub fn scratch(&mut self, context: &Context, scratch: &Scratch) {
        self.call = (self.next.get(), scratch.taken);
        let end = self.call.0 + self.call.1;
        self.needs.scratch = self.needs.scratch.max(end);
        grow(context, &mut self.scratch, end, "an operator takes scratch for");
        self.locate(context);
    }

    /// Copies values to the device, rounding them to the storage type.
    pub fn write_activations(&mut self, context: &Context, slot: Slot, values: &[f32]) {
        if !context.active() {
            return;
        }
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
        upload(context, stored, &mut self.activations.slice_mut(byte_range(slot, self.precision)));
    }

    /// Copies values from the device, when all that was queued is done.
    pub fn read_activations(&self, context: &Context, slot: Slot, values: &mut [f32]) {
        if context.state == State::DryRun {
            return;
        }
        let part = self.activations.slice(byte_range(slot, self.precision));
        let mut narrow = Vec::new();
        let stored: &mut [u8] = match self.precision {
            Precision::F32 => bytemuck::cast_slice_mut(values),
            _ => {
                narrow.resize(values.len(), 0u16);
                bytemuck::cast_slice_mut(&mut narrow)
            }
        };
        download(context, &part, stored);
        match self.precision {
            Precision::F32 => {}
            Precision::Bf16 => narrow.reinterpret_cast::<bf16>().convert_to_f32_slice(values),
            Precision::F16 => narrow.reinterpret_cast::<f16>().convert_to_f32_slice(values),
        }
        blank(context, values);
    }

    /// Copies state to the device.
    pub fn write(&mut self, context: &Context, span: Span, values: &[f32]) {
        if context.active() {
            upload(context, values, &mut self.state.slice_mut(span.range()));
        }
    }

    /// Copies state from the device, when all that was queued is done.
    pub fn read(&self, context: &Context, span: Span, values: &mut [f32]) {
        if context.state != State::DryRun {
            download(context, &self.state.slice(span.range()), values);
            blank(context, values);
        }
    }

    /// Copies labels to the device.
    pub fn write_labels(&mut self, context: &Context, labels: &[u32]) {
        self.label(context, labels.len());
        upload(context, labels, &mut self.labels);
    }

    /// Copies placements to the device.
    pub fn write_placements(&mut self, context: &Context, placements: &[PlacedImage]) {
        let bytes: &[u8] = bytemuck::cast_slice(placements);
        self.needs.placements = self.needs.placements.max(placements.len());
        grow(context, &mut self.placements, bytes.len(), "a batch takes");
        self.label(context, placements.len());
        upload(context, bytes, &mut self.placements);
    }

    /// Makes room for the labels of a batch.
    fn label(&mut self, context: &Context, images: usize) {
        self.needs.labels = self.needs.labels.max(images);
        grow(context, &mut self.labels, images, "a batch takes");
        self.locate(context);
    }

    /// Copies state on the device.
    pub fn copy(&mut self, context: &Context, target: Span, source: Span) {
        if !context.active() {
            return;
        }
        let within = |span: Span| span.offset + span.len <= self.state.len();
        assert!(
            target.len == source.len && within(target) && within(source),
            "copy between spans of one length"
        );
        let address = |span: Span| self.place.state + (span.offset * size_of::<f32>()) as CUdeviceptr;
        let bytes = source.len * size_of::<f32>();
        let copied: std::result::Result<(), DriverError> = context.device().bind_to_thread().and_then(|()| {
            // SAFETY: both lie in the state memory, as just checked.
            unsafe {
                result::memcpy_dtod_async(
                    address(target),
                    address(source),
                    bytes,
                    context.stream().cu_stream(),
                )
            }
        });
        context.check("the GPU cannot copy", copied);
    }
}

/// Makes room for `len` elements behind those that are there, where calls reach the device. A recording must not move
/// memory.
fn grow<T: DeviceRepr + ValidAsZeroBits>(
    context: &Context,
    buffer: &mut CudaSlice<T>,
    len: usize,
    whose: &str,
) {
    if len <= buffer.len() || !context.active() {
        return;
    }
    if context.state == State::Recording {
        return context.fail(Error::Device("memory must not grow while a graph is recorded".into()));
    }
    // Work that uses the old memory is queued on the same stream, which frees it after that.
    match count(len, whose).and_then(|()| zeroed(context, len)) {
        Ok(mut grown) => {
            let copied = context.stream().memcpy_dtod(buffer, &mut grown);
            context.check("the GPU cannot copy", copied);
            *buffer = grown;
        }
        Err(error) => context.fail(error),
    }
}
