//! A model in use: images in, logits out; and how good and how fast it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::model::Model;
use crate::Result;
use crate::autograd::{Recorder, Tape};
use crate::backend::cpu::Cpu;
use crate::backend::gpu::Precision;
use crate::backend::{Backend, Mode, cuda};
use crate::data::{Images, Loader};
use crate::epochs::BatchResult;
use crate::plan::DeviceChoice;
use crate::space::Network;

/// A model in use, whatever device it is on.
pub trait Classify {
    /// The logits of a batch, `[n][classes]`.
    fn logits(&mut self, images: &[f32]) -> Result<Vec<f32>>;
    /// Classifies all images.
    fn evaluate(&mut self, images: Arc<Images>, model: &Model) -> Result<Evaluation>;
    /// The median time of a batch, over half a second and five batches at least.
    fn latency(&mut self) -> Result<Duration>;
}

/// Puts a model on a device, for batches of `batch` images.
pub fn open(model: &Model, device: DeviceChoice, threads: usize, batch: usize) -> Result<Box<dyn Classify>> {
    if device.resolve(Precision::F32)? == DeviceChoice::Cuda {
        return Ok(Box::new(Classifier::new(cuda::open(Precision::F32)?, model, batch)?));
    }
    Ok(Box::new(Classifier::new(Cpu::new(threads)?, model, batch)?))
}

/// The network of a model, for batches of one size.
pub struct Classifier<B: Backend<Scalar = f32>> {
    tape: Tape<B>,
    network: Network,
    batch: usize,
}

/// How a model does on labelled images.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Number of images.
    pub images: usize,
    /// Mean loss.
    pub loss: f64,
    /// The share of images whose class was the first guess.
    pub accuracy: f64,
    /// The share of images whose class was among the first five guesses.
    pub top_five: f64,
    /// How many images of a class were taken for one: `[class][guess]`.
    pub confusion: Vec<Vec<usize>>,
}

impl<B: Backend<Scalar = f32>> Classifier<B> {
    /// The network of a model, for batches of `batch` images.
    pub fn new(backend: B, model: &Model, batch: usize) -> Result<Self> {
        model.description.genotype.check_operands(B::LIMITS.operands)?;
        let mut recorder = Recorder::new();
        let shape = model.description.shape(batch, false);
        let network = Network::record(&mut recorder, &model.description.genotype, shape)?;
        let mut tape = recorder.finish_inference(backend)?;
        // The network computes its loss whether it is wanted or not.
        tape.backend().write_labels(&vec![0; batch]);
        let [weights, running] = model.inference();
        tape.backend().write(network.spans.weights, &weights);
        tape.backend().write(network.spans.running, &running);
        Ok(Classifier { tape, network, batch })
    }
}

impl<B: Backend<Scalar = f32>> Classify for Classifier<B> {
    fn logits(&mut self, images: &[f32]) -> Result<Vec<f32>> {
        self.tape.write_value(self.network.images, images)?;
        self.tape.forward(Mode::Inference);
        let logits = self.tape.read_value(self.network.logits);
        self.tape.status()?;
        Ok(logits)
    }

    fn evaluate(&mut self, images: Arc<Images>, model: &Model) -> Result<Evaluation> {
        let (count, classes) = (images.count(), model.description.class_names.len());
        let indices = (0..count as u32).collect();
        let normalisation = model.description.normalisation();
        let mut loader = Loader::sequential(images, normalisation, indices, self.batch)?;
        let mut evaluation = Evaluation {
            images: count,
            loss: 0.0,
            accuracy: 0.0,
            top_five: 0.0,
            confusion: vec![vec![0; classes]; classes],
        };
        loader.start(0);
        while let Some(batch) = loader.next_batch() {
            let logits = self.logits(&batch.images)?;
            let labels = batch.labels.iter().map(|&label| label as usize);
            let rows = || logits.chunks(classes).zip(labels.clone()).take(batch.real);
            let result = BatchResult::of(rows());
            evaluation.loss += result.loss * batch.real as f64 / count as f64;
            evaluation.accuracy += result.top1 / count as f64;
            evaluation.top_five += result.top5 / count as f64;
            for (row, label) in rows() {
                evaluation.confusion[label][first_guess(row)] += 1;
            }
        }
        Ok(evaluation)
    }

    fn latency(&mut self) -> Result<Duration> {
        const ENOUGH: Duration = Duration::from_millis(500);
        let images = vec![0.0; self.network.shape.images.len()];
        // Scratch memory grows in the first.
        self.logits(&images)?;
        let (start, mut times) = (Instant::now(), Vec::new());
        while times.len() < 5 || (start.elapsed() < ENOUGH && times.len() < 1000) {
            let start = Instant::now();
            self.logits(&images)?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Ok(times[times.len() / 2])
    }
}

/// The largest logit; of equal ones the first.
pub fn first_guess(logits: &[f32]) -> usize {
    (1..logits.len()).fold(0, |best, next| if logits[next] > logits[best] { next } else { best })
}

/// Probabilities from logits.
pub fn probabilities(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&x| f64::from(x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_and_probabilities() {
        assert_eq!(first_guess(&[1.0, 3.0, 3.0, 2.0]), 1);
        let found = probabilities(&[1000.0, 1000.0, -1000.0]);
        assert_eq!(found, [0.5, 0.5, 0.0]);
    }
}
