//! `darts devices`: what a search can run on.

use serde_json::json;

use super::output::{print, tell};
use crate::Result;
use crate::backend::cpu::Cpu;
use crate::backend::cuda;
use crate::backend::gpu::Gpu;

/// List the processor and the GPUs that a search can use.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Print JSON instead.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  darts devices
  darts devices --json";

impl Arguments {
    /// Lists all devices, or why there is no GPU.
    pub fn run(self) -> Result<()> {
        let cpu = Cpu::new(0)?;
        let gpus = match cuda::devices() {
            Ok(gpus) if gpus.is_empty() => Err("the CUDA driver finds none".to_owned()),
            Ok(gpus) => Ok(gpus),
            Err(reason) => Err(reason.to_string()),
        };
        if self.json { print(&as_json(&cpu, gpus)) } else { tell(&as_text(&cpu, gpus)) }
    }
}

fn as_text(cpu: &Cpu, gpus: std::result::Result<Vec<Gpu>, String>) -> String {
    let (name, lanes) = (cpu.instructions().name(), cpu.instructions().lanes());
    let threads = cpu.threads();
    let plural = if threads == 1 { "" } else { "s" };
    let gpus = match gpus {
        Ok(gpus) => gpus.iter().map(line).collect(),
        Err(reason) => format!("GPU  none: {reason}\n"),
    };
    format!("CPU  {name}, {lanes} numbers in a vector, {threads} thread{plural}\n{gpus}")
}

fn line(gpu: &Gpu) -> String {
    let memory = gpu.memory as f64 / f64::from(1 << 30);
    let code =
        gpu.code.map_or("no code for it in this binary".to_owned(), |code| format!("supported by {code}"));
    format!("GPU  {gpu}, {memory:.1} GiB, {code}\n")
}

fn as_json(cpu: &Cpu, gpus: std::result::Result<Vec<Gpu>, String>) -> String {
    let entry = |gpu: &Gpu| {
        let (major, minor) = gpu.capability;
        json!({
            "name": gpu.name,
            "compute_capability": format!("{major}.{minor}"),
            "memory_bytes": gpu.memory,
            "code": gpu.code,
        })
    };
    let reason = gpus.as_ref().err().cloned();
    let gpus: Vec<_> = gpus.unwrap_or_default().iter().map(entry).collect();
    let instructions = cpu.instructions();
    let cpu = json!({
        "instructions": instructions.name(),
        "lanes": instructions.lanes(),
        "threads": cpu.threads(),
    });
    format!("{:#}\n", json!({ "cpu": cpu, "gpus": gpus, "no_gpu_because": reason }))
}
