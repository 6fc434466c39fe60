//! The page of a study: who did best, by how much more than genotypes drawn at random, and what was found.

use std::path::Path;

use maud::{Markup, html};

use super::parts::{self, CURVES};
use crate::compare::standings::{Line, Standings};
use crate::compare::table::{HEADS, cells};
use crate::draw::plot::Curve;

/// The page of what came out of the study in a directory, the text of whose file is given.
pub fn page(standings: &Standings, directory: &Path, study: &str) -> String {
    let name = directory.file_name().map_or_else(|| "study".into(), |name| name.to_string_lossy());
    let content = html! {
        (outcome(standings))
        (table(standings))
        (courses(standings))
        (agreement(standings))
        (best(standings))
        section { h2 { "Study" } pre { (study) } }
    };
    parts::document("Comparison", &name, &content)
}

fn outcome(standings: &Standings) -> Markup {
    let class = if standings.beats_random { "good" } else { "doubt" };
    html! {
        section {
            h2 { "Outcome" }
            div class=(format!("verdict {class}")) { strong { (standings.verdict) } }
            @for failure in &standings.failures { p { "Failed: " (failure) "." } }
        }
    }
}

fn table(standings: &Standings) -> Markup {
    let (shown, rows) = cells(standings);
    html! {
        section {
            h2 { "Standings" }
            p.quiet {
                "Mean ± standard deviation over the seeds. The difference to genotypes drawn at random has Welch's interval at "
                "95 %; p is the share of all ways to deal the accuracies to two groups whose means differ at least as much."
            }
            div.wide tabindex="0" {
                table.plan {
                    thead { tr { @for &column in &shown { th { (HEADS[column]) } } } }
                    tbody {
                        @for row in &rows {
                            tr {
                                @for (place, &column) in shown.iter().enumerate() {
                                    @if place == 0 { th { (row[column]) } } @else { td { (row[column]) } }
                                }
                            }
                        }
                    }
                }
            }
            @for line in &standings.lines {
                @let accuracies: Vec<_> = line.accuracies.iter().map(|accuracy| format!("{accuracy:.2}")).collect();
                p.quiet { (title(line)) ": " (accuracies.join(", ")) }
            }
        }
    }
}

/// A contender, with the way in which its genotypes were trained where that has a name.
fn title(line: &Line) -> String {
    match &line.setting[..] {
        "" => line.contender.clone(),
        setting => format!("{} ({setting})", line.contender),
    }
}

/// The accuracy of what a search would have ended with: the mean over the seeds, between the least and the largest.
fn courses(standings: &Standings) -> Markup {
    let lines: Vec<&Line> = standings.lines.iter().filter(|line| !line.courses.is_empty()).collect();
    if lines.is_empty() {
        return html! {};
    }
    let drawings = lines.chunks(CURVES.len()).map(|lines| {
        let curves = lines.iter().zip(CURVES).flat_map(|(line, colour)| of_line(line, colour));
        let legend: Vec<_> =
            lines.iter().zip(CURVES).map(|(line, colour)| (line.contender.clone(), colour)).collect();
        parts::curves("Test accuracy in percent, as the table has it", &curves.collect::<Vec<_>>(), &legend)
    });
    html! {
        section {
            h2 { "Course" }
            p.quiet {
                "Of what a search would have ended with after each query or epoch: the least, the mean and the largest over the "
                "seeds."
            }
            div.charts { @for drawing in drawings { (drawing) } }
        }
    }
}

fn of_line(line: &Line, colour: &str) -> [Curve; 3] {
    let length = line.courses.iter().map(Vec::len).max().unwrap_or_default();
    let at = |place: usize| line.courses.iter().filter_map(move |course| course.get(place).copied());
    let curve = |value: &dyn Fn(usize) -> f64| Curve {
        colour: colour.to_owned(),
        points: (0..length).map(|place| (place + 1, value(place))).collect(),
    };
    [
        curve(&|place| at(place).fold(f64::INFINITY, f64::min)),
        curve(&|place| at(place).sum::<f64>() / at(place).count() as f64),
        curve(&|place| at(place).fold(f64::NEG_INFINITY, f64::max)),
    ]
}

fn agreement(standings: &Standings) -> Markup {
    let mut lines: Vec<&Line> = Vec::new();
    for line in standings.lines.iter().filter(|line| line.agreement.is_some()) {
        if !lines.iter().any(|other| other.contender == line.contender) {
            lines.push(line);
        }
    }
    if lines.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Agreement between seeds" }
            p.quiet { "Edges that two searches have in common, and Kendall's tau between their alphas; both beside chance." }
            div.wide tabindex="0" {
                table.plan {
                    thead { tr { th { "contender" } th { "equal edges" } th { "by chance" } th { "tau" } th { "by chance" } } }
                    tbody {
                        @for line in lines {
                            @if let Some(found) = &line.agreement {
                                tr {
                                    th { (line.contender) }
                                    td { (parts::percent(found.equal_edges)) }
                                    td { (parts::percent(found.equal_edges_by_chance)) }
                                    td { (format!("{:.3}", found.kendall_tau)) }
                                    td { (format!("0 ± {:.3}", found.kendall_tau_deviation_by_chance)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The best genotype of each contender.
fn best(standings: &Standings) -> Markup {
    let found = standings.lines.iter().filter_map(|line| Some((line, line.best.as_ref()?)));
    html! {
        @for (line, genotype) in found {
            section {
                h2 { (title(line)) ", the best seed" }
                pre { (genotype) }
            }
            (parts::cells(genotype))
        }
    }
}
