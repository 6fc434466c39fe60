//! Standings as a table: for a terminal, in Markdown and as CSV.

use super::standings::{Line, OverRandom, Standings};
use crate::readable::{duration, grouped};

/// What the columns are called, for a reader.
pub const HEADS: [&str; 9] = [
    "contender",
    "training",
    "seeds",
    "test accuracy, %",
    "min to max",
    "weights",
    "networks",
    "search",
    "over random, points",
];
/// The place of what differs from run to run, which only a terminal shows.
const DURATION: usize = 7;

/// The cells of the table as text, and which columns have any, but for what differs from run to run.
pub fn cells(standings: &Standings) -> (Vec<usize>, Vec<[String; HEADS.len()]>) {
    let rows = rows(standings);
    let shown = |&column: &usize| column != DURATION && !is_empty(&rows, column);
    ((0..HEADS.len()).filter(shown).collect(), rows)
}

/// The table with its columns aligned, the names to the left and the figures to the right.
pub fn aligned(standings: &Standings) -> String {
    let rows = rows(standings);
    let shown: Vec<usize> = (0..HEADS.len()).filter(|&column| !is_empty(&rows, column)).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADS[column].len()]).max().unwrap_or_default()
    };
    let line = |cells: &[String]| {
        let cells = shown.iter().map(|&column| match column {
            0 | 1 => format!("{:<1$}", cells[column], width(column)),
            _ => format!("{:>1$}", cells[column], width(column)),
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let heads = HEADS.map(str::to_owned);
    [line(&heads)].into_iter().chain(rows.iter().map(|row| line(row))).collect()
}

/// The table in Markdown.
pub fn markdown(standings: &Standings) -> String {
    let (shown, rows) = cells(standings);
    let line = |cells: &[String]| {
        format!("| {} |\n", shown.iter().map(|&column| &cells[column][..]).collect::<Vec<_>>().join(" | "))
    };
    let ruler = format!("|{}\n", shown.iter().map(|_| "---|").collect::<String>());
    let heads = HEADS.map(str::to_owned);
    [line(&heads), ruler].into_iter().chain(rows.iter().map(|row| line(row))).collect()
}

/// The table for other programs: plain numbers, an accuracy of each seed in the last field, between spaces.
pub fn csv(standings: &Standings) -> String {
    let mut text = "contender,training,seeds,mean,deviation,minimum,maximum,weights,networks,random,difference,low,high,\
                    p_value,accuracies\n"
        .to_owned();
    for line in &standings.lines {
        let Line { contender, setting, test_accuracy, accuracies, weights, networks, over_random, .. } = line;
        let optional = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let points = over_random.as_ref().map(|over| over.points);
        let interval = |end: usize| points.and_then(|points| Some(points.interval?[end]));
        let cells = [
            contender.clone(),
            setting.replace(',', " of"),
            test_accuracy.count.to_string(),
            test_accuracy.mean.to_string(),
            optional(test_accuracy.deviation),
            test_accuracy.minimum.to_string(),
            test_accuracy.maximum.to_string(),
            weights.mean.to_string(),
            networks.to_string(),
            over_random.as_ref().map_or(String::new(), |over| over.than.clone()),
            optional(points.map(|points| points.difference)),
            optional(interval(0)),
            optional(interval(1)),
            optional(points.map(|points| points.p_value)),
            accuracies.iter().map(f64::to_string).collect::<Vec<_>>().join(" "),
        ];
        text += &format!("{}\n", cells.join(","));
    }
    text
}

fn rows(standings: &Standings) -> Vec<[String; HEADS.len()]> {
    standings.lines.iter().map(row).collect()
}

fn row(line: &Line) -> [String; HEADS.len()] {
    let summary = &line.test_accuracy;
    let deviation = summary.deviation.map_or(String::new(), |deviation| format!(" ± {deviation:.2}"));
    let over = line.over_random.as_ref().map_or(String::new(), |OverRandom { points, .. }| {
        let interval =
            points.interval.map_or(String::new(), |[low, high]| format!(" ({low:+.2} to {high:+.2})"));
        format!("{:+.2}{interval}, p = {:.3}", points.difference, points.p_value)
    });
    [
        line.contender.clone(),
        line.setting.clone(),
        summary.count.to_string(),
        format!("{:.2}{deviation}", summary.mean),
        format!("{:.2} to {:.2}", summary.minimum, summary.maximum),
        grouped(line.weights.mean.round() as usize),
        grouped(line.networks),
        line.seconds.map_or(String::new(), duration),
        over,
    ]
}

/// Whether no row has anything in a column.
fn is_empty(rows: &[[String; HEADS.len()]], column: usize) -> bool {
    rows.iter().all(|row| row[column].is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::statistics::{Difference, Summary};

    fn standings() -> Standings {
        let line = |name: &str, accuracies: &[f64], over: Option<&[f64]>| Line {
            contender: name.to_owned(),
            random: name == "random",
            setting: String::new(),
            test_accuracy: Summary::of(accuracies).unwrap(),
            accuracies: accuracies.to_vec(),
            weights: Summary::of(&[1234.4, 1235.0]).unwrap(),
            networks: 1,
            seconds: over.map(|_| 72.0),
            over_random: over.map(|over| OverRandom {
                than: "random".to_owned(),
                seeds: over.len(),
                points: Difference::of(accuracies, over).unwrap(),
            }),
            agreement: None,
            courses: Vec::new(),
            best: None,
        };
        let lines =
            vec![line("darts", &[93.0, 94.0], Some(&[92.0, 91.0])), line("random", &[92.0, 91.0], None)];
        Standings { lines, verdict: String::new(), beats_random: false, failures: Vec::new() }
    }

    #[test]
    fn a_table_has_a_line_for_each_contender() {
        assert_eq!(
            aligned(&standings()),
            "contender  seeds  test accuracy, %      min to max  weights  networks      search                \
              over random, points\n\
             darts          2      93.50 ± 0.71  93.00 to 94.00    1,235         1  1 min 12 s  +2.00 (-1.04 to +5.04), \
             p = 0.333\n\
             random         2      91.50 ± 0.71  91.00 to 92.00    1,235         1\n"
        );
        let markdown = markdown(&standings());
        let lines: Vec<_> = markdown.lines().collect();
        assert_eq!(lines[1], "|---|---|---|---|---|---|---|");
        assert_eq!(lines[3], "| random | 2 | 91.50 ± 0.71 | 91.00 to 92.00 | 1,235 | 1 |  |");
        let csv = csv(&standings());
        let lines: Vec<_> = csv.lines().collect();
        assert!(lines.iter().all(|line| line.split(',').count() == 15), "{csv}");
        assert!(lines[1].starts_with("darts,,2,93.5,0.7071") && lines[1].ends_with(",93 94"), "{csv}");
    }
}
