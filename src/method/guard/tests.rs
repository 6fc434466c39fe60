use super::*;
use crate::space::Space;
use crate::space::derivation::derive;

/// The first node keeps both of its edges; candidate 3 is the identity.
fn alphas(skips: usize) -> Alphas {
    let mut alphas = Alphas::zeros(Space::darts(), 2);
    (0..skips).for_each(|edge| alphas.tables[0][8 * edge + 3] = 1.0);
    alphas
}

fn watch(bound: Bound, answer: Answer) -> Watch {
    Watch::new(vec![Guard { bound, answer }], &Alphas::zeros(Space::darts(), 2))
}

/// Shows epochs, each with its eigenvalue; says after which of them the guard spoke.
fn spoken(watch: &mut Watch, epochs: &[(Alphas, Option<f64>)]) -> Vec<usize> {
    let show = |(index, (alphas, eigenvalue)): (usize, &(Alphas, Option<f64>))| {
        let genotype = derive(alphas);
        let outcome = Outcome {
            epoch: index + 1,
            epochs: epochs.len(),
            genotype: &genotype,
            alphas,
            eigenvalue: *eigenvalue,
        };
        (!watch.show(&outcome).is_empty()).then_some(index + 1)
    };
    epochs.iter().enumerate().filter_map(show).collect()
}

fn of(alphas: Vec<Alphas>) -> Vec<(Alphas, Option<f64>)> {
    alphas.into_iter().map(|alphas| (alphas, None)).collect()
}

#[test]
fn skip_connections_of_the_normal_cell_are_counted() {
    let mut stops = watch(Bound::Skips(2), Answer::Stop);
    assert_eq!(spoken(&mut stops, &of(vec![alphas(0), alphas(1)])), [0; 0]);
    assert!(!stops.ended());
    assert_eq!(spoken(&mut stops, &of(vec![alphas(2)])), [1]);
    assert!(stops.ended());
    let mut reduce = alphas(2);
    reduce.tables.swap(0, 1);
    assert_eq!(spoken(&mut watch(Bound::Skips(2), Answer::Warn), &of(vec![reduce])), [0; 0]);
}

#[test]
fn a_warning_is_given_once_until_its_cause_is_gone() {
    let mut warns = watch(Bound::Skips(2), Answer::Warn);
    let course = vec![alphas(2), alphas(2), alphas(1), alphas(2)];
    assert_eq!(spoken(&mut warns, &of(course)), [1, 4]);
    assert!(!warns.ended() && warns.result().is_none());
}

#[test]
fn a_stable_order_of_the_convolutions_is_noticed() {
    let spoken = |course: Vec<Alphas>| spoken(&mut watch(Bound::Ranking(2), Answer::Warn), &of(course));
    let other = |candidate: usize| {
        let mut other = alphas(0);
        other.tables[1][candidate] = 1.0;
        other
    };
    // The first epoch has none before it. The identity is no convolution; candidate 5 is one.
    assert_eq!(spoken(vec![alphas(0), alphas(1), alphas(0)]), [3]);
    assert_eq!(spoken(vec![alphas(0), other(3), other(3)]), [3]);
    assert_eq!(spoken(vec![alphas(0), alphas(0), other(5), other(5), other(5)]), [5]);
}

#[test]
fn decided_mixing_weights_are_noticed_in_all_cells_alone() {
    let decided = |cells: usize| {
        let mut alphas = alphas(0);
        let tables = alphas.tables.iter_mut().take(cells).flat_map(|table| table.chunks_mut(8));
        tables.for_each(|row| row[4] = 9.0);
        alphas
    };
    let mut warns = watch(Bound::Entropy(0.1), Answer::Warn);
    assert_eq!(spoken(&mut warns, &of(vec![decided(0), decided(1), decided(2)])), [3]);
}

#[test]
fn a_growing_eigenvalue_ends_a_search_with_the_alphas_before_it_grew() {
    let growing = |epoch: usize| {
        let mut alphas = alphas(0);
        alphas.tables[0][0] = epoch as f64;
        (alphas, (epoch % 2 == 1).then(|| 1.1f64.powi(epoch as i32)))
    };
    let epochs: Vec<_> = (1..=50).map(growing).collect();
    let mut stops = watch(Bound::Eigenvalue { growth: 1.3, every: 2 }, Answer::Stop);
    assert!(
        stops.measures(1, 50) && !stops.measures(2, 50) && stops.measures(49, 50) && stops.measures(50, 50)
    );
    assert_eq!(spoken(&mut stops, &epochs)[0], 23);
    let mut stops = watch(Bound::Eigenvalue { growth: 1.3, every: 2 }, Answer::Stop);
    // What the guards know goes through the state, as in a run that goes on.
    for (index, epoch) in epochs[..23].iter().enumerate() {
        let state = stops.state.clone();
        stops = watch(Bound::Eigenvalue { growth: 1.3, every: 2 }, Answer::Stop);
        stops.state = state;
        let genotype = derive(&epoch.0);
        let outcome = Outcome {
            epoch: index + 1,
            epochs: 50,
            genotype: &genotype,
            alphas: &epoch.0,
            eigenvalue: epoch.1,
        };
        let remarks = stops.show(&outcome);
        assert_eq!(remarks.first().and_then(|remark| remark.result), (index == 22).then_some(11));
    }
    assert!(stops.ended());
    assert_eq!(stops.result().unwrap()[0], 11.0);
}

#[test]
fn the_result_has_the_betas_of_its_epoch() {
    let weighed = |epoch: usize| Alphas { betas: vec![vec![epoch as f64; 5]; 2], ..alphas(0) };
    let bound = Bound::Eigenvalue { growth: 1.3, every: 1 };
    let mut watch = Watch::new(vec![Guard { bound, answer: Answer::Stop }], &weighed(0));
    let ended = (1..=50).find_map(|epoch| {
        let alphas = weighed(epoch);
        let eigenvalue = Some(1.1f64.powi(epoch as i32));
        let outcome = Outcome { epoch, epochs: 50, genotype: &derive(&alphas), alphas: &alphas, eigenvalue };
        watch.show(&outcome).first().and_then(|remark| remark.result)
    });
    let result = ended.expect("the eigenvalue grows") as f64;
    assert_eq!(watch.result().unwrap()[80..], [result; 10]);
}

#[test]
fn a_text_names_what_a_guard_does() {
    assert_eq!(count("off"), Ok(None));
    assert_eq!(count("warn 4"), Ok(Some((Answer::Warn, 4))));
    assert_eq!(growth("stop 1.3"), Ok(Some((Answer::Stop, 1.3))));
    for text in ["", "warn", "warn 0", "stop two", "stop -1", "off 1", "none", "warn  2"] {
        assert_eq!(count(text).unwrap_err(), "off, warn N or stop N");
    }
    assert!(share("warn 1.5").is_err() && growth("stop 1").is_err() && growth("stop inf").is_err());
}

#[test]
fn a_remark_is_a_sentence() {
    let mut stops = watch(Bound::Skips(2), Answer::Stop);
    let (alphas, genotype) = (alphas(2), derive(&alphas(2)));
    let outcome = Outcome { epoch: 7, epochs: 9, genotype: &genotype, alphas: &alphas, eigenvalue: None };
    let remarks = stops.show(&outcome);
    assert_eq!(
        remarks[0].to_string(),
        "guard skips ended the search: the normal cell has 2 skip connections; the result is the genotype of epoch 7"
    );
}
