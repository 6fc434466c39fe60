//! A step allocates nothing: everything was laid out when the network was recorded.

use darts::backend::Shape;
use darts::backend::cpu::Cpu;
use darts::epochs::BatchView;
use darts::method::published::all;
use darts::plan::PlanTable;
use darts::plan::search::{Order, Plan};
use darts::search::{Bilevel, BilevelSettings};
use darts::space::{NetworkShape, SupernetShape, published};
use darts::train::{Trainer, TrainerSettings};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
/// The thread that allocates first. It is the test harness's, which only waits meanwhile, but writes a line about a
/// test that takes a minute.
static HARNESS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static HERE: u8 = const { 0 };
}

/// Counts an allocation of any thread but the harness's.
fn count() {
    // No two threads have this address.
    let thread = HERE.with(|here| std::ptr::from_ref(here).addr());
    let first = HARNESS.compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed);
    ALLOCATIONS.fetch_add(usize::from(first.is_err_and(|harness| harness != thread)), Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
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

/// The allocations of 50 steps, of all threads that take part; what grows to its size grows in the step before.
fn allocations(mut step: impl FnMut() + Send) -> usize {
    let counted = || {
        step();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..50).for_each(|_| step());
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    // The harness runs a lone test on its own thread where it has no other.
    std::thread::scope(|scope| scope.spawn(counted).join().unwrap())
}

#[test]
fn a_step_allocates_nothing() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(0)))), 50, "the counter counts");
    let orders = [(Order::First, 1), (Order::First, 2), (Order::Second, 2), (Order::Extrapolated, 2)];
    let darts = orders.map(|(order, threads)| (Plan { order, ..Plan::paper() }, threads));
    let published = all().iter().map(|method| {
        let text = format!("[method]\nname = {:?}", method.name);
        (Plan::from_toml(&text, Path::new("plan.toml")).unwrap(), 2)
    });
    let skips = [("0", "0.4"), ("1 to 0", "0"), ("1 to 0", "0.4")].map(|(auxiliary, dropout)| {
        let (auxiliary_skip, skip_dropout) = (auxiliary.into(), dropout.into());
        (Plan { auxiliary_skip, skip_dropout, ..Plan::paper() }, 2)
    });
    for (plan, threads) in darts.into_iter().chain(published).chain(skips) {
        // In a search of 50 epochs the alphas may be frozen at first.
        let plan = Plan { frozen_epochs: 0, ..plan };
        let settings = BilevelSettings::from(&plan);
        let shape = SupernetShape {
            space: plan.space().unwrap(),
            images: Shape::new(8, 8, 8, 3),
            classes: 10,
            init_channels: 4,
            cells: 3,
            nodes: 2,
            edges: settings.method.edges(),
        };
        let cpu = Cpu::new(threads).unwrap();
        let pixels = shape.images.len();
        let mut bilevel = Bilevel::new(cpu, shape, settings, 1).unwrap();
        let images: Vec<f32> = (0..pixels).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
        let labels = [0, 1, 2, 3, 4, 5, 6, 7];
        let batch = BatchView { images: &images, labels: &labels };
        let mut active = bilevel.mixture.active.clone();
        let allocated = allocations(|| {
            active.rotate_left(1);
            active[0] = !active[0];
            bilevel.tape.set_active(&active).unwrap();
            bilevel.step(batch, batch, 0.025).unwrap();
        });
        assert_eq!(allocated, 0, "{}, {} order, threads: {threads}", plan.method, plan.order);
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
            class_weights: false,
        };
        let cpu = Cpu::new(threads).unwrap();
        let genotype = published::find("darts-v1").unwrap().genotype;
        let settings = TrainerSettings::from(&darts::plan::train::Plan::paper());
        let mut trainer = Trainer::new(cpu, &genotype, shape, settings, 1).unwrap();
        let pixels: Vec<f32> = (0..images.len()).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
        let batch = BatchView { images: &pixels, labels: &[0, 1, 2, 3] };
        let allocated = allocations(|| {
            trainer.step(batch, 0.025, 0.2).unwrap();
        });
        assert_eq!(allocated, 0, "training, threads: {threads}");
    }
}
