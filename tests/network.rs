//! The derived network: sizes known from the literature, genotypes that leave states unread, and what is refused.

use darts::autograd::Recorder;
use darts::backend::cpu::Cpu;
use darts::backend::reference::Reference;
use darts::backend::{Backend, Device as _, Gradients, Mode, Shape, VectorKernels as _};
use darts::space::cost::Cost;
use darts::space::genotype::Genotype;
use darts::space::{Network, NetworkShape, Space, published, sampled};

/// The evaluation on CIFAR-10: 36 channels, 20 cells.
fn paper() -> NetworkShape {
    NetworkShape {
        images: Shape::new(1, 32, 32, 3),
        classes: 10,
        init_channels: 36,
        cells: 20,
        auxiliary: Some(0.4),
        drop_path: true,
        official_inplace_relu: false,
        class_weights: false,
    }
}

fn small(images: usize) -> NetworkShape {
    NetworkShape {
        images: Shape::new(images, 8, 8, 2),
        classes: 5,
        init_channels: 2,
        cells: 6,
        auxiliary: None,
        drop_path: false,
        official_inplace_relu: false,
        class_weights: false,
    }
}

/// Of NAS-Bench-201's cells, each operation has as many weights wherever it stands.
#[test]
fn networks_of_nas_bench_201_have_the_numbers_of_weights_of_the_benchmark() {
    let shape = NetworkShape { init_channels: 16, cells: 15, auxiliary: None, drop_path: false, ..paper() };
    for seed in 0..50 {
        let genotype = sampled::draw(seed, &Space::nas_bench_201());
        let count =
            |name: &str| genotype.cells[0].edges().filter(|(_, edge)| edge.operation.name == name).count();
        let [small, large] = ["nor_conv_1x1", "nor_conv_3x3"].map(count);
        let weights = Cost::of(&genotype, &shape).unwrap().weights;
        assert_eq!(weights, 73_306 + 28_000 * small + 243_040 * large, "{genotype}");
        let wide = NetworkShape { classes: 100, ..shape };
        assert_eq!(Cost::of(&genotype, &wide).unwrap().weights, weights + 90 * 65, "{genotype}");
    }
}

/// Cells in which none cuts off the output, or a node: what is cut off is zero, and all gradients are numbers.
#[test]
fn a_cell_that_nothing_reaches_is_computed() {
    for text in [
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|none~2|",
        "|none~0|+|none~0|nor_conv_3x3~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|",
    ] {
        let genotype: Genotype = text.parse().unwrap();
        let shape = NetworkShape { cells: 3, drop_path: true, ..small(4) };
        let mut recorder = Recorder::new();
        let network = Network::record(&mut recorder, &genotype, shape).unwrap();
        let mut tape = recorder.finish(Reference::<f64>::new()).unwrap();
        let weights: Vec<f64> = network.parameters.initial(3).into_iter().map(f64::from).collect();
        let running: Vec<f64> = network.parameters.initial_running().into_iter().map(f64::from).collect();
        tape.backend().write(network.spans.weights, &weights);
        tape.backend().write(network.spans.running, &running);
        tape.backend().fill(network.drop_path.unwrap(), 1.0);
        tape.backend().write_labels(&[0, 1, 2, 3]);
        let images: Vec<f64> = (0..shape.images.len()).map(|i| f64::from(i as u32 % 17) / 17.0).collect();
        tape.write_value(network.images, &images).unwrap();
        tape.forward(Mode::Train);
        tape.backward(Gradients::All);
        let logits = tape.read_value(network.logits);
        let alike =
            logits.chunks(5).all(|row| row.iter().zip(&logits[..5]).all(|(a, b)| (a - b).abs() < 1e-12));
        let dead = !genotype.dead_cells().is_empty();
        assert_eq!(alike, dead, "{text}: {logits:?}");
        assert!(tape.read(network.spans.gradients).iter().all(|slope| slope.is_finite()), "{text}");
    }
}

/// Millions of weights, and of multiply-adds where they are known, from the README of PC-DARTS, from FairDARTS and from
/// SGAS.
const KNOWN: [(&str, f64, Option<f64>); 12] = [
    ("DARTS_V2", 3.3, Some(528.0)),
    ("PC_DARTS_cifar", 3.63, Some(558.0)),
    ("PDARTS", 3.43, Some(532.0)),
    ("GDAS_V1", 3.36, Some(519.0)),
    ("MdeNAS", 3.78, Some(599.0)),
    ("SNAS", 2.66, Some(422.0)),
    ("Cri1_CIFAR_1", 3.75, None),
    ("Cri1_CIFAR_4", 3.32, None),
    ("Cri1_CIFAR_9", 3.98, None),
    ("Cri2_CIFAR_1", 4.14, None),
    ("Cri2_CIFAR_8", 4.33, None),
    ("Cri2_CIFAR_10", 3.68, None),
];

#[test]
fn published_networks_have_the_sizes_that_were_published() {
    for (name, weights, multiply_adds) in KNOWN {
        let genotype = published::find(name).unwrap().genotype;
        let cost = Cost::of(&genotype, &paper()).unwrap();
        let millions = cost.weights as f64 / 1e6;
        println!("{name}: {} weights, {} multiply-adds", cost.weights, cost.multiply_adds);
        let digits = if (weights * 10.0f64).fract() == 0.0 { 0.06 } else { 0.011 };
        assert!(
            (millions - weights).abs() < digits,
            "{name}: {millions} million weights, published {weights}"
        );
        if let Some(published) = multiply_adds {
            let millions = cost.multiply_adds as f64 / 1e6;
            // Those who published them counted average pooling too.
            let text = genotype.to_string();
            let pools = if text.contains("avg_pool") { 2.0 } else { 0.0 };
            let difference = published - millions;
            assert!(
                (-0.5..=0.5 + pools).contains(&difference),
                "{name}: {millions} million, published {published}"
            );
        }
    }
}

/// The number that the official training prints for DARTS_V2.
#[test]
fn the_second_network_of_the_paper_has_the_official_number_of_weights() {
    let genotype = published::find("darts-v2").unwrap().genotype;
    assert_eq!(Cost::of(&genotype, &paper()).unwrap().weights, 3_349_342);
    let with_head = Network::parameters(&genotype, &paper());
    let head = with_head.iter().filter(|parameter| parameter.name.starts_with("auxiliary_head."));
    // 1x1 and 2x2 convolution, two batch norms, a classifier.
    let expected = 576 * 128 + 4 * 128 * 768 + 2 * (128 + 768) + 768 * 10 + 10;
    assert_eq!(head.map(|parameter| parameter.part.len).sum::<usize>(), expected);
}

fn genotype(text: &str) -> Genotype {
    text.parse().unwrap()
}

/// The first reads its last input alone and leaves a node unread; the second its first input alone.
const UNREAD: [&str; 2] = [
    "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 1), ('dil_conv_3x3', 0), ('sep_conv_3x3', 2)], \
     normal_concat=[2], reduce=[('max_pool_3x3', 1), ('skip_connect', 1), ('avg_pool_3x3', 0), \
     ('skip_connect', 2)], reduce_concat=[2])",
    "Genotype(normal=[('skip_connect', 0), ('skip_connect', 0), ('sep_conv_5x5', 2), ('sep_conv_3x3', 1)], \
     normal_concat=[2], reduce=[('max_pool_3x3', 0), ('dil_conv_5x5', 0), ('sep_conv_3x3', 1), \
     ('sep_conv_3x3', 1)], reduce_concat=[2])",
];

/// Logits and gradient after a step forward and backward, with NaN wherever a gradient lay before.
fn gradients<B: Backend<Scalar = f32>>(text: &str, backend: B) -> (Vec<f32>, Vec<f32>, Network) {
    let mut recorder = Recorder::new();
    let network = Network::record(&mut recorder, &genotype(text), small(4)).unwrap();
    let mut tape = recorder.finish(backend).unwrap();
    tape.backend().write(network.spans.weights, &network.parameters.initial(3));
    tape.backend().write(network.spans.running, &network.parameters.initial_running());
    let images: Vec<f32> = (0..4 * 8 * 8 * 2).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    tape.write_value(network.images, &images).unwrap();
    tape.backend().write_labels(&[0, 1, 2, 3]);
    tape.forward(Mode::Train);
    tape.backward(Gradients::All);
    (tape.read_value(network.logits), tape.read(network.spans.gradients), network)
}

#[test]
fn states_that_nothing_reads_have_weights_but_no_gradient() {
    for text in UNREAD {
        let (logits, ours, network) = gradients(text, Cpu::new(1).unwrap());
        let (expected, reference, _) = gradients(text, Reference::<f32>::new());
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * (1.0 + b.abs());
        assert!(logits.iter().zip(&expected).all(close) && ours.iter().zip(&reference).all(close));
        let (mut with, mut without) = (0, 0);
        for parameter in network.parameters.iter() {
            let own = &ours[parameter.part.offset..][..parameter.part.len];
            let count = if own.iter().any(|&x| x != 0.0) { &mut with } else { &mut without };
            *count += 1;
        }
        assert!(with > 10 && without > 10, "{with} tensors with and {without} without a gradient");
    }
}

#[test]
fn every_published_genotype_is_recorded() {
    for entry in published::all().unwrap() {
        let shape = NetworkShape { images: Shape::new(2, 32, 32, 3), ..paper() };
        let shape = NetworkShape { init_channels: 4, cells: 6, ..shape };
        let network = Network::record(&mut Recorder::<Cpu>::new(), &entry.genotype, shape).unwrap();
        assert!(network.auxiliary.is_some() && network.drop_path.is_some(), "{}", entry.name);
    }
}

#[test]
fn an_auxiliary_head_that_does_not_fit_is_refused_with_the_shape() {
    let genotype = published::find("darts-v2").unwrap().genotype;
    let shape = NetworkShape { auxiliary: Some(0.4), ..small(2) };
    let refused = Network::record(&mut Recorder::<Cpu>::new(), &genotype, shape).err().unwrap().to_string();
    assert!(refused.contains("auxiliary head") && refused.contains("2x2x2x8"), "{refused}");
}
