//! What the report says of a run in its first epoch.

use maud::html;

use super::{parts, sheet, survey, weights};
use crate::plan::Command;
use crate::readable::counted;
use crate::store::checkpoints::resume_command;
use crate::store::history::Beginning;

/// The page of a search or of a training.
pub fn page(beginning: &Beginning) -> String {
    let Beginning { name, command, plan, standing, genotype, alphas, survey, sheet, .. } = beginning;
    let data = beginning.planned("data").unwrap_or("unnamed images");
    let title = match command {
        Command::Search => format!("Search on {data}"),
        Command::Train => format!("Training on {data}"),
    };
    let content = html! {
        (parts::facts(&[
            (parts::epochs(0, beginning.planned("epochs")), "epochs"),
            (counted(standing.steps, "step"), "of the first epoch"),
        ]))
        (parts::unfinished(*standing))
        @if alphas.is_some() {
            p { "The cells are those that the alphas of this checkpoint give: early ones, and likely to change." }
        }
        (parts::next(&[resume_command(*command, &beginning.path)]))
        (parts::cells(genotype))
        @if let Some(alphas) = alphas { (weights::heat_maps(alphas, genotype, &standing.to_string())) }
        @if let Some(sheet) = sheet { (sheet::section(sheet)) }
        @if let Some(survey) = survey { (survey::section(survey)) }
        (parts::plan(genotype, plan))
    };
    parts::document(&title, name, &content)
}
