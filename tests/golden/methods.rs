//! The parts of search methods on what their authors' code computes from the same alphas, random numbers and gradients by
//! the mixing weights.

use std::ops::Range;

use super::comparison::Comparisons;
use super::set::Set;
use darts::method::penalty::penalties;
use darts::method::progress::Progress;
use darts::method::relaxation::{Bounds, Relaxation, Sample, concentration, relaxation};
use darts::method::special::beta_rate;

/// A tensor, or one for each type of cell, in one vector.
pub fn tables(set: &Set, name: &str) -> Vec<f64> {
    match set.has(name) {
        true => set.get(name).values.clone(),
        false => ["normal", "reduce"].map(|kind| set.get(&format!("{name}.{kind}")).values.clone()).concat(),
    }
}

fn compare(rows: &mut Comparisons, set: &Set, name: &str, ours: &[f64]) {
    rows.add(name, name, ours, &tables(set, name));
}

/// The rows of the alphas.
fn rows_of(set: &Set) -> Vec<Range<usize>> {
    let name = if set.has("init.alpha") { "init.alpha" } else { "init.alpha.normal" };
    let columns = set.get(name).shape[1];
    (0..tables(set, "init.alpha").len() / columns).map(|row| row * columns..(row + 1) * columns).collect()
}

/// The sample at the recorded noise, where there is some, and the gradient that it gives for these slopes.
fn sampled(set: &Set, text: &str, noise: Option<&str>, slopes: &str) -> (Sample, Vec<f64>) {
    let (relaxation, rows, alphas) = (relaxation(text).unwrap(), rows_of(set), tables(set, "init.alpha"));
    let mut sample = Sample::new(alphas.len());
    if let Some(noise) = noise {
        sample.noise = tables(set, noise);
    }
    sample.mix(&*relaxation, &rows, &alphas, Progress::default());
    let mut gradient = vec![0.0; alphas.len()];
    sample.pull_back(&*relaxation, &rows, [&alphas, &tables(set, slopes)], &mut gradient);
    (sample, gradient)
}

/// Sigmoid and zero-one loss of FairDARTS.
pub fn fair_darts(set: &Set) -> Comparisons {
    let mut rows = Comparisons::default();
    let (sample, mut gradient) = sampled(set, "sigmoid", None, "grad.weight");
    compare(&mut rows, set, "fwd.weight", &sample.weights);
    compare(&mut rows, set, "grad.ce.alpha", &gradient);
    let (edges, alphas) = (rows_of(set), tables(set, "init.alpha"));
    let zero_one = &penalties("zero-one 10").unwrap()[0];
    // The recorded term has no weight.
    let value = zero_one.value(&edges, &alphas, Progress::default()) / 10.0;
    compare(&mut rows, set, "l2.zero_one", &[value]);
    zero_one.add_gradient(&edges, &alphas, Progress::default(), &mut gradient);
    compare(&mut rows, set, "l2.grad.alpha", &gradient);
    rows
}

/// The regulariser of beta-DARTS in three of a hundred epochs.
pub fn beta_darts(set: &Set) -> Comparisons {
    let mut rows = Comparisons::default();
    let (edges, alphas) = (rows_of(set), tables(set, "init.alpha"));
    let [growing, constant] =
        ["0 to 50", "1"].map(|weight| penalties(&format!("logsumexp {weight}")).unwrap());
    for epoch in [0, 20, 50] {
        let progress = Progress { epoch, epochs: 100, ..Progress::default() };
        let term = constant[0].value(&edges, &alphas, progress);
        compare(&mut rows, set, &format!("e{epoch}.term"), &[term]);
        let mut gradient = tables(set, "grad.alpha.ce");
        growing[0].add_gradient(&edges, &alphas, progress, &mut gradient);
        compare(&mut rows, set, &format!("e{epoch}.grad.alpha"), &gradient);
    }
    rows
}

/// The Dirichlet samples of DrNAS and its regulariser. The exact rates of the trace, not PyTorch's, are ours.
pub fn drnas(set: &Set) -> Comparisons {
    let mut rows = Comparisons::default();
    let (sample, gradient) = sampled(set, "dirichlet", Some("sample"), "grad.sample");
    compare(&mut rows, set, "fwd.weight", &sample.weights);
    let (edges, alphas) = (rows_of(set), tables(set, "init.alpha"));
    let [own, derivatives] =
        [0, 1].map(|part| -> Vec<f64> { alphas.iter().map(|&alpha| concentration(alpha)[part]).collect() });
    compare(&mut rows, set, "conc", &own);
    let by_concentration: Vec<f64> = gradient.iter().zip(derivatives).map(|(ours, by)| ours / by).collect();
    compare(&mut rows, set, "grad.conc_exact", &by_concentration);
    let rates = edges.iter().flat_map(|row| {
        let whole: f64 = own[row.clone()].iter().sum();
        row.clone().map(move |place| (place, whole))
    });
    let rates = rates.map(|(place, whole)| beta_rate(sample.weights[place], own[place], whole - own[place]));
    compare(&mut rows, set, "rate.exact", &rates.collect::<Vec<_>>());
    let divergence = &penalties("kl 0.001").unwrap()[0];
    let value = divergence.value(&edges, &alphas, Progress::default());
    compare(&mut rows, set, "kl.loss", &[value]);
    let mut gradient = vec![0.0; alphas.len()];
    divergence.add_gradient(&edges, &alphas, Progress::default(), &mut gradient);
    compare(&mut rows, set, "kl.grad.alpha", &gradient);
    rows
}

/// The soft samples of SNAS.
pub fn snas(set: &Set) -> Comparisons {
    let mut rows = Comparisons::default();
    for temperature in [10, 1] {
        let name = |part: &str| format!("tau{temperature}.{part}");
        let text = format!("gumbel {temperature}");
        let (sample, gradient) = sampled(set, &text, Some(&name("gumbel")), &name("grad.weight"));
        compare(&mut rows, set, &name("fwd.weight"), &sample.weights);
        compare(&mut rows, set, &name("grad.alpha"), &gradient);
    }
    rows
}

/// The hard samples of GDAS. The recorded gradients by the mixing weights are those of the official code, which has one for
/// each candidate that was not computed, too.
pub fn gdas(set: &Set) -> Comparisons {
    let mut rows = Comparisons::default();
    for temperature in [10, 1] {
        let name = |part: &str| format!("tau{temperature}.{part}");
        let text = format!("gumbel-hard {temperature}");
        let (sample, gradient) = sampled(set, &text, Some(&name("gumbel")), &name("grad.weight"));
        compare(&mut rows, set, &name("prob"), &sample.soft);
        compare(&mut rows, set, &name("grad.alpha"), &gradient);
        let chosen = rows_of(set).into_iter().map(|row| {
            let active = &sample.active[row.clone()];
            assert_eq!(active.iter().filter(|active| **active).count(), 1);
            let place = active.iter().position(|&active| active).unwrap();
            assert_eq!(sample.weights[row][place], 1.0);
            place as f64
        });
        compare(&mut rows, set, &name("index"), &chosen.collect::<Vec<_>>());
    }
    rows
}

/// The projection and the random perturbation of SDARTS.
pub fn sdarts(set: &Set) -> Comparisons {
    let mut rows = Comparisons::default();
    let project = |mut weights: Vec<f64>, columns: usize| {
        weights.chunks_mut(columns).for_each(|row| Bounds::Simplex.project(row));
        weights
    };
    let awkward = set.get("clip.x");
    compare(&mut rows, set, "clip.y", &project(awkward.values.clone(), awkward.shape[1]));
    let softmax: &dyn Relaxation = &*relaxation("softmax").unwrap();
    let (edges, alphas) = (rows_of(set), tables(set, "init.alpha"));
    let mut sample = Sample::new(alphas.len());
    sample.mix(softmax, &edges, &alphas, Progress::default());
    compare(&mut rows, set, "m0", &sample.weights);
    let noise = tables(set, "rs.noise");
    let disturbed = sample.weights.iter().zip(noise).map(|(weight, noise)| weight + noise).collect();
    compare(&mut rows, set, "rs.weight", &project(disturbed, edges[0].len()));
    rows
}
