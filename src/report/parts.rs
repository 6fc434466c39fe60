//! What the page of a search and that of a training share.

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::Result;
use crate::draw::cell_svg;
use crate::draw::drawing::{dead, heading, input_names, inputs_explained};
use crate::draw::plot::{Curve, Frame};
use crate::epochs::{Position, Timing};
use crate::files::write_whole;
use crate::readable::duration;
use crate::space::CellType;
use crate::space::genotype::Genotype;

/// The most points of a curve; more cannot be told apart.
const MOST_POINTS: usize = 240;

/// Writes each cell of a genotype into a run directory as `.svg` and `.dot`.
pub fn write_cells(run: &Path, genotype: &Genotype) -> Result<()> {
    let space = &genotype.space;
    for (CellType { name, title, .. }, cell) in space.cells().iter().zip(&genotype.cells) {
        let svg = cell_svg::standalone(space, cell, &heading(title));
        write_whole(&run.join(format!("cell_{name}.svg")), svg.as_bytes())?;
        let dot = cell_svg::dot(space, cell, name);
        write_whole(&run.join(format!("cell_{name}.dot")), dot.as_bytes())?;
    }
    Ok(())
}

/// A whole page: its title, the name of the run, and what it says.
pub fn document(title: &str, name: &str, content: &Markup) -> String {
    let style = [&cell_svg::palette(), cell_svg::STYLE, include_str!("page.css")].concat();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – " (name) }
                style { (PreEscaped(style)) }
            }
            body {
                main {
                    h1 { (title) }
                    p.quiet { (name) }
                    (content)
                }
            }
        }
    };
    page.into_string()
}

/// Figures, each with what it means.
pub fn facts(facts: &[(String, &str)]) -> Markup {
    html! {
        ul.facts { @for (value, meaning) in facts { li { strong { (value) } span { (meaning) } } } }
    }
}

/// The next commands to type.
pub fn next(commands: &[String]) -> Markup {
    html! {
        section {
            h2 { "Next" }
            @for command in commands { pre { (command) } }
        }
    }
}

/// What is said of a run that is not at its end.
pub fn unfinished(standing: Position) -> Markup {
    html! {
        section {
            h2 { "Not at its end" }
            p { "This run is interrupted or still at work. Its newest checkpoint was stored " (standing) "." }
        }
    }
}

/// A fraction in percent.
pub fn percent(fraction: f64) -> String {
    format!("{:.2}\u{a0}%", 100.0 * fraction)
}

/// The epochs that were done, of those that were planned.
pub fn epochs(done: usize, planned: Option<&str>) -> String {
    match planned.and_then(|planned| planned.parse::<usize>().ok()) {
        // A selection goes on behind the planned epochs.
        Some(planned) if planned > done => format!("{done} of {planned}"),
        _ => done.to_string(),
    }
}

/// How long all epochs took together; nothing where that is not known of each.
pub fn in_all(timings: &[Timing], epochs: usize) -> Option<(String, &'static str)> {
    let seconds = timings.iter().map(|timing| timing.seconds).sum();
    (timings.len() == epochs).then(|| (duration(seconds), "in all"))
}

/// The cells as drawings.
pub fn cells(genotype: &Genotype) -> Markup {
    let space = &genotype.space;
    let inputs = input_names(space);
    let title = |kind: &CellType| match kind.reduces {
        true => format!("{}; operations on {inputs} have stride 2", heading(kind.title)),
        false => heading(kind.title),
    };
    html! {
        section {
            h2 { "Cells" }
            p.quiet { (inputs_explained(space)) ". A node adds up what its operations give." }
            @for kind in genotype.dead_cells() { p { (dead(kind)) } }
            div.cells {
                @for (title, cell) in space.cells().iter().map(title).zip(&genotype.cells) {
                    figure { figcaption { (title) } (cell_svg::inline(space, cell, &title)) }
                }
            }
        }
    }
}

/// A curve of the metrics: its name, its colour and its values.
pub struct Metric<R> {
    /// What the legend says.
    pub name: String,
    /// The variable of the style sheet that holds its colour.
    pub colour: &'static str,
    /// The value of an epoch; not a number where there is none.
    pub value: Box<dyn Fn(&R) -> f64>,
}

impl<R> Metric<R> {
    /// The curve of a name, with one of the [colours](CURVES) of curves.
    pub fn new(name: impl Into<String>, colour: usize, value: impl Fn(&R) -> f64 + 'static) -> Self {
        Metric { name: name.into(), colour: CURVES[colour % CURVES.len()], value: Box::new(value) }
    }
}

/// A chart over the epochs.
pub struct Chart<R> {
    title: &'static str,
    metrics: Vec<Metric<R>>,
    /// The lowest and the highest value, where the curves do not say them.
    values: Option<(f64, f64)>,
}

impl<R> Chart<R> {
    /// A chart as high as its curves.
    pub fn new(title: &'static str, metrics: Vec<Metric<R>>) -> Self {
        Chart { title, metrics, values: None }
    }

    /// The same of a share in percent, from 0 to 100.
    pub fn in_percent(self) -> Self {
        Chart { values: Some((0.0, 100.0)), ..self }
    }
}

/// The variables of the style sheet that hold the colours of curves.
pub const CURVES: [&str; 5] = ["--curve-0", "--curve-1", "--curve-2", "--curve-3", "--curve-4"];

/// Charts over the epochs, and that of the throughput where it is known.
pub fn course<R>(records: &[R], epoch: fn(&R) -> usize, charts: &[Chart<R>], timings: &[Timing]) -> Markup {
    let throughput = vec![Metric::new("throughput", 0, |timing: &Timing| timing.images_per_second)];
    let throughput = Chart::new("Training images per second", throughput);
    html! {
        section {
            h2 { "Course" }
            div.charts {
                @for chart in charts { (drawn(chart, records, epoch)) }
                @if !timings.is_empty() { (drawn(&throughput, timings, |timing| timing.epoch)) }
            }
        }
    }
}

fn drawn<R>(Chart { title, metrics, values }: &Chart<R>, records: &[R], epoch: fn(&R) -> usize) -> Markup {
    let curves: Vec<Curve> = metrics
        .iter()
        .map(|metric| {
            let points = thinned(records).map(|record| (epoch(record), (metric.value)(record)));
            let points = points.filter(|(_, value)| value.is_finite());
            Curve { colour: metric.colour.to_owned(), points: points.collect() }
        })
        .collect();
    let values = values.unwrap_or_else(|| range(&curves));
    let frame = Frame { label: title, size: (360, 210), values };
    html! {
        figure {
            figcaption { (title) }
            (PreEscaped(frame.draw(&curves)))
            ul.legend { @for metric in metrics { (legend_entry(&metric.name, metric.colour)) } }
        }
    }
}

/// A drawing of curves with what each is, by its colour.
pub fn curves(title: &str, curves: &[Curve], legend: &[(String, &str)]) -> Markup {
    let frame = Frame { label: title, size: (360, 210), values: range(curves) };
    html! {
        figure {
            figcaption { (title) }
            (PreEscaped(frame.draw(curves)))
            ul.legend { @for (name, colour) in legend { (legend_entry(name, colour)) } }
        }
    }
}

/// The lowest and the highest value of curves: from nothing, unless that would flatten them.
fn range(curves: &[Curve]) -> (f64, f64) {
    let values = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let (low, high) =
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    (if low < 0.6 * high { 0.0 } else { low }, high)
}

/// A name and its colour.
pub fn legend_entry(name: &str, colour: &str) -> Markup {
    html! { li { i style=(format!("--colour:var({colour})")) {} (name) } }
}

/// All of some values, or evenly spread ones with the first and the last.
pub fn thinned<T>(values: &[T]) -> impl Iterator<Item = &T> {
    let (count, last) = (values.len().min(MOST_POINTS), values.len().saturating_sub(1));
    (0..count).map(move |index| &values[index * last / count.saturating_sub(1).max(1)])
}

/// The genotype as text, and the plan as a table.
pub fn plan(genotype: &Genotype, plan: &[(String, String)]) -> Markup {
    html! {
        section {
            h2 { "Genotype" }
            pre { (genotype) }
            pre { (genotype.to_json()) }
            h2 { "Plan" }
            div.wide tabindex="0" {
                table.plan {
                    tbody { @for (key, value) in plan { tr { th { (key) } td { (value) } } } }
                }
            }
        }
    }
}
