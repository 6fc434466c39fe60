//! How many launches an iteration of the paper's search takes. The number depends on the cells alone, so small images do.

use darts::backend::gpu::Precision;
use darts::backend::{Shape, cuda};
use darts::search::plan::{Order, Plan};
use darts::search::{BatchView, Bilevel, BilevelSettings};
use darts::space::SupernetShape;

use crate::backend;

/// First order: two passes forward and backward, and both optimisers. 2,645 were counted; 2,000 are the goal, which takes
/// one launch for an operator's moments and its batch norm, or a captured graph.
const MOST: u64 = 2700;

#[test]
fn an_iteration_of_the_paper_takes_few_launches() {
    let Some(backend) = backend(Precision::F32) else { return };
    let images = Shape::new(2, 8, 8, 3);
    let shape = SupernetShape { images, classes: 10, init_channels: 2, cells: 8, nodes: 4 };
    let settings = BilevelSettings::from(&Plan { order: Order::First, ..Plan::paper() });
    let mut bilevel = Bilevel::new(backend, shape, settings, 1).unwrap();
    let pixels: Vec<f32> = (0..images.len()).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
    let batch = BatchView { images: &pixels, labels: &[3, 7] };
    let before = cuda::launches(bilevel.tape.backend());
    bilevel.step(batch, batch, 0.025).unwrap();
    let launches = cuda::launches(bilevel.tape.backend()) - before;
    println!("an iteration of the paper's search, first order: {launches} launches");
    assert!(launches <= MOST, "{launches} launches, more than {MOST}");
}
