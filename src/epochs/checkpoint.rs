//! The checkpoint: everything that the next step of a run depends on, as one safetensors file.
//!
//! Random numbers are addressed by seed, stream, epoch and step, and the learning rates follow from the epoch. So weights,
//! running statistics, alphas, the vectors of the optimisers and the position in the data are all that changes from step
//! to step; with them go the sums of the epoch that is under way, so that its metrics come out the same. What must not
//! change, the plan, the genotype, the images and the device, goes with it to be compared.

use std::fmt;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::sum::Sum;
use crate::data::Dataset;
use crate::files::read_bounded;
use crate::plan::keys::Preset;
use crate::plan::{Command, Contradiction, DeviceChoice, PlanTable};
use crate::space::genotype::Genotype;
use crate::tensor_file::{Format, Tensor, doubles, values};
use crate::{Error, Result};

/// Version 1 held the alphas of a search and their moments in f32, and not the count of their steps. Up to version 2 the
/// accuracies of a training stood beside its position.
const FORMAT: Format = Format {
    key: "darts-checkpoint",
    version: 3,
    oldest: 1,
    what: "a checkpoint",
    described: "the state of a run",
};
/// The tensor in which a training has its accuracies on the test images: the best, its epoch, and the last.
pub const ACCURACIES: &str = "accuracies";
/// The most bytes of a checkpoint that is read: those of 500 million weights with their momentum.
const MAX_FILE: usize = u32::MAX as usize;

/// What determines a run: a checkpoint is of no use to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The command.
    #[serde(rename = "kind")]
    pub command: Command,
    /// The plan as TOML, without the number of threads, which changes nothing.
    pub plan: String,
    /// The genotype that is trained.
    pub genotype: Option<Genotype>,
    /// The checksum of the data set.
    pub data: u32,
    /// The device, which was perhaps chosen automatically.
    pub device: DeviceChoice,
}

/// How far a run is: how many epochs are finished, and how many steps of the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Finished epochs.
    pub epochs: usize,
    /// Finished steps beyond them.
    pub steps: usize,
}

/// In words, behind a verb: `after step 22 of epoch 4`.
impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.epochs, self.steps) {
            (0, 0) => write!(formatter, "before the first step"),
            (epochs, 0) => write!(formatter, "after epoch {epochs}"),
            (epochs, steps) => write!(formatter, "after step {steps} of epoch {}", epochs + 1),
        }
    }
}

/// What changes from step to step, but for the tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// How far the run is.
    pub position: Position,
    /// The training batches of the epoch that is under way.
    pub train: Sum,
    /// How long that epoch has taken so far, in seconds; 0 where none is under way.
    pub seconds: f64,
}

/// The state of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Which run it is of.
    pub identity: Identity,
    /// How far that is.
    pub progress: Progress,
    /// Its tensors by name.
    pub tensors: Vec<(String, Numbers)>,
}

/// The numbers of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Those of a device.
    F32(Vec<f32>),
    /// Those of the host.
    F64(Vec<f64>),
}

impl Numbers {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Numbers::F32(values) => values.len(),
            Numbers::F64(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn tensor(&self, name: &str) -> Tensor {
        let (kind, bytes) = match self {
            Numbers::F32(values) => {
                (Dtype::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Numbers::F64(values) => {
                (Dtype::F64, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
        };
        Tensor::new(name, kind, vec![self.len()], bytes)
    }

    fn read(file: &SafeTensors, name: &str) -> std::result::Result<Self, String> {
        let tensor = file.tensor(name).map_err(|error| error.to_string())?;
        match (tensor.dtype(), tensor.shape()) {
            (Dtype::F32, shape @ [_]) => values(file, name, shape).map(Numbers::F32),
            (Dtype::F64, [_]) => Ok(Numbers::F64(doubles(tensor.data()))),
            (kind, shape) => Err(format!(
                "tensor {name} is {kind:?} of the shape {shape:?}; expected a vector of F32 or F64"
            )),
        }
    }
}

#[derive(Serialize)]
struct Description<'a> {
    identity: &'a Identity,
    progress: Progress,
}

/// A description of any version.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyDescription {
    identity: Identity,
    progress: AnyProgress,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyProgress {
    position: Position,
    train: Sum,
    seconds: f64,
    /// Up to version 2.
    outcome: Option<Accuracies>,
}

/// The accuracies of a training on the test images: the best with its epoch, and the last.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accuracies {
    best: (f64, usize),
    last: f64,
}

impl Identity {
    /// What determines a run with this plan on these images.
    pub fn new<P: PlanTable>(plan: &P, genotype: Option<&Genotype>, data: &Dataset) -> Result<Self> {
        let mut table = plan.to_table()?;
        table.remove("threads");
        Ok(Identity {
            command: P::COMMAND,
            plan: table.to_string(),
            genotype: genotype.cloned(),
            data: data.checksum(),
            device: plan.resolve_device()?,
        })
    }

    /// The plan. Keys that a later version added have the values of the small one.
    ///
    /// # Errors
    /// The run is of the other command, or of a version whose plans hold other keys.
    pub fn plan<P: PlanTable>(&self) -> Result<P> {
        let begun: toml::Table =
            self.plan.parse().map_err(|error: toml::de::Error| Error::Plan(error.to_string()))?;
        let mut values = P::keys().preset(Preset::Small);
        values.extend(begun);
        let plan = P::from_table(values)?;
        plan.validate()?;
        Ok(plan)
    }

    /// The first key whose value in a plan is another than here.
    pub fn contradiction<P: PlanTable>(&self, plan: &P) -> Result<Option<Contradiction>> {
        let begun = self.plan.parse().map_err(|error: toml::de::Error| Error::Plan(error.to_string()))?;
        Ok(P::keys().contradiction(&plan.to_table()?, &begun))
    }

    /// Refuses to go on as `self` from a checkpoint of another run; names what differs.
    pub fn check(&self, saved: &Identity, plan: &impl PlanTable) -> Result<()> {
        if self.command != saved.command {
            let (found, expected) = (saved.command.run(), self.command.run());
            return Err(Error::Plan(format!("the checkpoint is of {found}, not of {expected}")));
        }
        if let Some(Contradiction { key, given, begun }) = saved.contradiction(plan)? {
            return Err(Error::Plan(format!("{key} is {given}, and the checkpoint was saved with {begun}")));
        }
        if self.genotype != saved.genotype {
            return Err(Error::Genotype("it is another than the one of the checkpoint".into()));
        }
        if self.data != saved.data {
            let reason = "these are other images than those that the run was begun with".to_owned();
            return Err(Error::Data { path: plan.data().into(), reason });
        }
        if self.device != saved.device {
            let (here, there) = (self.device, saved.device);
            return Err(Error::Device(format!(
                "device is {here} here, and the checkpoint was saved on {there}, whose results differ in their last bits"
            )));
        }
        Ok(())
    }
}

impl Checkpoint {
    /// The bytes of the file: the same for the same state.
    pub fn to_bytes(&self) -> std::result::Result<Vec<u8>, String> {
        let tensor = |(name, numbers): &(String, Numbers)| numbers.tensor(name);
        let description = Description { identity: &self.identity, progress: self.progress };
        FORMAT.to_bytes(&description, &self.tensors.iter().map(tensor).collect::<Vec<_>>())
    }

    /// Reads the bytes of a file, whatever they are.
    ///
    /// # Errors
    /// Bytes that are no checkpoint, are of another version, or have changed since they were written.
    pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let (file, AnyDescription { identity, progress }) = FORMAT.read(bytes)?;
        let AnyProgress { position, train, seconds, outcome } = progress;
        let read = |name: &str| Numbers::read(&file, name).map(|numbers| (name.to_owned(), numbers));
        let mut tensors = file.names().into_iter().map(read).collect::<std::result::Result<Vec<_>, _>>()?;
        if let (Command::Train, Some(Accuracies { best, last })) = (identity.command, outcome) {
            let accuracies = Numbers::F64(vec![best.0, best.1 as f64, last]);
            tensors.push((ACCURACIES.to_owned(), accuracies));
        }
        tensors.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Checkpoint { identity, progress: Progress { position, train, seconds }, tensors })
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_bytes(&read_bounded(path, MAX_FILE)?)
            .map_err(|reason| Error::Format { path: path.into(), reason })
    }

    /// The numbers of a tensor.
    pub fn tensor(&self, name: &str) -> Option<&Numbers> {
        self.tensors.iter().find(|(own, _)| own == name).map(|(_, numbers)| numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epochs::BatchResult;

    fn checkpoint() -> Checkpoint {
        let plan = "data = \"digits\"\nepochs = 15\n".to_owned();
        let genotype = crate::space::published::find("darts-v2").unwrap().genotype;
        let mut train = Sum::default();
        // Sums that no short decimal number is.
        [0.1, 1.0 / 3.0, 2e-17].iter().for_each(|&loss| {
            train.add(BatchResult { loss, top1: 3.0, top5: 5.0 }, 7);
        });
        Checkpoint {
            identity: Identity {
                command: Command::Train,
                plan,
                genotype: Some(genotype),
                data: 0xdead_beef,
                device: DeviceChoice::Cpu,
            },
            progress: Progress { position: Position { epochs: 3, steps: 120 }, train, seconds: 0.1 + 0.2 },
            tensors: vec![
                (ACCURACIES.into(), Numbers::F64(vec![359.0 / 360.0, 2.0, 1.0 / 7.0])),
                ("alphas".into(), Numbers::F64(vec![f64::MIN_POSITIVE / 2.0, -0.0, 0.1])),
                ("momentum".into(), Numbers::F32(vec![f32::MIN_POSITIVE / 2.0, -0.0, f32::INFINITY])),
                ("weights".into(), Numbers::F32(vec![0.1; 100])),
            ],
        }
    }

    #[test]
    fn a_checkpoint_comes_back_to_the_last_bit() {
        let (checkpoint, bytes) = (checkpoint(), checkpoint().to_bytes().unwrap());
        let read = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(read, checkpoint);
        let Some(Numbers::F32(momentum)) = read.tensor("momentum") else { panic!("of f32") };
        assert_eq!(momentum[1].to_bits(), (-0f32).to_bits());
        assert!(read.to_bytes().unwrap() == bytes);
    }

    #[test]
    fn earlier_versions_are_read_and_later_ones_are_not() {
        let checkpoint = checkpoint();
        let bytes = |version, tensors: &[(String, Numbers)]| {
            let mut progress = serde_json::to_value(checkpoint.progress).unwrap();
            progress["outcome"] = serde_json::json!({ "best": [359.0 / 360.0, 2], "last": 1.0 / 7.0 });
            let description = serde_json::json!({ "identity": checkpoint.identity, "progress": progress });
            let tensors: Vec<_> = tensors.iter().map(|(name, numbers)| numbers.tensor(name)).collect();
            Format { version, ..FORMAT }.to_bytes(&description, &tensors).unwrap()
        };
        for version in [1, 2] {
            let read = Checkpoint::from_bytes(&bytes(version, &checkpoint.tensors[1..])).unwrap();
            assert_eq!(read, checkpoint, "version {version}");
        }
        let refusal = Checkpoint::from_bytes(&bytes(4, &checkpoint.tensors)).unwrap_err();
        assert_eq!(refusal, "has the format version 4; this program reads 1 to 3");
    }

    #[test]
    fn no_bit_changes_unnoticed_and_nothing_may_be_missing() {
        let bytes = checkpoint().to_bytes().unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            assert!(Checkpoint::from_bytes(&changed).is_err(), "byte {place}");
            assert!(Checkpoint::from_bytes(&bytes[..place]).is_err(), "{place} bytes");
        }
    }

    #[test]
    fn files_of_other_kinds_are_refused() {
        let refusal = |description: &serde_json::Value, tensor: Tensor| {
            Checkpoint::from_bytes(&FORMAT.to_bytes(description, &[tensor]).unwrap()).unwrap_err()
        };
        let (vector, good) = (|shape| Tensor::new("x", Dtype::F32, shape, vec![0; 16]), checkpoint());
        let mut description = serde_json::json!({ "identity": good.identity, "progress": good.progress });
        assert!(refusal(&description, vector(vec![2, 2])).contains("expected a vector"));
        let halves = Tensor::new("x", Dtype::F16, vec![8], vec![0; 16]);
        assert!(refusal(&description, halves).contains("expected a vector of F32 or F64"));
        description["more"] = 1.into();
        assert!(refusal(&description, vector(vec![4])).contains("unknown field `more`"));
        assert!(refusal(&serde_json::json!({}), vector(vec![4])).contains("malformed"));
        let model = Format { key: "darts", ..FORMAT }.to_bytes(&serde_json::json!({}), &[]).unwrap();
        assert!(Checkpoint::from_bytes(&model).unwrap_err().contains("no description of the state of a run"));
    }
}
