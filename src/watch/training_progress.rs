//! What a training shows while it runs, in the manner of a search.

use super::progress::{Form, Progress, outcome};
use crate::readable::{bytes, counted, duration, grouped};
use crate::train::Model;
use crate::train::model::Description;
use crate::train::observer::{EpochRecord, Observer, StepRecord, Summary, Timing, TrainingPhase};
use crate::{Error, Result};

impl Observer<TrainingPhase> for Progress {
    fn started(&mut self, summary: &Summary) -> Result<()> {
        if self.form() == Form::Json {
            return Ok(());
        }
        let head = match summary.auxiliary_weights {
            0 => String::new(),
            weights => format!(", {} more in the auxiliary head", grouped(weights)),
        };
        self.print(&format!("network  {} weights{head}", grouped(summary.weights)));
        let [train, test, steps] =
            [summary.train_images, summary.test_images, summary.steps_per_epoch].map(grouped);
        self.print(&format!("images   {train} to train on, {test} to test with, {steps} steps an epoch"));
        let all = self.epochs() * summary.steps_per_epoch;
        if (all as u64) < CAUGHT_UP {
            self.print(&format!("note     {} {FEW}", counted(all, "step")));
        }
        let (threads, memory) = (counted(summary.threads, "thread"), bytes(summary.peak_bytes));
        self.print(&format!("device   {}, {threads}, {memory} of tensors", summary.device));
        self.balanced = summary.uneven;
        let balanced = if summary.uneven { ", of the test balanced, too" } else { "" };
        self.print(&format!(
            "epochs   loss and accuracy{balanced}; * marks the best accuracy on the test images so far"
        ));
        Ok(())
    }

    fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.show_step(record);
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord, timing: &Timing, model: &Model) -> Result<()> {
        if self.form() == Form::Json {
            let line = serde_json::to_string(record);
            self.print(&line.map_err(|error| Error::io("standard output", error.into()))?);
            return Ok(());
        }
        let width = self.epochs().to_string().len();
        let balanced = record.test_balanced_accuracy.filter(|_| self.balanced);
        self.print(&format!(
            "epoch {:>width$}/{}  train {}  test {}{}{}  {:.0} images/s  {}",
            record.epoch,
            self.epochs(),
            outcome(record.train_loss, record.train_accuracy),
            outcome(record.test_loss, record.test_accuracy),
            balanced.map_or(String::new(), |balanced| format!(" {:.2} %", 100.0 * balanced)),
            if record.best { " *" } else { "  " },
            timing.images_per_second,
            duration(timing.seconds),
        ));
        let Description { steps, class_names, .. } = &model.description;
        if statistics_lag(record, *steps, class_names.len()) {
            self.note_lag(LAG);
        }
        Ok(())
    }
}

/// Steps after which batch norm's running statistics, which follow by a tenth a step, have long caught up.
const CAUGHT_UP: u64 = 200;

const FEW: &str = "in all are few: batch norm's running statistics, which the test uses, follow the training by a tenth a \
                   step; more --epochs or a smaller --batch-size make more steps";

const LAG: &str = "note     the test is still at chance: it uses batch norm's running statistics, which follow the training by a \
                   tenth a step and lag in its first steps";

/// Whether the network has learned and the test does not show it yet: the training accuracy lies halfway from chance to
/// all, the test accuracy within a quarter of chance, in the first steps.
fn statistics_lag(record: &EpochRecord, steps: u64, classes: usize) -> bool {
    let chance = 1.0 / classes as f64;
    let learned = record.train_accuracy >= (1.0 + chance) / 2.0;
    learned && record.test_accuracy <= 1.25 * chance && steps <= CAUGHT_UP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_noted_while_the_test_is_at_chance_and_the_training_is_not() {
        let lags = |train_accuracy, test_accuracy, steps, classes| {
            let (train_loss, test_loss, weight_lr, drop_path) = (1.0, 3.0, 0.1, 0.0);
            let (epoch, best) = (1, true);
            let record = EpochRecord {
                epoch,
                train_loss,
                train_accuracy,
                test_loss,
                test_accuracy,
                test_balanced_accuracy: None,
                best,
                weight_lr,
                drop_path,
            };
            statistics_lag(&record, steps, classes)
        };
        assert!(lags(0.9, 0.1, 20, 10) && lags(0.9, 0.5, 200, 2));
        // The test has caught up, nothing is learned yet, or something else is wrong.
        assert!(!lags(0.9, 0.2, 20, 10) && !lags(0.7, 0.5, 20, 2) && !lags(0.9, 0.1, 201, 10));
    }
}
