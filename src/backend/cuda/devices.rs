//! The GPUs of the machine.

use cudarc::driver::CudaContext;
use cudarc::driver::result::{self, device};
use cudarc::driver::sys::CUdevice_attribute as Attribute;

use super::context::{driver_present, failure};
use crate::backend::gpu::Gpu;
use crate::{Error, Result};

/// Compute capabilities, times ten, that the binary holds machine code for.
fn architectures() -> impl Iterator<Item = u32> {
    env!("DARTS_CUDA_ARCHITECTURES").split(',').filter_map(|arch| arch.parse().ok())
}

/// How the binary serves a device of this capability.
fn code(capability: (u32, u32)) -> Option<&'static str> {
    let (major, all) = (capability.0, capability.0 * 10 + capability.1);
    // Machine code runs on its own and on later minor versions; PTX is compiled for everything later.
    if architectures().any(|arch| arch / 10 == major && arch <= all) {
        return Some("machine code");
    }
    architectures().any(|arch| arch <= all).then_some("PTX, compiled at the first start")
}

/// Every GPU, or why there is none.
pub fn devices() -> Result<Vec<Gpu>> {
    driver_present()?;
    let count = CudaContext::device_count().map_err(|error| failure("no GPU", error))?;
    (0..count).map(|ordinal| describe(ordinal).map_err(|error| failure("no GPU", error))).collect()
}

/// The GPU that [`open`](super::open) opens, or why it cannot.
pub fn first() -> Result<Gpu> {
    let none = "the CUDA driver finds no GPU; use --device cpu";
    let gpu = devices()?.into_iter().next().ok_or_else(|| Error::Device(none.into()))?;
    if gpu.code.is_none() {
        let advice = "this binary holds no code for it; build it with its capability in DARTS_CUDA_ARCHS";
        return Err(Error::Device(format!("{gpu}: {advice}")));
    }
    Ok(gpu)
}

fn describe(ordinal: i32) -> std::result::Result<Gpu, result::DriverError> {
    let device = device::get(ordinal)?;
    // SAFETY: the driver just gave this device.
    let (major, minor, memory) = unsafe {
        (
            device::get_attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            device::get_attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            device::total_mem(device)?,
        )
    };
    let capability = (major.unsigned_abs(), minor.unsigned_abs());
    Ok(Gpu { name: device::get_name(device)?, capability, memory, code: code(capability) })
}
