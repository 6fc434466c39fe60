//! The derived network as an ONNX model: from images with values from 0 to 1 to probabilities.
//!
//! Batch norm is folded into the convolution before it, the normalisation of the images stands at the start of the
//! graph, and the metadata holds the names of the classes. Values have the official names of the modules that make
//! them; weights lie as in PyTorch, which are the layouts of ONNX.

use prost::Message;

use super::graph::{Builder, batch, number, numbers};
use super::protobuf::{self, Attribute, Entry, Graph, OperatorSet};
use crate::Error;
use crate::autograd;
use crate::backend::{BATCH_NORM_EPSILON, ConvolutionWindow, PoolKind};
use crate::nn::graph as network;
use crate::nn::parameters::NormParts;
use crate::nn::{
    ClassifierBlock, ConvolutionBlock, Incoming, NormBlock, Part, PointwiseBlock, PoolsBlock, SeparableBlock,
};
use crate::space::Network;
use crate::train::Model;

/// The version of the operators.
pub const OPERATORS: i64 = 17;
/// The version of the format that came with these operators (ONNX 1.12).
const FORMAT: i64 = 8;
/// The most bytes that a protocol buffer may have.
const MOST_BYTES: usize = i32::MAX as usize;

/// The name of the input: images `[n][c][h][w]` of f32 from 0 (black) to 1 (white), as torchvision's `ToTensor` gives.
pub const IMAGES: &str = "images";
/// The name of the first output, `[n][classes]`.
pub const PROBABILITIES: &str = "probabilities";
/// The name of the second output, `[n][classes]`.
pub const LOGITS: &str = "logits";

/// The bytes of the ONNX file.
///
/// # Errors
/// More weights than the format can hold.
pub fn bytes(model: &Model) -> Result<Vec<u8>, String> {
    let model = encoded(model)?;
    match model.encoded_len() {
        0..=MOST_BYTES => Ok(model.encode_to_vec()),
        length => Err(format!("cannot be exported: {length} bytes are more than an ONNX file can hold")),
    }
}

fn encoded(model: &Model) -> Result<protobuf::Model, String> {
    let own = &model.description;
    let class_names = serde_json::Value::from(own.class_names.clone()).to_string();
    let mut metadata = vec![
        ("class_names", class_names),
        ("genotype", own.genotype.to_string()),
        ("image_size", format!("{}x{}", own.height, own.width)),
        ("data", own.data.clone()),
        ("epoch", own.epoch.to_string()),
        ("darts_version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    metadata.extend(own.background.map(|background| ("background", background.to_string())));
    metadata.extend(own.fit.map(|fit| ("fit", fit.to_string())));
    let entry = |(key, value): (&str, String)| Entry { key: key.to_owned(), value };
    Ok(protobuf::Model {
        ir_version: FORMAT,
        producer_name: "darts".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph(model)?),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPERATORS }],
        metadata_props: metadata.into_iter().map(entry).collect(),
    })
}

/// How a convolution or a pool goes over its input: numbers of rows, then of columns.
#[derive(Clone, Copy)]
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: usize,
    /// Zeros before and behind the image.
    padding: [[usize; 2]; 2],
}

impl Window {
    /// A window that keeps the resolution where the stride is 1.
    fn centred(kernel: usize, stride: usize, dilation: usize) -> Self {
        let padding = [[dilation * (kernel - 1) / 2; 2]; 2];
        Window { kernel: [kernel; 2], stride: [stride; 2], dilation, padding }
    }

    fn pixel() -> Self {
        Window::centred(1, 1, 1)
    }

    fn attributes(self) -> Vec<Attribute> {
        let mut attributes = vec![
            numbers("kernel_shape", &self.kernel),
            numbers("strides", &self.stride),
            numbers("pads", self.padding.as_flattened()),
        ];
        if self.dilation > 1 {
            attributes.push(numbers("dilations", &[self.dilation; 2]));
        }
        attributes
    }
}

impl From<ConvolutionWindow> for Window {
    fn from(ConvolutionWindow { kernel, stride, padding }: ConvolutionWindow) -> Self {
        Window { kernel, stride, dilation: 1, padding: [padding; 2] }
    }
}

impl From<autograd::Window> for Window {
    fn from(autograd::Window { kernel, stride, padding }: autograd::Window) -> Self {
        ConvolutionWindow::square(kernel, stride, padding).into()
    }
}

/// Weights of a convolution as PyTorch has them, `[outputs][inputs of a group][kernel][kernel]`.
struct Kernel {
    shape: [usize; 4],
    values: Vec<f32>,
}

/// A model on its way into a graph.
struct Exporter<'a> {
    model: &'a Model,
    builder: Builder,
}

/// The whole network, without the auxiliary head.
///
/// # Errors
/// A network that a model file cannot hold.
fn graph(model: &Model) -> Result<Graph, String> {
    let own = &model.description;
    // With the auxiliary head, if the model has one, every weight has the place that it has in the model.
    let shape = own.shape(1, own.auxiliary);
    let (stack, _) = Network::declare(&own.genotype, &shape);
    let mut exporter = Exporter { model, builder: Builder::default() };
    let images = exporter.normalised();
    let emitted = stack
        .emit(&mut exporter, &images)
        .and_then(|found| stack.classify(&mut exporter, found.layers.last().map_or(&[][..], Vec::as_slice)));
    emitted.map_err(|error| error.to_string())?;
    let classes = own.class_names.len();
    Ok(exporter.builder.finish(
        batch(IMAGES, &[own.channels, own.height, own.width]),
        vec![batch(PROBABILITIES, &[classes]), batch(LOGITS, &[classes])],
    ))
}

impl Exporter<'_> {
    /// Values from 0 to 1 as inputs of the network. Not folded into the stem, whose padding is zero behind it.
    fn normalised(&mut self) -> String {
        let own = &self.model.description;
        let white = self.builder.constant("input.white", &[], &[f32::from(own.white)]);
        let mean = self.builder.constant("input.mean", &[own.channels, 1, 1], &own.mean);
        let deviation = self.builder.constant("input.deviation", &[own.channels, 1, 1], &own.deviation);
        let mut value = self.builder.node("input.scaled", "Mul", &[IMAGES, &white], &[]);
        if own.white < u8::MAX {
            // Brightness comes in so many steps, as in the images that the model was trained on.
            value = self.builder.node("input.steps", "Round", &[&value], &[]);
        }
        let value = self.builder.node("input.centred", "Sub", &[&value, &mean], &[]);
        self.builder.node("input.normalised", "Div", &[&value, &deviation], &[])
    }

    /// ReLU and 1x1 convolution with batch norm.
    fn relu_conv_bn(&mut self, input: &str, block: &PointwiseBlock) -> String {
        let [relu, convolution] = [0, 1].map(|member| format!("{}.op.{member}", block.name));
        let value = self.builder.node(&relu, "Relu", &[input], &[]);
        let kernel = self.kernel(block.matrices[0]);
        self.folded(&value, &convolution, kernel, block.norm, Window::pixel())
    }

    /// FactorizedReduce: behind a ReLU two 1x1 convolutions of stride 2, one of which begins at pixel (1, 1). Together
    /// they are one convolution of 2x2 taps: the first channels have weights at the tap (0, 0), the others at (1, 1).
    /// Behind an odd side that tap reads a zero.
    fn factorized_reduce(&mut self, input: &str, block: &PointwiseBlock) -> String {
        let halves: Vec<Kernel> = block.matrices.iter().map(|&part| self.kernel(part)).collect();
        let [outputs, inputs] = [block.channels, halves[0].shape[1]];
        let taps = halves.iter().zip([0, 3]).flat_map(|(half, tap)| {
            half.values
                .iter()
                .flat_map(move |&weight| (0..4).map(move |i| if i == tap { weight } else { 0.0 }))
        });
        let kernel = Kernel { shape: [outputs, inputs, 2, 2], values: taps.collect() };
        let name = &block.name;
        let value = self.builder.node(&format!("{name}.relu"), "Relu", &[input], &[]);
        let window = Window { kernel: [2; 2], stride: [2; 2], dilation: 1, padding: [[0; 2], [1; 2]] };
        self.folded(&value, &format!("{name}.conv"), kernel, block.norm, window)
    }

    /// A convolution without bias whose result is normalised: `gamma * (w x - mean) / sqrt(variance + epsilon) + beta`
    /// is a convolution with other weights and a bias.
    fn folded(
        &mut self,
        input: &str,
        name: &str,
        mut kernel: Kernel,
        norm: NormParts,
        window: Window,
    ) -> String {
        let coefficients = self.coefficients(norm);
        let row = kernel.values.len() / coefficients.len();
        for (weights, (factor, _)) in kernel.values.chunks_exact_mut(row).zip(&coefficients) {
            weights.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * factor) as f32);
        }
        let bias: Vec<f32> = coefficients.iter().map(|(_, offset)| *offset as f32).collect();
        self.convolution(input, name, (kernel, 1), Some(&bias), window)
    }

    /// What a batch norm in use does to each channel: a factor and an offset.
    fn coefficients(&self, norm: NormParts) -> Vec<(f64, f64)> {
        let statistics = &self.model.running[norm.running.offset..][..norm.running.len];
        let channels = statistics.len() / 2;
        let (mean, variance) = statistics.split_at(channels);
        let (gamma, beta) = norm.affine.expect("the norms of a derived network have a factor and an offset");
        let [gamma, beta] = [gamma, beta].map(|part| self.values(part).1);
        let of_channel = |channel: usize| {
            let [gamma, beta, mean, variance] =
                [gamma[channel], beta[channel], mean[channel], variance[channel]].map(f64::from);
            let factor = gamma / (variance + BATCH_NORM_EPSILON).sqrt();
            (factor, beta - mean * factor)
        };
        (0..channels).map(of_channel).collect()
    }

    /// A convolution of so many groups of channels.
    fn convolution(
        &mut self,
        input: &str,
        name: &str,
        (kernel, groups): (Kernel, usize),
        bias: Option<&[f32]>,
        window: Window,
    ) -> String {
        let weight = self.builder.constant(&format!("{name}.weight"), &kernel.shape, &kernel.values);
        let bias = bias.map(|bias| self.builder.constant(&format!("{name}.bias"), &[bias.len()], bias));
        let operands: Vec<&str> = [input, &weight].into_iter().chain(bias.as_deref()).collect();
        let mut attributes = window.attributes();
        if groups > 1 {
            attributes.push(number("group", groups));
        }
        self.builder.node(name, "Conv", &operands, &attributes)
    }

    fn kernel(&self, weights: Part) -> Kernel {
        let (shape, values) = self.values(weights);
        Kernel { shape: shape.try_into().expect("weights of a convolution have four sides"), values }
    }

    /// Shape and values of a parameter, in PyTorch's layout.
    fn values(&self, part: Part) -> (Vec<usize>, Vec<f32>) {
        let parameter = self.model.parameters.at(part);
        let own = &self.model.weights[parameter.part.offset..][..parameter.part.len];
        let mut values = vec![0.0; own.len()];
        own.iter().enumerate().for_each(|(i, &value)| values[parameter.layout.official(i)] = value);
        (parameter.layout.official_shape(), values)
    }

    /// A value's channels, concatenated where there are several values.
    fn concatenated(&mut self, name: &str, values: &[String]) -> String {
        match values {
            [only] => only.clone(),
            values => {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                self.builder.node(name, "Concat", &values, &[number("axis", 1)])
            }
        }
    }
}

impl network::Graph for Exporter<'_> {
    type Value = String;

    fn convolution(&mut self, input: &String, block: &ConvolutionBlock) -> crate::Result<String> {
        let (name, window, kernel) =
            (&block.names.convolution, block.window.into(), self.kernel(block.weights));
        let input = match &block.names.relu {
            Some(relu) => self.builder.node(relu, "Relu", &[input], &[]),
            None => input.clone(),
        };
        Ok(match block.norm {
            Some(norm) => self.folded(&input, name, kernel, norm, window),
            None => self.convolution(&input, name, (kernel, 1), None, window),
        })
    }

    fn pointwise(&mut self, inputs: &[String], block: &PointwiseBlock) -> crate::Result<String> {
        let input = self.concatenated(&format!("{}.input", block.name), inputs);
        Ok(match block.stride() {
            1 => self.relu_conv_bn(&input, block),
            _ => self.factorized_reduce(&input, block),
        })
    }

    fn separable(
        &mut self,
        sources: &[(String, Vec<&SeparableBlock>)],
        stride: usize,
    ) -> crate::Result<Vec<String>> {
        let mut results = Vec::new();
        for (input, blocks) in sources {
            for block in blocks {
                let value = self.builder.node(&block.member(0), "Relu", &[input], &[]);
                let (kernel, window) =
                    (self.kernel(block.depthwise), Window::centred(block.kernel, stride, block.dilation));
                let groups = kernel.shape[0];
                let value = self.convolution(&value, &block.member(1), (kernel, groups), None, window);
                let kernel = self.kernel(block.pointwise);
                results.push(self.folded(&value, &block.member(2), kernel, block.norm, Window::pixel()));
            }
        }
        Ok(results)
    }

    fn pool(
        &mut self,
        name: &str,
        input: &String,
        kind: PoolKind,
        window: autograd::Window,
    ) -> crate::Result<String> {
        let mut attributes = Window::from(window).attributes();
        let operator = match kind {
            PoolKind::Maximum => "MaxPool",
            PoolKind::Average => {
                attributes.push(number("count_include_pad", 0));
                "AveragePool"
            }
        };
        Ok(self.builder.node(name, operator, &[input], &attributes))
    }

    fn normalised_pools(&mut self, _: &String, _: &PoolsBlock, _: usize) -> crate::Result<[String; 2]> {
        of_a_supernet("pools with a batch norm")
    }

    fn channel_slice(&mut self, _: &String, _: usize) -> crate::Result<String> {
        of_a_supernet("partial channel connections")
    }

    fn node(&mut self, name: &str, edges: &[Incoming<String>]) -> crate::Result<String> {
        let branches = edges.iter().flat_map(|edge| &edge.branches);
        let values: Vec<&str> = branches.map(|branch| branch.value.as_str()).collect();
        Ok(match values[..] {
            [only] => only.to_owned(),
            [_, _] => self.builder.node(name, "Add", &values, &[]),
            _ => self.builder.node(name, "Sum", &values, &[]),
        })
    }

    fn sum(&mut self, name: &str, values: &[String]) -> crate::Result<String> {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        Ok(self.builder.node(name, "Sum", &values, &[]))
    }

    fn zeros(&mut self, name: &str, alike: &String) -> crate::Result<String> {
        let zero = self.builder.constant(&format!("{name}.zero"), &[], &[0.0]);
        Ok(self.builder.node(name, "Mul", &[alike, &zero], &[]))
    }

    fn normalise(&mut self, input: &String, block: &NormBlock) -> crate::Result<String> {
        let [norm, relu] = &block.names;
        let (factors, offsets): (Vec<_>, Vec<_>) = self
            .coefficients(block.norm)
            .into_iter()
            .map(|(factor, offset)| (factor as f32, offset as f32))
            .unzip();
        let shape = [block.channels, 1, 1];
        let factors = self.builder.constant(&format!("{norm}.factor"), &shape, &factors);
        let offsets = self.builder.constant(&format!("{norm}.offset"), &shape, &offsets);
        let scaled = self.builder.node(&format!("{norm}.scaled"), "Mul", &[input, &factors], &[]);
        let normalised = self.builder.node(norm, "Add", &[&scaled, &offsets], &[]);
        Ok(self.builder.node(relu, "Relu", &[&normalised], &[]))
    }

    fn output(&mut self, name: &str, nodes: Vec<String>) -> Vec<String> {
        vec![self.concatenated(name, &nodes)]
    }

    /// The average of each channel, the linear layer and the softmax.
    fn classifier(&mut self, features: &[String], block: &ClassifierBlock) -> crate::Result<String> {
        let features = self.concatenated("cells", features);
        let pooled = self.builder.node("global_pooling", "GlobalAveragePool", &[&features], &[]);
        let pooled = self.builder.node("features", "Flatten", &[&pooled], &[number("axis", 1)]);
        let [weight, bias] = [block.weights, block.bias].map(|part| {
            let (shape, values) = self.values(part);
            let name = self.model.parameters.at(part).name.clone();
            self.builder.constant(&name, &shape, &values)
        });
        let logits = self.builder.node(LOGITS, "Gemm", &[&pooled, &weight, &bias], &[number("transB", 1)]);
        self.builder.node(PROBABILITIES, "Softmax", &[&logits], &[number("axis", 1)]);
        Ok(logits)
    }
}

/// What a derived network has not.
fn of_a_supernet<T>(what: &str) -> crate::Result<T> {
    let reason = format!("{what} are those of a supernet, which is not exported");
    Err(Error::Shape { operator: "ONNX model", reason })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::data::{Reading, Source};
    use crate::plan::train::Plan;
    use crate::space::genotype::Genotype;
    use crate::space::published;
    use crate::train::model::Description;

    fn model(genotype: &Genotype, auxiliary: bool) -> Model {
        let plan = Plan { init_channels: 2, cells: 5, ..Plan::default() };
        let dataset = "digits".parse::<Source>().unwrap().load(0, &Reading::default(), &()).unwrap();
        let description = Description { auxiliary, ..Description::new(&plan, genotype, &dataset) };
        let parameters = Network::parameters(genotype, &description.shape(1, auxiliary));
        let (weights, running) = (parameters.initial(1), parameters.initial_running());
        Model { description, parameters, weights, running }
    }

    fn decoded(model: &Model) -> protobuf::Model {
        protobuf::Model::decode(&bytes(model).unwrap()[..]).unwrap()
    }

    fn operators<'a>(graph: &'a Graph, operator: &str) -> Vec<&'a protobuf::Node> {
        graph.node.iter().filter(|node| node.op_type == operator).collect()
    }

    /// All names are made once, before they are read, and read.
    fn check_order(graph: &Graph) {
        let mut known: HashSet<&str> = HashSet::from([graph.input[0].name.as_str()]);
        for constant in &graph.initializer {
            assert!(known.insert(&constant.name), "{} is there twice", constant.name);
            let elements: i64 = constant.dims.iter().product();
            assert_eq!(constant.raw_data.len() as i64, 4 * elements, "{}", constant.name);
        }
        let mut read: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
        for node in &graph.node {
            for input in &node.input {
                assert!(known.contains(input.as_str()), "{} reads {input} before it is there", node.name);
                read.insert(input);
            }
            assert!(node.output.iter().all(|output| known.insert(output)), "{} is there twice", node.name);
        }
        assert_eq!(known, read, "what is made is read, and the other way round");
    }

    #[test]
    fn every_published_network_is_a_graph_in_order_without_batch_norm() {
        for published in published::all().unwrap() {
            let found = decoded(&model(&published.genotype, false));
            assert_eq!(found.opset_import, [OperatorSet { domain: String::new(), version: OPERATORS }]);
            let graph = found.graph.unwrap();
            check_order(&graph);
            assert!(operators(&graph, "BatchNormalization").is_empty(), "{}", published.name);
            // Of two convolutions in a row one has a bias: a batch norm stood behind it.
            let biased = operators(&graph, "Conv").iter().filter(|node| node.input.len() == 3).count();
            let depthwise = operators(&graph, "Conv").len() - biased;
            assert!(biased > depthwise && depthwise > 0, "{}", published.name);
        }
    }

    #[test]
    fn batch_norm_becomes_part_of_the_convolution_before_it() {
        let mut model = model(&published::find("darts-v2").unwrap().genotype, false);
        let set = |values: &mut [f32], value: f32| values[1] = value;
        let part = |name: &str| model.parameters.iter().find(|p| p.name == name).unwrap().part;
        let (weight, bias) = (part("stem.1.weight"), part("stem.1.bias"));
        set(&mut model.weights[weight.offset..], 3.0);
        set(&mut model.weights[bias.offset..], 0.5);
        let running = model.parameters.running().find(|norm| norm.names[0] == "stem.1").unwrap();
        let (offset, channels) = (running.part.offset, running.channels);
        set(&mut model.running[offset..], -2.0);
        set(&mut model.running[offset + channels..], 4.0);
        let graph = decoded(&model).graph.unwrap();
        let constant = |name: &str| -> Vec<f32> {
            let found = graph.initializer.iter().find(|constant| constant.name == name).unwrap();
            found.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
        };
        let factor = 3.0 / (4.0f64 + BATCH_NORM_EPSILON).sqrt();
        let stem = constant("stem.0.weight");
        // Tap (0, 0) of the second channel: the second weight here, the tenth in PyTorch's layout.
        assert_eq!(stem[9], (f64::from(model.weights[1]) * factor) as f32);
        assert_eq!(constant("stem.0.bias")[1], (0.5 + 2.0 * factor) as f32);
        assert!((constant("stem.0.bias")[0]).abs() == 0.0);
    }

    #[test]
    fn the_metadata_names_the_classes_and_the_auxiliary_head_is_left_out() {
        let genotype = published::find("darts-v1").unwrap().genotype;
        let found = decoded(&model(&genotype, true));
        let entry =
            |key: &str| found.metadata_props.iter().find(|entry| entry.key == key).unwrap().value.as_str();
        let names: Vec<String> = serde_json::from_str(entry("class_names")).unwrap();
        assert_eq!(names[..3], ["0", "1", "2"]);
        assert_eq!(
            (entry("genotype").parse::<Genotype>().unwrap(), entry("image_size")),
            (genotype.clone(), "8x8")
        );
        assert_eq!((found.ir_version, found.producer_name.as_str()), (FORMAT, "darts"));
        assert_eq!(found.producer_version, env!("CARGO_PKG_VERSION"));
        let graph = found.graph.unwrap();
        assert!(graph.initializer.iter().all(|constant| !constant.name.starts_with("auxiliary_head")));
    }

    #[test]
    fn edges_share_the_relu_and_the_pools_of_a_state() {
        let pool = "('max_pool_3x3', 0), ('avg_pool_3x3', 1)";
        let cell = format!("[{pool}, {pool}, ('sep_conv_3x3', 0), ('dil_conv_3x3', 1)]");
        let text =
            format!("Genotype(normal={cell}, normal_concat=[3, 4], reduce={cell}, reduce_concat=[2, 3, 4])");
        let model = model(&text.parse().unwrap(), false);
        let graph = decoded(&model).graph.unwrap();
        check_order(&graph);
        // Node 2 of the normal cells equals node 3 and is made once; five cells have one pool of a kind each.
        assert_eq!((operators(&graph, "MaxPool").len(), operators(&graph, "AveragePool").len()), (5, 5));
        assert_eq!(operators(&graph, "Add").len(), 2 * 5);
        // The two states of a cell, the inner one of sep_conv, and the output of the stem and of each cell but the last.
        assert_eq!(operators(&graph, "Relu").len(), 3 * 5 + 1 + 4);
    }
}
