//! `darts show`: cells as drawings.

use serde_json::json;

use super::genotype::{Found, find};
use super::output::{coloured, print};
use crate::Result;
use crate::draw::drawing::draw;
use crate::space::published::{self, Published};
use crate::space::stored::Choice;
use crate::terminal::{fitted, output_width};

/// Draw the cells of a genotype.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A published name, random:SEED for one drawn at random, a run directory, a file with a genotype as JSON,
    /// as a Python literal or as the edges of NAS-Bench-201, or such a text itself.
    #[arg(required_unless_present = "list", allow_hyphen_values = false)]
    genotype: Option<String>,
    #[arg(long, value_name = "SPACE", conflicts_with = "list", help = space_help())]
    space: Option<String>,
    /// List the published genotypes with their test error on CIFAR-10 and their source.
    #[arg(long, conflicts_with = "genotype")]
    list: bool,
    /// Print JSON instead: the genotype, or the list with all genotypes.
    #[arg(long)]
    json: bool,
}

fn space_help() -> String {
    format!(
        "Search space of random:SEED or of a literal: {} with one of your own [default: darts]",
        Choice::expected()
    )
}

const EXAMPLES: &str = "\
Examples:
  darts show --list
  darts show darts-v2
  darts show darts-v2 --json > genotype.json
  darts show random:7
  darts show random:7 --space s2
  darts show runs/2026-01-31-142500-digits-first
  darts show genotype.json
  darts show '|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|'
  darts show \"Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), ...)\"";

impl Arguments {
    /// Finds the genotype and draws it, or lists all.
    pub fn run(self) -> Result<()> {
        let space = |text: String| text.parse().and_then(|choice: Choice| choice.resolved()?.space());
        let space = self.space.map(space).transpose()?;
        let text = match (self.genotype, self.json) {
            (Some(given), true) => format!("{}\n", find(&given, space.as_ref())?.genotype.to_json()),
            (Some(given), false) => {
                let Found { genotype, published, .. } = find(&given, space.as_ref())?;
                let title = published.map(|entry| format!("{}\n\n", title(&entry))).unwrap_or_default();
                let text = format!("{title}{}", draw(&genotype));
                coloured(&genotype, &fitted(&text, output_width()))
            }
            (None, true) => listed_as_json()?,
            (None, false) => list()?,
        };
        print(&text)
    }
}

fn listed_as_json() -> Result<String> {
    let entry = |Published { name, test_error, source, genotype, .. }| json!({ "name": name, "test_error": test_error, "source": source, "genotype": genotype });
    let list: Vec<_> = published::all()?.into_iter().map(entry).collect();
    Ok(format!("{:#}\n", serde_json::Value::from(list)))
}

fn title(entry: &Published) -> String {
    let error = entry.test_error.map(|error| format!(", {error:.2} % test error on CIFAR-10"));
    format!("{}{} ({})", entry.name, error.unwrap_or_default(), entry.source)
}

fn list() -> Result<String> {
    let published = published::all()?;
    let width = published.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    let mut text = format!("{:width$}  CIFAR-10 error  source\n", "name");
    for entry in &published {
        let error = entry.test_error.map_or("-".to_owned(), |error| format!("{error:.2} %"));
        text.push_str(&format!("{:width$}  {error:>14}  {}\n", entry.name, entry.source));
    }
    Ok(text)
}
