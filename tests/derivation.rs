//! The derivation against every recorded case of the official implementation, ties included.

use darts::space::Space;
use darts::space::alphas::Alphas;
use darts::space::derivation::derive;
use darts::space::genotype::Genotype;

#[derive(serde::Deserialize)]
struct Recording {
    primitives: Vec<String>,
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    steps: usize,
    #[serde(default)]
    kind: String,
    #[serde(alias = "alpha_normal")]
    alphas_normal: Vec<Vec<f64>>,
    #[serde(alias = "alpha_reduce")]
    alphas_reduce: Vec<Vec<f64>>,
    /// The betas of PC-DARTS.
    #[serde(default)]
    beta_normal: Option<Vec<f64>>,
    #[serde(default)]
    beta_reduce: Option<Vec<f64>>,
    genotype: Genotype,
}

impl Case {
    fn alphas(&self) -> Alphas {
        let tables = vec![self.alphas_normal.concat(), self.alphas_reduce.concat()];
        let betas = [&self.beta_normal, &self.beta_reduce].into_iter().flatten().cloned().collect();
        Alphas { tables, betas, ..Alphas::zeros(Space::darts(), self.steps) }
    }
}

#[test]
fn every_recorded_case_is_derived_exactly() {
    let recording: Recording = serde_json::from_str(include_str!("golden/genotypes.json")).unwrap();
    let space = Space::darts();
    assert_eq!(recording.primitives, space.candidates().iter().map(|row| row.name).collect::<Vec<_>>());
    assert_eq!(recording.cases.len(), 48);
    for (index, case) in recording.cases.iter().enumerate() {
        let alphas = case.alphas();
        assert_eq!(alphas.tables[0].len(), alphas.wiring(0).len(), "case {index}");
        assert_eq!(derive(&alphas), case.genotype, "case {index}, {} alphas", case.kind);
    }
}

/// PC-DARTS: the weight of an edge decides with the alphas, and where it is left out some genotypes are others.
#[test]
fn every_recorded_case_with_weights_of_edges_is_derived_exactly() {
    let text = include_str!("golden/data/pcdarts_genotypes.json");
    let recording: Recording = serde_json::from_str(text).unwrap();
    assert_eq!(recording.cases.len(), 24);
    let mut others = 0;
    for (index, case) in recording.cases.iter().enumerate() {
        let alphas = case.alphas();
        assert_eq!(alphas.betas.len(), 2, "case {index}");
        assert_eq!(derive(&alphas), case.genotype, "case {index}");
        others += usize::from(derive(&Alphas { betas: Vec::new(), ..alphas }) != case.genotype);
    }
    assert!(others > 0, "the betas must matter");
}

#[test]
fn every_recorded_genotype_keeps_its_meaning_as_a_literal() {
    let recording: Recording = serde_json::from_str(include_str!("golden/genotypes.json")).unwrap();
    for case in recording.cases {
        assert_eq!(case.genotype.to_string().parse::<Genotype>().unwrap(), case.genotype);
        assert_eq!(Genotype::from_json(&case.genotype.to_json()).unwrap(), case.genotype);
    }
}
