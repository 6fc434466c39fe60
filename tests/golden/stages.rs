//! Pruning and derivation of P-DARTS, against the official code.

use super::set::OWN_DIRECTORY;
use darts::space::Space;
use darts::space::alphas::Alphas;
use darts::space::derivation::derive;
use darts::space::pruning::GONE;
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    primitives: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    stages: Vec<Stage>,
}

/// Rows of alphas have a column for each operation that is left.
#[derive(Deserialize)]
struct Stage {
    stage: usize,
    switches_before_normal: Vec<Vec<bool>>,
    switches_before_reduce: Vec<Vec<bool>>,
    alpha_normal: Vec<Vec<f64>>,
    alpha_reduce: Vec<Vec<f64>>,
    switches_after_normal: Option<Vec<Vec<bool>>>,
    switches_after_reduce: Option<Vec<Vec<bool>>>,
    genotype: Option<Cells>,
    #[serde(default)]
    restricted: Vec<Restricted>,
}

#[derive(Deserialize)]
struct Cells {
    normal: Vec<(String, usize)>,
    reduce: Vec<(String, usize)>,
}

#[derive(Deserialize)]
struct Restricted {
    max_skips: usize,
    genotype: Cells,
}

/// All recorded courses.
pub fn check() {
    let text = std::fs::read_to_string(format!("{OWN_DIRECTORY}/pdarts_derivation.json")).unwrap();
    let file: File = serde_json::from_str(&text).unwrap();
    let space = Space::darts();
    assert_eq!(file.primitives, space.candidates().iter().map(|row| row.name).collect::<Vec<_>>());
    let (mut pruned, mut derived) = (0, 0);
    for (index, stage) in file.cases.iter().flat_map(|case| &case.stages).enumerate() {
        let mut alphas = whole(stage);
        if let (Some(normal), Some(reduce)) = (&stage.switches_after_normal, &stage.switches_after_reduce) {
            alphas.prune([5, 3, 2][stage.stage]);
            for (table, after) in alphas.tables.iter().zip([normal, reduce]) {
                let left: Vec<bool> = table.iter().map(|&alpha| alpha != GONE).collect();
                assert_eq!(left, after.concat(), "stage {index}");
                pruned += 1;
            }
        }
        let Some(genotype) = &stage.genotype else { continue };
        // No cell has more than eight skip connections.
        let unbounded = Restricted { max_skips: 8, genotype: cells(genotype) };
        for Restricted { max_skips, genotype } in stage.restricted.iter().chain([&unbounded]) {
            let found = derive(&Alphas { most_skips: Some(*max_skips), ..alphas.clone() });
            for (cell, expected) in found.cells.iter().zip([&genotype.normal, &genotype.reduce]) {
                let edges: Vec<_> =
                    cell.edges().map(|(_, edge)| (edge.operation.name.to_owned(), edge.from)).collect();
                assert_eq!(edges, *expected, "stage {index} with at most {max_skips} skips");
                derived += 1;
            }
        }
    }
    println!("{pruned} tables pruned, {derived} cells derived");
    assert!(pruned >= 20 && derived >= 40);
}

fn cells(Cells { normal, reduce }: &Cells) -> Cells {
    Cells { normal: normal.clone(), reduce: reduce.clone() }
}

/// The alphas of a stage in the whole space.
fn whole(stage: &Stage) -> Alphas {
    let mut alphas = Alphas::zeros(Space::darts(), 4);
    let of_cells = [
        (&stage.switches_before_normal, &stage.alpha_normal),
        (&stage.switches_before_reduce, &stage.alpha_reduce),
    ];
    for (table, (switches, rows)) in alphas.tables.iter_mut().zip(of_cells) {
        for ((row, switches), values) in table.chunks_mut(8).zip(switches).zip(rows) {
            let mut values = values.iter();
            let place = |left: bool| if left { *values.next().unwrap() } else { GONE };
            row.iter_mut().zip(switches.iter().copied().map(place)).for_each(|(alpha, value)| *alpha = value);
        }
    }
    alphas
}
