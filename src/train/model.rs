//! The model file: a trained network as safetensors, under the names and in the layouts of PyTorch's `state_dict`, so
//! that `NetworkCIFAR.load_state_dict` takes it; and in its metadata everything that is needed to use it.
//!
//! Version and checksum are those of [`tensor_file`].

use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::backend::Shape;
use crate::data::{Background, Colour, Dataset, Fit, Normalisation, Provenance, Reading};
use crate::files::{read_bounded, write_whole};
use crate::nn::Parameters;
use crate::plan::PlanTable;
use crate::plan::train::Plan;
use crate::space::genotype::Genotype;
use crate::space::stored::Choice;
use crate::space::{Network, NetworkShape};
use crate::tensor_file::{self, Format, Tensor};
use crate::{Error, Result};

/// The kind of file.
const FORMAT: Format =
    Format { key: "darts", version: 1, oldest: 1, what: "a model file", described: "a model" };
/// The most bytes of a model file: 250 million weights.
const MAX_FILE: usize = 1 << 30;
/// The longest side of an image, and the most classes, of a model that is read.
const MOST: usize = 65_536;

/// What a model is and what it was made for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The cells.
    pub genotype: Genotype,
    /// Channels of the first cell's nodes.
    pub init_channels: usize,
    /// Number of cells.
    pub cells: usize,
    /// Whether the weights of an auxiliary head are among the tensors.
    pub auxiliary: bool,
    /// What the classes are called, in the order of the logits.
    pub class_names: Vec<String>,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
    /// The mean of each channel, in units of byte values.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel, in units of byte values.
    pub deviation: Vec<f32>,
    /// What the byte of the brightest pixel is; pictures are scaled to it.
    pub white: u8,
    /// The data set that it was trained on.
    pub data: String,
    /// The seed, which decides which images of an undivided data set were tested on.
    pub seed: u64,
    /// The epoch that it is of, counted from 1.
    pub epoch: usize,
    /// Steps of training.
    pub steps: u64,
    /// The accuracy on the test images, as a fraction.
    pub accuracy: f64,
    /// The pictures that it was made with, where they are files of their own; the first version did not store them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pictures: Option<Provenance>,
    /// What lay under transparent pictures and around padded ones; the first version dropped transparency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
    /// How pictures became squares, where they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
}

impl Description {
    /// The description of a training's model before its first epoch.
    pub fn new(plan: &Plan, genotype: &Genotype, dataset: &Dataset) -> Self {
        Description {
            genotype: genotype.clone(),
            init_channels: plan.init_channels,
            cells: plan.cells,
            auxiliary: plan.auxiliary().is_some(),
            class_names: dataset.class_names.clone(),
            height: dataset.train.height,
            width: dataset.train.width,
            channels: dataset.train.channels,
            mean: dataset.mean.clone(),
            deviation: dataset.deviation.clone(),
            white: dataset.white,
            data: dataset.name.clone(),
            seed: plan.seed,
            epoch: 0,
            steps: 0,
            accuracy: 0.0,
            pictures: dataset.pictures.as_ref().map(|pictures| pictures.manifest.provenance()),
            background: dataset.pictures.as_ref().and_then(|pictures| pictures.reading.background),
            fit: dataset.pictures.as_ref().map(|pictures| pictures.reading.fit),
        }
    }

    /// How byte values become inputs of the network.
    pub fn normalisation(&self) -> Normalisation {
        Normalisation { mean: self.mean.clone(), deviation: self.deviation.clone() }
    }

    /// A byte of an image in which `white` is the brightest, in terms of the images that the network was trained on.
    pub fn scaled(&self, byte: u8, white: u8) -> u8 {
        let (byte, own, white) = (u16::from(byte.min(white)), u16::from(self.white), u16::from(white));
        ((byte * own + white / 2) / white) as u8
    }

    /// How pictures become images of its size, or why they cannot.
    pub fn reading(&self) -> std::result::Result<Reading, String> {
        let colour =
            [Colour::Grey, Colour::Rgb].into_iter().find(|colour| colour.channels() == self.channels);
        match colour {
            Some(colour) if self.height == self.width => {
                let (background, fit) = (self.background, self.fit.unwrap_or_default());
                Ok(Reading {
                    image_size: self.height,
                    colour,
                    strict: true,
                    background,
                    fit,
                    ..Reading::default()
                })
            }
            _ => Err(format!(
                "pictures become squares of 1 or 3 values a pixel, and the model reads {}x{} pixels of {}",
                self.height, self.width, self.channels
            )),
        }
    }

    /// The network for batches of `images`, without drop path and, for inference, without the auxiliary head.
    pub fn shape(&self, images: usize, auxiliary: bool) -> NetworkShape {
        NetworkShape {
            images: Shape::new(images, self.height, self.width, self.channels),
            classes: self.class_names.len(),
            init_channels: self.init_channels,
            cells: self.cells,
            auxiliary: auxiliary.then_some(1.0),
            drop_path: false,
            official_inplace_relu: false,
            class_weights: false,
        }
    }

    /// Refuses sizes and constants that no training can have written.
    fn check(&self) -> std::result::Result<(), String> {
        let plan = Plan {
            init_channels: self.init_channels,
            cells: self.cells,
            data: self.data.clone(),
            space: Choice::of(&self.genotype.space).to_string(),
            ..Plan::default()
        };
        if let Some(violation) = plan.violation().map_err(|error| error.to_string())? {
            return Err(violation.to_string());
        }
        let sizes = [
            ("height", self.height, MOST),
            ("width", self.width, MOST),
            ("channels", self.channels, 64),
            ("number of classes", self.class_names.len(), MOST),
        ];
        if let Some((name, size, most)) =
            sizes.into_iter().find(|(_, size, most)| !(1..=*most).contains(size))
        {
            return Err(format!("the {name} is {size}; expected 1 to {most}"));
        }
        let constants = [&self.mean, &self.deviation];
        let finite = constants
            .iter()
            .all(|values| values.len() == self.channels && values.iter().all(|value| value.is_finite()));
        if !finite || self.deviation.iter().any(|&deviation| deviation <= 0.0) {
            return Err("mean and deviation are not those of its channels".to_owned());
        }
        Ok(())
    }
}

/// A trained network.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it is.
    pub description: Description,
    /// Names, shapes and places of the weights.
    pub parameters: Parameters,
    /// All weights.
    pub weights: Vec<f32>,
    /// All running statistics.
    pub running: Vec<f32>,
}

impl Model {
    /// Writes the file, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = self.to_bytes().map_err(|reason| Error::Format { path: path.into(), reason })?;
        write_whole(path, &bytes)
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_bytes(&read_bounded(path, MAX_FILE)?)
            .map_err(|reason| Error::Format { path: path.into(), reason })
    }

    fn to_bytes(&self) -> std::result::Result<Vec<u8>, String> {
        FORMAT.to_bytes(&self.description, &self.tensors())
    }

    /// Names, types, shapes and bytes of all tensors, as PyTorch has them.
    pub fn tensors(&self) -> Vec<Tensor> {
        let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let mut tensors = Vec::new();
        for parameter in self.parameters.iter() {
            let own = &self.weights[parameter.part.offset..][..parameter.part.len];
            let mut official = vec![0.0; own.len()];
            own.iter().enumerate().for_each(|(i, &value)| official[parameter.layout.official(i)] = value);
            let shape = parameter.layout.official_shape();
            tensors.push(Tensor::new(parameter.name.clone(), Dtype::F32, shape, bytes(&official)));
        }
        for running in self.parameters.running() {
            let own = &self.running[running.part.offset..][..running.part.len];
            for name in &running.names {
                for (half, kind) in own.chunks(running.channels).zip(["running_mean", "running_var"]) {
                    let (name, shape) = (format!("{name}.{kind}"), vec![running.channels]);
                    tensors.push(Tensor::new(name, Dtype::F32, shape, bytes(half)));
                }
                let (name, steps) = (format!("{name}.num_batches_tracked"), self.description.steps);
                tensors.push(Tensor::new(name, Dtype::I64, Vec::new(), steps.to_le_bytes().to_vec()));
            }
        }
        tensors
    }

    fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let (file, description): (_, Description) = FORMAT.read(bytes)?;
        description.check().map_err(|reason| format!("the description of its model is wrong: {reason}"))?;
        let shape = description.shape(1, description.auxiliary);
        let parameters = Network::parameters(&description.genotype, &shape);
        // Before memory is taken for them.
        if 4 * (parameters.len() + parameters.running_len()) > bytes.len() {
            return Err(format!("is shorter than the {} weights of its network", parameters.len()));
        }
        let mut model = Model {
            weights: vec![0.0; parameters.len()],
            running: vec![0.0; parameters.running_len()],
            description,
            parameters,
        };
        model.read(&file)?;
        Ok(model)
    }

    /// Takes the values of all tensors.
    fn read(&mut self, file: &SafeTensors) -> std::result::Result<(), String> {
        for parameter in self.parameters.iter() {
            let official = values(file, &parameter.name, &parameter.layout.official_shape())?;
            let own = &mut self.weights[parameter.part.offset..][..parameter.part.len];
            own.iter_mut().enumerate().for_each(|(i, value)| *value = official[parameter.layout.official(i)]);
        }
        for running in self.parameters.running() {
            let own = &mut self.running[running.part.offset..][..running.part.len];
            for (half, kind) in own.chunks_mut(running.channels).zip(["running_mean", "running_var"]) {
                let name = format!("{}.{kind}", running.names[0]);
                half.copy_from_slice(&values(file, &name, &[running.channels])?);
            }
        }
        let norms: usize = self.parameters.running().map(|running| running.names.len()).sum();
        let expected = self.parameters.iter().count() + 3 * norms;
        if file.len() != expected {
            return Err(format!("holds {} tensors; a network of its genotype has {expected}", file.len()));
        }
        Ok(())
    }

    /// The weights and running statistics of the network without the auxiliary head.
    pub fn inference(&self) -> [Vec<f32>; 2] {
        let weights = self.parameters.iter().filter(|parameter| !parameter.training_only);
        let weights = weights.flat_map(|p| &self.weights[p.part.offset..][..p.part.len]).copied().collect();
        let running = self.parameters.running().filter(|running| !running.training_only);
        [weights, running.flat_map(|r| &self.running[r.part.offset..][..r.part.len]).copied().collect()]
    }
}

/// The values of one tensor, which must have this shape and be numbers.
fn values(file: &SafeTensors, name: &str, shape: &[usize]) -> std::result::Result<Vec<f32>, String> {
    let values = tensor_file::values(file, name, shape)?;
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("tensor {name} holds {value}")),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;
    use crate::data::{Reading, Source};
    use crate::space::published;

    fn model(auxiliary: bool) -> Model {
        let plan = Plan { init_channels: 1, cells: 3, ..Plan::default() };
        let genotype = published::find("darts-v1").unwrap().genotype;
        let mut description = Description::new(
            &plan,
            &genotype,
            &"digits".parse::<Source>().unwrap().load(0, &Reading::default(), &()).unwrap(),
        );
        (description.epoch, description.steps, description.auxiliary) = (3, 132, auxiliary);
        description.accuracy = 0.1 + 0.2;
        let parameters = Network::parameters(&genotype, &description.shape(1, auxiliary));
        let (weights, running) = (parameters.initial(1), parameters.initial_running());
        Model { description, parameters, weights, running }
    }

    fn refusal(bytes: &[u8]) -> String {
        Model::from_bytes(bytes).expect_err("a refusal")
    }

    #[test]
    fn a_model_comes_back_and_its_bytes_are_always_the_same() {
        for auxiliary in [false, true] {
            let model = model(auxiliary);
            let bytes = model.to_bytes().unwrap();
            let read = Model::from_bytes(&bytes).unwrap();
            assert_eq!(read.description, model.description);
            assert!(read.weights == model.weights && read.running == model.running);
            assert_eq!(read.to_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn the_auxiliary_head_is_left_out_of_inference() {
        let (with, without) = (model(true), model(false));
        let [weights, running] = with.inference();
        assert_eq!((weights.len(), running.len()), (without.weights.len(), without.running.len()));
        let classifier = without.weights.len() - 10;
        assert_eq!(weights[classifier..], with.weights[with.weights.len() - 10..]);
        assert_eq!(weights[..100], with.weights[..100]);
    }

    #[test]
    fn tensors_have_the_names_and_layouts_of_pytorch() {
        let model = model(false);
        let bytes = model.to_bytes().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
        assert_eq!(shape("stem.0.weight"), [3, 1, 3, 3]);
        assert_eq!(shape("cells.0._ops.0.op.1.weight"), [1, 1, 3, 3]);
        assert_eq!(shape("cells.1.preprocess0.op.1.weight"), [2, 3, 1, 1]);
        assert_eq!(shape("cells.2.preprocess0.conv_1.weight"), [2, 4, 1, 1]);
        assert_eq!(shape("classifier.weight"), [10, 16]);
        let tracked = file.tensor("stem.1.num_batches_tracked").unwrap();
        assert_eq!((tracked.shape(), tracked.data()), (&[][..], &132i64.to_le_bytes()[..]));
        // Tap (0, 1) of the stem's second channel: [0][1][0][1] here, [1][0][0][1] there.
        let official = values(&file, "stem.0.weight", &[3, 1, 3, 3]).unwrap();
        assert_eq!(official[9 + 1], model.weights[3 + 1]);
    }

    #[test]
    fn a_cut_off_file_is_refused() {
        let bytes = model(false).to_bytes().unwrap();
        for length in [0, 5, 8, 100, 2000, bytes.len() / 2, bytes.len() - 1] {
            let refused = refusal(&bytes[..length]);
            assert!(refused.contains("is not a model file"), "{refused}");
        }
        assert!(refusal(&[&bytes[..], &[0]].concat()).contains("is not a model file"));
    }

    #[test]
    fn no_bit_changes_unnoticed() {
        let bytes = model(false).to_bytes().unwrap();
        let header = bytes.len().min(400);
        for place in (0..header).chain((header..bytes.len()).step_by(61)) {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << (place % 8);
            assert!(Model::from_bytes(&changed).is_err(), "byte {place}");
        }
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(refusal(&changed).starts_with("is damaged: its checksum is "));
    }

    #[test]
    fn another_version_and_another_network_are_refused_with_what_was_expected() {
        let replaced = |from: &str, to: &str| {
            let bytes = model(false).to_bytes().unwrap();
            let place = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            [&bytes[..place], to.as_bytes(), &bytes[place + from.len()..]].concat()
        };
        let refused = refusal(&replaced(r#"\"version\":1"#, r#"\"version\":2"#));
        assert_eq!(refused, "has the format version 2; this program reads 1");
        let wrong = |change: fn(&mut Description)| {
            let mut model = model(false);
            change(&mut model.description);
            refusal(&model.to_bytes().unwrap())
        };
        let refused = wrong(|description| description.channels = 3);
        assert!(refused.contains("mean and deviation"), "{refused}");
        let refused = wrong(|d| (d.channels, d.mean, d.deviation) = (2, vec![0.0; 2], vec![1.0; 2]));
        assert!(refused.contains("tensor stem.0.weight is F32 of the shape [3, 1, 3, 3]"), "{refused}");
        assert!(refused.contains("expected F32 of [3, 2, 3, 3]"), "{refused}");
        assert!(wrong(|description| description.init_channels = 1024).contains("is shorter than the"));
        assert!(wrong(|description| description.cells = 1_000_000).contains("cells is 1000000"));
        assert!(wrong(|description| description.class_names.truncate(9)).contains("classifier.weight"));
        assert!(wrong(|description| description.class_names.clear()).contains("number of classes is 0"));
        let refused = wrong(|description| description.auxiliary = true);
        assert!(refused.contains("is shorter") || refused.contains("no tensor auxiliary_head"), "{refused}");
    }

    #[test]
    fn other_safetensors_and_values_that_are_no_numbers_are_refused() {
        let tensor = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
        let other = safetensors::serialize([("w", tensor)], None).unwrap();
        assert!(refusal(&other).contains("its metadata holds no description"));
        let mut model = model(false);
        model.weights[2] = f32::NAN;
        assert!(refusal(&model.to_bytes().unwrap()).contains("tensor stem.0.weight holds NaN"));
    }
}
