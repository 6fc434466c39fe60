use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

const NONE: Augmentation = Augmentation { crop_padding: 0, flip: false, cutout: None };
const ALL: Augmentation = Augmentation { crop_padding: 2, flip: true, cutout: Some(2) };

/// Images of 4 x 4 pixels whose label is their index and whose bytes differ.
fn images(count: usize) -> Arc<Images> {
    let pixels = (0..count * 16).map(|i| (i * 37 % 251) as u8).collect();
    let labels = (0..count).map(|i| i as u16).collect();
    Arc::new(Images { height: 4, width: 4, channels: 1, pixels, labels })
}

fn normalisation() -> Normalisation {
    Normalisation { mean: vec![100.0], deviation: vec![50.0] }
}

fn loader(augmentation: Augmentation, count: usize, batch_size: usize) -> Loader {
    let indices = (0..count as u32).collect();
    let order = Stream::TrainOrder;
    Loader::new(images(count), normalisation(), augmentation, indices, batch_size, 1, order).unwrap()
}

fn pass(loader: &mut Loader, epoch: u64) -> Vec<Batch> {
    loader.start(epoch);
    let mut batches = Vec::new();
    while let Some(batch) = loader.next_batch() {
        batches.push(batch.clone());
    }
    batches
}

fn labels(batches: &[Batch]) -> Vec<u32> {
    batches.iter().flat_map(|batch| batch.labels.clone()).collect()
}

#[test]
fn a_pass_shows_every_image_once_and_each_epoch_has_its_order() {
    let mut loader = loader(NONE, 60, 10);
    assert_eq!(loader.batches_per_pass(), 6);
    let passes: Vec<Vec<u32>> = (0..3).map(|epoch| labels(&pass(&mut loader, epoch))).collect();
    for labels in &passes {
        let mut sorted = labels.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..60).collect::<Vec<_>>());
    }
    assert!(passes[0] != passes[1] && passes[1] != passes[2] && passes[0] != passes[2]);
}

#[test]
fn a_pass_can_begin_in_its_middle() {
    let whole = pass(&mut loader(ALL, 60, 7), 3);
    for passed in [1, 5, 8, 9] {
        let mut loader = loader(ALL, 60, 7);
        loader.start(2);
        loader.next_batch();
        loader.start_after(3, passed);
        for expected in whole.iter().skip(passed) {
            assert!(loader.next_batch() == Some(expected), "behind {passed} batches");
        }
        assert!(loader.next_batch().is_none());
    }
}

#[test]
fn a_device_augments_as_the_loader_does() {
    let by_host = pass(&mut loader(ALL, 20, 6), 3);
    let by_device = pass(&mut loader(ALL, 20, 6).augmented_by(AugmentedBy::Device), 3);
    assert_eq!(labels(&by_device), labels(&by_host));
    for batch in by_device {
        assert!(batch.images.is_empty() && batch.placements.len() == 6);
        for (place, &label) in batch.placements.iter().zip(&batch.labels) {
            let step = 3 * 20 + u64::from(label);
            let drawn = ALL.draw(4, 4, &mut generator(1, Stream::Augmentation, step));
            let PlacedImage { image, label: told, down, right, flip, cutout } = *place;
            assert_eq!((image, told), (label, label));
            assert_eq!((down as isize, right as isize, flip == 1), (drawn.down, drawn.right, drawn.flip));
            let (row, column, side) = drawn.cutout.unwrap();
            let span = |at: usize| [at.saturating_sub(side / 2), (at + side - side / 2).min(4)];
            assert_eq!(cutout.map(|at| at as usize)[..], [span(row), span(column)].concat());
        }
    }
}

#[test]
fn images_stay_with_their_labels() {
    let images = images(20);
    for batch in pass(&mut loader(NONE, 20, 5), 0) {
        assert_eq!(batch.real, 5);
        for (values, &label) in batch.images.chunks_exact(16).zip(&batch.labels) {
            let expected = images.image(label as usize).iter().map(|&b| (f32::from(b) - 100.0) / 50.0);
            assert_eq!(values, expected.collect::<Vec<_>>());
        }
    }
}

#[test]
fn only_whole_batches_of_training_images() {
    let mut loader = loader(NONE, 23, 5);
    let (first, second) = (labels(&pass(&mut loader, 0)), labels(&pass(&mut loader, 1)));
    assert_eq!((loader.batches_per_pass(), first.len()), (4, 20));
    let left = |labels: &[u32]| (0..23).filter(|i| !labels.contains(i)).collect::<Vec<u32>>();
    assert_eq!(left(&first).len(), 3);
    assert_ne!(left(&first), left(&second));
}

#[test]
fn a_pass_depends_on_its_epoch_and_not_on_those_before() {
    let mut one = loader(ALL, 40, 8);
    let mut two = loader(ALL, 40, 8);
    let expected: Vec<_> = (0..4).map(|epoch| pass(&mut one, epoch)).collect();
    assert_eq!(pass(&mut two, 3), expected[3]);
    // A slow reader gets the same.
    two.start(1);
    for batch in &expected[1] {
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_eq!(two.next_batch(), Some(batch));
    }
    assert_eq!(two.next_batch(), None);
    // And so does one that broke a pass off.
    two.start(0);
    assert_eq!(two.next_batch(), Some(&expected[0][0]));
    assert_eq!(pass(&mut two, 2), expected[2]);
    // The images are varied anew in each epoch.
    let image = |epoch: usize, label: u32| {
        let batches = &expected[epoch];
        let batch = batches.iter().find(|batch| batch.labels.contains(&label)).unwrap();
        let place = batch.labels.iter().position(|&l| l == label).unwrap();
        batch.images[place * 16..][..16].to_vec()
    };
    let changed = (0..40).filter(|&label| image(0, label) != image(1, label)).count();
    assert!(changed > 30, "{changed} of 40 images look different in another epoch");
}

#[test]
fn seed_and_stream_change_the_order() {
    let order = |seed, stream| {
        let indices = (0..50).collect();
        let loader = Loader::new(images(50), normalisation(), NONE, indices, 10, seed, stream);
        labels(&pass(&mut loader.unwrap(), 0))
    };
    let first = order(1, Stream::TrainOrder);
    assert_eq!(first, order(1, Stream::TrainOrder));
    assert_ne!(first, order(2, Stream::TrainOrder));
    assert_ne!(first, order(1, Stream::ValidOrder));
}

#[test]
fn an_evaluation_is_complete_and_in_order() {
    let indices: Vec<u32> = vec![7, 3, 11, 0, 9, 2, 5];
    let mut loader = Loader::sequential(images(12), normalisation(), indices.clone(), 3).unwrap();
    assert_eq!(loader.batches_per_pass(), 3);
    for epoch in 0..2 {
        let batches = pass(&mut loader, epoch);
        assert_eq!(batches.iter().map(|batch| batch.real).collect::<Vec<_>>(), [3, 3, 1]);
        assert_eq!(labels(&batches), [indices.as_slice(), &[7, 7]].concat());
        assert_eq!(batches[2].images[16..32], batches[0].images[..16]);
        let byte = f32::from(images(12).image(5)[3]);
        assert_eq!(batches[2].images[3], (byte - 100.0) / 50.0);
    }
}

#[test]
fn a_batch_may_be_larger_than_an_evaluation() {
    let mut loader = Loader::sequential(images(2), normalisation(), vec![1, 0], 5).unwrap();
    let batches = pass(&mut loader, 0);
    assert_eq!((batches.len(), batches[0].real), (1, 2));
    assert_eq!(batches[0].labels, [1, 0, 1, 1, 1]);
    let mut empty = Loader::sequential(images(2), normalisation(), Vec::new(), 5).unwrap();
    assert_eq!(pass(&mut empty, 0), []);
}

#[test]
fn impossible_batches_are_errors() {
    let new = |augmentation, batch_size| {
        let indices = (0..9).collect();
        Loader::new(images(9), normalisation(), augmentation, indices, batch_size, 1, Stream::TrainOrder)
    };
    let sentence = new(NONE, 10).unwrap_err().to_string();
    assert!(sentence.contains("a batch of 10 images cannot be made of 9"), "{sentence}");
    assert!(matches!(new(NONE, 0), Err(Error::Usage(_))));
    assert!(matches!(new(Augmentation { crop_padding: 4, ..NONE }, 3), Err(Error::Plan(_))));
    let many = Loader::sequential(images(9), normalisation(), vec![0], usize::MAX);
    assert!(matches!(many, Err(Error::Usage(_))));
}

#[test]
fn buffers_are_recycled() {
    let mut loader = loader(ALL, 60, 5);
    let mut places = std::collections::HashSet::new();
    for epoch in 0..3 {
        loader.start(epoch);
        while let Some(batch) = loader.next_batch() {
            places.insert(batch.images.as_ptr() as usize);
        }
    }
    assert!(places.len() <= AHEAD + 1, "{} buffers were used", places.len());
}

#[test]
fn nothing_comes_before_a_start_or_after_the_end() {
    let mut loader = loader(NONE, 10, 5);
    assert_eq!(loader.next_batch(), None);
    assert_eq!(pass(&mut loader, 0).len(), 2);
    assert_eq!(loader.next_batch(), None);
}

#[test]
fn dropping_a_loader_ends_its_thread() {
    /// Tells when the thread has let go of what it owned.
    struct Gone(Arc<AtomicBool>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    for started in 0..4 {
        let gone = Arc::new(AtomicBool::new(false));
        let owned = Gone(gone.clone());
        let fill = move |_, number, batch: &mut Batch| {
            let _ = &owned;
            batch.real = number;
        };
        let mut loader = Loader::spawn(Batch::default(), 100, fill).unwrap();
        if started > 0 {
            loader.start(0);
        }
        for number in 1..started {
            assert_eq!(loader.next_batch().unwrap().real, number - 1);
        }
        assert!(!gone.load(Ordering::SeqCst));
        drop(loader);
        assert!(gone.load(Ordering::SeqCst), "the thread outlives its loader");
    }
}

#[test]
fn a_panic_of_the_thread_reaches_the_reader() {
    let fill = |_, number: usize, _: &mut Batch| assert!(number < 2, "batch 2 cannot be filled");
    let mut loader = Loader::spawn(Batch::default(), 10, fill).unwrap();
    loader.start(0);
    let mut given = 0;
    let panic = catch_unwind(AssertUnwindSafe(|| {
        while loader.next_batch().is_some() {
            given += 1;
        }
    }));
    let panic = panic.expect_err("the pass just ended");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"batch 2 cannot be filled"));
    assert!(given <= 2);
    // Neither asking again nor dropping waits for a thread that is gone.
    assert!(catch_unwind(AssertUnwindSafe(|| loader.start(1))).is_err());
}
