//! `darts export`: what onnxruntime makes of exported models, the names of the `state_dict`, and what is refused.

#[path = "common/command.rs"]
mod command;
#[path = "common/digits.rs"]
mod digits;
#[path = "common/onnxruntime.rs"]
mod onnxruntime;

use std::fs;
use std::path::Path;

use command::{printed, refused};
use darts::data::{Reading, Source};
use darts::export::Format;
use darts::nn::Parameters;
use darts::plan::DeviceChoice;
use darts::plan::train::Plan;
use darts::random::{Stream, generator};
use darts::space::genotype::{CellGenotype, ChosenEdge, Genotype};
use darts::space::operation::OPERATIONS;
use darts::space::{Network, Space, published};
use darts::train::Model;
use darts::train::classifier::{open, probabilities};
use darts::train::model::Description;
use image::{Rgb, RgbImage};
use onnxruntime::OnnxRuntime;
use rand::RngExt;
use safetensors::SafeTensors;

/// The largest difference of two probabilities.
const TOLERANCE: f64 = 1e-4;

/// Every operation in both cells, in the reduction cell each at stride 2; a pool and a ReLU that edges share; a node
/// that nothing reads, and one that only another node reads.
const EVERY_OPERATION: &str = "Genotype(
    normal=[('sep_conv_3x3', 0), ('dil_conv_5x5', 1), ('avg_pool_3x3', 1), ('skip_connect', 2),
            ('max_pool_3x3', 0), ('sep_conv_5x5', 2), ('dil_conv_3x3', 3), ('sep_conv_7x7', 1)],
    normal_concat=[3, 5],
    reduce=[('max_pool_3x3', 0), ('skip_connect', 1), ('avg_pool_3x3', 1), ('dil_conv_3x3', 0),
            ('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('dil_conv_5x5', 1), ('sep_conv_7x7', 0),
            ('max_pool_3x3', 0), ('skip_connect', 0)],
    reduce_concat=range(2, 7))";

/// A network that was never trained: every weight and every statistic is random and far from where a training begins.
fn random_model(description: Description, seed: u64) -> Model {
    let parameters = Network::parameters(&description.genotype, &description.shape(1, false));
    let mut random = generator(seed, Stream::Weights, 0);
    let (mut weights, mut running) = (parameters.initial(seed), parameters.initial_running());
    for parameter in parameters.iter().filter(|parameter| is_norm(&parameters, &parameter.name)) {
        let range = if parameter.name.ends_with("weight") { 0.5..2.0 } else { -1.0..1.0 };
        let own = &mut weights[parameter.part.offset..][..parameter.part.len];
        own.iter_mut().for_each(|value| *value = random.random_range(range.clone()));
    }
    for norm in parameters.running() {
        let own = &mut running[norm.part.offset..][..norm.part.len];
        let (mean, variance) = own.split_at_mut(norm.channels);
        mean.iter_mut().for_each(|value| *value = random.random_range(-1.0..1.0));
        variance.iter_mut().for_each(|value| *value = random.random_range(0.05..3.0));
    }
    // Logits that differ enough for probabilities to show it.
    let classifier = parameters.iter().find(|parameter| parameter.name == "classifier.weight").unwrap();
    let own = &mut weights[classifier.part.offset..][..classifier.part.len];
    own.iter_mut().for_each(|value| *value *= 4.0);
    Model { description, parameters, weights, running }
}

/// Whether a weight is gamma or beta of a batch norm.
fn is_norm(parameters: &Parameters, name: &str) -> bool {
    let owner = name.rsplit_once('.').map_or("", |(owner, _)| owner);
    parameters.running().any(|norm| norm.names.iter().any(|name| name == owner))
}

/// Images of a size with values from 0 to 1, `[n][c][h][w]`: enlarged digits, a tint for each channel.
fn images(own: &Description, count: usize) -> Vec<f32> {
    let mut values = Vec::new();
    for (index, (_, pixels)) in digits::digits().take(count).enumerate() {
        for channel in 0..own.channels {
            for (row, column) in
                (0..own.height).flat_map(|row| (0..own.width).map(move |column| (row, column)))
            {
                let pixel = pixels[row * 8 / own.height * 8 + column * 8 / own.width];
                let tint = if channel == index % own.channels { 1.0 } else { 0.5 };
                // A byte of the picture, or one of the digits' own 17 steps.
                let steps = f32::from(own.white);
                values.push((f32::from(pixel) / 16.0 * tint * steps).round() / steps);
            }
        }
    }
    values
}

/// The logits of the library's own network for images with values from 0 to 1.
fn own_logits(model: &Model, images: &[f32], count: usize) -> Vec<Vec<f32>> {
    let own = &model.description;
    let (pixels, normalisation) = (own.height * own.width, own.normalisation());
    let mut inputs = Vec::new();
    for image in images.chunks(pixels * own.channels) {
        for (pixel, channel) in (0..pixels).flat_map(|pixel| (0..own.channels).map(move |c| (pixel, c))) {
            let byte = (image[channel * pixels + pixel] * f32::from(own.white)).round() as u8;
            inputs.push(normalisation.apply(byte, channel));
        }
    }
    let logits = open(model, DeviceChoice::Cpu, 2, count).unwrap().logits(&inputs).unwrap();
    logits.chunks(own.class_names.len()).map(<[f32]>::to_vec).collect()
}

/// Runs an exported model beside the library's network.
fn compare(runtime: &OnnxRuntime, model: &Model, name: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("model.onnx");
    fs::write(&path, Format::Onnx.bytes(model).unwrap()).unwrap();
    let own = &model.description;
    for count in [1, 7] {
        let images = images(own, count);
        let found = runtime.run(&path, &images, [count, own.channels, own.height, own.width]);
        let expected = own_logits(model, &images, count);
        assert_eq!((found.probabilities.len(), found.logits.len()), (count, count));
        let mut largest = 0f64;
        for ((found, found_logits), logits) in found.probabilities.iter().zip(&found.logits).zip(&expected) {
            for (&found, expected) in found.iter().zip(probabilities(logits)) {
                largest = largest.max((f64::from(found) - expected).abs());
            }
            for (found, expected) in found_logits.iter().zip(logits) {
                assert!(
                    (found - expected).abs() <= 1e-3 * (1.0 + expected.abs()),
                    "{name}: {found} {expected}"
                );
            }
        }
        println!("{name}, batch {count}: probabilities differ by {largest:.1e} at most");
        assert!(largest <= TOLERANCE, "{name}, batch {count}: {largest}");
        // Images that were all taken for the same would compare nothing.
        let spread = |row: &[f32]| probabilities(row).into_iter().fold(0.0, f64::max);
        assert!(
            expected.iter().all(|row| spread(row) > 0.15 && spread(row) < 0.9999),
            "{name}: {expected:?}"
        );
        assert!(expected.windows(2).all(|pair| pair[0] != pair[1]), "{name}");
    }
}

/// What a model of the digits is like, but for its size.
fn description(genotype: &str, init_channels: usize, cells: usize) -> Description {
    let dataset = "digits".parse::<Source>().unwrap().load(0, &Reading::default(), &()).unwrap();
    let read = |_| Genotype::from_text(genotype, &Space::darts()).unwrap();
    let genotype = published::find(genotype).map_or_else(read, |published| published.genotype);
    Description::new(&Plan { init_channels, cells, ..Plan::default() }, &genotype, &dataset)
}

/// A model for coloured pictures of 13x11 pixels, whose feature maps have odd sides where they are halved.
fn coloured(genotype: &str) -> Description {
    let own = description(genotype, 3, 4);
    let (mean, deviation) = (vec![90.0, 100.0, 110.5], vec![50.5, 60.0, 70.0]);
    Description { channels: 3, height: 13, width: 11, white: 255, mean, deviation, ..own }
}

#[test]
fn onnxruntime_gives_the_same_probabilities() {
    let Some(runtime) = OnnxRuntime::find() else { return };
    compare(&runtime, &random_model(description(EVERY_OPERATION, 4, 4), 1), "grey, every operation");
    compare(&runtime, &random_model(coloured(EVERY_OPERATION), 2), "colour, every operation");
    compare(&runtime, &random_model(description("darts-v2", 4, 6), 3), "grey, darts-v2");
    compare(&runtime, &random_model(coloured("darts-v1"), 4), "colour, darts-v1");
}

#[test]
fn onnxruntime_gives_the_same_probabilities_for_cells_of_nas_bench_201() {
    let Some(runtime) = OnnxRuntime::find() else { return };
    let best =
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|";
    compare(&runtime, &random_model(description(best, 4, 6), 5), "grey, the best cell");
    // Nothing enters node 2, and a convolution reads it.
    let cut = "|nor_conv_1x1~0|+|none~0|none~1|+|avg_pool_3x3~0|skip_connect~1|nor_conv_3x3~2|";
    compare(&runtime, &random_model(description(cut, 4, 3), 6), "grey, a node of zeros");
}

/// A genotype that holds every operation at both strides. Each node keeps `kept` edges from the inputs of its cell or,
/// where it keeps all, an edge from every state.
fn every_operation(kept: &str) -> Genotype {
    let computed: Vec<_> = OPERATIONS.iter().collect();
    let names: Vec<_> = computed.iter().map(|operation| operation.name).collect();
    let from_inputs = kept.parse().unwrap_or(2);
    let nodes = computed.len().div_ceil(from_inputs);
    let text = format!("candidates = {names:?}\nnodes = {nodes}\nedges_kept = {kept}");
    let space = Space::from_toml(&text, Path::new("every.toml")).unwrap();
    let mut turn = computed.iter().copied().filter(|operation| !operation.is_zero()).cycle();
    let mut edge = |from: usize| ChosenEdge { operation: turn.next().unwrap(), from };
    let mut nodes: Vec<Vec<ChosenEdge>> =
        (0..nodes).map(|node| (0..from_inputs).map(|input| edge((node + input) % 2)).collect()).collect();
    if kept == "\"all\"" {
        for (node, edges) in nodes.iter_mut().enumerate() {
            edges.extend((2..2 + node).map(&mut edge));
        }
    }
    let cell = CellGenotype { concat: (2..2 + nodes.len()).collect(), nodes };
    let genotype = Genotype { space, cells: vec![cell.clone(), cell] };
    assert_eq!(Genotype::from_json(&genotype.to_json()).unwrap(), genotype);
    genotype
}

#[test]
fn onnxruntime_gives_the_same_probabilities_for_any_operation_and_any_number_of_edges() {
    let Some(runtime) = OnnxRuntime::find() else { return };
    for (index, kept) in ["1", "2", "\"all\""].into_iter().enumerate() {
        let genotype = every_operation(kept).to_json();
        let name = |colours: &str| format!("{colours}, {kept} edges of a node");
        let seed = 7 + index as u64;
        compare(&runtime, &random_model(description(&genotype, 2, 3), seed), &name("grey"));
        compare(&runtime, &random_model(coloured(&genotype), seed), &name("colour"));
    }
}

/// Trains a little, exports by the command, and gives the folder's model to both `darts predict` and onnxruntime.
fn predictions(here: &Path, data: &[&str], pictures: &[&str], inputs: &[f32], shape: [usize; 4]) {
    let size =
        ["train", "darts-v2", "--epochs=3", "--init-channels=4", "--cells=3", "--device=cpu", "--out=run"];
    printed(here, &[&size[..], data].concat());
    assert_eq!(printed(here, &["export", "run", "--format=onnx"]), "run/last.onnx\n");
    let Some(runtime) = OnnxRuntime::find() else { return };
    let found = runtime.run(&here.join("run/last.onnx"), inputs, shape);
    let told = printed(here, &[&["predict", "run", "--json", "--top=99", "--device=cpu"], pictures].concat());
    assert_eq!(told.lines().count(), shape[0]);
    for (line, found) in told.lines().zip(&found.probabilities) {
        let told: serde_json::Value = serde_json::from_str(line).unwrap();
        let guesses = told["guesses"].as_array().unwrap();
        assert_eq!(guesses.len(), found.len());
        for guess in guesses {
            let class: usize = guess["class"].as_str().unwrap().parse().unwrap();
            let expected = guess["probability"].as_f64().unwrap();
            assert!((f64::from(found[class]) - expected).abs() <= TOLERANCE, "{line} {found:?}");
        }
    }
}

#[test]
fn a_model_of_the_digits_sees_in_pictures_what_predict_sees() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut names, mut inputs) = (Vec::new(), Vec::new());
    for (index, digit) in digits::digits().skip(1400).take(7).enumerate() {
        // Every pixel a byte between the digits' own steps, which predict rounds.
        let mut picture = digits::picture(digit);
        picture.pixels_mut().for_each(|pixel| pixel.0[0] = pixel.0[0].saturating_sub(5));
        names.push(format!("{index}.png"));
        picture.save(scratch.path().join(&names[index])).unwrap();
        inputs.extend(picture.as_raw().iter().map(|&byte| f32::from(byte) / 255.0));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    predictions(scratch.path(), &[], &names, &inputs, [7, 1, 8, 8]);
}

#[test]
fn a_model_of_coloured_pictures_sees_what_predict_sees() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut names, mut inputs) = (Vec::new(), Vec::new());
    for (index, (digit, pixels)) in digits::digits().filter(|(digit, _)| *digit < 3).take(90).enumerate() {
        let part = if index < 60 { "train" } else { "test" };
        let name = format!("pictures/{part}/{digit}/{index}.png");
        let path = scratch.path().join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let picture = RgbImage::from_fn(9, 9, |x, y| {
            let light = pixels[(y * 8 / 9 * 8 + x * 8 / 9) as usize].saturating_mul(15);
            Rgb([light, 255 - light / 2, (index * 2) as u8])
        });
        picture.save(&path).unwrap();
        if index >= 83 {
            let channel = |c: usize| picture.pixels().map(move |pixel| f32::from(pixel.0[c]) / 255.0);
            inputs.extend((0..3).flat_map(channel));
            names.push(name);
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let data = ["--data=folder:pictures", "--image-size=9"];
    predictions(scratch.path(), &data, &names, &inputs, [7, 3, 9, 9]);
    let words = ["the model was trained on folder:pictures", "--data folder:DIR"];
    // Away from its run, whose plan says where the pictures lie.
    fs::rename(scratch.path().join("run/last.safetensors"), scratch.path().join("model.safetensors"))
        .unwrap();
    refused(scratch.path(), &["evaluate", "model.safetensors"], 2, &words);
}

#[test]
fn the_state_dict_holds_the_tensors_of_the_model_and_says_which_network_they_are_of() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let model = random_model(coloured("darts-v2"), 5);
    model.save(&here.join("own.safetensors")).unwrap();
    let told = printed(here, &["export", "own.safetensors", "--format", "safetensors"]);
    assert_eq!(told, "own.state_dict.safetensors\n");
    let [own, exported] =
        ["own.safetensors", "own.state_dict.safetensors"].map(|name| fs::read(here.join(name)).unwrap());
    assert!(exported == Format::Safetensors.bytes(&model).unwrap(), "the same bytes for the same model");
    let [own, exported] = [&own, &exported].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    assert_eq!(own.len(), exported.len());
    for (name, tensor) in exported.tensors() {
        assert_eq!(tensor, own.tensor(&name).unwrap(), "{name}");
    }
    // README makes the stem after this shape: width, channels of an image, and the kernel.
    let grey = random_model(description("darts-v2", 1, 3), 5);
    let grey = Format::Safetensors.bytes(&grey).unwrap();
    let stem = |file: &SafeTensors| file.tensor("stem.0.weight").unwrap().shape()[1..].to_vec();
    let stems = [stem(&exported), stem(&SafeTensors::deserialize(&grey).unwrap())];
    assert_eq!(stems, [[3, 3, 3], [1, 3, 3]]);
    let bytes = fs::read(here.join("own.state_dict.safetensors")).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = &metadata.metadata().as_ref().unwrap()["NetworkCIFAR"];
    let network: serde_json::Value = serde_json::from_str(metadata).unwrap();
    assert_eq!(
        (&network["C"], &network["layers"], &network["num_classes"]),
        (&3.into(), &4.into(), &10.into())
    );
    assert_eq!(network["auxiliary"], false);
    assert_eq!(network["genotype"], model.description.genotype.to_string());
    assert!((network["mean"][1].as_f64().unwrap() - 100.0 / 255.0).abs() < 1e-6);
    // It is no model file any more, and says so.
    let words = ["own.state_dict.safetensors: ", "not a model file"];
    refused(here, &["evaluate", "own.state_dict.safetensors"], 1, &words);
}

#[test]
fn what_cannot_be_exported_is_refused_and_nothing_is_written() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    let model = random_model(description("darts-v2", 1, 3), 6);
    model.save(&here.join("model.safetensors")).unwrap();
    let bytes = fs::read(here.join("model.safetensors")).unwrap();
    fs::write(here.join("cut.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    let place = bytes.windows(12).position(|window| window == br#"\"version\":"#).unwrap() + 12;
    let newer = [&bytes[..place], b"7", &bytes[place + 1..]].concat();
    fs::write(here.join("newer.safetensors"), newer).unwrap();
    fs::write(here.join("taken.onnx"), "something else").unwrap();
    fs::create_dir(here.join("empty")).unwrap();
    let before = files(here);
    let onnx = "--format=onnx";
    let cases: [(&[&str], i32, &[&str]); 13] = [
        (&["export"], 2, &["<MODEL>", "--format"]),
        (&["export", "model.safetensors"], 2, &["--format"]),
        (&["export", "model.safetensors", "--format=pdf"], 2, &["--format", "pdf", "onnx or safetensors"]),
        (&["export", "absent.safetensors", onnx], 1, &["absent.safetensors: "]),
        (&["export", "empty", onnx], 1, &["empty: holds no last.safetensors"]),
        (&["export", "cut.safetensors", onnx], 1, &["cut.safetensors: is not a model file"]),
        (
            &["export", "newer.safetensors", onnx],
            1,
            &["newer.safetensors: has the format version 7", "reads 1"],
        ),
        (&["export", "taken.onnx", onnx, "-o", "new"], 1, &["taken.onnx: is not a model file"]),
        (&["export", "model.safetensors", onnx, "--out=taken.onnx"], 2, &["taken.onnx exists", "--force"]),
        (&["export", "model.safetensors", onnx, "--out=empty", "--force"], 2, &["empty is a directory"]),
        (&["export", "model.safetensors", onnx, "--out=nowhere/new.onnx"], 1, &["nowhere/new.onnx: "]),
        (&["export", "model.safetensors", onnx, "-o", "./model.safetensors"], 2, &["is the model itself"]),
        (
            &["export", "model.safetensors", "--format=safetensors", "--out=model.safetensors", "--force"],
            2,
            &["is the model itself", "--out"],
        ),
    ];
    for (arguments, code, words) in cases {
        assert!(refused(here, arguments, code, words).is_empty(), "{arguments:?}");
        assert!(files(here) == before, "{arguments:?}");
    }
    printed(here, &["export", "model.safetensors", onnx, "--out=taken.onnx", "--force"]);
    // The name that the flag had before.
    printed(here, &["export", "model.safetensors", onnx, "--output=taken.onnx", "--force"]);
    assert!(!printed(here, &["export", "--help"]).contains("--output"));
    assert!(fs::read(here.join("taken.onnx")).unwrap() == Format::Onnx.bytes(&model).unwrap());
}

#[cfg(unix)]
#[test]
fn what_an_output_links_to_is_replaced_and_a_device_is_not() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    random_model(description("darts-v2", 1, 3), 6).save(&here.join("model.safetensors")).unwrap();
    fs::write(here.join("target.onnx"), "something else").unwrap();
    std::os::unix::fs::symlink("target.onnx", here.join("link.onnx")).unwrap();
    std::os::unix::fs::symlink("/dev/null", here.join("device.onnx")).unwrap();
    let export = |output| ["export", "model.safetensors", "--format=onnx", "--force", "--out", output];
    refused(here, &export("device.onnx"), 2, &["--out device.onnx is a pipe or a device"]);
    assert_eq!(printed(here, &export("link.onnx")), "link.onnx\n");
    assert!(here.join("link.onnx").is_symlink() && here.join("device.onnx").is_symlink());
    assert!(fs::read(here.join("target.onnx")).unwrap().len() > 1000);
}

/// Names and contents of all files of a directory.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| {
            let content = fs::read(entry.path()).unwrap_or_default();
            (entry.file_name().into_string().unwrap(), content)
        })
        .collect();
    files.sort();
    files
}
