//! Interruptions at every kind of position: before the first step, within an epoch, in an evaluation, between epochs.

use std::sync::atomic::{AtomicUsize, Ordering};

use darts::data::{Dataset, Reading, Source};
use darts::epochs::{Checkpoint, Control, Ended, Numbers, Observer, Phase, Position, StepRecord, Timing};
use darts::method::edge_weights::EdgeWeights;
use darts::method::stages::transitions;
use darts::plan::search::Order;
use darts::plan::{Command, DeviceChoice, PlanTable};
use darts::space::alphas::Decision;
use darts::space::published;
use darts::{plan, search, train};

/// Keeps the last checkpoint, and all records as text.
#[derive(Default)]
struct Keep {
    records: Vec<String>,
    checkpoint: Option<Checkpoint>,
    stored: usize,
}

impl<K: Phase> Observer<K> for Keep {
    fn started(&mut self, _: &K::Summary) -> darts::Result<()> {
        Ok(())
    }

    fn step(&mut self, record: &StepRecord) -> darts::Result<()> {
        assert!(record.seconds_left >= 0.0 && record.images_per_second > 0.0);
        Ok(())
    }

    fn epoch(&mut self, record: &K::Record, timing: &Timing, _: &K::Artifact) -> darts::Result<()> {
        assert!(timing.seconds > 0.0 && timing.images_per_second > 0.0);
        self.records.push(serde_json::to_string(record).unwrap());
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> darts::Result<()> {
        (self.checkpoint, self.stored) = (Some(checkpoint.clone()), self.stored + 1);
        Ok(())
    }
}

/// A run with this control, told to an observer; where it was interrupted.
type Go<'a> = dyn Fn(&Control, &mut Keep) -> darts::Result<Option<Position>> + 'a;

fn interrupted<T>(ended: Ended<T>) -> Option<Position> {
    match ended {
        Ended::Finished(_) => None,
        Ended::Interrupted(position) => Some(position),
    }
}

/// Interrupts a run again and again: first after it has asked so many times whether it is to go on, then once more each
/// time, for an evaluation is repeated from its start.
fn interrupts(go: &Go, patience: usize) -> (Keep, Vec<Position>) {
    let (mut keep, mut positions) = (Keep::default(), Vec::new());
    loop {
        let asked = AtomicUsize::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) + 1 >= patience + positions.len();
        // Through its bytes, as in a file.
        let bytes = keep.checkpoint.take().map(|checkpoint| checkpoint.to_bytes().unwrap());
        let from = bytes.as_ref().map(|bytes| Checkpoint::from_bytes(bytes).unwrap());
        keep.checkpoint = from.clone();
        let control = Control { from: from.as_ref(), interrupted: Some(&stop), every: None };
        match go(&control, &mut keep).unwrap() {
            Some(position) => positions.push(position),
            None => return (keep, positions),
        }
    }
}

/// Interrupts a run again and again, and holds what it tells and stores against the whole run; gives where it was
/// interrupted.
fn same_again(go: &Go, patience: usize, whole: &Keep) -> Vec<Position> {
    let (keep, positions) = interrupts(go, patience);
    assert_eq!(keep.records, whole.records, "patience {patience}");
    let bytes = |keep: &Keep| keep.checkpoint.as_ref().unwrap().to_bytes().unwrap();
    assert!(bytes(&keep) == bytes(whole), "patience {patience}");
    positions
}

fn check(go: &Go, steps: usize) {
    let mut whole = Keep::default();
    assert_eq!(go(&Control::default(), &mut whole).unwrap(), None);
    let expected = whole.checkpoint.clone().unwrap();
    assert_eq!(expected.progress.position.steps, 0);
    let mut seen = Vec::new();
    for patience in [2, 3, 7, 10, steps + 1, steps + 2, steps + 5] {
        seen.extend(same_again(go, patience, &whole));
    }
    let some = |so: &dyn Fn(&Position) -> bool| assert!(seen.iter().any(so), "{seen:?}");
    some(&|position| position.epochs == 0 && position.steps > 0);
    some(&|position| position.epochs > 0 && (1..steps).contains(&position.steps));
    some(&|position| position.epochs > 0 && position.steps == 0);
    some(&|position| position.steps == steps);

    // Before the first step; and a checkpoint after each.
    let mut keep = Keep::default();
    let control = Control { interrupted: Some(&|| true), ..Control::default() };
    assert_eq!(go(&control, &mut keep).unwrap(), Some(Position::default()));
    let first = keep.checkpoint.take().unwrap();
    let every = Some(std::time::Duration::ZERO);
    assert_eq!(go(&Control { from: Some(&first), every, interrupted: None }, &mut keep).unwrap(), None);
    assert_eq!((keep.stored, &keep.records), (1 + 2 * (steps + 1), &whole.records));

    // Checkpoints that do not fit.
    let refusal = |change: &dyn Fn(&mut Checkpoint)| {
        let mut changed = expected.clone();
        changed.progress.position = Position { epochs: 1, steps: 0 };
        change(&mut changed);
        let control = Control { from: Some(&changed), ..Control::default() };
        go(&control, &mut Keep::default()).unwrap_err().to_string()
    };
    assert!(refusal(&|c| c.tensors[0].1 = Numbers::F32(vec![0.0; 3])).contains("values, not"));
    assert!(refusal(&|c| c.tensors.truncate(1)).contains("tensors, not"));
    assert!(refusal(&|c| c.tensors[0].0 = "others".into()).contains("it holds no"));
    assert!(refusal(&|c| c.progress.position.epochs = usize::MAX).contains("does not fit"));
    assert!(refusal(&|c| c.progress.position.steps = steps + 1).contains("does not fit"));
    assert!(refusal(&|c| c.progress.position = Position { epochs: 2, steps: 1 }).contains("does not fit"));
    let other = |command| if command == Command::Search { Command::Train } else { Command::Search };
    assert!(refusal(&|c| c.identity.command = other(c.identity.command)).contains("the checkpoint is of a"));
    assert!(refusal(&|c| c.identity.data ^= 1).contains("other images"));
    assert!(refusal(&|c| c.identity.device = DeviceChoice::Cuda).contains("device is cpu here"));
    assert!(
        refusal(&|c| c.identity.plan = c.identity.plan.replace("cells = 3", "cells = 4"))
            .contains("cells is 3")
    );
}

/// A checkpoint as version 1 of the format held it: f32 throughout, no count of the alpha steps, and no guards.
fn of_version_1(checkpoint: &Checkpoint) -> Checkpoint {
    let mut old = checkpoint.clone();
    old.tensors.retain(|(name, _)| name != "alpha_steps" && name != "guards");
    for (_, numbers) in &mut old.tensors {
        if let Numbers::F64(values) = numbers {
            *numbers = Numbers::F32(values.iter().map(|&value| value as f32).collect());
        }
    }
    old
}

#[test]
fn a_search_goes_on_from_a_checkpoint_of_version_1() {
    let go = |control: &Control, keep: &mut Keep| {
        search::session::run(&small_search(Order::Second), digits(), control, keep).map(interrupted)
    };
    let mut keep = Keep::default();
    let asked = AtomicUsize::new(0);
    // Seven steps and eight batches of the evaluation in each epoch.
    let stop = || asked.fetch_add(1, Ordering::Relaxed) == 7 + 8 + 3;
    let position = go(&Control { interrupted: Some(&stop), ..Control::default() }, &mut keep).unwrap();
    let Some(Position { epochs: 1, steps: 1.. }) = position else { panic!("interrupted at {position:?}") };
    let stored = keep.checkpoint.unwrap();
    let old = of_version_1(&stored);
    // What it means in the present format.
    let mut wide = old.clone();
    for (name, numbers) in &mut wide.tensors {
        if let Numbers::F32(values) = numbers.clone()
            && name.starts_with("alpha")
        {
            *numbers = Numbers::F64(values.into_iter().map(f64::from).collect());
        }
    }
    wide.tensors.push(("alpha_steps".to_owned(), stored.tensor("alpha_steps").unwrap().clone()));
    let ends = [&old, &wide].map(|from| {
        let mut keep = Keep::default();
        assert_eq!(go(&Control { from: Some(from), ..Control::default() }, &mut keep).unwrap(), None);
        keep.checkpoint.unwrap().to_bytes().unwrap()
    });
    assert!(ends[0] == ends[1]);
}

#[test]
fn a_checkpoint_of_a_search_holds_its_alphas() {
    EdgeWeights::ALL.into_iter().for_each(check_alphas_of_a_checkpoint);
}

fn check_alphas_of_a_checkpoint(edge_weights: EdgeWeights) {
    let plan = plan::search::Plan { edge_weights, ..small_search(Order::First) };
    let mut keep = Keep::default();
    let every = Some(std::time::Duration::ZERO);
    let ended = search::session::run(&plan, digits(), &Control { every, ..Control::default() }, &mut keep);
    let Ended::Finished(alphas) = ended.unwrap() else { panic!("nothing interrupts it") };
    let mut checkpoint = keep.checkpoint.unwrap();
    assert_eq!(search::session::alphas_of(&checkpoint).unwrap(), alphas);
    let place = checkpoint.tensors.iter().position(|(name, _)| name == "alphas").unwrap();
    let Numbers::F64(values) = &mut checkpoint.tensors[place].1 else { panic!("in f64") };
    values.pop();
    let count = alphas.len() + alphas.betas.concat().len();
    // Two edges of either cell.
    assert_eq!(count - alphas.len(), edge_weights.betas(4));
    assert_eq!(
        search::session::alphas_of(&checkpoint).unwrap_err().to_string(),
        format!("plan: the checkpoint holds {} alphas, and its plan has {count}", count - 1)
    );
    checkpoint.tensors.remove(place);
    assert!(search::session::alphas_of(&checkpoint).unwrap_err().to_string().contains("holds 0 alphas"));
}

fn digits() -> Dataset {
    "digits".parse::<Source>().unwrap().load(0, &Reading::default(), &()).unwrap()
}

fn small_search(order: Order) -> plan::search::Plan {
    plan::search::Plan {
        order,
        epochs: 2,
        init_channels: 1,
        nodes: 1,
        batch_size: 100,
        threads: 1,
        device: DeviceChoice::Cpu,
        ..Default::default()
    }
}

#[test]
fn a_search_goes_on_from_any_position() {
    for order in Order::ALL {
        let plan = small_search(order);
        check(&|control, keep| search::session::run(&plan, digits(), control, keep).map(interrupted), 7);
    }
}

#[test]
fn each_published_method_goes_on_to_the_byte() {
    for method in darts::method::published::all() {
        let text = format!("[method]\nname = {:?}", method.name);
        let published = plan::search::Plan::from_toml(&text, std::path::Path::new("plan.toml")).unwrap();
        let stages = 1 + transitions(&published.stages).unwrap().len();
        let plan = plan::search::Plan {
            epochs: 2 * stages,
            init_channels: published.partial_channels,
            nodes: 1,
            batch_size: 200,
            threads: 1,
            device: DeviceChoice::Cpu,
            frozen_epochs: published.frozen_epochs.min(1),
            // It takes more epochs; the test below is of guards.
            guard_eigenvalue: "off".into(),
            ..published
        };
        plan.validate().unwrap();
        let go = |control: &Control, keep: &mut Keep| {
            search::session::run(&plan, digits(), control, keep).map(interrupted)
        };
        let mut whole = Keep::default();
        assert_eq!(go(&Control::default(), &mut whole).unwrap(), None);
        let (keep, positions) = interrupts(&go, 3);
        for stage in 0..stages {
            let within = |position: &Position| position.steps > 0 && position.epochs / 2 == stage;
            assert!(positions.iter().any(within), "{}, stage {stage}: {positions:?}", method.name);
        }
        assert_eq!(keep.records, whole.records, "{}", method.name);
        assert!(
            keep.checkpoint.unwrap().to_bytes().unwrap() == whole.checkpoint.unwrap().to_bytes().unwrap(),
            "{}",
            method.name
        );
    }
}

#[test]
fn guards_go_on_with_what_they_know() {
    let plan = plan::search::Plan {
        epochs: 9,
        batch_size: 400,
        guard_ranking: "warn 1".into(),
        guard_eigenvalue: "stop 1.00001".into(),
        ..small_search(Order::First)
    };
    plan.validate().unwrap();
    let go = |control: &Control, keep: &mut Keep| {
        search::session::run(&plan, digits(), control, keep).map(interrupted)
    };
    let mut whole = Keep::default();
    assert_eq!(go(&Control::default(), &mut whole).unwrap(), None);
    assert!(whole.records.iter().any(|record| record.contains("\"guards\"")), "{:?}", whole.records);
    for patience in [2, 3] {
        assert!(same_again(&go, patience, &whole).len() > 2);
    }
}

#[test]
fn a_selection_by_perturbation_goes_on_between_two_choices() {
    let plan = plan::search::Plan {
        batch_size: 300,
        nodes: 2,
        selection: "perturbation".into(),
        selection_interval: 2,
        ..small_search(Order::First)
    };
    plan.validate().unwrap();
    // Two cells of five edges, of whose nodes one has an edge too many: six choices.
    assert_eq!(plan.epochs_in_all().unwrap(), 2 + 5 * 2);
    let go = |control: &Control, keep: &mut Keep| {
        search::session::run(&plan, digits(), control, keep).map(interrupted)
    };
    let mut whole = Keep::default();
    assert_eq!(go(&Control::default(), &mut whole).unwrap(), None);
    let selected: Vec<_> = whole.records.iter().map(|record| record.contains("\"selected\"")).collect();
    // A run that is complete gives what it decided again.
    let control = Control { from: whole.checkpoint.as_ref(), ..Control::default() };
    let Ended::Finished(alphas) =
        search::session::run(&plan, digits(), &control, &mut Keep::default()).unwrap()
    else {
        panic!("it is complete")
    };
    assert!(
        alphas.decided.iter().flatten().all(|decision| *decision != Decision::Open),
        "{:?}",
        alphas.decided
    );
    let chosen = |epoch: usize| epoch >= 2 && epoch.is_multiple_of(2);
    assert_eq!(selected, (1..=12).map(chosen).collect::<Vec<_>>());
    for patience in [2, 5, 9] {
        assert!(same_again(&go, patience, &whole).len() > 2);
    }
}

#[test]
fn a_search_in_stages_goes_on_within_each_and_between_them() {
    let plan = plan::search::Plan {
        epochs: 6,
        batch_size: 300,
        stages: "keep 4 +1, keep 2 +2".into(),
        selection: "perturbation".into(),
        frozen_epochs: 1,
        ..small_search(Order::First)
    };
    plan.validate().unwrap();
    let go = |control: &Control, keep: &mut Keep| {
        search::session::run(&plan, digits(), control, keep).map(interrupted)
    };
    let mut whole = Keep::default();
    assert_eq!(go(&Control::default(), &mut whole).unwrap(), None);
    assert_eq!(whole.records.len(), plan.epochs_in_all().unwrap());
    let entropy = |record: &String| {
        let record: serde_json::Value = serde_json::from_str(record).unwrap();
        record["entropy_normal"].as_f64().unwrap()
    };
    // Eight candidates, then four, then two.
    let most: Vec<f64> = whole.records.iter().map(|record| entropy(record).exp()).collect();
    assert!(most[1] > 7.0 && (3.0..4.1).contains(&most[3]) && (1.0..2.1).contains(&most[4]), "{most:?}");
    for patience in [2, 3, 6] {
        let positions = same_again(&go, patience, &whole);
        let in_stage = |stage: usize| positions.iter().any(|position| position.epochs / 2 == stage);
        assert!(in_stage(0) && in_stage(1) && in_stage(2), "{positions:?}");
    }
    let boundary = AtomicUsize::new(0);
    // Asked before each of two steps and behind each of three batches of the evaluation, and then before the second stage.
    let stop = || boundary.fetch_add(1, Ordering::Relaxed) == 2 * (2 + 3);
    let mut keep = Keep::default();
    let position = go(&Control { interrupted: Some(&stop), ..Control::default() }, &mut keep).unwrap();
    assert_eq!(position, Some(Position { epochs: 2, steps: 0 }));
    let from = keep.checkpoint.take().unwrap();
    assert_eq!(go(&Control { from: Some(&from), ..Control::default() }, &mut keep).unwrap(), None);
    assert_eq!(keep.records, whole.records);
}

#[test]
fn a_training_goes_on_from_any_position() {
    let genotype = published::find("pc-darts").unwrap().genotype;
    let plan = plan::train::Plan {
        epochs: 2,
        init_channels: 1,
        cells: 3,
        drop_path: 0.5,
        batch_size: 200,
        threads: 1,
        device: DeviceChoice::Cpu,
        ..Default::default()
    };
    check(
        &|control, keep| train::session::run(&plan, &genotype, digits(), control, keep).map(interrupted),
        7,
    );
}
