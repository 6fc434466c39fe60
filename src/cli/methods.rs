//! `darts methods`: the search methods of the literature.

use serde_json::json;

use super::output::{print, tell};
use crate::Result;
use crate::method::published::all;

/// List the search methods: what each changes, what a step costs, and its source.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Print JSON instead, with the keys of a plan that make each method.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  darts methods
  darts search --method gdas";

impl Arguments {
    /// Lists all of them.
    pub fn run(self) -> Result<()> {
        if self.json {
            let list = all().iter().map(|method| {
                json!({
                    "name": method.name, "changes": method.changes, "cost": method.cost, "source": method.source,
                    "plan": method.plan, "paper": method.paper,
                })
            });
            return print(&format!("{:#}\n", serde_json::Value::from(list.collect::<Vec<_>>())));
        }
        let width = all().iter().map(|method| method.name.len()).max().unwrap_or_default();
        let line = |name: &str, text: &str| format!("{name:width$}  {text}\n");
        let entries = all().iter().map(|method| {
            let step = format!("a step: {}; {}", method.cost, method.source);
            line(&method.name, &method.changes) + &line("", &step)
        });
        tell(&entries.collect::<String>())
    }
}
