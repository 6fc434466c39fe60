//! `darts lookup`: what is known of the architectures of NAS-Bench-201.

use serde_json::{Map, Value, json};

use super::genotype;
use super::output::{print, tell};
use crate::benchmark::nasbench201::{COLUMNS, Column, DATA_SETS, Entry, Part, entry_of, table};
use crate::readable::grouped;
use crate::space::architecture::{Architecture, COUNT};
use crate::{Error, Result};

/// Look up architectures of NAS-Bench-201 in its table: accuracies, ranks and numbers of weights.
#[derive(clap::Args)]
#[command(after_help = NOTES)]
pub struct Arguments {
    /// An architecture as its string, by its index in the benchmark, from 0 to 15624, or by what holds its genotype: a run
    /// directory or a file.
    #[arg(value_name = "ARCH", required_unless_present = "best", conflicts_with = "best")]
    architectures: Vec<String>,
    /// List the best architectures by their test accuracy on a data set after 200 epochs.
    #[arg(long, value_name = "DATA", value_parser = DATA_SETS.each_ref().map(|data| data.name))]
    best: Option<String>,
    /// How many of them.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "best",
        value_parser = clap::value_parser!(u16).range(1..=COUNT as i64))]
    top: u16,
    /// Print JSON instead, one line for each architecture.
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
The accuracies are means over one to three trainings of the benchmark's authors (Dong and Yang, ICLR 2020). A training of \
12 epochs has a schedule of its own. On CIFAR-10, validation accuracies are those of networks trained on half of the \
training images, and test accuracies those of networks trained on all of them. A rank counts the architectures of a higher \
test accuracy. A search must look at validation accuracies only.

Examples:
  darts lookup '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|'
  darts lookup 6111 1835
  darts lookup runs/2026-01-31-142500-cifar10-first
  darts lookup --best cifar10 --top 10
  darts lookup --best cifar100 --json";

impl Arguments {
    /// Prints the rows that were asked for.
    pub fn run(self) -> Result<()> {
        let best = self.best.as_deref().and_then(|name| DATA_SETS.iter().position(|data| data.name == name));
        let entries = match best {
            Some(data_set) => {
                let best = table().best(Column::judging(data_set)).into_iter();
                best.take(usize::from(self.top)).collect()
            }
            None => self.architectures.iter().map(|given| find(given)).collect::<Result<Vec<_>>>()?,
        };
        match (self.json, best) {
            (true, _) => {
                print(&entries.into_iter().map(|entry| format!("{}\n", as_json(entry))).collect::<String>())
            }
            (false, Some(data_set)) => tell(&list(&entries, data_set)),
            (false, None) => tell(&entries.into_iter().map(sheet).collect::<Vec<_>>().join("\n")),
        }
    }
}

/// The row of an architecture by its string or its index, or of a genotype as other commands find it.
fn find(given: &str) -> Result<&'static Entry> {
    if given.starts_with('|') {
        return Ok(table().entry(given.parse()?));
    }
    if !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit()) {
        let entry = given.parse().ok().and_then(|index: usize| table().entries().get(index));
        return entry.ok_or_else(|| unknown(given));
    }
    match genotype::find(given, None) {
        Ok(found) => entry_of(&found.genotype).ok_or_else(|| unknown(given)),
        // A path says what is wrong with it; a word is neither a path nor an architecture.
        Err(_) if !given.contains(['/', '.']) => Err(unknown(given)),
        Err(error) => Err(error),
    }
}

fn unknown(given: &str) -> Error {
    let given: String = given.chars().take(60).collect();
    Error::Genotype(format!(
        "{given:?} is no architecture of NAS-Bench-201; expected a string such as {} or an index from 0 to {}",
        Architecture::new([1; 6]),
        COUNT - 1
    ))
}

/// All that is known of an architecture, for a reader.
fn sheet(entry: &Entry) -> String {
    let Entry { index, architecture, parameters, .. } = entry;
    let mut text = format!(
        "{architecture}\nindex {index}; {} weights with 10 classes{}\n",
        grouped(*parameters),
        if architecture.reaches_output() { "" } else { "; nothing reaches its output" }
    );
    for (place, data_set) in DATA_SETS.iter().enumerate() {
        text += &format!("{:14}  validation   test    rank\n", data_set.title);
        for epochs in [12, 200] {
            let column = |part| Column { data_set: place, epochs, part };
            let [validation, test] = [Part::Validation, Part::Test].map(|part| entry.accuracy(column(part)));
            let rank = grouped(table().rank(entry, column(Part::Test)));
            text += &format!("{epochs:7} epochs  {validation:10.2}  {test:5.2}  {rank:>6}\n");
        }
    }
    text
}

/// The best architectures, a line each.
fn list(entries: &[&Entry], data_set: usize) -> String {
    let title = DATA_SETS[data_set].title;
    let mut text =
        format!("Test accuracy on {title} after 200 epochs\n rank   test    weights  index  architecture\n");
    let column = Column::judging(data_set);
    for entry in entries {
        let [rank, weights] = [table().rank(entry, column), entry.parameters].map(grouped);
        let Entry { index, architecture, .. } = entry;
        text +=
            &format!("{rank:>5}  {:5.2}  {weights:>9}  {index:>5}  {architecture}\n", entry.accuracy(column));
    }
    text
}

/// All that is known of an architecture, for a program.
fn as_json(entry: &Entry) -> Value {
    let mut data_sets = Map::new();
    for column in COLUMNS {
        let data_set = data_sets.entry(DATA_SETS[column.data_set].name).or_insert_with(|| json!({}));
        let cell = &mut data_set[format!("{}_epochs", column.epochs)][column.part.name()];
        *cell = json!({ "accuracy": entry.accuracy(column), "rank": table().rank(entry, column) });
    }
    json!({
        "architecture": entry.architecture.to_string(),
        "index": entry.index,
        "parameters": entry.parameters,
        "reaches_output": entry.architecture.reaches_output(),
        "data": data_sets,
    })
}
