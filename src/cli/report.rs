//! `darts report`: a run as a page to look at.

use std::path::PathBuf;

use super::output::print;
use crate::Result;
use crate::report::page;

/// Write the report of a run into its directory: report.html, and its cells as SVG and for Graphviz.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The run directory of a search or of a training, which may still be writing it.
    run: PathBuf,
    /// Do not print where the report is.
    #[arg(long)]
    quiet: bool,
}

const EXAMPLES: &str = "\
A search and a training write their reports when they end, also where they are interrupted. The page needs no network and no scripts.

Examples:
  darts report runs/2026-01-31-142500-digits-first
  darts report runs/2026-01-31-150000-digits-train
  darts report --quiet RUN && xdg-open RUN/report.html";

impl Arguments {
    /// Writes the report.
    pub fn run(self) -> Result<()> {
        let path = page::write(&self.run)?;
        if self.quiet { Ok(()) } else { print(&format!("{}\n", path.display())) }
    }
}
