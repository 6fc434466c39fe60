//! A selection that tries supernets while it goes on: its trials follow on the evaluation of an epoch.

use super::bilevel::Bilevel;
use crate::Result;
use crate::backend::Backend;
use crate::data::Loader;
use crate::epochs::Sum;
use crate::method::projection::{Projections, Trial};
use crate::method::selection::{Criterion, Selection};
use crate::plan::search::Plan;
use crate::space::Space;
use crate::space::alphas::Decision;

/// The name of what was decided of the edges in a checkpoint.
pub(super) const DECIDED: &str = "decided";

/// What goes on behind a search, between two choices and in them.
pub(super) struct Selecting {
    /// Epochs of the search.
    epochs: usize,
    /// What was decided of the edges when the last epoch ended, as numbers of a checkpoint. An evaluation that is
    /// interrupted begins with it again.
    pub decided: Vec<f64>,
    trials: Trials,
    /// What was decided in this epoch.
    sentences: Vec<String>,
}

/// What is tried.
enum Trials {
    Perturbation(Perturbing),
    Sampled(Sampling),
}

/// Supernets that lack a candidate or an edge.
struct Perturbing {
    projections: Projections,
    criterion: Criterion,
    /// Epochs from one choice to the next.
    interval: usize,
    /// What is tried, with how each of its supernets does.
    trial: Option<(Trial, Vec<Sum>)>,
}

/// So many genotypes drawn at random.
struct Sampling {
    count: usize,
    /// How each of them does, while they are tried.
    sums: Option<Vec<Sum>>,
}

impl Selecting {
    /// Nothing is decided yet. A selection that tries nothing is none.
    pub fn new(plan: &Plan, space: &Space, selection: Selection) -> Option<Self> {
        let trials = match selection {
            Selection::Strongest | Selection::Restricted(_) => return None,
            Selection::Perturbation(criterion) => {
                let projections = Projections::new(space, plan.nodes, plan.seed);
                let interval = plan.selection_interval;
                Trials::Perturbation(Perturbing { projections, criterion, interval, trial: None })
            }
            Selection::Sampled(count) => Trials::Sampled(Sampling { count, sums: None }),
        };
        let edges = space.wirings(plan.nodes).iter().map(|wiring| wiring.edges.len()).sum();
        Some(Selecting { epochs: plan.epochs, decided: vec![0.0; edges], trials, sentences: Vec::new() })
    }

    /// Makes what was decided that of the last epoch's end.
    pub fn restore(&self, decided: &mut [Decision]) {
        decided.iter_mut().zip(&self.decided).for_each(|(own, &number)| *own = Decision::from_number(number));
    }

    /// Begins the evaluation of an epoch.
    pub fn begin(&mut self) {
        match &mut self.trials {
            Trials::Perturbation(perturbing) => perturbing.trial = None,
            Trials::Sampled(sampling) => sampling.sums = None,
        }
        self.sentences.clear();
    }

    /// Whether a trial goes on.
    pub fn tries(&self) -> bool {
        match &self.trials {
            Trials::Perturbation(perturbing) => perturbing.trial.is_some(),
            Trials::Sampled(sampling) => sampling.sums.is_some(),
        }
    }

    /// Tries a batch on all supernets of a trial that is due; says whether there was one.
    pub fn batch<B: Backend<Scalar = f32>>(
        &mut self,
        bilevel: &mut Bilevel<B>,
        evaluation: &mut Loader,
    ) -> Result<bool> {
        let Some(after) = (bilevel.progress.epoch + 1).checked_sub(self.epochs) else { return Ok(false) };
        match &mut self.trials {
            Trials::Perturbation(perturbing) => {
                perturbing.batch(after, bilevel, evaluation, &mut self.sentences)
            }
            Trials::Sampled(sampling) => sampling.batch(bilevel, evaluation, &mut self.sentences),
        }
    }

    /// Ends an epoch with what was decided; gives it in words.
    pub fn commit(&mut self, decided: &[Decision]) -> Vec<String> {
        self.decided.iter_mut().zip(decided).for_each(|(number, decision)| *number = decision.to_number());
        std::mem::take(&mut self.sentences)
    }
}

impl Perturbing {
    /// See [`Selecting::batch`]; so many epochs after the search.
    fn batch<B: Backend<Scalar = f32>>(
        &mut self,
        after: usize,
        bilevel: &mut Bilevel<B>,
        evaluation: &mut Loader,
        sentences: &mut Vec<String>,
    ) -> Result<bool> {
        let Some(index) = self.due(after) else { return Ok(false) };
        loop {
            let Some((trial, sums)) = &mut self.trial else {
                let next = self.projections.trial(index, &bilevel.architecture.decided);
                let Some(trial) = next else { return Ok(false) };
                let sums = vec![Sum::default(); trial.removed.len()];
                self.trial = Some((trial, sums));
                evaluation.start(0);
                continue;
            };
            // The statistics of a batch are those of all its images, so all must count.
            let size = bilevel.supernet.shape.images.n as usize;
            if let Some(batch) = evaluation.next_batch().filter(|batch| batch.real == size) {
                for (sum, removed) in sums.iter_mut().zip(&trial.removed) {
                    sum.add(bilevel.without(batch, removed.clone())?, batch.real);
                }
                return Ok(true);
            }
            let space = &bilevel.supernet.shape.space;
            let name = space.cells()[trial.cell].name;
            let outcomes: Vec<_> = sums.iter().map(|sum| (sum.loss(), sum.accuracy())).collect();
            let decided = &mut bilevel.architecture.decided;
            let sentence =
                self.projections.decide(trial, (self.criterion, &outcomes), decided, space.inputs());
            sentences.push(format!("{name} {sentence}"));
            self.trial = None;
        }
    }

    /// The index of the choice that is due so many epochs after the search.
    fn due(&self, after: usize) -> Option<usize> {
        let index = after / self.interval;
        (after.is_multiple_of(self.interval) && index < self.projections.count()).then_some(index)
    }
}

impl Sampling {
    /// See [`Selecting::batch`], after the last epoch. The genotype of the lowest loss is decided, the first among equals.
    fn batch<B: Backend<Scalar = f32>>(
        &mut self,
        bilevel: &mut Bilevel<B>,
        evaluation: &mut Loader,
        sentences: &mut Vec<String>,
    ) -> Result<bool> {
        let sums = self.sums.get_or_insert_with(|| {
            evaluation.start(0);
            vec![Sum::default(); self.count]
        });
        if let Some(batch) = evaluation.next_batch() {
            for (number, sum) in sums.iter_mut().enumerate() {
                bilevel.draw_trial(number as u64);
                sum.add(bilevel.evaluate_at_sample(batch, batch.real)?, batch.real);
            }
            return Ok(true);
        }
        let losses = sums.iter().map(Sum::loss).enumerate();
        let best = losses.min_by(|(_, one), (_, other)| one.total_cmp(other));
        if let Some((number, loss)) = best {
            bilevel.draw_trial(number as u64);
            sentences.push(format!(
                "genotype {} of {} drawn at random, with the loss {loss:.4}",
                number + 1,
                self.count
            ));
        }
        self.sums = None;
        Ok(false)
    }
}
