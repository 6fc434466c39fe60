//! `darts completions`: what a shell needs to complete commands and flags.

use clap::Command;
use clap_complete::Shell;

use super::output::print;
use crate::Result;

/// Print a script that completes commands and flags in a shell.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The shell.
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  darts completions bash > ~/.local/share/bash-completion/completions/darts
  darts completions zsh > ~/.zfunc/_darts
  darts completions fish > ~/.config/fish/completions/darts.fish";

impl Arguments {
    /// Prints the script for this program.
    pub fn run(self, mut program: Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "darts", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}
