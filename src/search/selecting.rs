//! A selection by perturbation while it goes on: its trials follow on the evaluation of an epoch.

use super::bilevel::Bilevel;
use crate::Result;
use crate::backend::Backend;
use crate::data::Loader;
use crate::epochs::Sum;
use crate::method::projection::{Projections, Trial};
use crate::method::selection::Criterion;
use crate::plan::search::Plan;
use crate::space::Space;
use crate::space::alphas::Decision;

/// The name of what was decided of the edges in a checkpoint.
pub(super) const DECIDED: &str = "decided";

/// What goes on behind a search, between two choices and in them.
pub(super) struct Selecting {
    projections: Projections,
    criterion: Criterion,
    /// Epochs of the search.
    epochs: usize,
    /// Epochs from one choice to the next.
    interval: usize,
    /// What was decided of the edges when the last epoch ended, as numbers of a checkpoint. An evaluation that is
    /// interrupted begins with it again.
    pub decided: Vec<f64>,
    /// What is tried, with how each of its supernets does.
    trial: Option<(Trial, Vec<Sum>)>,
    /// What was decided in this epoch.
    sentences: Vec<String>,
}

impl Selecting {
    /// Nothing is decided yet.
    pub fn new(plan: &Plan, space: &Space, criterion: Criterion) -> Self {
        let projections = Projections::new(space, plan.nodes, plan.seed);
        let decided = vec![0.0; projections.edges()];
        let Plan { epochs, selection_interval: interval, .. } = *plan;
        Selecting { projections, criterion, epochs, interval, decided, trial: None, sentences: Vec::new() }
    }

    /// Makes what was decided that of the last epoch's end.
    pub fn restore(&self, decided: &mut [Decision]) {
        decided.iter_mut().zip(&self.decided).for_each(|(own, &number)| *own = Decision::from_number(number));
    }

    /// Begins the evaluation of an epoch.
    pub fn begin(&mut self) {
        self.trial = None;
        self.sentences.clear();
    }

    /// Whether a trial goes on.
    pub fn tries(&self) -> bool {
        self.trial.is_some()
    }

    /// Tries a batch on all supernets of a trial that is due; says whether there was one.
    pub fn batch<B: Backend<Scalar = f32>>(
        &mut self,
        bilevel: &mut Bilevel<B>,
        evaluation: &mut Loader,
    ) -> Result<bool> {
        let Some(index) = self.due(bilevel.progress.epoch + 1) else { return Ok(false) };
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
            self.sentences.push(format!("{name} {sentence}"));
            self.trial = None;
        }
    }

    /// Ends an epoch with what was decided; gives it in words.
    pub fn commit(&mut self, decided: &[Decision]) -> Vec<String> {
        self.decided.iter_mut().zip(decided).for_each(|(number, decision)| *number = decision.to_number());
        std::mem::take(&mut self.sentences)
    }

    /// The index of the choice that is due after an epoch.
    fn due(&self, epoch: usize) -> Option<usize> {
        let after = epoch.checked_sub(self.epochs)?;
        let index = after / self.interval;
        (after.is_multiple_of(self.interval) && index < self.projections.count()).then_some(index)
    }
}
