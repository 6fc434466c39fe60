//! How many kernels a step takes, and what the host launches for it.

use darts::backend::gpu::Precision;
use darts::backend::{Gradients, Mode, Shape, VectorKernels, Work, cuda};
use darts::data::AugmentedBy;
use darts::epochs::{BatchView, Budget};
use darts::plan::search::{Order, Plan};
use darts::search::{Bilevel, BilevelSettings};
use darts::space::{EdgeShape, Space, SupernetShape};

use crate::backend;

/// Kernels of a first-order iteration: two passes forward and backward, and both optimisers. 2,645 were counted before
/// batch norm took the partial sums of its producers itself.
const MOST: usize = 2000;
/// What the host launches for them: a graph for each of the two passes, and gradient descent with the norm of the
/// gradient.
const LAUNCHES: usize = 2 + 3;

fn supernet(
    images: Shape,
    init_channels: usize,
    cells: usize,
    nodes: usize,
    order: Order,
) -> Option<Bilevel<cuda::Cuda>> {
    let shape = SupernetShape {
        space: Space::darts(),
        images,
        classes: 10,
        init_channels,
        cells,
        nodes,
        edges: EdgeShape::default(),
    };
    let settings = BilevelSettings::from(&Plan { order, ..Plan::paper() });
    Some(Bilevel::record(backend(Precision::F32)?, shape, settings).unwrap())
}

#[test]
fn an_iteration_of_the_paper_takes_few_launches() {
    let Some(mut bilevel) = supernet(Shape::new(64, 32, 32, 3), 16, 8, 4, Order::First) else { return };
    let Work { kernels, launches } = bilevel.dry_run(AugmentedBy::Host).unwrap();
    println!("an iteration of the paper's search, first order: {kernels} kernels, {launches} launches");
    assert!(kernels <= MOST, "{kernels} kernels, more than {MOST}");
    if std::env::var("DARTS_CUDA_GRAPH").is_ok_and(|value| value == "0") {
        assert_eq!(launches, kernels);
    } else {
        assert_eq!(launches, LAUNCHES);
    }
}

/// A supernet that is fast to compute, its memory taken, with a batch.
fn small(order: Order) -> Option<(Bilevel<cuda::Cuda>, Work, Vec<f32>)> {
    let images = Shape::new(2, 8, 8, 3);
    let mut bilevel = supernet(images, 2, 3, 2, order)?;
    let measured = bilevel.dry_run(AugmentedBy::Host).unwrap();
    bilevel.start(None, 1).unwrap();
    Some((bilevel, measured, (0..images.len()).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect()))
}

#[test]
fn a_dry_run_counts_what_a_step_launches_and_reserves_what_it_takes() {
    for order in [Order::First, Order::Second] {
        let Some((mut bilevel, measured, pixels)) = small(order) else { return };
        let batch = BatchView { images: &pixels, labels: &[3, 7] };
        let demand = bilevel.tape.demand().unwrap();
        for step in 1..=3 {
            let before = cuda::work(bilevel.tape.backend());
            bilevel.step(batch, batch, 0.025).unwrap();
            let after = cuda::work(bilevel.tape.backend());
            let counted =
                Work { kernels: after.kernels - before.kernels, launches: after.launches - before.launches };
            assert_eq!(counted, measured, "{order:?} order, step {step}");
            assert_eq!(bilevel.tape.demand().unwrap(), demand, "{order:?} order: memory grew in step {step}");
        }
        bilevel.evaluate(batch, 1).unwrap();
        assert_eq!(bilevel.tape.demand().unwrap(), demand, "{order:?} order: memory grew in an evaluation");
    }
}

#[test]
fn a_recorded_graph_gives_the_bytes_of_plain_launches() {
    let Some((mut bilevel, _, pixels)) = small(Order::First) else { return };
    let batch = BatchView { images: &pixels, labels: &[3, 7] };
    let spans =
        [bilevel.supernet.spans.gradients, bilevel.supernet.mixing.gradient, bilevel.supernet.loss.result];
    let bits = |bilevel: &Bilevel<cuda::Cuda>| -> Vec<u32> {
        spans.iter().flat_map(|&span| bilevel.tape.read(span)).map(f32::to_bits).collect()
    };
    for wanted in [Gradients::All, Gradients::Inputs] {
        let mode = Mode::TrainKeepRunning;
        let mut replays = Vec::new();
        for _ in 0..2 {
            spans.iter().for_each(|&span| bilevel.tape.backend().fill(span, f64::NAN));
            bilevel.differentiate(batch, mode, wanted).unwrap();
            replays.push(bits(&bilevel));
        }
        spans.iter().for_each(|&span| bilevel.tape.backend().fill(span, f64::NAN));
        bilevel.tape.time(mode, wanted);
        assert!(replays[0] == bits(&bilevel) && replays[1] == replays[0], "gradients: {wanted:?}");
        let known = replays[0].iter().filter(|bits| !f32::from_bits(**bits).is_nan()).count();
        assert!(known > 80, "{known} numbers were computed");
    }
    bilevel.step(batch, batch, 0.025).unwrap();
    let digest = bits(&bilevel).iter().fold(0u64, |digest, &bits| digest.rotate_left(5) ^ u64::from(bits));
    println!("digest graph {digest:016x}");
}
