//! The search itself: the same bytes for a seed whatever the number of threads, and what a run tells.

use darts::backend::cpu::Cpu;
use darts::backend::{Device as _, Shape, Span};
use darts::data::{Loader, Reading, Source, halves};
use darts::epochs::{BatchView, Control, Ended};
use darts::method::progress::Progress;
use darts::nn::Parameter;
use darts::plan::DeviceChoice;
use darts::plan::PlanTable as _;
use darts::plan::search::{Order, Plan};
use darts::random::Stream;
use darts::search::observer::{EpochRecord, Observer, SearchPhase, StepRecord, Summary, Timing};
use darts::search::{Bilevel, BilevelSettings, session};
use darts::space::alphas::{Alphas, Decision};
use darts::space::derivation::derive;
use darts::space::{EdgeShape, Space, SupernetShape};
use darts::store::alphas::load_alphas;
use darts::store::genotype::load_genotype;
use darts::store::search_run;
use std::sync::Arc;

const BATCH: usize = 16;

/// Alphas, weights and running statistics after some steps on the digits.
fn train(threads: usize, steps: usize, order: Order, seed: u64) -> [Vec<u8>; 3] {
    let dataset = "digits".parse::<Source>().unwrap().load(seed, &Reading::default(), &()).unwrap();
    let (weight_half, alpha_half) = halves(dataset.train.count(), seed);
    let (normalisation, augmentation) = (dataset.normalisation(), dataset.augmentation);
    let images = Arc::new(dataset.train);
    let mut loaders =
        [(weight_half, Stream::TrainOrder), (alpha_half, Stream::ValidOrder)].map(|(indices, order)| {
            let images = Arc::clone(&images);
            Loader::new(images, normalisation.clone(), augmentation, indices, BATCH, seed, order).unwrap()
        });
    loaders.iter_mut().for_each(|loader| loader.start(1));
    let shape = SupernetShape {
        space: Space::darts(),
        images: Shape::new(BATCH, 8, 8, 1),
        classes: 10,
        init_channels: 4,
        cells: 3,
        nodes: 3,
        edges: EdgeShape::default(),
    };
    let settings = BilevelSettings::from(&Plan { order, alpha_lr: 3e-3, ..Plan::paper() });
    let mut bilevel = Bilevel::new(Cpu::new(threads).unwrap(), shape, settings, seed).unwrap();
    let [train, valid] = &mut loaders;
    for _ in 0..steps {
        let (train, valid) = (train.next_batch().unwrap(), valid.next_batch().unwrap());
        bilevel.step(train, valid, 0.025).unwrap();
    }
    let alphas = bilevel.architecture.alphas.iter().flat_map(|value| value.to_le_bytes()).collect();
    let spans = [bilevel.supernet.spans.weights, bilevel.supernet.spans.running];
    let [weights, running] = spans.map(|span| {
        let mut values = vec![0f32; span.len];
        bilevel.tape.backend().read(span, &mut values);
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    });
    [alphas, weights, running]
}

#[test]
fn a_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let one = train(1, 20, Order::First, 7);
    assert!(one == train(2, 20, Order::First, 7), "two threads");
    assert!(one == train(3, 20, Order::First, 7), "three threads");
    assert!(one[0] != train(2, 20, Order::First, 8)[0], "another seed must give other alphas");
    let orders = Order::ALL.map(|order| {
        let alone = train(1, 5, order, 7);
        assert!(alone == train(2, 5, order, 7), "{order:?} order");
        alone
    });
    for (one, other) in [(0, 1), (1, 2), (0, 2)] {
        assert!(orders[one][0] != orders[other][0], "the orders {one} and {other} must differ");
    }
}

/// Two supernets, of which one has auxiliary skips that weigh nothing, and the same weights: losses, gradients and running
/// statistics of all that both have are the same to the bit, and so are the gradients by the mixing weights.
#[test]
fn an_auxiliary_skip_without_weight_is_none() {
    let start = |auxiliary_skip: &str| {
        let plan = Plan { auxiliary_skip: auxiliary_skip.into(), order: Order::Second, ..Plan::paper() };
        let settings = BilevelSettings::from(&plan);
        let shape = SupernetShape {
            space: Space::darts(),
            images: Shape::new(4, 8, 8, 1),
            classes: 10,
            init_channels: 4,
            cells: 3,
            nodes: 2,
            edges: settings.method.edges(),
        };
        let mut bilevel = Bilevel::new(Cpu::new(2).unwrap(), shape, settings, 3).unwrap();
        bilevel.progress = Progress { epoch: 1, epochs: 1, ..bilevel.progress };
        bilevel
    };
    let (mut without, mut with) = (start("0"), start("1 to 0"));
    let parameters = with.supernet.parameters.clone();
    let [fewer, more] = [&without, &with].map(|bilevel| bilevel.supernet.parameters.iter().count());
    // Four edges of each of the two reduction cells, two matrices each.
    assert_eq!(more, fewer + 2 * 4 * 2);
    let own = |bilevel: &Bilevel<Cpu>, of: Span| {
        let values = bilevel.tape.read(of);
        let of =
            |tensor: &Parameter| values[tensor.part.offset..tensor.part.offset + tensor.part.len].to_vec();
        let all = bilevel.supernet.parameters.iter().map(|tensor| (tensor.name.clone(), of(tensor)));
        all.filter(|(name, _)| !name.contains("auxiliary_op")).collect::<Vec<_>>()
    };
    let weights = own(&without, without.supernet.spans.weights);
    let mut copied = with.tape.read(with.supernet.spans.weights);
    for (name, values) in &weights {
        let tensor = parameters.iter().find(|tensor| tensor.name == *name).unwrap();
        copied[tensor.part.offset..tensor.part.offset + tensor.part.len].copy_from_slice(values);
    }
    let place = with.supernet.spans.weights;
    with.tape.backend().write(place, &copied);

    let [train, valid] =
        [3, 5].map(|step| (0..4 * 64).map(|i| ((i * step) % 17) as f32 / 8.0 - 1.0).collect());
    let [train, valid]: [Vec<f32>; 2] = [train, valid];
    let mut left = [&mut without, &mut with].map(|bilevel| {
        let batch = |images| BatchView { images, labels: &[0, 3, 7, 9] };
        let result = bilevel.step(batch(&train), batch(&valid), 0.025).unwrap();
        let slopes = bilevel.read_slopes(bilevel.supernet.mixing.gradient).to_vec();
        let evaluated = bilevel.evaluate(batch(&valid), 4).unwrap();
        let running = bilevel.supernet.parameters.running();
        let values = bilevel.tape.read(bilevel.supernet.spans.running);
        let running = running.filter(|norm| !norm.names[0].contains("auxiliary_op"));
        let running: Vec<_> =
            running.map(|norm| values[norm.part.offset..norm.part.offset + norm.part.len].to_vec()).collect();
        let alphas = bilevel.architecture.alphas.clone();
        (result, evaluated, slopes, alphas, running, own(bilevel, bilevel.supernet.spans.weights))
    });
    let [without, with] = &mut left;
    assert_eq!(without, with);
    assert!(without.5 != weights, "the weights have moved");
}

/// Remembers what a search tells.
#[derive(Default)]
struct Memory {
    facts: Option<Summary>,
    steps: Vec<StepRecord>,
    epochs: Vec<(EpochRecord, Alphas)>,
}

impl Observer<SearchPhase> for Memory {
    fn started(&mut self, facts: &Summary) -> darts::Result<()> {
        self.facts = Some(facts.clone());
        Ok(())
    }

    fn step(&mut self, record: &StepRecord) -> darts::Result<()> {
        self.steps.push(record.clone());
        Ok(())
    }

    fn epoch(&mut self, record: &EpochRecord, _: &Timing, alphas: &Alphas) -> darts::Result<()> {
        self.epochs.push((record.clone(), alphas.clone()));
        Ok(())
    }
}

fn small_plan() -> Plan {
    Plan {
        epochs: 3,
        init_channels: 4,
        nodes: 2,
        batch_size: 32,
        threads: 2,
        device: DeviceChoice::Cpu,
        ..Plan::default()
    }
}

/// A whole search on the digits.
fn search(plan: &Plan, observer: &mut (dyn Observer<SearchPhase> + Send)) -> darts::Result<Alphas> {
    let digits = "digits".parse::<Source>()?.load(plan.seed, &Reading::default(), &())?;
    match session::run(plan, digits, &Control::default(), observer)? {
        Ended::Finished(alphas) => Ok(alphas),
        Ended::Interrupted(position) => panic!("interrupted at {position:?}"),
    }
}

#[test]
fn a_search_learns_the_digits_and_tells_of_it() {
    let plan = small_plan();
    let mut memory = Memory::default();
    let alphas = search(&plan, &mut memory).unwrap();
    let facts = memory.facts.unwrap();
    assert_eq!((facts.steps_per_epoch, facts.threads), (facts.train_images / 32, 2));
    assert!(facts.peak_bytes > facts.weights * 4);
    assert_eq!(memory.steps.len(), 3 * facts.steps_per_epoch);
    assert_eq!(memory.epochs.len(), 3);
    let (last, last_alphas) = memory.epochs.last().unwrap();
    assert_eq!(*last_alphas, alphas);
    assert!(last.valid_accuracy > 0.9, "validation accuracy {}", last.valid_accuracy);
    assert!(last.train_loss < memory.epochs[0].0.train_loss);
    // The evaluation of the last epoch is left.
    assert!(memory.steps.last().unwrap().seconds_left >= 0.0);
}

#[test]
fn a_random_search_moves_no_alpha_and_decides_at_its_end() {
    let [guard_skips, guard_ranking, guard_entropy] = [(); 3].map(|()| "off".to_owned());
    let selection = "sampled 5".to_owned();
    let plan = Plan { selection, guard_skips, guard_ranking, guard_entropy, ..small_plan() };
    plan.validate().unwrap();
    let mut memory = Memory::default();
    let alphas = search(&plan, &mut memory).unwrap();
    assert!(memory.epochs.iter().all(|(_, of_epoch)| of_epoch.tables == alphas.tables));
    let ([.., (before, _), (last, _)], count) = (&memory.epochs[..], memory.epochs.len()) else {
        panic!("three epochs")
    };
    assert_eq!((count, before.selected.len(), last.selected.len()), (3, 0, 1));
    assert!(last.selected[0].contains(" of 5 drawn at random, with the loss "), "{}", last.selected[0]);
    assert_eq!(last.genotype, derive(&alphas));
    // The two nodes of each cell keep two edges each.
    for decided in &alphas.decided {
        let chosen = decided.iter().filter(|decision| matches!(decision, Decision::Chosen(_))).count();
        assert_eq!((chosen, decided.len()), (4, 5), "{decided:?}");
    }
}

#[test]
fn a_diverging_search_stops_at_the_step_and_keeps_what_it_told() {
    let plan = Plan { weight_lr: 1e20, weight_lr_min: 0.0, gradient_clip: 1e30, ..small_plan() };
    let mut memory = Memory::default();
    let error = search(&plan, &mut memory).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let text = error.to_string();
    assert!(text.contains("step") && text.contains("epoch 1") && !text.contains('\n'), "{text}");
}

/// A decay that multiplies the weights by -24 in each step: the first epochs are sound, then the loss is no number.
#[test]
fn a_search_that_diverges_later_keeps_every_record_before() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("run");
    let plan = Plan {
        batch_size: 719,
        epochs: 40,
        weight_lr: 0.025,
        weight_lr_min: 0.025,
        weight_momentum: 0.0,
        weight_decay: 1e3,
        ..small_plan()
    };
    let mut directory = search_run::create_at(&plan, None, &path).unwrap();
    let error = search(&plan, &mut directory).unwrap_err();
    let kept = directory.epochs();
    directory.abandon();
    assert!((1..40).contains(&kept), "{kept} epochs, then {error}");
    assert!(
        error.to_string().contains(&format!("epoch {}", kept + 1))
            || error.to_string().contains("after epoch")
    );
    let metrics = std::fs::read_to_string(path.join("metrics.jsonl")).unwrap();
    let records: Vec<EpochRecord> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), kept);
    let (_, last) = load_alphas(&path, None).unwrap();
    assert_eq!((last.epochs, last.steps), (kept, 0));
    assert_eq!(load_genotype(&path).unwrap(), records.last().unwrap().genotype);
}

#[test]
fn a_batch_larger_than_half_of_the_images_is_refused() {
    let plan = Plan { batch_size: 1000, ..small_plan() };
    let error = search(&plan, &mut Memory::default()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("1000"), "{error}");
}

/// The second stage has a candidate less on each edge and four cells more: it takes more memory, which counts for the whole.
#[test]
fn an_estimate_is_that_of_all_stages() {
    let estimate = |stages: &str| {
        let plan =
            Plan { epochs: 4, nodes: 1, init_channels: 2, stages: stages.to_owned(), ..Plan::default() };
        let dataset = "digits".parse::<Source>().unwrap().load(0, &Reading::default(), &()).unwrap();
        session::estimate(&plan, dataset).unwrap()
    };
    let [one, two] = ["none", "keep 7 +4"].map(estimate);
    assert_eq!([one.epochs, two.epochs], [4, 4]);
    assert!(two.peak_bytes > one.peak_bytes, "{} and {}", two.peak_bytes, one.peak_bytes);
    assert!(two.largest_batch <= one.largest_batch);
}
