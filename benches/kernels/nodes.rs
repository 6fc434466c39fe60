//! Sums of a node: mixed, and of a derived cell.

use darts::backend::*;

use crate::layout::Layout;
use crate::timer::{Device, Timer};

/// A node of three edges.
pub fn mixes<B: Device>(device: &mut Timer<B>) {
    const EDGES: usize = 3;
    for shape in device.shapes() {
        let mut layout = Layout::default();
        let branches: Vec<_> = (0..EDGES * 7)
            .map(|index| {
                let identity = index % 7 == 2;
                let norm = (!identity).then(|| layout.norm(shape.c as usize));
                MixedBranch { data: layout.slot(shape.len()), norm, weight: layout.span(1), gate: None }
            })
            .collect();
        let op = Mixed {
            output: layout.slot(shape.len()),
            shape,
            workspace: layout.span((branches.len() + 1) * shape.c as usize),
            branches,
        };
        let gradient = MixedGradient {
            output: layout.slot(shape.len()),
            total: layout.span(shape.c as usize),
            sum: layout.span(1),
            branches: op
                .branches
                .iter()
                .map(|branch| MixedBranchGradient {
                    products: layout.span(shape.c as usize),
                    weight: layout.span(1),
                    identity: branch.norm.is_none().then(|| layout.target(shape)),
                })
                .collect(),
        };
        let values = (EDGES * 7 + 1) * shape.len();
        let bytes = device.activations(values);
        device.time("mixed_forward", shape, bytes, &layout, |backend| backend.mixed_forward(&op));
        let bytes = device.activations(values + EDGES * shape.len());
        device.time("mixed_backward", shape, bytes, &layout, |backend| {
            backend.mixed_backward(&op, &gradient);
        });
    }
}

/// A node of two branches, each behind a batch norm and with the factors of drop path.
pub fn node_sums<B: Device>(device: &mut Timer<B>) {
    const BRANCHES: usize = 2;
    for shape in device.shapes() {
        let mut layout = Layout::default();
        let branches = (0..BRANCHES).map(|_| NodeSumBranch {
            input: layout.operand(shape),
            factors: Some(layout.span(shape.n as usize)),
        });
        let op = NodeSum { branches: branches.collect(), output: layout.slot(shape.len()), shape };
        let output = layout.slot(shape.len());
        let branches = (0..BRANCHES).map(|_| NodeSumBranchGradient {
            input: layout.target(shape),
            sums: Some(layout.sums(shape.c as usize)),
        });
        let gradient = NodeSumGradient { branches: branches.collect(), output };
        let bytes = device.activations((BRANCHES + 1) * shape.len());
        device.time("node_sum_forward", shape, bytes, &layout, |backend| backend.node_sum_forward(&op));
        let bytes = device.activations((2 * BRANCHES + 1) * shape.len());
        device.time("node_sum_backward", shape, bytes, &layout, |backend| {
            backend.node_sum_backward(&op, &gradient);
        });
    }
}

/// A node of two edges that computes a quarter of the channels, and the slice of a state that it computes them from.
pub fn partial<B: Device>(device: &mut Timer<B>) {
    const EDGES: usize = 2;
    const GROUPS: usize = 4;
    for shape in device.shapes() {
        let mut layout = Layout::default();
        let output_shape = Shape { c: shape.c / GROUPS as u32, ..shape };
        let (part, passing) = (output_shape.len(), shape.len() - output_shape.len());
        let slice = ChannelSlice { input: layout.operand(shape), output: layout.slot(part), output_shape };
        let gradient = ChannelSliceGradient { output: layout.slot(part), input: layout.target(shape) };
        let bytes = device.activations(2 * part);
        device.time("channel_slice_forward", shape, bytes, &layout, |backend| {
            backend.channel_slice_forward(&slice);
        });
        let bytes = device.activations(part + shape.len());
        device.time("channel_slice_backward", shape, bytes, &layout, |backend| {
            backend.channel_slice_backward(&slice, &gradient);
        });
        let sources =
            (0..EDGES).map(|_| BypassSource { input: layout.operand(shape), weight: layout.span(1) });
        let sources = sources.collect();
        let (mixed, output) = (layout.slot(part), layout.slot(shape.len()));
        let op = Bypass { mixed, sources, output, shape, groups: GROUPS };
        let (output, mixed) = (layout.slot(shape.len()), layout.target(output_shape));
        let sources = (0..EDGES)
            .map(|_| BypassSourceGradient { input: layout.target(shape), weight: layout.span(1) })
            .collect();
        let gradient = BypassGradient { output, mixed, sources };
        let bytes = device.activations(EDGES * passing + part + shape.len());
        device.time("bypass_forward", shape, bytes, &layout, |backend| backend.bypass_forward(&op));
        let bytes = device.activations(EDGES * (passing + shape.len()) + part + shape.len());
        device.time("bypass_backward", shape, bytes, &layout, |backend| {
            backend.bypass_backward(&op, &gradient);
        });
    }
}

/// Dropout of a normalised state.
pub fn dropouts<B: Device>(device: &mut Timer<B>) {
    for shape in device.shapes() {
        let mut layout = Layout::default();
        let mask = DropoutMask { key: layout.span(DROPOUT_KEY), number: 1, given: None };
        let op = Dropout { input: layout.operand(shape), output: layout.slot(shape.len()), mask };
        let gradient = DropoutGradient { output: op.output, input: layout.target(shape) };
        let bytes = device.activations(2 * shape.len());
        device.time("dropout_forward", shape, bytes, &layout, |backend| backend.dropout_forward(&op));
        device.time("dropout_backward", shape, bytes, &layout, |backend| {
            backend.dropout_backward(&op, &gradient);
        });
    }
}
