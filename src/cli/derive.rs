//! `darts derive`: the genotype of a run.

use std::path::PathBuf;

use super::output::{print, report};
use crate::Result;
use crate::space::derivation::derive;
use crate::store::alphas::load_alphas;

/// Print the genotype that the alphas of a run give.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A run directory, or one file of alphas.
    run: PathBuf,
    /// Take the alphas after this epoch, counted from 1 [default: the last finished one, or that which
    /// a guard names as the result; before the first is
    /// finished, the alphas of the newest checkpoint].
    #[arg(long, value_name = "N", value_parser = super::plan::whole_number)]
    epoch: Option<usize>,
    /// Print JSON instead of the Python literal.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  darts derive runs/2026-01-31-142500-digits-first
  darts derive runs/2026-01-31-142500-digits-first --epoch 10 --json
  darts derive runs/2026-01-31-142500-digits-first/alphas/epoch-0010.safetensors";

impl Arguments {
    /// Derives and prints.
    pub fn run(self) -> Result<()> {
        let (alphas, position) = load_alphas(&self.run, self.epoch)?;
        if position.epochs == 0 {
            report(&format!("no epoch of this search is finished; its alphas are those {position}"));
        }
        let genotype = derive(&alphas);
        let text = if self.json { genotype.to_json() } else { genotype.to_string() };
        print(&format!("{text}\n"))
    }
}
