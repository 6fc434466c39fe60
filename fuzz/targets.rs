//! What the fuzzer feeds to each parser of files that a user may have from elsewhere. `tests/fuzz.rs` feeds them with the
//! inputs that the fuzzer kept, so that `cargo test` finds whatever comes back.

use std::fs::write;

use darts::data::{Reading, Source};
use darts::epochs::Checkpoint;
use darts::plan::{self, PlanTable};
use darts::space::alphas::Alphas;
use darts::space::architecture::Architecture;
use darts::space::derivation::derive;
use darts::space::genotype::Genotype;
use darts::space::stored::Choice;
use darts::space::{Space, sampled};
use darts::train::model::Model;
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// The input in two parts, the first as long as its first two bytes say.
fn parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk() else { return (bytes, &[]) };
    rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()))
}

/// Images and labels of MNIST, the same for training and test.
pub fn idx(bytes: &[u8]) {
    let (images, labels) = parts(bytes);
    let directory = directory();
    for part in ["train", "t10k"] {
        write(directory.path().join(format!("{part}-images-idx3-ubyte")), images).expect("images");
        write(directory.path().join(format!("{part}-labels-idx1-ubyte")), labels).expect("labels");
    }
    what_is_read_is_a_data_set("mnist", &directory);
}

fn what_is_read_is_a_data_set(format: &str, directory: &TempDir) {
    let source = format!("{format}:{}", directory.path().display());
    let source: Source = source.parse().expect("a format with a directory");
    if let Ok(dataset) = source.load(0, &Reading::default(), &()) {
        dataset.check().expect("a data set that was read is one");
    }
}

/// Training and test part of CIFAR-10 and of CIFAR-100.
pub fn cifar(bytes: &[u8]) {
    let (train, test) = parts(bytes);
    let directory = directory();
    let files =
        [("data_batch_1.bin", train), ("test_batch.bin", test), ("train.bin", train), ("test.bin", test)];
    files.iter().for_each(|(name, part)| write(directory.path().join(name), part).expect("a part"));
    what_is_read_is_a_data_set("cifar10", &directory);
    what_is_read_is_a_data_set("cifar100", &directory);
}

/// A plan in TOML, of a search and of a training.
pub fn plan(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    written_plan_is_read::<plan::search::Plan>(text);
    written_plan_is_read::<plan::train::Plan>(text);
}

fn written_plan_is_read<P: PlanTable + PartialEq + std::fmt::Debug>(text: &str) {
    let Ok(plan) = P::from_toml(text, "plan.toml".as_ref()) else { return };
    let written = plan.to_toml().expect("a plan that was read can be written");
    assert_eq!(P::from_toml(&written, "plan.toml".as_ref()).expect("a written plan"), plan);
}

/// A genotype in either form.
pub fn genotype(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(genotype) = Genotype::from_text(text, &Space::darts()) else { return };
    let space = &genotype.space;
    assert_eq!(Genotype::from_literal(&genotype.to_string(), space).expect("a written genotype"), genotype);
    assert_eq!(Genotype::from_json(&genotype.to_json()).expect("a written genotype"), genotype);
}

/// A cell of NAS-Bench-201.
pub fn architecture(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(architecture) = text.parse::<Architecture>() else { return };
    assert_eq!(architecture.to_string(), text.trim());
    assert_eq!(Architecture::all().nth(architecture.number()), Some(architecture));
}

/// A space.
pub fn space(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(space) = Space::from_toml(text, "space.toml".as_ref()) else { return };
    let choice: Choice = Choice::of(&space).to_string().parse().expect("a written space");
    assert_eq!(choice.space().expect("a space that was read"), space);
    for wiring in space.wirings(space.nodes()) {
        let ends = wiring.rows().scan(0, |start, row| Some(row.start == std::mem::replace(start, row.end)));
        assert!(ends.into_iter().all(|follows| follows), "rows lie one after another");
    }
    let genotype = sampled::draw(bytes.len() as u64, &space);
    assert_eq!(Genotype::from_json(&genotype.to_json()).expect("a written genotype"), genotype);
    assert_eq!(Genotype::from_literal(&genotype.to_string(), &space).expect("a written genotype"), genotype);
    assert_eq!(derive(&Alphas::zeros(space.clone(), space.nodes())).space, space);
}

/// Alphas of an epoch.
pub fn alphas(bytes: &[u8]) {
    let directory = directory();
    let file = directory.path().join("alphas.safetensors");
    write(&file, bytes).expect("alphas");
    drop(Alphas::load(&file));
}

/// A model, as it is and with its checksum put right, without which hardly an input would come further than that.
pub fn model(bytes: &[u8]) {
    let directory = directory();
    let file = directory.path().join("model.safetensors");
    for bytes in [Some(bytes.to_vec()), with_checksum(bytes)].into_iter().flatten() {
        write(&file, &bytes).expect("a model");
        let Ok(model) = Model::load(&file) else { continue };
        model.save(&file).expect("a model that was read can be written");
        Model::load(&file).expect("a written model");
    }
}

/// A checkpoint, with the checksum as that of a model.
pub fn checkpoint(bytes: &[u8]) {
    for bytes in [Some(bytes.to_vec()), with_checksum(bytes)].into_iter().flatten() {
        let Ok(checkpoint) = Checkpoint::from_bytes(&bytes) else { continue };
        let written = checkpoint.to_bytes().expect("a checkpoint that was read can be written");
        Checkpoint::from_bytes(&written).expect("a written checkpoint");
    }
}

/// The checksum is that of the file with zeros in its place.
fn with_checksum(bytes: &[u8]) -> Option<Vec<u8>> {
    let before = br#"\"checksum\":\""#;
    let place = bytes.windows(before.len()).position(|window| window == before)? + before.len();
    let mut bytes = bytes.to_vec();
    bytes.get_mut(place..place + 8)?.fill(b'0');
    let checksum = format!("{:08x}", crc32c::crc32c(&bytes));
    bytes[place..place + 8].copy_from_slice(checksum.as_bytes());
    Some(bytes)
}
