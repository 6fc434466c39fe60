//! What the report of a training says.

use maud::{Markup, html};

use super::classes;
use super::parts::{self, Chart, Metric, epochs, percent};
use super::{sheet, survey};
use crate::plan::Command;
use crate::readable::{grouped, shell_word};
use crate::store::checkpoints::resume_command;
use crate::store::history::TrainingHistory;
use crate::train::observer::EpochRecord;

/// The page of a training.
pub fn page(history: &TrainingHistory) -> String {
    let data = history.planned("data").unwrap_or("unnamed images");
    let content = html! {
        (facts(history))
        @if let Some(standing) = history.standing { (parts::unfinished(standing)) }
        (outcome(history))
        (parts::next(&next(history)))
        (course(history))
        @if let Some(classes) = &history.classes { (classes::section(classes)) }
        @if let Some(sheet) = &history.sheet { (sheet::section(sheet)) }
        @if let Some(survey) = &history.survey { (survey::section(survey)) }
        (parts::cells(&history.genotype))
        (parts::plan(&history.genotype, &history.plan))
    };
    parts::document(&format!("Training on {data}"), &history.name, &content)
}

fn facts(history: &TrainingHistory) -> Markup {
    let last = history.last();
    let millions = history.cost.multiply_adds as f64 / 1e6;
    let mut facts = vec![(percent(last.test_accuracy), "of the test images right after the last epoch")];
    facts.extend(
        last.test_balanced_accuracy
            .map(|balanced| (percent(balanced), "of the test images, balanced: the mean of the classes")),
    );
    facts.extend([
        (percent(last.train_accuracy), "of the training images in that epoch"),
        (epochs(last.epoch, history.planned("epochs")), "epochs"),
    ]);
    facts.extend(parts::in_all(&history.timings, history.records.len()));
    facts.extend([
        (grouped(history.cost.weights), "weights"),
        (format!("{millions:.1} million"), "multiply-adds an image"),
    ]);
    parts::facts(&facts)
}

/// The next commands to type: what is left of the training, what the model sees in a picture, and what other programs take.
fn next(history: &TrainingHistory) -> Vec<String> {
    let rest = history.standing.map(|_| resume_command(Command::Train, &history.path));
    let run = shell_word(&history.path.display().to_string());
    let model = [format!("darts predict {run} IMAGE"), format!("darts export {run} --format onnx")];
    rest.into_iter().chain(model).collect()
}

fn outcome(history: &TrainingHistory) -> Markup {
    let (best, last, model) = (history.best(), history.last(), &history.model);
    let gap = 100.0 * (last.train_accuracy - last.test_accuracy);
    html! {
        section {
            h2 { "Outcome" }
            p {
                "A network of " (model.cells) " cells and " (model.init_channels) " channels tells " (model.class_names.len())
                " classes of images of " (model.height) "×" (model.width) " pixels apart. After epoch " (last.epoch) " it is right on "
                (percent(last.test_accuracy)) " of the test images, with a loss of " (format!("{:.4}", last.test_loss)) "."
            }
            p {
                "The best accuracy was " (percent(best.test_accuracy)) " after epoch " (best.epoch) " (best.safetensors). The "
                "test images chose that epoch, so that figure flatters it; the honest one is that of the last epoch "
                "(last.safetensors)."
            }
            @if gap > 0.0 {
                p {
                    "The training images, varied as they are, fare better by " (format!("{gap:.2}")) " points."
                }
            }
        }
    }
}

fn training(value: fn(&EpochRecord) -> f64) -> Metric<EpochRecord> {
    Metric::new("training", 1, value)
}

fn test(value: fn(&EpochRecord) -> f64) -> Metric<EpochRecord> {
    Metric::new("test", 2, value)
}

fn course(history: &TrainingHistory) -> Markup {
    let single = |name, colour, value: fn(&EpochRecord) -> f64| vec![Metric::new(name, colour, value)];
    let charts = [
        Chart::new("Loss", vec![training(|record| record.train_loss), test(|record| record.test_loss)]),
        Chart::new(
            "Accuracy in percent",
            vec![
                training(|record| 100.0 * record.train_accuracy),
                test(|record| 100.0 * record.test_accuracy),
            ],
        ),
        Chart::new("Learning rate", single("learning rate", 4, |record| record.weight_lr)),
        Chart::new("Probability of drop path", single("drop path", 5, |record| record.drop_path)),
    ];
    parts::course(&history.records, |record| record.epoch, &charts, &history.timings)
}
