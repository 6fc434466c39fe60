//! What comes out of a study: a line for each contender and each way of training, and a sentence that says whether the best
//! one beats genotypes drawn at random.

use std::path::Path;

use serde::Serialize;

use super::agreement::{Agreement, Found as Searched};
use super::outcome::{Found, Trained, load};
use super::statistics::{Difference, Summary, least_p_value};
use super::study::{Kind, Study};
use super::task::{Part, Task};
use super::work::Failure;
use crate::Result;
use crate::benchmark::nasbench201::entry_of;
use crate::space::derivation::derive;
use crate::space::genotype::Genotype;
use crate::store::alphas::load_alphas;
use crate::store::history::History;

/// How unlikely chance must make a difference before it counts.
const SIGNIFICANT: f64 = 0.05;

/// What came out of a study.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standings {
    /// Of each way of training the contenders, from the best mean.
    pub lines: Vec<Line>,
    /// What the first way of training says, in a sentence.
    pub verdict: String,
    /// Whether it claims that a contender beats genotypes drawn at random.
    pub beats_random: bool,
    /// What failed, and why.
    pub failures: Vec<String>,
}

/// A contender in figures. Accuracies are in per cent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its name.
    pub contender: String,
    /// Whether its genotypes are drawn at random.
    pub random: bool,
    /// How the genotypes were trained: the name of a setting, empty for `[train]` alone; `table, CIFAR-10` where a table
    /// knows.
    pub setting: String,
    /// The accuracy on the test images over the seeds.
    pub test_accuracy: Summary,
    /// The same, seed after seed.
    pub accuracies: Vec<f64>,
    /// Weights of the networks.
    pub weights: Summary,
    /// Networks that were trained to find a genotype.
    pub networks: usize,
    /// The mean duration of a search. It differs from run to run, so files that are the same each time leave it out.
    #[serde(skip)]
    pub seconds: Option<f64>,
    /// The contender at random that it is compared with, and how they differ.
    pub over_random: Option<OverRandom>,
    /// How alike the seeds' searches are, where they have alphas.
    pub agreement: Option<Agreement>,
    /// Of each seed, the test accuracy of what the search would have ended with after each query or epoch, where a table
    /// knows.
    #[serde(skip)]
    pub courses: Vec<Vec<f64>>,
    /// The genotype of the seed with the best test accuracy, the first one among equals.
    #[serde(skip)]
    pub best: Option<Genotype>,
}

/// How a contender differs from genotypes drawn at random.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OverRandom {
    /// The contender at random.
    pub than: String,
    /// Its seeds.
    pub seeds: usize,
    /// Of the accuracies in per cent: in points.
    pub points: Difference,
}

/// The setting of what a table knows; no name of a setting has a comma.
const TABLE: &str = "table, CIFAR-10";

impl Standings {
    /// Of all outcomes below the directory of a study.
    ///
    /// # Errors
    /// An outcome is damaged.
    pub fn of(study: &Study, directory: &Path, failures: &[Failure]) -> Result<Self> {
        let mut lines = Vec::new();
        for setting in settings(study) {
            let mut of_setting = Vec::new();
            for contender in 0..study.contenders.len() {
                of_setting.extend(line(study, directory, contender, setting)?);
            }
            compare(study, &mut of_setting);
            of_setting.sort_by(|one, other| other.test_accuracy.mean.total_cmp(&one.test_accuracy.mean));
            lines.extend(of_setting);
        }
        let failures =
            failures.iter().map(|failure| format!("{}: {}", study.title(failure.task), failure.reason));
        let (beats_random, verdict) = verdict(&lines);
        Ok(Standings { lines, verdict, beats_random, failures: failures.collect() })
    }
}

/// The ways in which accuracies come about: the trainings, and last the table, which knows some.
fn settings(study: &Study) -> impl Iterator<Item = Option<usize>> {
    (0..study.trainings.len()).map(Some).chain([None])
}

/// A contender in one setting; nothing, where no seed has an accuracy there.
fn line(study: &Study, directory: &Path, contender: usize, setting: Option<usize>) -> Result<Option<Line>> {
    let (mut accuracies, mut weights, mut networks) = (Vec::new(), Vec::new(), 0);
    let (mut searched, mut seconds, mut courses) = (Vec::new(), Vec::new(), Vec::new());
    let mut best: Option<(f64, Genotype)> = None;
    for &seed in &study.seeds {
        let find = Task { contender, seed, part: Part::Find };
        let Some(found) = load::<Found>(&study.outcome_file(directory, find))? else { continue };
        let measured = match setting {
            None => found.test_accuracy.map(|accuracy| {
                let known = found.genotype.as_ref().and_then(entry_of);
                (accuracy, known.map_or(found.weights, |entry| entry.parameters))
            }),
            Some(place) => {
                let train = Task { part: Part::Train(place), ..find };
                let trained = load::<Trained>(&study.outcome_file(directory, train))?;
                trained.map(|trained| (trained.test_accuracy, trained.weights))
            }
        };
        let Some((accuracy, size)) = measured else { continue };
        accuracies.push(100.0 * accuracy);
        weights.push(size as f64);
        networks = found.networks;
        if setting.is_none() && !found.course.is_empty() {
            courses.push(found.course.iter().map(|accuracy| 100.0 * accuracy).collect());
        }
        if let Some(genotype) =
            found.genotype.filter(|_| best.as_ref().is_none_or(|(most, _)| accuracy > *most))
        {
            best = Some((accuracy, genotype));
        }
        if let Kind::Gradient(_) = study.contenders[contender].kind {
            let run = study.run_directory(directory, find);
            let alphas = load_alphas(&run, None)?.0;
            searched.push(Searched { genotype: derive(&alphas), alphas });
            seconds.push(History::load(&run)?.timings.iter().map(|timing| timing.seconds).sum::<f64>());
        }
    }
    let (Some(test_accuracy), Some(weights)) = (Summary::of(&accuracies), Summary::of(&weights)) else {
        return Ok(None);
    };
    let agreement = if searched.len() > 1 { Some(Agreement::of(&searched)?) } else { None };
    Ok(Some(Line {
        contender: study.contenders[contender].name.clone(),
        random: matches!(study.contenders[contender].kind, Kind::Random { .. }),
        setting: setting.map_or(TABLE.to_owned(), |place| study.trainings[place].name.clone()),
        test_accuracy,
        accuracies,
        weights,
        networks,
        seconds: Summary::of(&seconds).map(|seconds| seconds.mean),
        over_random: None,
        agreement,
        courses,
        best: best.map(|(_, genotype)| genotype),
    }))
}

/// Compares each contender of a setting with genotypes at random: with those of about as many weights, if there are any.
fn compare(study: &Study, lines: &mut [Line]) {
    let at_random = |line: &Line| {
        let contender = study.contender(&line.contender)?;
        match &study.contenders[contender].kind {
            Kind::Random { weights_of, .. } => {
                Some(weights_of.map(|other| study.contenders[other].name.clone()))
            }
            _ => None,
        }
    };
    let random: Vec<(Option<String>, String, Vec<f64>)> = (lines.iter())
        .filter_map(|line| Some((at_random(line)?, line.contender.clone(), line.accuracies.clone())))
        .collect();
    for line in lines {
        if at_random(line).is_some() {
            continue;
        }
        let like = random.iter().find(|(like, ..)| like.as_ref() == Some(&line.contender));
        let of_any_size = || random.iter().find(|(like, ..)| like.is_none());
        if let Some((_, than, accuracies)) = like.or_else(of_any_size) {
            let points = Difference::of(&line.accuracies, accuracies);
            line.over_random =
                points.map(|points| OverRandom { than: than.clone(), seeds: accuracies.len(), points });
        }
    }
}

/// What the first setting says of its best contender beside those at random, and whether that is a claim that it beats them.
fn verdict(lines: &[Line]) -> (bool, String) {
    let Some(first) = lines.first() else { return (false, "No contender has an accuracy yet.".to_owned()) };
    let of_setting: Vec<&Line> = lines.iter().filter(|line| line.setting == first.setting).collect();
    let compared = of_setting.iter().filter(|line| line.over_random.is_some()).count();
    if compared == 0 {
        return (false, "No contender is compared with genotypes drawn at random.".to_owned());
    }
    let Some(best) = of_setting.iter().find(|line| !line.random) else {
        return (false, "No contender is compared with genotypes drawn at random.".to_owned());
    };
    let (name, accuracies) = (&best.contender, &best.accuracies);
    let Some(OverRandom { than, seeds, points }) = &best.over_random else {
        let mean = best.test_accuracy.mean;
        let what =
            "no contender of the kind random has its weights, and none is drawn with any number of them";
        return (
            false,
            format!("{name} has the best mean, {mean:.2} %, and is compared with nothing: {what}."),
        );
    };
    // The best of several is chosen by these figures: each could have been it.
    let corrected = |p_value: f64| (p_value * compared as f64).min(1.0);
    let p_value = corrected(points.p_value);
    let figures = format!(
        "{:+.2} points{}, p = {p_value:.3}{}, {} seeds against {seeds}",
        points.difference,
        points
            .interval
            .map_or(String::new(), |[low, high]| format!(" (95 % interval {low:+.2} to {high:+.2})")),
        if compared > 1 { format!(" after a correction for {compared} contenders") } else { String::new() },
        accuracies.len(),
    );
    let few = match corrected(least_p_value(accuracies.len(), *seeds)) > SIGNIFICANT {
        true => " So few seeds cannot show any difference.",
        false => "",
    };
    match (p_value <= SIGNIFICANT, points.difference > 0.0) {
        (true, true) => (true, format!("{name} beats {than}: {figures}.")),
        (true, false) => (false, format!("{name}, the best, is worse than {than}: {figures}.")),
        (false, _) => (false, format!("It cannot be shown that {name} beats {than}: {figures}.{few}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(lines: &[Line]) -> String {
        let (claims, sentence) = verdict(lines);
        assert_eq!(claims, sentence.contains(" beats ") && !sentence.starts_with("It cannot"));
        sentence
    }

    fn contender(name: &str, accuracies: &[f64], over: Option<&[f64]>) -> Line {
        Line {
            contender: name.to_owned(),
            random: name == "random",
            setting: String::new(),
            test_accuracy: Summary::of(accuracies).unwrap(),
            accuracies: accuracies.to_vec(),
            weights: Summary::of(&[1e6]).unwrap(),
            networks: 1,
            seconds: None,
            over_random: over.map(|over| OverRandom {
                than: "random".to_owned(),
                seeds: over.len(),
                points: Difference::of(accuracies, over).unwrap(),
            }),
            agreement: None,
            courses: Vec::new(),
            best: None,
        }
    }

    #[test]
    fn a_difference_is_claimed_only_where_chance_does_not_explain_it() {
        let (good, poor) = ([94.0, 94.2, 94.1, 94.3, 94.2], [93.0, 93.1, 92.9, 93.2, 93.0]);
        let random = contender("random", &poor, None);
        let better = sentence(&[contender("darts", &good, Some(&poor)), random.clone()]);
        assert!(better.starts_with("darts beats random: +1.12 points (95 % interval +"), "{better}");
        assert!(better.ends_with("p = 0.008, 5 seeds against 5."), "{better}");
        // Three seeds against three can be dealt in 20 ways only.
        let few = sentence(&[contender("darts", &good[..3], Some(&poor[..3])), random.clone()]);
        assert!(few.starts_with("It cannot be shown that darts beats random: +1.10"), "{few}");
        assert!(
            few.ends_with("p = 0.100, 3 seeds against 3. So few seeds cannot show any difference."),
            "{few}"
        );
        let worse = sentence(&[random.clone(), contender("darts", &poor, Some(&good))]);
        assert!(worse.starts_with("darts, the best, is worse than random: -1.12"), "{worse}");
        let other = contender("gdas", &[99.0], None);
        // What is drawn at random is no contender for the verdict, even where nothing is compared with it.
        let unmatched = Line { random: true, ..contender("other", &[99.0], None) };
        let spoken_of = sentence(&[unmatched, contender("darts", &good, Some(&poor)), random.clone()]);
        assert!(spoken_of.starts_with("darts beats random"), "{spoken_of}");
        let alone = sentence(&[other, contender("darts", &good, Some(&poor)), random]);
        assert!(
            alone.starts_with("gdas has the best mean, 99.00 %, and is compared with nothing"),
            "{alone}"
        );
    }

    #[test]
    fn the_best_of_several_is_corrected_for() {
        let (good, poor) = ([2.0, 3.0, 4.0, 5.0], [1.0, 0.5, 0.2, 0.1]);
        let line = |name| contender(name, &good, Some(&poor));
        // One of 70 ways and its opposite: 0.029 each.
        let alone = sentence(&[line("a")]);
        assert!(alone.starts_with("a beats random") && alone.contains("p = 0.029, 4"), "{alone}");
        let both = sentence(&[line("a"), line("b")]);
        assert!(both.contains("p = 0.057 after a correction for 2 contenders"), "{both}");
        assert!(both.starts_with("It cannot be shown") && both.contains("So few seeds"), "{both}");
    }

    #[test]
    fn without_anything_to_compare_there_is_no_claim() {
        assert_eq!(sentence(&[]), "No contender has an accuracy yet.");
        let alone = sentence(&[contender("darts", &[1.0], None)]);
        assert!(alone.starts_with("No contender is compared"), "{alone}");
    }
}
