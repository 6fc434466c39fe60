//! Every operator of the tape against central differences, in f64 on the reference backend.
//!
//! The loss is the inner product of the outputs, as their readers see them, with fixed random numbers. Inputs are
//! kept off the kinks of ReLU and maximum; where a hidden value comes close to one, another seed is drawn.

mod check;

use check::{Check, Device, check};
use darts::autograd::{ConvolutionParameters, NormParameters, Recorder, SeparableParameters, Value, Window};
use darts::backend::{
    ConvolutionWindow, Device as _, DropoutMask, Gradients, Mode, PoolKind, Shape, dropout_key,
};

/// Of images, which get no gradient.
#[test]
fn convolution() {
    for [h, w, channels, kernel, outputs] in
        [[5, 7, 3, 3, 4], [4, 3, 1, 3, 1], [6, 5, 2, 5, 3], [1, 1, 3, 3, 2]]
    {
        check("convolution", |c| {
            let input = c.input(3, h, w, channels);
            let window = ConvolutionWindow::square(kernel, 1, kernel / 2);
            let convolution = c.convolution(window, channels, outputs, true);
            let images = ConvolutionParameters { of_images: true, ..convolution };
            let output = c.recorder.convolution(input, images).unwrap();
            c.output(output);
        });
    }
}

#[test]
fn separable() {
    for (h, w, channels, stride) in [(5, 7, 3, 1), (5, 7, 3, 2), (6, 4, 1, 2), (3, 3, 5, 1), (2, 3, 2, 1)] {
        for windows in [vec![[3, 1]], vec![[5, 2]], vec![[3, 2], [5, 1], [7, 1]]] {
            check("separable", |c| {
                let input = c.input(3, h, w, channels);
                let branches =
                    windows.iter().map(|&window| c.branch(window, channels, channels + 1, false)).collect();
                let outputs = c.recorder.separable(&[(input, branches)], stride, channels + 1).unwrap();
                outputs.into_iter().for_each(|output| c.output(output));
            });
        }
    }
}

/// The sums of the batch norm in the middle are left by the second convolution on its way.
#[test]
fn separable_twice_with_affine_batch_norms() {
    for stride in [1, 2] {
        check("sep_conv", |c| {
            let input = c.input(2, 5, 4, 3);
            let first = vec![c.branch([3, 1], 3, 3, true), c.branch([5, 1], 3, 3, true)];
            let middle = c.recorder.separable(&[(input, first)], stride, 3).unwrap();
            c.hidden.extend(&middle);
            let second: Vec<_> = middle.iter().map(|&m| (m, vec![c.branch([3, 1], 3, 3, true)])).collect();
            for output in c.recorder.separable(&second, 1, 3).unwrap() {
                c.output(output);
            }
        });
    }
}

#[test]
fn pointwise_over_concatenated_inputs() {
    for widths in [vec![3], vec![1, 4], vec![2, 3, 5]] {
        check("pointwise", |c| {
            let inputs: Vec<Value> = widths.iter().map(|&width| c.input(3, 3, 5, width)).collect();
            let weights = c.weight(widths.iter().sum::<usize>() * 4);
            let norm = c.norm(4, false);
            let output = c.recorder.pointwise(&inputs, &[weights], 4, norm).unwrap();
            c.output(output);
        });
    }
}

#[test]
fn factorized_reduce() {
    for (h, w, channels) in [(4, 6, 4), (5, 7, 3), (2, 2, 2), (3, 4, 2)] {
        check("factorized reduce", |c| {
            let input = c.input(4, h, w, 3);
            let weights = [c.weight(3 * (channels / 2)), c.weight(3 * (channels - channels / 2))];
            let norm = c.norm(channels, false);
            let output = c.recorder.pointwise(&[input], &weights, channels, norm).unwrap();
            c.output(output);
        });
    }
}

#[test]
fn normalised_pools() {
    for (h, w, channels, stride) in [(5, 7, 3, 1), (5, 7, 3, 2), (4, 4, 1, 2), (1, 1, 2, 1), (2, 3, 5, 1)] {
        check("normalised pools", |c| {
            let input = c.input(3, h, w, channels);
            let norms = [c.norm(channels, false), c.norm(channels, true)];
            for output in c.recorder.normalised_pools(input, stride, norms) {
                c.output(output);
            }
        });
    }
}

/// Two nodes over a normalised state, a plain state and the pools of both: values that several nodes mix in, and
/// gradients that several operators add to.
#[test]
fn mixed_operations() {
    for in_inference in [false, true] {
        check("mixed", |c| {
            c.in_inference = in_inference;
            record_mixed_operations(c);
        });
    }
}

fn record_mixed_operations(c: &mut Check) {
    let [first, second] = [c.input(2, 3, 5, 3), c.input(2, 3, 5, 3)];
    let (weights, norm) = (c.weight(9), c.norm(3, true));
    let state = c.recorder.pointwise(&[first], &[weights], 3, norm).unwrap();
    c.hidden.push(state);
    let branches = vec![c.branch([3, 1], 3, 3, false), c.branch([3, 2], 3, 3, true)];
    let convolved = c.recorder.separable(&[(state, branches)], 1, 3).unwrap();
    let norms = [c.norm(3, false), c.norm(3, false)];
    let pools = c.recorder.normalised_pools(second, 1, norms);
    let mixing = c.mixing(12);
    let values = [state, second, convolved[0], pools[0], pools[1]];
    let branches: Vec<_> = values.into_iter().enumerate().map(|(i, value)| (value, 2 * i)).collect();
    let node = c.recorder.mixed(&branches, mixing).unwrap();
    let branches = [(node, 1), (convolved[0], 3), (convolved[1], 5), (state, 7), (pools[0], 9), (second, 11)];
    let last = c.recorder.mixed(&branches, mixing).unwrap();
    c.output(node);
    c.output(last);
}

/// What a node's sum says that the gradient of a branch of ones were is what it is where there is such a branch.
#[test]
fn sum_of_a_nodes_gradient() {
    let mut recorder = Recorder::<Device>::new();
    let shape = Shape::new(2, 3, 4, 5);
    let [state, ones] = [(); 2].map(|()| recorder.input(shape));
    let mixing = recorder.ungated_mixing(4);
    let node = recorder.mixed(&[(state, 1), (ones, 2)], mixing).unwrap();
    let last = recorder.mixed(&[(node, 0), (state, 3)], mixing).unwrap();
    recorder.output(last);
    let mut tape = recorder.finish(Device::new()).unwrap();
    let number = |i: usize| (i % 11) as f64 / 3.0 - 1.5;
    tape.write_value(state, &(0..shape.len()).map(number).collect::<Vec<_>>()).unwrap();
    tape.write_value(ones, &vec![1.0; shape.len()]).unwrap();
    tape.backend().write(mixing.value, &[0.3, -0.7, 0.2, 0.9]);
    tape.forward(Mode::Train);
    let slopes: Vec<f64> = (0..shape.len()).map(|i| number(7 * i + 3)).collect();
    tape.write_gradient(last, &slopes).unwrap();
    tape.backward(Gradients::Inputs);
    let (gradient, sums) = (tape.read(mixing.gradient), tape.read(mixing.sums));
    let whole: f64 = slopes.iter().sum();
    assert!((sums[1] - gradient[2]).abs() < 1e-12 && (sums[1] - 0.3 * whole).abs() < 1e-12, "{sums:?}");
    assert!((sums[0] - whole).abs() < 1e-12 && whole.abs() > 0.1, "{sums:?}");
    assert_eq!(sums[2..], [0.0; 2]);
}

/// Two nodes with every kind of branch, at both strides, under every mask of one branch a node and some of more. What is
/// not active has neither influence nor gradient, and the first to deliver a gradient may be among it.
#[test]
fn mixed_operations_under_a_mask() {
    let masks = (0..16).map(|i| {
        let mut mask = [i % 2 == 1; 12];
        (mask[i % 6], mask[6 + i / 3]) = (i % 2 == 0, i % 2 == 0);
        mask
    });
    for mask in masks.chain([[true; 12]]) {
        check("mixed under a mask", |c| mixed_under(c, mask));
    }
}

fn mixed_under(c: &mut Check, mask: [bool; 12]) {
    let [first, second] = [c.input(2, 5, 3, 2), c.input(2, 5, 3, 2)];
    let mixing = c.recorder.mixing(12, 0);
    c.variables.push((mixing.value, mixing.gradient));
    let gates: Vec<_> = (0..12).map(|branch| c.recorder.gate(mixing, &[branch])).collect();
    let pooled = [[0, 6], [1, 7]].map(|users| c.recorder.gate(mixing, &users));
    let gated = |mut branch: SeparableParameters, gate| {
        branch.norm.gate = gate;
        branch
    };
    let branches = vec![
        gated(c.branch([3, 1], 2, 2, false), gates[2]),
        gated(c.branch([3, 2], 2, 2, true), gates[3]),
        gated(c.branch([5, 1], 2, 2, false), gates[8]),
    ];
    let halves = c.recorder.separable(&[(first, branches)], 1, 2).unwrap();
    if mask[8] {
        c.hidden.push(halves[2]);
    }
    let again = gated(c.branch([3, 1], 2, 2, false), gates[8]);
    let twice = c.recorder.separable(&[(halves[2], vec![again])], 1, 2).unwrap()[0];
    let norms = pooled.map(|gate| NormParameters { gate, ..c.norm(2, false) });
    let pools = c.recorder.normalised_pools(first, 1, norms);
    let norm = NormParameters { gate: gates[9], ..c.norm(2, true) };
    let matrix = c.weight(4);
    let product = c.recorder.pointwise(&[second], &[matrix], 2, norm).unwrap();
    let node = [(pools[0], 0), (pools[1], 1), (halves[0], 2), (halves[1], 3), (first, 4), (second, 5)];
    let node = c.recorder.mixed(&node, mixing).unwrap();
    let last = [(pools[0], 6), (pools[1], 7), (twice, 8), (product, 9), (node, 10), (first, 11)];
    let last = c.recorder.mixed(&last, mixing).unwrap();
    c.output(node);
    c.output(last);
    c.active = Some(mask.to_vec());
}

#[test]
fn global_pool_classifier_and_loss() {
    check("loss", |c| {
        let inputs = [c.input(4, 3, 2, 3), c.input(4, 3, 2, 2)];
        let pooled = c.recorder.global_pool(&inputs).unwrap();
        let (weights, bias) = (c.weight(5 * 7), c.weight(7));
        let logits = c.recorder.linear(pooled, weights, bias).unwrap();
        c.loss = Some(c.recorder.cross_entropy(logits, 1.0, None));
    });
}

#[test]
fn a_loss_of_weighted_classes() {
    check("weighted loss", |c| {
        let logits = c.input(4, 1, 1, 7);
        let class_weights = c.constant(&[0.5, 7.0, 2.0, 0.25, 7.0, 7.0, 1.5]);
        c.loss = Some(c.recorder.cross_entropy(logits, 1.0, Some(class_weights)));
    });
}

/// The gradient is that of a share of the loss; what is reported is the loss itself.
#[test]
fn a_share_of_a_loss() {
    let gradient = |weight| {
        let mut recorder = Recorder::<Device>::new();
        let logits = recorder.input(Shape::new(2, 1, 1, 3));
        let loss = recorder.cross_entropy(logits, weight, None);
        let mut tape = recorder.finish(Device::new()).unwrap();
        tape.write_value(logits, &[0.5, -1.0, 2.0, 0.0, 0.25, -0.5]).unwrap();
        tape.backend().write_labels(&[2, 0]);
        tape.forward(Mode::Train);
        tape.backward(Gradients::All);
        (tape.read(loss.result), tape.read_gradient(logits))
    };
    let ((whole, slopes), (part, shares)) = (gradient(1.0), gradient(0.4));
    assert_eq!(whole, part);
    assert!(slopes.iter().zip(&shares).all(|(slope, share)| (0.4 * slope - share).abs() < 1e-15));
    assert!(slopes.iter().any(|slope| slope.abs() > 0.1));
}

/// Behind a ReLU and a batch norm, and of a plain value; in front of a batch norm, and plain.
#[test]
fn convolution_of_feature_maps() {
    let window = |kernel, stride, padding| ConvolutionWindow { kernel, stride, padding };
    let windows = [
        window([3, 3], [1, 1], [1, 1]),
        window([3, 3], [2, 2], [1, 1]),
        window([2, 2], [1, 1], [0, 0]),
        window([1, 1], [2, 2], [0, 0]),
        window([1, 7], [1, 2], [0, 3]),
        window([7, 1], [2, 1], [3, 0]),
        window([2, 3], [2, 1], [1, 2]),
    ];
    for (window, [h, w]) in windows.into_iter().zip([[5, 4], [4, 5], [2, 2], [3, 4], [2, 5], [5, 2], [3, 3]])
    {
        for relu in [false, true] {
            check("convolution of feature maps", |c| {
                let plain = c.input(3, h, w, 2);
                let (weights, norm) = (c.weight(2 * 3), c.norm(3, true));
                let state = c.recorder.pointwise(&[plain], &[weights], 3, norm).unwrap();
                c.hidden.push(state);
                for (input, channels) in [(plain, 2), (state, 3)] {
                    let normalised = c.convolution(window, channels, 4, true);
                    let unnormalised = c.convolution(window, channels, 2, false);
                    for parameters in [normalised, unnormalised] {
                        let parameters = ConvolutionParameters { relu, ..parameters };
                        let output = c.recorder.convolution(input, parameters).unwrap();
                        c.output(output);
                    }
                }
            });
        }
    }
}

/// A candidate of two convolutions without anything between them, and a plain one, under every mask.
#[test]
fn convolutions_under_a_mask() {
    for mask in (0..8).map(|mask: usize| [mask & 1 != 0, mask & 2 != 0, mask & 4 != 0]) {
        check("convolutions under a mask", |c| {
            let input = c.input(2, 4, 3, 2);
            let mixing = c.recorder.mixing(3, 0);
            c.variables.push((mixing.value, mixing.gradient));
            let convolve = |c: &mut Check, value, branch, kernel: [usize; 2], [relu, norm]: [bool; 2]| {
                let padding = kernel.map(|side| side / 2);
                let window = ConvolutionWindow { kernel, stride: [1, 1], padding };
                let gate = c.recorder.gate(mixing, &[branch]);
                let parameters = c.convolution(window, 2, 2, norm);
                c.recorder.convolution(value, ConvolutionParameters { relu, gate, ..parameters }).unwrap()
            };
            let half = convolve(c, input, 0, [1, 3], [true, false]);
            let whole = convolve(c, half, 0, [3, 1], [false, true]);
            let square = convolve(c, input, 1, [3, 3], [true, true]);
            let plain = convolve(c, input, 2, [1, 1], [false, false]);
            let branches = [(whole, 0), (square, 1), (plain, 2)];
            let node = c.recorder.mixed(&branches, mixing).unwrap();
            c.output(node);
            c.output(input);
            c.active = Some(mask.to_vec());
        });
    }
}

#[test]
fn pool() {
    let window = |kernel, stride, padding| Window { kernel, stride, padding };
    let cases = [
        (5, 7, window(3, 1, 1), false),
        (6, 5, window(3, 2, 1), false),
        (4, 6, window(2, 2, 0), false),
        (8, 9, window(5, 3, 0), true),
        (3, 2, window(1, 1, 0), true),
        (1, 1, window(3, 2, 1), true),
    ];
    for (h, w, window, relu) in cases {
        for kind in [PoolKind::Maximum, PoolKind::Average] {
            check("pool", |c| {
                let plain = c.input(2, h, w, 3);
                let (weights, norm) = (c.weight(9), c.norm(3, true));
                let state = c.recorder.pointwise(&[plain], &[weights], 3, norm).unwrap();
                if relu {
                    c.hidden.push(state);
                }
                for value in [plain, state] {
                    let output = c.recorder.pool(value, kind, window, relu).unwrap();
                    c.output(output);
                }
            });
        }
    }
}

#[test]
fn channel_slices() {
    for channels in [1, 2, 3] {
        check("channel slice", |c| {
            let plain = c.input(2, 3, 5, 3);
            let (weights, norm) = (c.weight(9), c.norm(3, true));
            let state = c.recorder.pointwise(&[plain], &[weights], 3, norm).unwrap();
            for value in [plain, state] {
                // The state is read as a whole, too, so that the slice is not the first to deliver a gradient.
                let output = c.recorder.channel_slice(value, channels).unwrap();
                c.output(output);
                let sum = c.recorder.node_sum(&[(value, None)]).unwrap();
                c.output(sum);
            }
        });
    }
}

/// Of a normalised state and a plain one: two masks of one key, and a given one.
#[test]
fn dropouts() {
    check("dropout", |c| {
        let plain = c.input(2, 3, 5, 3);
        let (weights, norm) = (c.weight(9), c.norm(3, true));
        let state = c.recorder.pointwise(&[plain], &[weights], 3, norm).unwrap();
        let key = c.constant(&dropout_key(0.6, [0x1234_5678, 0x9abc_def0]));
        let every_third: Vec<f64> = (0..90).map(|index| f64::from(u8::from(index % 3 == 0))).collect();
        let given = c.constant(&every_third);
        for (value, number, given) in [(plain, 0, None), (state, 1, None), (state, 2, Some(given))] {
            let output = c.recorder.dropout(value, DropoutMask { key, number, given }).unwrap();
            c.output(output);
        }
    });
}

/// Two nodes past which a normalised state and a plain one go, at every number of groups.
#[test]
fn bypasses() {
    for groups in [1, 2, 3, 6] {
        check("bypass", |c| {
            let [plain, first, second] =
                [c.input(2, 3, 5, 6), c.input(2, 3, 5, 6 / groups), c.input(2, 3, 5, 6 / groups)];
            let (weights, norm) = (c.weight(36), c.norm(6, true));
            let state = c.recorder.pointwise(&[plain], &[weights], 6, norm).unwrap();
            let edges = [(); 4].map(|()| c.weight(1));
            let sources = [(state, edges[0]), (plain, edges[1])];
            let node = c.recorder.bypass(first, &sources).unwrap();
            let sources = [(plain, edges[0]), (node, edges[2]), (state, edges[3])];
            let last = c.recorder.bypass(second, &sources).unwrap();
            c.output(node);
            c.output(last);
        });
    }
}

/// Two nodes over a normalised state, a plain one and convolutions of which one flows into both nodes; with and
/// without factors.
#[test]
fn node_sums_with_drop_path() {
    check("node_sum", |c| {
        let [first, second] = [c.input(3, 3, 5, 3), c.input(3, 3, 5, 3)];
        let (weights, norm) = (c.weight(9), c.norm(3, true));
        let state = c.recorder.pointwise(&[first], &[weights], 3, norm).unwrap();
        c.hidden.push(state);
        let branches = vec![c.branch([3, 1], 3, 3, true), c.branch([3, 2], 3, 3, true)];
        let convolved = c.recorder.separable(&[(state, branches)], 1, 3).unwrap();
        let factors = [c.constant(&[0.0, 1.25, 1.25]), c.constant(&[2.0, 0.0, 2.0])];
        let node = c.recorder.node_sum(&[(convolved[0], Some(factors[0])), (second, None)]).unwrap();
        let last = [
            (node, None),
            (convolved[1], Some(factors[1])),
            (convolved[0], None),
            (state, None),
            (node, None),
        ];
        let last = c.recorder.node_sum(&last).unwrap();
        c.output(node);
        c.output(last);
    });
}
