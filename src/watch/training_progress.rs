//! What a training shows while it runs, in the manner of a search.

use super::progress::{Form, Progress, outcome};
use crate::readable::{bytes, counted, duration, grouped};
use crate::train::Model;
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
        let (threads, memory) = (counted(summary.threads, "thread"), bytes(summary.peak_bytes));
        self.print(&format!("device   {}, {threads}, {memory} of tensors", summary.device));
        self.print("epochs   loss and accuracy; * marks the best accuracy on the test images so far");
        Ok(())
    }

    fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.show_step(record);
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord, timing: &Timing, _: &Model) -> Result<()> {
        if self.form() == Form::Json {
            let line = serde_json::to_string(record);
            self.print(&line.map_err(|error| Error::io("standard output", error.into()))?);
            return Ok(());
        }
        let width = self.epochs().to_string().len();
        self.print(&format!(
            "epoch {:>width$}/{}  train {}  test {}{}  {:.0} images/s  {}",
            record.epoch,
            self.epochs(),
            outcome(record.train_loss, record.train_accuracy),
            outcome(record.test_loss, record.test_accuracy),
            if record.best { " *" } else { "  " },
            timing.images_per_second,
            duration(timing.seconds),
        ));
        Ok(())
    }
}
