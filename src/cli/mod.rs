//! The command line: raw flags become checked values before any work starts.
//!
//! Read `plan` for how flags, a plan file and a preset become one plan, `data` for how a data set is loaded, `run` for what
//! a search and a training share, then the commands: `search`, `derive`, `methods`, `show`, `lookup`, `compare`, `report`, `train`, `evaluate`, `predict`,
//! `export`, `digits`, `devices` and `completions`.

mod compare;
mod completions;
mod data;
mod derive;
mod devices;
mod digits;
mod evaluate;
mod export;
mod genotype;
mod interruption;
mod lookup;
mod methods;
mod model;
mod output;
mod pictures;
mod plan;
mod predict;
mod report;
mod run;
mod search;
mod show;
mod train;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::Result;

/// Searches neural network architectures by gradient descent.
#[derive(Parser)]
#[command(name = "darts", version, after_help = EXAMPLES, max_term_width = 100, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  darts search                       search on the built-in digits, in half a minute on a laptop
  darts derive runs/2026-01-31-142500-digits-first
  darts show darts-v2                draw the cells of a published genotype
  darts lookup --best cifar10        the best cells of NAS-Bench-201, with their accuracies
  darts compare study.toml           contenders over seeds, beside genotypes drawn at random
  darts report runs/2026-01-31-142500-digits-first
  darts train runs/2026-01-31-142500-digits-first
  darts train --resume runs/2026-01-31-150000-digits-train
  darts evaluate runs/2026-01-31-150000-digits-train
  darts predict runs/2026-01-31-150000-digits-train digit.png
  darts export runs/2026-01-31-150000-digits-train --format onnx
  darts digits pictures              the built-in digits as pictures in folders, to try things with
  darts devices                      the processor and the GPUs that a search can use
  darts COMMAND --help               everything about a command

Exit codes: 0 success, 1 a failure, 2 wrong usage, 124 a run that --max-minutes ended, 130 one that Ctrl-C \
interrupted, 143 one that SIGTERM did, 129 one whose terminal was closed.";

#[derive(Subcommand)]
enum Command {
    Search(Box<search::Arguments>),
    Derive(derive::Arguments),
    Methods(methods::Arguments),
    Show(show::Arguments),
    Lookup(lookup::Arguments),
    Compare(compare::Arguments),
    Report(report::Arguments),
    Train(Box<train::Arguments>),
    Evaluate(evaluate::Arguments),
    Predict(predict::Arguments),
    Export(export::Arguments),
    Digits(digits::Arguments),
    Devices(devices::Arguments),
    Completions(completions::Arguments),
}

/// Parses the arguments, runs the command and reports an error in one line; gives the exit code.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    interruption::outlive_file_limits();
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return not_parsed(&error),
    };
    match execute(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::report(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Search(arguments) => arguments.run(),
        Command::Derive(arguments) => arguments.run(),
        Command::Methods(arguments) => arguments.run(),
        Command::Show(arguments) => arguments.run(),
        Command::Lookup(arguments) => arguments.run(),
        Command::Compare(arguments) => arguments.run(),
        Command::Report(arguments) => arguments.run(),
        Command::Train(arguments) => arguments.run(),
        Command::Evaluate(arguments) => arguments.run(),
        Command::Predict(arguments) => arguments.run(),
        Command::Export(arguments) => arguments.run(),
        Command::Digits(arguments) => arguments.run(),
        Command::Devices(arguments) => arguments.run(),
        Command::Completions(arguments) => arguments.run(Arguments::command()),
    }
}

/// Help and version are printed as they are; anything else becomes a sentence on one line.
fn not_parsed(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand => {
            // A closed pipe has a reader that has read enough.
            let _ = error.print();
        }
        _ => output::report(&sentence(&error.to_string())),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Joins the lines of an error of clap, without its usage, its advice to ask for help, and that to take a flag for a
/// value.
fn sentence(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| {
        let beside = ["Usage:", "For more information", "tip: to pass "];
        !line.is_empty() && !beside.iter().any(|start| line.starts_with(start))
    });
    let joined = lines.collect::<Vec<_>>().join(" ").replace(" tip: ", "; ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}
