//! A step allocates nothing: everything was laid out when the network was recorded.

use darts::backend::Shape;
use darts::backend::cpu::Cpu;
use darts::search::plan::{Order, Plan};
use darts::search::{BatchView, Bilevel, BilevelSettings};
use darts::space::SupernetShape;
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
        let allocations = pool.install(|| {
            // Scratch memory grows in the first step.
            bilevel.step(batch, batch, 0.025).unwrap();
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for _ in 0..50 {
                bilevel.step(batch, batch, 0.025).unwrap();
            }
            ALLOCATIONS.load(Ordering::Relaxed) - before
        });
        assert_eq!(allocations, 0, "{order:?} order, threads: {threads}");
    }
}
