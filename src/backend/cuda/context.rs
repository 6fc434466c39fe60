//! The device, its stream and its kernels, each resolved once.
//!
//! All calls go to one stream, so they run in the order in which they are made. The first call that the driver refuses
//! ends the work: it stays as the [`Context::status`], and nothing more is sent to the device.

use std::ffi::{CString, c_void};
use std::sync::{Arc, OnceLock};

use bytemuck::Pod;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, CudaStream};

use super::geometry::MemoryPlace;
use crate::backend::gpu::Precision;
use crate::{Error, Result};

/// Takes the PTX even where there is machine code for the device.
const FORCE_PTX: &str = "DARTS_CUDA_FORCE_PTX";
/// Bytes of parameters that every driver takes.
const MAX_PARAMETERS: usize = 4096;

/// The images of a kernel file. Drivers want them aligned.
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

/// A module: its images for all devices, those of PTX alone, and the kernels it holds.
struct Image {
    stem: &'static str,
    fatbin: &'static Aligned<[u8]>,
    ptx: &'static Aligned<[u8]>,
    kernels: &'static [&'static str],
}

macro_rules! embedded {
    ($($name:tt)*) => {{
        static BYTES: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/", $($name)*)));
        BYTES
    }};
}

macro_rules! images {
    ($end:literal: $($stem:literal: $($kernel:ident)*;)*) => {
        &[$(Image {
            stem: $stem,
            fatbin: embedded!($stem, $end, ".fatbin"),
            ptx: embedded!($stem, $end, ".ptx.fatbin"),
            kernels: &[$(stringify!($kernel),)*],
        },)*]
    };
}

macro_rules! kernels {
    (
        activations: { $($stem:literal: $($kernel:ident)*;)* }
        state: { $($state_stem:literal: $($state_kernel:ident)*;)* }
    ) => {
        /// A kernel, named as in `kernels/`.
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug)]
        pub enum Kernel { $($($kernel,)*)* $($($state_kernel,)*)* }

        /// The modules in the order of [`Kernel`]: those of the storage type, then those that all share.
        fn images(precision: Precision) -> impl Iterator<Item = &'static Image> {
            const F32: &[Image] = images!(".f32": $($stem: $($kernel)*;)*);
            const BF16: &[Image] = images!(".bf16": $($stem: $($kernel)*;)*);
            const F16: &[Image] = images!(".f16": $($stem: $($kernel)*;)*);
            const STATE: &[Image] = images!("": $($state_stem: $($state_kernel)*;)*);
            let stored = match precision {
                Precision::F32 => F32,
                Precision::Bf16 => BF16,
                Precision::F16 => F16,
            };
            stored.iter().chain(STATE)
        }

        /// The names of all kernels, in their order.
        pub const KERNELS: &[&str] =
            &[$($(stringify!($kernel),)*)* $($(stringify!($state_kernel),)*)*];
    };
}

kernels! {
    activations: {
        "augment": augment;
        "bypass": bypass_forward bypass_backward bypass_finish;
        "channel_slice": channel_slice_forward channel_slice_backward;
        "channel_sums": channel_sums;
        "convolution": convolution_forward_16 convolution_forward_32 convolution_forward_64
            convolution_weights_16 convolution_weights_64
            convolution_input_16 convolution_input_32 convolution_input_64;
        "dropout": dropout_forward dropout_backward;
        "depthwise": depthwise_input depthwise_input_slices depthwise_weights;
        "node_sum": node_sum_forward node_sum_backward;
        "cross_entropy": cross_entropy;
        "global_pool": global_pool_forward global_pool_backward;
        "linear": linear_forward linear_backward;
        "mixed": mixed_forward mixed_finish;
        "pointwise": pointwise_forward_16 pointwise_forward_32 pointwise_forward_64 pointwise_input_32
            pointwise_input_64 pointwise_weights_16 pointwise_weights_32 pointwise_weights_64;
        "normalised_pools": normalised_pools_forward normalised_pools_backward;
        "separable": separable_forward_16 separable_forward_64 separable_forward_bands_16 separable_forward_bands_32
            separable_forward_bands_64 separable_depthwise_16 separable_depthwise_64 separable_depthwise_bands_16
            separable_depthwise_bands_32 separable_depthwise_bands_64 separable_gradients_16 separable_gradients_32
            separable_gradients_64 separable_weights_16 separable_weights_64;
        "pool": pool_forward pool_places pool_input;
    }
    state: {
        "combine": combine_sums combine_moments batch_norm_forward batch_norm_backward;
        "gradient_descent": gradient_descent;
        "vectors": fill scaled_add euclidean_norm_partials euclidean_norm_result;
    }
}

/// What becomes of calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// They go to the device.
    Running,
    /// They are recorded into a graph; the device's memories must stay where they are.
    Recording,
    /// They are only counted.
    DryRun,
}

/// A device that is ready to compute.
pub struct Context {
    /// What becomes of calls.
    pub state: State,
    failure: OnceLock<String>,
    // Functions belong to modules, and those to the context: dropped in this order.
    functions: Vec<sys::CUfunction>,
    modules: Vec<sys::CUmodule>,
    stream: Arc<CudaStream>,
    context: Arc<CudaContext>,
}

// SAFETY: handles of the driver may be used from any thread on which the context is current, and every method makes
// it so; `&mut` keeps launches in one thread at a time.
unsafe impl Send for Context {}

impl Context {
    /// Opens a device and loads all kernels, for activations of this precision.
    pub fn open(ordinal: usize, precision: Precision) -> Result<Self> {
        driver_present()?;
        let context = CudaContext::new(ordinal).map_err(|e| failure("cannot use the GPU", e))?;
        // SAFETY: there is one stream, so nothing needs the events by which cudarc orders several.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(|e| failure("cannot use the GPU", e))?;
        let (state, failure) = (State::Running, OnceLock::new());
        let mut opened =
            Context { state, failure, functions: Vec::new(), modules: Vec::new(), stream, context };
        for image in images(precision) {
            opened.load(image)?;
        }
        Ok(opened)
    }

    /// The stream of all work.
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// The device.
    pub fn device(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// Whether calls reach the driver.
    pub fn active(&self) -> bool {
        self.state != State::DryRun && self.failure.get().is_none()
    }

    /// Keeps the first failure.
    pub fn check(&self, what: &str, result: std::result::Result<(), DriverError>) {
        if let Err(error) = result {
            self.fail(failure(what, error));
        }
    }

    /// Keeps the first failure.
    pub fn fail(&self, error: Error) {
        let text = if let Error::Device(text) = error { text } else { error.to_string() };
        // One that came later follows from the first.
        let _ = self.failure.set(text);
    }

    /// The first failure.
    pub fn status(&self) -> Result<()> {
        self.failure.get().map_or(Ok(()), |text| Err(Error::Device(text.clone())))
    }

    /// Takes the failure back: what failed is done in another way.
    pub fn recover(&mut self) -> Option<String> {
        self.failure.take()
    }

    fn load(&mut self, image: &Image) -> Result<()> {
        let what = || format!("cannot load the kernels of {}.cu", image.stem);
        let forced = std::env::var_os(FORCE_PTX).is_some_and(|value| value != "0" && !value.is_empty());
        let bytes = if forced { image.ptx } else { image.fatbin };
        // SAFETY: nvcc wrote the image, which is static, aligned and carries its own length.
        let module = unsafe { result::module::load_data(bytes.0.as_ptr().cast()) };
        let module = module.map_err(|error| failure(&what(), error))?;
        self.modules.push(module);
        for name in image.kernels {
            let text = CString::new(*name).map_err(|_| Error::Device(what()))?;
            // SAFETY: the module was just loaded and lives as long as `self`.
            let function = unsafe { result::module::get_function(module, text) };
            self.functions.push(function.map_err(|error| failure(&format!("{} ({name})", what()), error))?);
        }
        Ok(())
    }

    /// Queues a kernel on `grid` blocks of `block` threads.
    ///
    /// # Safety
    /// `parameters` is what the kernel declares, and all that it makes the kernel touch lies in `memory`.
    pub unsafe fn launch<P: Pod>(
        &self,
        kernel: Kernel,
        grid: [u32; 3],
        block: [u32; 2],
        memory: &MemoryPlace,
        parameters: &P,
    ) {
        const { assert!(size_of::<P>() + size_of::<MemoryPlace>() <= MAX_PARAMETERS) };
        let pointer = |from: *const c_void| from.cast_mut();
        let mut arguments =
            [pointer(std::ptr::from_ref(memory).cast()), pointer(std::ptr::from_ref(parameters).cast())];
        let current = self.context.bind_to_thread();
        // SAFETY: the function belongs to a loaded module, the driver copies the arguments during the call, and the
        // caller vouches for what the kernel does with them.
        let launched = current.and_then(|()| unsafe {
            result::launch_kernel(
                self.functions[kernel as usize],
                (grid[0], grid[1], grid[2]),
                (block[0], block[1], 1),
                0,
                self.stream.cu_stream(),
                &mut arguments,
            )
        });
        if launched.is_err() {
            self.check(&format!("the GPU cannot run {kernel:?} on {grid:?} blocks"), launched);
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // Whatever fails here fails at the end of all use; there is no one left to tell.
        let _ = self.context.bind_to_thread();
        let _ = self.stream.synchronize();
        for module in self.modules.drain(..) {
            // SAFETY: no work is left, and the functions go with `self`.
            let _ = unsafe { result::module::unload(module) };
        }
    }
}

/// Whether a driver can be loaded: cudarc panics where there is none.
pub fn driver_present() -> Result<()> {
    // SAFETY: loads the library of the driver and runs its initialisers, as every use of it does.
    if unsafe { sys::is_culib_present() } {
        return Ok(());
    }
    Err(Error::Device(
        "no CUDA driver (libcuda.so.1) can be loaded; install NVIDIA's driver, or use --device cpu".into(),
    ))
}

/// A failure of the driver as a sentence that says what to do.
pub fn failure(what: &str, error: DriverError) -> Error {
    let advice = match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => "it is out of memory; use a smaller --batch-size",
        CUresult::CUDA_ERROR_NO_DEVICE => "there is none that the driver can use; use --device cpu",
        CUresult::CUDA_ERROR_STUB_LIBRARY
        | CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => "the driver is too old; install a newer one",
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU => {
            "this binary holds no code for it; build it with its compute capability in DARTS_CUDA_ARCHS"
        }
        _ => return Error::Device(format!("{what}: {error}")),
    };
    Error::Device(format!("{what}: {advice}"))
}
