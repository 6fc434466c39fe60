//! The comparison itself: what it accepts and what it refuses, in each precision.

use darts::backend::gpu::Precision;
use darts::backend::reference::Reference;
use darts::backend::*;

use crate::common::{Call, Case, Outcome, rounded};
use crate::size;

/// A case, its call, and what that gives in f64 and in a storage type.
struct Trial {
    precision: Precision,
    case: Case,
    call: Call,
    exact: Outcome<f64>,
    plain: Outcome<f32>,
}

impl Trial {
    fn new(precision: Precision, build: impl Fn(&mut Case) -> Call) -> Self {
        let mut case = Case::new(50, 0);
        let call = build(&mut case);
        let case = case.stored(precision);
        let exact = case.outcome(&mut Reference::<f64>::new(), &call);
        let plain = case.rounded_outcome(&call, precision);
        case.judge_results(precision, &exact, &plain).unwrap();
        case.judge_rest(&plain).unwrap();
        Trial { precision, case, call, exact, plain }
    }

    /// Changes the outcome, which must be refused.
    fn refuses(&self, what: &str, change: impl FnOnce(&mut Outcome<f32>)) {
        let mut found = self.plain.clone();
        change(&mut found);
        let judged = self.case.judge_results(self.precision, &self.exact, &found);
        assert!(judged.is_err(), "{:?}: {what} passes", self.precision);
    }

    /// Changes the operands, so that the call gives something else, which must be refused.
    fn refuses_of(&self, what: &str, change: impl FnOnce(&mut Case)) {
        let mut other = self.case.clone();
        change(&mut other);
        let given = other.rounded_outcome(&self.call, self.precision);
        self.refuses(what, |found| *found = given);
    }

    /// Faults in a result that any of them may have.
    fn refuses_faults(&self, of: impl Fn(&mut Outcome<f32>) -> &mut [f32]) {
        self.refuses("a result of zeros", |found| of(found).fill(0.0));
        self.refuses("a number that is none", |found| of(found)[1] = f32::NAN);
        self.refuses("one wrong element", |found| {
            let result = of(found);
            let place = |a: &usize, b: &usize| result[*a].abs().total_cmp(&result[*b].abs());
            let smallest = (0..result.len()).min_by(place).unwrap();
            let largest = (0..result.len()).max_by(place).unwrap();
            result[largest] = result[smallest];
        });
    }
}

/// A product of 64 pixels with a matrix of 16 columns, without statistics, which are not looked at here.
fn product(case: &mut Case, depth: usize) -> Pointwise {
    let (shape, output_shape) = (Shape::new(1, 8, 8, depth), Shape::new(1, 8, 8, 16));
    Pointwise {
        inputs: vec![Operand { data: case.slot(shape.len()), shape, norm: None }],
        weights: vec![case.span(depth * 16, 1.0 / size(depth))],
        statistics: case.workspace(32),
        output: case.result_slot("output", output_shape.len(), rounded(depth)),
        output_shape,
        gate: None,
    }
}

#[test]
fn faults_of_a_product_are_refused() {
    for (precision, depth) in
        Precision::ALL.into_iter().flat_map(|precision| [(precision, 16), (precision, 1024)])
    {
        let trial = Trial::new(precision, |case| Call::PointwiseForward(product(case, depth)));
        let Call::PointwiseForward(op) = &trial.call else { unreachable!() };
        trial.refuses_faults(|found| &mut found.activations[op.output.range()]);
        trial.refuses_of("a product with two depths exchanged", |case| {
            let weights = &mut case.state[op.weights[0].range()];
            let (first, second) = weights.split_at_mut(7 * 16);
            first[3 * 16..4 * 16].swap_with_slice(&mut second[..16]);
        });
    }
}

/// The gradient of a 16 x 16 matrix over this many pixels, with output gradients of random signs: else the sum would grow as fast
/// as the pixels, and one of a thousand would be less than bf16 can tell.
fn gradient(case: &mut Case, pixels: usize) -> Call {
    let shape = Shape::new(1, 8, pixels / 8, 16);
    let [ones, zeros] = [1.0, 0.0].map(|value| case.span_of(&[value; 16]));
    let terms = vec![Term { gradient: case.slot(shape.len()), factor: ones }];
    let operator = Pointwise {
        inputs: vec![Operand { data: case.slot(shape.len()), shape, norm: None }],
        weights: vec![case.span(256, 0.25)],
        statistics: case.workspace(32),
        output: case.slot(shape.len()),
        output_shape: shape,
        gate: None,
    };
    let gradient = PointwiseGradient {
        output: UnstoredGradient { terms, raw: case.slot(shape.len()), raw_factor: zeros, constant: zeros },
        weights: vec![case.result_span("weights", 256, rounded(pixels), size(pixels))],
        inputs: vec![case.target("input", shape.len(), rounded(16))],
    };
    Call::PointwiseBackward(operator, gradient, Gradients::All)
}

#[test]
fn faults_of_a_sum_over_pixels_are_refused() {
    for (precision, pixels) in
        Precision::ALL.into_iter().flat_map(|precision| [(precision, 16), (precision, 1024)])
    {
        let trial = Trial::new(precision, |case| gradient(case, pixels));
        let Call::PointwiseBackward(op, gradient, _) = &trial.call else { unreachable!() };
        trial.refuses_faults(|found| &mut found.state[gradient.weights[0].range()]);
        trial.refuses_faults(|found| &mut found.activations[gradient.inputs[0].slot.range()]);
        // What is zero takes no part. The gradient of the input, which would tell too, is left as it was.
        let mut other = trial.case.clone();
        let input = op.inputs[0].data;
        other.activations[input.range()][5 * 16..6 * 16].fill(0.0);
        let given = other.rounded_outcome(&trial.call, precision);
        trial.refuses("a sum without one of its rows", |found| {
            found.state[gradient.weights[0].range()]
                .copy_from_slice(&given.state[gradient.weights[0].range()]);
        });
    }
}

/// Sums that stay in f32 are held to f32 in every storage type.
#[test]
fn faults_of_channel_sums_are_refused() {
    for precision in Precision::ALL {
        let trial = Trial::new(precision, |case| {
            let shape = Shape::new(2, 16, 16, 8);
            Call::BatchNormReduce(BatchNormReduce {
                gradient: case.slot(shape.len()),
                input: case.operand(shape),
                sums: Sums {
                    total: case.result_span("total", 8, 512, size(512)),
                    products: case.result_span("products", 8, 512, size(512)),
                },
                gate: None,
            })
        });
        let Call::BatchNormReduce(op) = &trial.call else { unreachable!() };
        trial.refuses_faults(|found| &mut found.state[op.sums.total.range()]);
        trial.refuses_faults(|found| &mut found.state[op.sums.products.range()]);
        trial.refuses_of("sums without one of their rows", |case| {
            case.activations[op.gradient.range()][..8].fill(0.0);
        });
        trial.refuses("a sum that is off by a thousandth", |found| {
            let total = &mut found.state[op.sums.total.range()];
            let largest = total.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
            *largest *= 1.001;
        });
    }
}

#[test]
fn a_change_beside_the_results_is_refused() {
    let trial = Trial::new(Precision::Bf16, |case| Call::PointwiseForward(product(case, 16)));
    let judge = |change: fn(&mut Outcome<f32>)| {
        let mut found = trial.plain.clone();
        change(&mut found);
        trial.case.judge_rest(&found)
    };
    judge(|found| found.activations[3] = 0.0).unwrap_err();
    judge(|found| found.state[3] = 0.0).unwrap_err();
}
