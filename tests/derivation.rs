//! The derivation against every recorded case of the official implementation, ties included.

use darts::space::Space;
use darts::space::alphas::Alphas;
use darts::space::derivation::derive;
use darts::space::genotype::Genotype;
use darts::space::weighing::Weighing;

#[derive(serde::Deserialize)]
struct Recording {
    primitives: Vec<String>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    steps: usize,
    kind: String,
    alphas_normal: Vec<Vec<f64>>,
    alphas_reduce: Vec<Vec<f64>>,
    genotype: Genotype,
}

#[test]
fn every_recorded_case_is_derived_exactly() {
    let recording: Recording = serde_json::from_str(include_str!("golden/genotypes.json")).unwrap();
    let space = Space::darts();
    assert_eq!(recording.primitives, space.candidates().iter().map(|row| row.name).collect::<Vec<_>>());
    assert_eq!(recording.cases.len(), 48);
    for (index, case) in recording.cases.iter().enumerate() {
        let alphas = Alphas {
            space: space.clone(),
            nodes: case.steps,
            weighing: Weighing::Softmax,
            tables: vec![case.alphas_normal.concat(), case.alphas_reduce.concat()],
            decided: Vec::new(),
            most_skips: None,
        };
        assert_eq!(alphas.tables[0].len(), alphas.wiring(0).len(), "case {index}");
        assert_eq!(derive(&alphas), case.genotype, "case {index}, {} alphas", case.kind);
    }
}

#[test]
fn every_recorded_genotype_keeps_its_meaning_as_a_literal() {
    let recording: Recording = serde_json::from_str(include_str!("golden/genotypes.json")).unwrap();
    for case in recording.cases {
        assert_eq!(case.genotype.to_string().parse::<Genotype>().unwrap(), case.genotype);
        assert_eq!(Genotype::from_json(&case.genotype.to_json()).unwrap(), case.genotype);
    }
}
