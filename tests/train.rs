//! The training itself: the same bytes for a seed whatever the number of threads, no allocation in a step, and models
//! that come back from their files.

use darts::backend::Shape;
use darts::backend::cpu::Cpu;
use darts::data::{Reading, Source};
use darts::epochs::{BatchView, Control, Ended};
use darts::plan::train::Plan;
use darts::space::{NetworkShape, published};
use darts::store::training_run::{self, BEST, LAST};
use darts::train::classifier::Classify;
use darts::train::observer::{EpochRecord, Observer, StepRecord, Summary, Timing, TrainingPhase};
use darts::train::{Classifier, Model, Trainer, TrainerSettings, session};
use std::path::Path;
use std::sync::Arc;

fn small(threads: usize) -> Plan {
    Plan { epochs: 2, init_channels: 4, cells: 3, drop_path: 0.3, threads, ..Plan::default() }
}

/// Trains on the digits and gives the bytes of both models.
fn models(plan: &Plan, directory: &Path) -> [Vec<u8>; 2] {
    let genotype = published::find("pc-darts").unwrap().genotype;
    let dataset = "digits".parse::<Source>().unwrap().load(plan.seed, &Reading::default(), &()).unwrap();
    let mut run = training_run::create_at(plan, &genotype, None, directory).unwrap();
    session::run(plan, &genotype, dataset, &Control::default(), &mut run).unwrap();
    [BEST, LAST].map(|name| std::fs::read(directory.join(name)).unwrap())
}

#[test]
fn a_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let scratch = tempfile::tempdir().unwrap();
    let model = |name: &str, plan: &Plan| models(plan, &scratch.path().join(name));
    let one = model("one", &small(1));
    assert!(one == model("two", &small(2)), "two threads");
    assert!(one == model("three", &small(3)), "three threads");
    let [_, last] = model("other", &Plan { seed: 1, ..small(2) });
    assert!(one[1] != last, "another seed must give another model");
    let [_, kept] = model("kept", &Plan { drop_path: 0.0, ..small(2) });
    assert!(one[1] != kept, "drop path must change the training");
}

/// Keeps the model of the last epoch and what was told.
#[derive(Default)]
struct Keep {
    model: Option<Model>,
    records: Vec<EpochRecord>,
    steps: usize,
}

impl Observer<TrainingPhase> for Keep {
    fn started(&mut self, facts: &Summary) -> darts::Result<()> {
        assert_eq!((facts.train_images + facts.test_images, facts.auxiliary_weights), (1797, 0));
        Ok(())
    }

    fn step(&mut self, record: &StepRecord) -> darts::Result<()> {
        self.steps += 1;
        assert!(record.train_loss.is_finite());
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord, _: &Timing, model: &Model) -> darts::Result<()> {
        self.records.push(record.clone());
        self.model = Some(model.clone());
        Ok(())
    }
}

#[test]
fn a_model_comes_back_and_is_as_accurate_as_its_training_said() {
    let genotype = published::find("darts-v2").unwrap().genotype;
    let plan = Plan { epochs: 3, ..small(0) };
    let dataset = "digits".parse::<Source>().unwrap().load(plan.seed, &Reading::default(), &()).unwrap();
    let mut keep = Keep::default();
    let ended = session::run(&plan, &genotype, dataset.clone(), &Control::default(), &mut keep).unwrap();
    let Ended::Finished(outcome) = ended else { panic!("{ended:?}") };
    let last = keep.records.last().unwrap();
    assert_eq!((keep.records.len(), keep.steps), (3, 3 * (dataset.train.count() / plan.batch_size)));
    assert!(outcome.last == last.test_accuracy && last.test_accuracy > 0.5, "{outcome:?}");
    assert!(keep.records.windows(2).all(|pair| pair[0].weight_lr > pair[1].weight_lr));
    assert_eq!(keep.records[1].drop_path, 0.3 / 3.0);

    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.safetensors");
    let model = keep.model.unwrap();
    model.save(&path).unwrap();
    let loaded = Model::load(&path).unwrap();
    assert_eq!(loaded.description, model.description);
    assert!(loaded.weights == model.weights && loaded.running == model.running);

    // Batches that do not divide the test images, in either direction.
    for batch in [50, 1000] {
        let mut classifier = Classifier::new(Cpu::new(1).unwrap(), &loaded, batch).unwrap();
        let found = classifier.evaluate(Arc::new(dataset.test.clone()), &loaded).unwrap();
        assert!((found.accuracy - last.test_accuracy).abs() < 1e-12, "{found:?}");
        assert!((found.loss - last.test_loss).abs() < 1e-6);
        let right: usize = (0..10).map(|class| found.confusion[class][class]).sum();
        let all: usize = found.confusion.iter().flatten().sum();
        assert_eq!((right, all), ((last.test_accuracy * all as f64).round() as usize, found.images));
    }
}

/// Without drop path's factors on the device, dropping is a matter of training alone.
#[test]
fn nothing_is_dropped_in_inference() {
    let genotype = published::find("darts-v1").unwrap().genotype;
    let images = Shape::new(4, 8, 8, 1);
    let shape = |drop_path| NetworkShape {
        images,
        classes: 10,
        init_channels: 4,
        cells: 3,
        auxiliary: None,
        drop_path,
        official_inplace_relu: false,
        class_weights: false,
    };
    let settings = TrainerSettings { momentum: 0.9, nesterov: false, decay: 3e-4, gradient_clip: 5.0 };
    let pixels: Vec<f32> = (0..images.len()).map(|i| (i * 31 % 17) as f32 / 8.0 - 1.0).collect();
    let batch = BatchView { images: &pixels, labels: &[1, 2, 3, 4] };
    let trained = |drop_path, rate, dropped| {
        let mut trainer =
            Trainer::new(Cpu::new(1).unwrap(), &genotype, shape(drop_path), settings, 5).unwrap();
        let result = trainer.step(batch, rate, dropped).unwrap();
        (result.loss, trainer.logits(batch).unwrap())
    };
    let (loss, logits) = trained(false, 0.0, 0.0);
    assert_eq!(trained(true, 0.0, 0.0), (loss, logits.clone()));
    let (dropped_loss, _) = trained(true, 0.0, 0.5);
    assert_ne!(dropped_loss, loss);
    assert_eq!(trained(true, 0.0, 0.0).1, logits);
}
