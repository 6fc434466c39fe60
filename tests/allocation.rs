//! A step allocates nothing: everything was laid out when the network was recorded.

use darts::backend::Shape;
use darts::backend::cpu::Cpu;
use darts::search::plan::{Order, Plan};
use darts::search::{BatchView, Bilevel, BilevelSettings};
use darts::space::{NetworkShape, SupernetShape, published};
use darts::train::{Trainer, TrainerSettings};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocations of 50 steps; scratch memory grows in the one before.
fn allocations(pool: &rayon::ThreadPool, mut step: impl FnMut() + Send) -> usize {
    pool.install(|| {
        step();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..50).for_each(|_| step());
        ALLOCATIONS.load(Ordering::Relaxed) - before
    })
}

#[test]
fn a_step_allocates_nothing() {
    for (order, threads) in [(Order::First, 1), (Order::First, 2), (Order::Second, 2)] {
        let shape = SupernetShape {
            images: Shape::new(8, 8, 8, 3),
            classes: 10,
            init_channels: 4,
            cells: 3,
            nodes: 2,
        };
        let settings = BilevelSettings::from(&Plan { order, ..Plan::paper() });
        let cpu = Cpu::new(threads).unwrap();
        let pool = cpu.thread_pool();
        let mut bilevel = Bilevel::new(cpu, shape, settings, 1).unwrap();
        let images: Vec<f32> = (0..shape.images.len()).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
        let labels = [0, 1, 2, 3, 4, 5, 6, 7];
        let batch = BatchView { images: &images, labels: &labels };
        let allocated = allocations(&pool, || {
            bilevel.step(batch, batch, 0.025).unwrap();
        });
        assert_eq!(allocated, 0, "{order:?} order, threads: {threads}");
    }
    for threads in [1, 2] {
        let images = Shape::new(4, 32, 32, 3);
        let shape = NetworkShape {
            images,
            classes: 10,
            init_channels: 4,
            cells: 4,
            auxiliary: Some(0.4),
            drop_path: true,
            official_inplace_relu: false,
        };
        let cpu = Cpu::new(threads).unwrap();
        let pool = cpu.thread_pool();
        let genotype = published::find("darts-v1").unwrap().genotype;
        let settings = TrainerSettings::from(&darts::train::plan::Plan::paper());
        let mut trainer = Trainer::new(cpu, &genotype, shape, settings, 1).unwrap();
        let pixels: Vec<f32> = (0..images.len()).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
        let batch = BatchView { images: &pixels, labels: &[0, 1, 2, 3] };
        let allocated = allocations(&pool, || {
            trainer.step(batch, 0.025, 0.2).unwrap();
        });
        assert_eq!(allocated, 0, "training, threads: {threads}");
    }
}
