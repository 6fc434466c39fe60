//! Dropout: masks that are computed and masks that are given.

use darts::backend::*;
use rand::RngExt;

use crate::check;
use crate::common::{Call, Case};

fn dropout(case: &mut Case) -> Dropout {
    let channels = case.channels();
    let shape = case.shape(channels, 40_000);
    let kept = case.choose(&[1.0, 0.9, 0.3]);
    let key = dropout_key(kept, case.random.random()).map(|element| element as f32);
    let key = case.span_of(&key);
    let given = case.one_in(3).then(|| {
        let given: Vec<f32> = (0..shape.len()).map(|_| f32::from(u8::from(case.one_in(2)))).collect();
        case.span_of(&given)
    });
    let mask = DropoutMask { key, number: case.choose(&[0, 1, 70_000]), given };
    let input = case.operand(shape);
    Dropout { input, output: case.result_slot("output", shape.len(), 1), mask }
}

#[test]
fn dropout_forward() {
    check(81, |case| Call::DropoutForward(dropout(case)));
}

#[test]
fn dropout_backward() {
    check(82, |case| {
        let operator = dropout(case);
        case.forget_results();
        let elements = operator.output.len;
        let gradient =
            DropoutGradient { output: case.slot(elements), input: case.target("input", elements, 1) };
        Call::DropoutBackward(operator, gradient)
    });
}
