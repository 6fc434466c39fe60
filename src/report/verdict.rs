//! What a search decided, in words, and the signs that it collapsed: that it filled its cells with skip connections
//! because these help the supernet to train, not because they make a good network.
//!
//! Each sign names the rule that it follows and where the rule comes from. What no paper gives is called a threshold of
//! this report.

use serde::Serialize;

use super::advice::{self, Advice};
use crate::benchmark::nasbench201;
use crate::readable::grouped;
use crate::space::alphas::Alphas;
use crate::space::architecture::COUNT;
use crate::space::derivation::largest_entropies;
use crate::space::genotype::{ChosenEdge, Genotype};
use crate::space::operation::OPERATIONS;
use crate::space::{Edge, Keep, Operation, Space};
use crate::store::history::History;

/// Skip connections of a normal cell from which DARTS+ stops a search.
const SKIPS: usize = 2;
/// Epochs without a change after which DARTS+ stops a search.
const STABLE: usize = 10;
/// The share of the largest entropy from which weights count as undecided.
const UNDECIDED: f64 = 0.95;
/// Accuracy that a search may lose after its best epoch.
const LOST: f64 = 0.01;
/// The places of the signs of a collapse.
const COLLAPSE: [usize; 2] = [1, 2];
/// The places of the signs that nothing is decided.
const INDECISION: [usize; 2] = [3, 5];
/// The places of the signs whose advice is taken, the most pressing one first.
const ADVISED_BY: [usize; 6] = [1, 2, 3, 5, 6, 0];

/// The outcome of a search in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// The cell that is judged is mostly skip connections, or has no convolution.
    Collapsed,
    /// The weights are nearly equal, or the genotype still changed at the end.
    Undecided,
    /// Neither.
    Stable,
}

/// What can be said about the end of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The outcome in a word.
    pub judgement: Judgement,
    /// The outcome in a sentence.
    pub headline: String,
    /// What to change in another search, if anything.
    pub advice: Option<Advice>,
    /// What was decided, sentence by sentence.
    pub decided: Vec<String>,
    /// What speaks for and against a collapse.
    pub signs: Vec<Sign>,
}

/// One observation.
#[derive(Clone, Debug, PartialEq)]
pub struct Sign {
    /// Whether it gives cause to doubt the outcome.
    pub doubtful: bool,
    /// What was observed.
    pub observed: String,
    /// The rule, and where it comes from.
    pub rule: String,
    /// What to change in another search, if the sign is doubtful and a flag helps.
    pub advice: Option<Advice>,
}

impl Verdict {
    /// Judges a search by what it stored.
    pub fn of(history: &History) -> Self {
        let space = &history.genotype.space;
        let cell = &history.genotype.cells[judged(space)];
        let title = space.cells()[judged(space)].title;
        let edges = cell.edges().count();
        let skips = cell.count(Operation::is_skip);
        let learned = cell.count(Operation::is_learned);
        let signs = vec![
            skips_of_darts_plus(history),
            Sign {
                doubtful: 2 * skips > edges,
                observed: format!("{skips} of the {edges} edges of the {title} are skip connections."),
                rule: "Collapsed if more than half are: a threshold of this report for the cells of mostly skip connections \
                       that Zela et al. (Understanding and Robustifying DARTS, 2020) found to generalise badly."
                    .to_owned(),
                advice: (2 * skips > edges).then(|| advice::regularise(history)).flatten(),
            },
            Sign {
                doubtful: learned == 0,
                observed: format!("{learned} of the {edges} edges of the {title} are convolutions."),
                rule: "Collapsed if none is: Zela et al. (2020) describe cells in which operations without weights have \
                       driven out all others."
                    .to_owned(),
                advice: (learned == 0).then(|| advice::regularise(history)).flatten(),
            },
            undecided(history),
            preferring_none(history),
            stable(history),
            lost_accuracy(history),
        ];
        let doubtful = |places: [usize; 2]| places.iter().any(|&place| signs[place].doubtful);
        let collapsed = doubtful(COLLAPSE) || is_dead(history);
        let judgement = match (collapsed, doubtful(INDECISION)) {
            (true, _) => Judgement::Collapsed,
            (false, true) => Judgement::Undecided,
            (false, false) => Judgement::Stable,
        };
        let headline = headline(judgement, title, &signs);
        let advice = ADVISED_BY.iter().find_map(|&place| signs[place].advice.clone());
        Verdict { judgement, headline, advice, decided: decided(history), signs }
    }
}

/// Whether the output of a cell depends on no input.
fn is_dead(history: &History) -> bool {
    !history.genotype.dead_cells().is_empty()
}

/// The outcome in a sentence.
fn headline(judgement: Judgement, title: &str, signs: &[Sign]) -> String {
    let doubts = signs.iter().filter(|sign| sign.doubtful).count();
    match (judgement, doubts) {
        (Judgement::Collapsed, _) => format!("Collapsed: the {title} is no network to train."),
        (Judgement::Undecided, _) if signs[INDECISION[0]].doubtful => {
            format!("Undecided: the mixing weights of the {title} are still nearly equal.")
        }
        (Judgement::Undecided, _) => "Undecided: the genotype still changed at the end.".to_owned(),
        (Judgement::Stable, 0) => "Stable: nothing looks like a collapse.".to_owned(),
        (Judgement::Stable, 1) => "Stable, but one sign gives cause to doubt the outcome.".to_owned(),
        (Judgement::Stable, many) => format!("Stable, but {many} signs give cause to doubt the outcome."),
    }
}

/// The cell that the signs of a collapse are looked for in: the first one that keeps the resolution, of which a network
/// has most.
fn judged(space: &Space) -> usize {
    space.cells().iter().position(|kind| !kind.reduces).unwrap_or_default()
}

fn skips_of_darts_plus(history: &History) -> Sign {
    let reached = |skips: usize| skips >= SKIPS;
    let cell = judged(&history.genotype.space);
    let title = history.genotype.space.cells()[cell].title;
    let first = history.records.iter().find(|record| reached(record.skip_connections[cell]));
    let last = history.result().skip_connections[cell];
    let observed = match first {
        None => format!("In no epoch did the {title} have {SKIPS} skip connections or more."),
        Some(first) if reached(last) => format!(
            "The {title} ends with {last} skip connections; it had {SKIPS} or more for the first time after epoch {}.",
            first.epoch
        ),
        Some(first) => format!(
            "The {title} ends with {last} skip connection{}, but it had {SKIPS} or more after epoch {}.",
            if last == 1 { "" } else { "s" },
            first.epoch
        ),
    };
    Sign {
        doubtful: reached(last),
        observed,
        rule: "Criterion 1 of DARTS+ (Liang et al., 2019): stop when a normal cell (there with 8 edges) has two skip \
               connections or more."
            .to_owned(),
        advice: reached(last).then(|| advice::regularise(history)).flatten(),
    }
}

fn undecided(history: &History) -> Sign {
    let space = &history.genotype.space;
    let largest = largest_entropies(history.result_alphas());
    let (first, last) = (&history.last_stage()[0].entropy, &history.result().entropy);
    let judged = judged(space);
    let title = space.cells()[judged].title;
    let mut order: Vec<usize> = (0..largest.len()).collect();
    order.sort_by_key(|&cell| cell != judged);
    let courses = order.into_iter().map(|cell| {
        let share = |entropies: &[f64]| 100.0 * entropies[cell] / largest[cell];
        let what = if cell == judged { "The mean entropy of the weights" } else { "that" };
        let title = space.cells()[cell].title;
        format!("{what} of the {title} went from {:.1} to {:.1}\u{a0}%", share(first), share(last))
    });
    let doubtful = last[judged] > UNDECIDED * largest[judged];
    Sign {
        doubtful,
        observed: format!("{} of that of equal weights.", courses.collect::<Vec<_>>().join(", ")),
        rule: format!(
            "Undecided if the {title} ends above {:.0}\u{a0}%: a threshold of this report. The derivation then \
             rests on small differences, and the network differs from the supernet that was trained.",
            100.0 * UNDECIDED
        ),
        advice: doubtful.then(|| advice::decide(history, last[judged] / largest[judged])).flatten(),
    }
}

fn preferring_none(history: &History) -> Sign {
    let alphas = history.result_alphas();
    let judged = judged(&alphas.space);
    let (wiring, table) = (alphas.wiring(judged), &alphas.tables[judged]);
    let prefers_none = |edge: &&Edge| {
        let row = || edge.candidates.iter().zip(&table[edge.row.clone()]);
        let none = row().find(|(operation, _)| operation.is_zero());
        none.is_some_and(|(_, none)| row().all(|(operation, alpha)| operation.is_zero() || alpha < none))
    };
    let rows = wiring.edges.iter().filter(prefers_none).count();
    let (edges, title) = (wiring.edges.len(), alphas.space.cells()[judged].title);
    if alphas.space.definition().none_chosen {
        let dead = is_dead(history);
        let what = if dead { "nothing" } else { "a path of other operations" };
        return Sign {
            doubtful: dead,
            observed: format!("On {rows} of the {edges} edges of the {title}, none weighs most; {what} reaches its output."),
            rule: "Collapsed if nothing does: in this space the derivation may choose none, and of the 15,625 cells of \
                   NAS-Bench-201 (Dong and Yang, 2020) the 341 without a path are right as often as a guess."
                .to_owned(),
            advice: dead.then(|| advice::regularise(history)).flatten(),
        };
    }
    Sign {
        doubtful: 2 * rows > edges,
        observed: format!("On {rows} of the {edges} edges of the supernet's {title}, none weighs most."),
        rule: format!(
            "Doubtful if that is more than half: a threshold of this report. The derivation of DARTS (Liu et al., 2019) \
             passes none over, and keeps {} even if none of its edges is wanted.",
            match alphas.space.keep() {
                Keep::Strongest(1) => "one edge a node".to_owned(),
                Keep::Strongest(kept) => format!("{kept} edges a node"),
                Keep::All => "all edges of a node".to_owned(),
            }
        ),
        advice: None,
    }
}

fn stable(history: &History) -> Sign {
    let last = history.last();
    let same = history.records.iter().rev().take_while(|record| record.genotype == last.genotype).count();
    let observed = match same {
        1 => "The genotype still changed in the last epoch.".to_owned(),
        same => format!("The genotype was the same in the last {same} epochs."),
    };
    // A selection that decides edge after edge changes the genotype to its end.
    let decides = !history.result_alphas().decided.is_empty();
    let doubtful = !decides && same < STABLE.min(history.records.len() / 5);
    Sign {
        doubtful,
        observed,
        rule: format!(
            "Criterion 2 of DARTS+ (Liang et al., 2019) waits until the ranking of the operations has not changed for \
             {STABLE} epochs; a threshold of this report is a fifth of the epochs, at most {STABLE}."
        ),
        advice: doubtful.then(|| advice::longer(history)).flatten(),
    }
}

fn lost_accuracy(history: &History) -> Sign {
    let course = history.last_stage();
    let last = &course[course.len() - 1];
    let best = course
        .iter()
        .max_by(|one, other| one.valid_accuracy.total_cmp(&other.valid_accuracy))
        .unwrap_or(last);
    let doubtful = best.valid_accuracy - last.valid_accuracy > LOST;
    Sign {
        doubtful,
        observed: format!(
            "The validation accuracy ended at {:.2}\u{a0}%; its best was {:.2}\u{a0}%, after epoch {}.",
            100.0 * last.valid_accuracy,
            100.0 * best.valid_accuracy,
            best.epoch
        ),
        rule: "Doubtful if more than one percentage point was lost: a threshold of this report. The supernet then fits its \
               training half too closely, which Liang et al. (2019) hold to be the cause of the collapse."
            .to_owned(),
        // Stages share the epochs, and others behind the best one train another supernet.
        advice: (doubtful && history.planned("method.stages").is_none_or(|stages| stages == "none"))
            .then(|| advice::shorter(best.epoch)),
    }
}

/// The cells, sentence by sentence.
fn decided(history: &History) -> Vec<String> {
    let genotype = &history.genotype;
    let selection =
        history.planned("method.selection").and_then(|selection| selection.strip_prefix("sampled "));
    if let Some(count) = selection {
        let cells = (0..genotype.cells.len()).map(|cell| operations(genotype, cell));
        let sampled = format!(
            "No alphas were learned: of {count} genotypes drawn at random, with the weights of the supernet this one had the \
             lowest loss on the validation half."
        );
        return cells.chain([sampled]).collect();
    }
    let cells = (0..genotype.cells.len())
        .flat_map(|cell| [operations(genotype, cell), clearness(genotype, cell, history.result_alphas())]);
    let trained = nasbench201::entry_of(genotype).map(|entry| {
        format!(
            "The authors of NAS-Bench-201 have trained this cell for 200 epochs; its test accuracy, and its rank among {}: {}.",
            grouped(COUNT),
            nasbench201::in_words(entry)
        )
    });
    cells.chain(trained).collect()
}

/// How often a cell holds each operation.
fn operations(genotype: &Genotype, cell: usize) -> String {
    let (title, cell) = (genotype.space.cells()[cell].title, &genotype.cells[cell]);
    let mut counts: Vec<(usize, &Operation)> =
        OPERATIONS.iter().map(|wanted| (cell.count(|operation| operation == wanted), wanted)).collect();
    counts.retain(|(count, _)| *count > 0);
    counts.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let parts: Vec<_> = counts.iter().map(|(count, operation)| format!("{count} {operation}")).collect();
    format!("The {title} holds {}.", parts.join(", "))
}

/// By how much the chosen operations won.
fn clearness(genotype: &Genotype, cell: usize, alphas: &Alphas) -> String {
    let (title, wiring, table) =
        (genotype.space.cells()[cell].title, alphas.wiring(cell), &alphas.tables[cell]);
    let mut smallest: Option<(f64, usize, ChosenEdge)> = None;
    for (node, chosen) in genotype.cells[cell].edges() {
        let Some(edge) = wiring.entering(node).find(|edge| edge.from == chosen.from) else { continue };
        let weights = edge.candidates.iter().zip(alphas.weighing.weights(&table[edge.row.clone()]));
        let (mut own, mut second) = (0.0, 0.0);
        for (operation, weight) in weights.filter(|(operation, _)| alphas.space.may_choose(operation)) {
            match *operation == chosen.operation {
                true => own = weight,
                false => second = f64::max(second, weight),
            }
        }
        if smallest.is_none_or(|(margin, _, _)| own - second < margin) {
            smallest = Some((own - second, node, chosen));
        }
    }
    let Some((margin, node, ChosenEdge { operation, from })) = smallest else {
        return format!("The {title} has no edges.");
    };
    let space = &genotype.space;
    format!(
        "Its closest decision is {operation} from {} to {}, {:.1} percentage points of the weight ahead of the next \
         operation.",
        unbroken(space, from),
        unbroken(space, node + space.inputs()),
        100.0 * margin
    )
}

/// The name of a state with a hyphen and a space at which no line ends.
fn unbroken(space: &Space, state: usize) -> String {
    space.state_name(state).replace('-', "\u{2011}").replace(' ', "\u{a0}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::observer::example::record;
    use crate::space::derivation::{derive, mean_entropies, skip_connections};

    /// A search whose alphas prefer in each epoch one operation on all edges of the normal cell, by its number.
    fn history(preferred: &[usize]) -> History {
        let alphas = |operation: usize| {
            let mut alphas = Alphas::zeros(Space::darts(), 4);
            alphas.tables[0].iter_mut().skip(operation).step_by(8).for_each(|alpha| *alpha = 3.0);
            alphas.tables[1] = alphas.tables[0].iter().rev().copied().collect();
            alphas
        };
        let alphas: Vec<_> = preferred.iter().map(|&operation| alphas(operation)).enumerate().collect();
        let records = alphas.iter().map(|(index, alphas)| {
            let mut record = record(index + 1, derive(alphas));
            record.skip_connections = skip_connections(&record.genotype);
            record.entropy = mean_entropies(alphas);
            record
        });
        let genotype = derive(&alphas[alphas.len() - 1].1);
        let plan = [("alpha_lr", "0.01"), ("epochs", "10"), ("weight_decay", "0.0003")];
        let plan = plan.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let (path, name, records) = ("runs/run".into(), "run".into(), records.collect());
        let (standing, timings, survey, sheet) = (None, Vec::new(), None, None);
        History { path, name, plan, standing, records, timings, alphas, genotype, survey, sheet }
    }

    fn doubts(history: &History) -> Vec<usize> {
        let signs = Verdict::of(history).signs;
        signs.iter().enumerate().filter(|(_, sign)| sign.doubtful).map(|(place, _)| place).collect()
    }

    #[test]
    fn the_rule_about_none_says_how_many_edges_the_space_keeps() {
        let rule = |kept: &str| {
            let text =
                format!("edges_kept = {kept}\ncandidates = {:?}", Space::darts().definition().candidates);
            let mut history = history(&[4; 10]);
            for (_, alphas) in &mut history.alphas {
                alphas.space = Space::from_toml(&text, std::path::Path::new("own.toml")).unwrap();
            }
            preferring_none(&history).rule
        };
        assert!(rule("1").contains("and keeps one edge a node even if"), "{}", rule("1"));
        assert!(rule("2").contains("and keeps 2 edges a node even if"));
        assert!(rule("\"all\"").contains("and keeps all edges of a node even if"));
    }

    #[test]
    fn convolutions_give_no_cause_for_doubt() {
        let verdict = Verdict::of(&history(&[4; 10]));
        assert_eq!((verdict.judgement, &verdict.advice), (Judgement::Stable, &None), "{verdict:?}");
        assert!(verdict.signs.iter().all(|sign| !sign.doubtful), "{verdict:?}");
        assert_eq!(verdict.decided[0], "The normal cell holds 8 sep_conv_3x3.");
    }

    #[test]
    fn a_cell_of_skip_connections_or_of_pools_is_collapsed() {
        let skips = history(&[4, 4, 4, 4, 3, 3, 3, 3, 3, 3]);
        let verdict = Verdict::of(&skips);
        assert_eq!(verdict.judgement, Judgement::Collapsed, "{verdict:?}");
        assert_eq!(doubts(&skips), [0, 1, 2]);
        assert!(
            verdict.signs[0]
                .observed
                .ends_with("8 skip connections; it had 2 or more for the first time after epoch 5.")
        );
        let pools = history(&[1; 10]);
        assert_eq!(Verdict::of(&pools).judgement, Judgement::Collapsed);
        assert_eq!(doubts(&pools), [2]);
    }

    #[test]
    fn each_other_sign_has_its_cause() {
        let mut undecided = history(&[4; 10]);
        undecided.records[9].entropy[0] = 0.96 * 8f64.ln();
        assert_eq!(doubts(&undecided), [3]);
        // Where none is best, the first of the others is kept: a pool.
        assert_eq!(doubts(&history(&[0; 10])), [2, 4]);
        let mut changing = history(&[4; 10]);
        changing.records[8].genotype = history(&[5]).genotype;
        assert_eq!(doubts(&changing), [5]);
        let mut losing = history(&[4; 10]);
        losing.records[3].valid_accuracy += 0.011;
        assert_eq!(doubts(&losing), [6]);
        let recovered = history(&[3, 3, 3, 3, 4, 4, 4, 4, 4, 4]);
        assert_eq!(doubts(&recovered), [] as [usize; 0]);
        let observed = &Verdict::of(&recovered).signs[0].observed;
        assert!(observed.ends_with("0 skip connections, but it had 2 or more after epoch 1."), "{observed}");
    }
    #[test]
    fn each_outcome_has_its_word_and_the_flag_that_helps() {
        let told = |history: &History| {
            let Verdict { judgement, advice, .. } = Verdict::of(history);
            (judgement, advice.map(|advice| advice.to_string()).unwrap_or_default())
        };
        let (judgement, advice) = told(&history(&[3; 10]));
        assert_eq!(judgement, Judgement::Collapsed);
        assert!(advice.starts_with("search again with --weight-decay 0.0009: "), "{advice}");
        let mut undecided = history(&[4; 10]);
        undecided.records[9].entropy[0] = 0.96 * 8f64.ln();
        let (judgement, advice) = told(&undecided);
        assert_eq!(judgement, Judgement::Undecided);
        assert!(advice.starts_with("search again with --alpha-lr 0.025: "), "{advice}");
        let mut changing = history(&[4; 10]);
        changing.records[8].genotype = history(&[5]).genotype;
        let (judgement, advice) = told(&changing);
        assert_eq!(judgement, Judgement::Undecided);
        assert!(advice.starts_with("search again with --epochs 20: "), "{advice}");
        let mut losing = history(&[4; 10]);
        losing.records[3].valid_accuracy += 0.011;
        let (judgement, advice) = told(&losing);
        assert_eq!(judgement, Judgement::Stable);
        assert!(advice.starts_with("search again with --epochs 4: "), "{advice}");
        // A plan of another version may lack what is to be changed.
        undecided.plan.clear();
        assert_eq!(told(&undecided), (Judgement::Undecided, String::new()));
    }
}
