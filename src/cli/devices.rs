//! `darts devices`: what a search can run on.

use super::output::print;
use crate::Result;
use crate::backend::cpu::Cpu;
use crate::backend::cuda;
use crate::backend::gpu::Gpu;

/// List the processor and the GPUs that a search can use.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

const EXAMPLES: &str = "\
Examples:
  darts devices";

impl Arguments {
    /// Lists all devices, or why there is no GPU.
    pub fn run(self) -> Result<()> {
        let cpu = Cpu::new(0)?;
        let (name, lanes) = (cpu.instructions().name(), cpu.instructions().lanes());
        let threads = cpu.threads();
        let plural = if threads == 1 { "" } else { "s" };
        let gpus = match cuda::devices() {
            Ok(gpus) if gpus.is_empty() => "GPU  none: the CUDA driver finds none\n".to_owned(),
            Ok(gpus) => gpus.iter().map(line).collect(),
            Err(reason) => format!("GPU  none: {reason}\n"),
        };
        print(&format!("CPU  {name}, {lanes} numbers in a vector, {threads} thread{plural}\n{gpus}"))
    }
}

fn line(gpu: &Gpu) -> String {
    let memory = gpu.memory as f64 / f64::from(1 << 30);
    let code =
        gpu.code.map_or("no code for it in this binary".to_owned(), |code| format!("supported by {code}"));
    format!("GPU  {gpu}, {memory:.1} GiB, {code}\n")
}
