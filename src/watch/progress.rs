//! What a search shows while it runs: a bar on a terminal, plain lines elsewhere.
//!
//! Nothing here can end a search. When the reader of the output goes away, the search goes on: its
//! results are in the run directory.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::benchmark::nasbench201;
use crate::readable::{bytes, counted, duration, grouped};
use crate::search::lanczos::Eigenvalue;
use crate::search::observer::{EpochRecord, Observer, SearchPhase, StepRecord, Summary, Timing};
use crate::space::alphas::Alphas;
use crate::space::genotype::{CellGenotype, ChosenEdge};
use crate::terminal::{fitted, output_width};
use crate::{Error, Result};

/// The longest silence between two lines where there is no bar.
const SILENCE: Duration = Duration::from_secs(10);

/// A bar where the standard error is a terminal.
fn bar() -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new(1);
        let style = ProgressStyle::with_template("{bar:10}  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    })
}

/// A progress bar of work that prints no lines; invisible where the standard error is no terminal.
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar that appears with the first progress, if it is to be visible and there is a terminal.
    pub fn new(visible: bool) -> Self {
        Bar(visible.then(bar).flatten())
    }

    /// Shows that so much of all is done; may be called from several threads.
    pub fn show(&self, done: usize, all: usize, message: impl FnOnce() -> String) {
        if let Some(bar) = &self.0 {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
            bar.set_message(message());
        }
    }

    /// Takes the bar away while lines are written.
    pub fn suspend(&self, write: impl FnOnce()) {
        match &self.0 {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Shows a search or a training on the standard output, and its bar on the standard error.
pub struct Progress {
    lines: Box<dyn Write + Send>,
    /// The columns that they have on a terminal.
    width: fn() -> Option<usize>,
    bar: Option<ProgressBar>,
    epochs: usize,
    form: Form,
    last_line: Instant,
    /// How long nothing is printed before a line tells the step.
    silence: Duration,
    /// Whether a reader knows that batch norm's running statistics lag.
    lag_noted: bool,
    /// Whether the line of an epoch of a training has the balanced accuracy, too.
    pub(super) balanced: bool,
}

/// What the lines are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A reader.
    Text,
    /// A program: one line of JSON for each epoch, as in `metrics.jsonl`, and nothing else.
    Json,
}

impl Progress {
    /// A bar where the standard error is a terminal; only plain lines otherwise.
    pub fn new(epochs: usize, form: Form) -> Self {
        let mut progress = Self::to(Box::new(std::io::stdout()), bar(), epochs, form);
        if form == Form::Text {
            progress.width = output_width;
        }
        progress
    }

    fn to(lines: Box<dyn Write + Send>, bar: Option<ProgressBar>, epochs: usize, form: Form) -> Self {
        Progress {
            lines,
            width: || None,
            bar,
            epochs,
            form,
            last_line: Instant::now(),
            silence: SILENCE,
            lag_noted: false,
            balanced: false,
        }
    }

    pub(super) fn print(&mut self, text: &str) {
        self.last_line = Instant::now();
        let text = fitted(text, (self.width)());
        let lines = &mut self.lines;
        let mut write = || writeln!(lines, "{text}").and_then(|()| lines.flush());
        let written = match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
        if written.is_err() {
            self.lines = Box::new(std::io::sink());
        }
    }

    /// Prints a note on the lag of batch norm's running statistics, once.
    pub(super) fn note_lag(&mut self, note: &str) {
        if !std::mem::replace(&mut self.lag_noted, true) {
            self.print(note);
        }
    }

    /// What the lines are written for.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Epochs of the run.
    pub(super) fn epochs(&self) -> usize {
        self.epochs
    }

    /// Moves the bar, or prints a line where nothing was printed for long.
    pub(super) fn show_step(&mut self, record: &StepRecord) {
        let speed = format!("{:.0} images/s", record.images_per_second);
        let left = remaining(record.seconds_left);
        let (loss, accuracy) = (record.train_loss, 100.0 * record.train_accuracy);
        if let Some(bar) = &self.bar {
            bar.set_length((record.epochs * record.steps) as u64);
            bar.set_position(((record.epoch - 1) * record.steps + record.step) as u64);
            // A narrow terminal cuts the end off.
            bar.set_message(format!(
                "{left} left  epoch {}/{}  loss {loss:.3}  accuracy {accuracy:.1} %  {speed}",
                record.epoch, record.epochs
            ));
        } else if self.form == Form::Text
            && self.last_line.elapsed() >= self.silence
            && record.step < record.steps
        {
            self.print(&format!(
                "epoch {}/{}  step {}/{}  loss {loss:.4}  accuracy {accuracy:.2} %  {speed}  {left} left",
                record.epoch, record.epochs, record.step, record.steps
            ));
        }
    }
}

impl Observer<SearchPhase> for Progress {
    fn started(&mut self, summary: &Summary) -> Result<()> {
        if self.form == Form::Json {
            return Ok(());
        }
        let (weights, alphas) = (grouped(summary.weights), grouped(summary.alphas));
        let betas =
            if summary.betas == 0 { String::new() } else { format!(", {} betas", grouped(summary.betas)) };
        let (train, valid) = (grouped(summary.train_images), grouped(summary.valid_images));
        let steps = grouped(summary.steps_per_epoch);
        let memory = bytes(summary.peak_bytes);
        let threads = counted(summary.threads, "thread");
        self.print(&format!("supernet  {weights} weights, {alphas} alphas{betas}"));
        self.print(&format!(
            "images    {train} for the weights, {valid} for the alphas, {steps} steps an epoch"
        ));
        let memory = match summary.kernels_per_step {
            0 => format!("{memory} of tensors"),
            kernels => {
                let (kernels, launches) = (grouped(kernels), grouped(summary.launches_per_step));
                format!("{memory} of memory, {kernels} kernels a step in {launches} launches")
            }
        };
        self.print(&format!("device    {}, {threads}, {memory}", summary.device));
        self.print("epochs    loss and accuracy; then of each type of cell: the mean entropy in nats,");
        self.print("          the number of skip connections, and each node as operation and input + operation and input");
        Ok(())
    }

    fn step(&mut self, record: &StepRecord) -> Result<()> {
        self.show_step(record);
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord, timing: &Timing, _: &Alphas) -> Result<()> {
        if self.form == Form::Json {
            let line =
                serde_json::to_string(record).map_err(|error| Error::io("standard output", error.into()))?;
            self.print(&line);
            return Ok(());
        }
        let width = self.epochs.to_string().len();
        let entropies: Vec<_> = record.entropy.iter().map(|entropy| format!("{entropy:.3}")).collect();
        let skips: Vec<_> = record.skip_connections.iter().map(usize::to_string).collect();
        self.print(&format!(
            "epoch {:>width$}/{}  train {}  valid {}  entropy {}  skips {}  {:.0} images/s  {}",
            record.epoch,
            self.epochs,
            outcome(record.train_loss, record.train_accuracy),
            outcome(record.valid_loss, record.valid_accuracy),
            entropies.join(" "),
            skips.join("+"),
            timing.images_per_second,
            duration(timing.seconds),
        ));
        for (kind, cell) in record.genotype.space.cells().iter().zip(&record.genotype.cells) {
            self.print(&format!("    {}  {}", kind.name, compact(cell)));
        }
        if let Some(entry) = nasbench201::entry_of(&record.genotype) {
            self.print(&format!("    trained by the benchmark  {}", nasbench201::in_words(entry)));
        }
        if let Some(Eigenvalue { value, .. }) = record.eigenvalue {
            self.print(&format!("    eigenvalue  {value:.4}"));
        }
        record.selected.iter().for_each(|sentence| self.print(&format!("    selected  {sentence}")));
        record.guards.iter().for_each(|remark| self.print(&format!("    {remark}")));
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

pub(super) fn outcome(loss: f64, accuracy: f64) -> String {
    format!("{loss:.4} {:.2} %", 100.0 * accuracy)
}

/// A cell on one line: the edges of each node as operation and input state.
pub fn compact(cell: &CellGenotype) -> String {
    let edge = |edge: &ChosenEdge| format!("{} {}", edge.operation.short, edge.from);
    let node = |edges: &Vec<ChosenEdge>| edges.iter().map(edge).collect::<Vec<_>>().join(" + ");
    cell.nodes.iter().map(node).collect::<Vec<_>>().join(" | ")
}

/// The time left; its seconds would only flicker where there are minutes.
fn remaining(seconds: f64) -> String {
    match seconds {
        60.0..3600.0 => format!("{:.0} min", seconds / 60.0),
        0.0..60.0 => format!("{seconds:.0} s"),
        _ => duration(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::alphas::ramp;
    use crate::space::derivation::derive;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn show(lines: Box<dyn Write + Send>, form: Form) -> Result<()> {
        let mut progress = Progress::to(lines, None, 15, form);
        let started = Summary {
            weights: 1_930_618,
            alphas: 224,
            betas: 0,
            peak_bytes: 3 << 20,
            device: "cpu".into(),
            threads: 1,
            train_images: 899,
            valid_images: 898,
            steps_per_epoch: 28,
            kernels_per_step: 0,
            launches_per_step: 0,
        };
        Observer::<SearchPhase>::started(&mut progress, &started)?;
        for (step, silence) in [(1, Duration::ZERO), (2, Duration::MAX)] {
            progress.silence = silence;
            let progress: &mut dyn Observer<SearchPhase> = &mut progress;
            progress.step(&StepRecord {
                epoch: 1,
                epochs: 15,
                step,
                steps: 28,
                train_loss: 2.25,
                train_accuracy: 0.125,
                images_per_second: 411.6,
                seconds_left: 200.0,
            })?;
        }
        let progress: &mut dyn Observer<SearchPhase> = &mut progress;
        let alphas = ramp(4);
        let record = EpochRecord {
            epoch: 1,
            train_loss: 1.84214,
            train_accuracy: 0.382,
            valid_loss: 1.612,
            valid_accuracy: 0.44,
            entropy: vec![2.0794, 2.0793],
            edge_weights: Vec::new(),
            skip_connections: vec![3, 0],
            weight_lr: 0.025,
            genotype: derive(&alphas),
            eigenvalue: None,
            selected: Vec::new(),
            guards: Vec::new(),
        };
        let timing = Timing { epoch: 1, images_per_second: 412.0, seconds: 8.14 };
        progress.epoch(&record, &timing, &alphas)
    }

    #[test]
    fn lines_are_plain_and_few() {
        let shared = Shared::default();
        show(Box::new(shared.clone()), Form::Text).unwrap();
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "supernet  1,930,618 weights, 224 alphas");
        assert_eq!(
            lines[5],
            "epoch 1/15  step 1/28  loss 2.2500  accuracy 12.50 %  412 images/s  3 min left"
        );
        assert!(
            lines[6].starts_with("epoch  1/15  train 1.8421 38.20 %  valid 1.6120 44.00 %  entropy 2.079")
        );
        assert_eq!(lines.len(), 9);
        assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n'));
    }

    #[test]
    fn json_is_one_line_an_epoch() {
        let shared = Shared::default();
        show(Box::new(shared.clone()), Form::Json).unwrap();
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        let record: EpochRecord = serde_json::from_str(&text).unwrap();
        assert_eq!((record.epoch, text.lines().count()), (1, 1));
    }

    #[test]
    fn a_reader_that_goes_away_does_not_end_the_search() {
        assert!(show(Box::new(Gone), Form::Text).is_ok());
        assert!(show(Box::new(Gone), Form::Json).is_ok());
    }
}
