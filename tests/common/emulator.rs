//! Where an emulator of the CUDA driver is found.

use std::process::Command;

#[path = "beside.rs"]
pub mod beside;

/// The folder of the emulated driver, built where need be, or why there is none.
pub fn library() -> Result<String, String> {
    let Some(directory) = beside::folder("DARTS_CUDA_EMULATOR", "cuda-emulator") else {
        return Err("no emulator of the CUDA driver: DARTS_CUDA_EMULATOR names the folder of one".to_owned());
    };
    let build = directory.join("build");
    if !build.exists() {
        return Err(format!("no emulator of the CUDA driver in {}", directory.display()));
    }
    let output = Command::new(&build).output().map_err(|error| format!("{}: {error}", build.display()))?;
    if !output.status.success() {
        return Err(format!("{} failed: {}", build.display(), String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
