//! The supernet against the official one: number, names and order of its weights.

use darts::autograd::{NormParameters, Recorder, SeparableParameters, Weight};
use darts::backend::cpu::Cpu;
use darts::backend::reference::Reference;
use darts::backend::{Backend, Gradients, Mode, Shape};
use darts::random::{Stream, generator};
use darts::space::{EdgeShape, Space, Supernet, SupernetShape};
use rand::RngExt;

fn supernet(init_channels: usize, cells: usize, nodes: usize) -> Supernet {
    let shape = SupernetShape {
        space: Space::darts(),
        images: Shape::new(2, 8, 8, 3),
        classes: 10,
        init_channels,
        cells,
        nodes,
        edges: EdgeShape::default(),
    };
    Supernet::record(&mut Recorder::<Reference<f32>>::new(), shape).unwrap()
}

#[test]
fn the_supernet_of_the_paper_has_1_930_618_weights() {
    let supernet = supernet(16, 8, 4);
    assert_eq!(supernet.parameters.len(), 1_930_618);
    assert_eq!(supernet.mixing.value.len, 2 * 14 * 8);
    let rows = supernet.rows();
    assert_eq!((rows.len(), &rows[0], &rows[27]), (2 * 14, &(0..8), &(216..224)));
}

/// That of DrNAS and of others; AutoDL's has 6,720 biases in front of batch norms, and no factors and offsets in the last one,
/// which are 128: 1,692,698.
#[test]
fn the_supernet_of_nas_bench_201_has_1_686_106_weights() {
    let shape = SupernetShape {
        space: Space::nas_bench_201(),
        images: Shape::new(2, 32, 32, 3),
        classes: 10,
        init_channels: 16,
        cells: 15,
        nodes: 3,
        edges: EdgeShape::default(),
    };
    let supernet = Supernet::record(&mut Recorder::<Reference<f32>>::new(), shape).unwrap();
    assert_eq!(supernet.parameters.len(), 1_686_106);
    assert_eq!(supernet.parameters.len() + 6_720 - 128, 1_692_698);
    assert_eq!((supernet.mixing.value.len, supernet.layers.len()), (6 * 5, 17));
}

#[test]
fn weights_have_the_official_names_and_order() {
    let names: serde_json::Value = serde_json::from_str(include_str!("golden/data/names.json")).unwrap();
    for nodes in [2, 4] {
        let order = names[format!("n{nodes}")]["parameter_order"].as_array().unwrap();
        let expected: Vec<&str> = order.iter().map(|name| name.as_str().unwrap()).collect();
        let supernet = supernet(4, 3, nodes);
        let ours: Vec<&str> = supernet.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(ours, expected);
    }
}

fn with_edges(partial: usize, images: Shape, init_channels: usize) -> darts::Result<Supernet> {
    let shape = SupernetShape {
        space: Space::darts(),
        images,
        classes: 10,
        init_channels,
        cells: 3,
        nodes: 2,
        edges: EdgeShape { partial, ..EdgeShape::default() },
    };
    Supernet::record(&mut Recorder::<Reference<f32>>::new(), shape)
}

#[test]
fn partial_channel_connections_have_a_fraction_of_the_weights_and_a_weight_of_each_edge() {
    let whole = supernet(8, 3, 2);
    let partial = with_edges(4, Shape::new(2, 8, 8, 3), 8).unwrap();
    assert_eq!((whole.mixing.value.len, partial.mixing.value.len), (2 * 5 * 8, 2 * 5 * 8 + 2 * 5));
    assert_eq!(partial.nodes(), [0..2, 2..5, 5..7, 7..10]);
    let of = |net: &Supernet, name: &str| {
        let found = net.parameters.iter().find(|parameter| parameter.name == name);
        found.unwrap_or_else(|| panic!("no {name}")).part.len
    };
    let pointwise = "cells.0._ops.0._ops.4.op.2.weight";
    assert_eq!((of(&whole, pointwise), of(&partial, pointwise)), (8 * 8, 2 * 2));
    let preprocess = "cells.0.preprocess0.op.1.weight";
    assert_eq!(of(&whole, preprocess), of(&partial, preprocess));
}

/// The bits of a node over a convolution and an identity, and of all gradients: of all channels at once, or of the first ones
/// that are all of them, past which none goes.
fn node<B: Backend<Scalar = f32>>(backend: B, shape: Shape, partial: bool, seed: u64) -> Vec<u32> {
    let (channels, mut recorder) = (shape.c as usize, Recorder::new());
    let input = recorder.input(shape);
    let state = if partial { recorder.channel_slice(input, channels).unwrap() } else { input };
    let [depthwise, pointwise, edge] = [9 * channels, channels * channels, 1]
        .map(|len| Weight { value: recorder.span(len), gradient: recorder.span(len) });
    let norm = NormParameters { running: recorder.span(2 * channels), affine: None, gate: None };
    let block = SeparableParameters { kernel: 3, dilation: 1, depthwise, pointwise, norm };
    let convolved = recorder.separable(&[(state, vec![block])], 1, channels).unwrap()[0];
    let mixing = recorder.mixing(2, 0);
    let mixed = recorder.mixed(&[(convolved, 0), (state, 1)], mixing).unwrap();
    let output = if partial { recorder.bypass(mixed, &[(input, edge)]).unwrap() } else { mixed };
    recorder.output(output);
    let mut tape = recorder.finish(backend).unwrap();
    let mut random = generator(seed, Stream::Test, 0);
    let mut draw = |len| -> Vec<f32> { (0..len).map(|_| random.random_range(-1.0..1.0)).collect() };
    for span in [depthwise.value, pointwise.value, mixing.value] {
        tape.backend().write(span, &draw(span.len));
    }
    tape.backend().fill(edge.value, 0.75);
    tape.write_value(input, &draw(shape.len())).unwrap();
    tape.forward(Mode::Train);
    let forward = tape.read_value(output);
    tape.write_gradient(output, &draw(shape.len())).unwrap();
    tape.backward(Gradients::All);
    let spans =
        [depthwise.gradient, pointwise.gradient, mixing.gradient].map(|span| tape.read(span)).concat();
    let all = [forward, tape.read_gradient(input), spans].concat();
    all.into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_partial_connection_of_all_channels_is_a_full_one_to_the_bit() {
    for seed in 0..20 {
        let mut random = generator(seed, Stream::Test, 1);
        let mut side = |most: usize| random.random_range(1..=most);
        let shape = Shape::new(side(3), side(9), side(9), side(20));
        let [full, partial] =
            [false, true].map(|partial| node(Reference::<f32>::new(), shape, partial, seed));
        assert!(full == partial, "{shape} on the reference");
        let [full, partial] = [false, true].map(|partial| node(Cpu::new(2).unwrap(), shape, partial, seed));
        assert!(full == partial, "{shape} on the CPU");
    }
    let images = Shape::new(2, 8, 8, 3);
    let (full, partial) = (supernet(4, 3, 2), with_edges(1, images, 4).unwrap());
    assert_eq!(
        (full.parameters.len(), full.mixing.value.len),
        (partial.parameters.len(), partial.mixing.value.len)
    );
}

#[test]
fn partial_channel_connections_that_do_not_come_out_even_are_refused() {
    let refusal = |partial, side, channels| {
        with_edges(partial, Shape::new(2, side, 8, 3), channels).err().map(|error| error.to_string())
    };
    assert_eq!(refusal(4, 8, 8), None);
    assert!(refusal(4, 8, 6).unwrap().contains("6 channels cannot be divided by 4"));
    assert!(refusal(0, 8, 6).unwrap().contains("6 channels cannot be divided by 0"));
    assert!(refusal(2, 6, 8).unwrap().contains("must be multiples of 4"), "{:?}", refusal(2, 6, 8));
    assert_eq!(refusal(1, 6, 8), None);
}

#[test]
fn initial_values_depend_on_the_seed_alone() {
    let (one, other) = (supernet(4, 3, 2), supernet(4, 3, 2));
    assert_eq!(one.parameters.initial(5), other.parameters.initial(5));
    assert_ne!(one.parameters.initial(5), one.parameters.initial(6));
}

#[test]
fn impossible_supernets_are_refused_with_a_sentence() {
    let record = |cells, nodes| {
        let shape = SupernetShape {
            space: Space::darts(),
            images: Shape::new(2, 8, 8, 3),
            classes: 10,
            init_channels: 4,
            cells,
            nodes,
            edges: EdgeShape::default(),
        };
        Supernet::record(&mut Recorder::<Reference<f32>>::new(), shape).err().map(|error| error.to_string())
    };
    assert!(record(0, 4).is_some_and(|text| text.contains("0 cells")));
    assert!(record(3, 0).is_some_and(|text| text.contains("0 nodes")));
    assert!(record(1, 1).is_none());
}
