//! When the guard of the eigenvalue ends a search, against the decisions of RobustDARTS's official code.

use std::collections::BTreeMap;

use super::set::OWN_DIRECTORY;
use darts::method::guard::{Answer, Bound, Guard, Outcome, Watch};
use darts::space::Space;
use darts::space::alphas::Alphas;
use darts::space::derivation::derive;
use serde_json::Value;

/// All recorded courses.
pub fn check() {
    let text = std::fs::read_to_string(format!("{OWN_DIRECTORY}/robustdarts_stops.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let number = |value: &Value| value.as_u64().unwrap() as usize;
    let (growth, epochs) = (file["factor"].as_f64().unwrap(), number(&file["epochs"]));
    let cases = file["cases"].as_array().unwrap();
    let mut stops = 0;
    for case in cases {
        let every = number(&case["freq"]);
        let measured = case["ev"].as_object().unwrap().iter();
        let measured: BTreeMap<usize, f64> =
            measured.map(|(epoch, value)| (epoch.parse().unwrap(), value.as_f64().unwrap())).collect();
        let expected =
            case["stop"].as_object().map(|stop| (number(&stop["decided_at"]), number(&stop["stop_epoch"])));
        assert_eq!(stop(growth, every, epochs, &measured), expected, "{} every {every}", case["kind"]);
        stops += usize::from(expected.is_some());
    }
    println!("{} courses, of which {stops} end early", cases.len());
    assert!(stops > 3 && stops < cases.len());
}

/// The epoch that ends the search, before its last one, and that of the result, both counted from 0.
fn stop(growth: f64, every: usize, epochs: usize, measured: &BTreeMap<usize, f64>) -> Option<(usize, usize)> {
    let alphas = Alphas::zeros(Space::darts(), 1);
    let genotype = derive(&alphas);
    let guard = Guard { bound: Bound::Eigenvalue { growth, every }, answer: Answer::Stop };
    let mut watch = Watch::new(vec![guard], &alphas);
    (0..epochs - 1).find_map(|epoch| {
        let eigenvalue = watch.measures(epoch + 1, epochs).then(|| measured[&epoch]);
        let outcome = Outcome { epoch: epoch + 1, epochs, genotype: &genotype, alphas: &alphas, eigenvalue };
        let result = watch.show(&outcome).first().and_then(|remark| remark.result);
        result.map(|result| (epoch, result - 1))
    })
}
