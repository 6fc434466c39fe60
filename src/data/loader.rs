//! Batches, prepared on a thread of their own while the network computes.
//!
//! The reader owns three buffers and sends two of them, each with the number of a batch, to the thread, which
//! fills them in that order and sends them back. So the thread is never more than two batches ahead, has
//! nothing to do once the reader stops asking, and ends when the reader is dropped.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use rand::seq::SliceRandom;

use super::{Augmentation, Images, Normalisation, Placement};
use crate::backend::PlacedImage;
use crate::random::{Stream, generator};
use crate::{Error, Result};

/// How many batches are prepared ahead of the one in use.
const AHEAD: usize = 2;

/// Where the images of a batch are augmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AugmentedBy {
    /// By the loader.
    Host,
    /// By a device that has the data set in its memory.
    Device,
}

/// Inputs of a network with their classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Normalised values as `[image][row][column][channel]`; none where the device augments.
    pub images: Vec<f32>,
    /// The images as a device augments them; none where the host does.
    pub placements: Vec<PlacedImage>,
    /// The class of each image.
    pub labels: Vec<u32>,
    /// How many images, from the first on, count. The others only fill up the last batch of an evaluation.
    pub real: usize,
}

/// Passes over some images of a data set, batch by batch.
///
/// [`start`](Loader::start) begins a pass, [`next_batch`](Loader::next_batch) gives its batches. A pass depends
/// on seed, order and epoch alone, so one can be repeated after a resume without those before it, or from
/// its middle on.
#[derive(Debug)]
pub struct Loader {
    /// None only while the loader is dropped: without a sender the thread ends.
    requests: Option<SyncSender<Request>>,
    ready: Receiver<Batch>,
    worker: Option<JoinHandle<()>>,
    current: Batch,
    spare: Vec<Batch>,
    batches: usize,
    epoch: u64,
    requested: usize,
    returned: usize,
}

/// A buffer and what to put into it.
struct Request {
    epoch: u64,
    number: usize,
    batch: Batch,
}

impl Loader {
    /// Training passes over `indices` in an order that is fresh in each epoch, augmented, in whole batches
    /// only: the few images left over come in other passes.
    ///
    /// Loaders over disjoint indices may share a seed: the augmentation of an image depends on its index.
    ///
    /// # Panics
    /// When an index is not one of an image, or the constants are not those of the images' channels.
    pub fn new(
        images: Arc<Images>,
        normalisation: Normalisation,
        augmentation: Augmentation,
        indices: Vec<u32>,
        batch_size: usize,
        seed: u64,
        order: Stream,
    ) -> Result<Loader> {
        augmentation.check(images.height, images.width)?;
        if batch_size > indices.len() {
            let count = indices.len();
            return Err(Error::Usage(format!("a batch of {batch_size} images cannot be made of {count}")));
        }
        let batches = indices.len().checked_div(batch_size).unwrap_or(0);
        let order = Order::Fresh { seed, stream: order, augmentation };
        Loader::with(Filler::new(images, normalisation, indices, order), batch_size, batches)
    }

    /// Evaluation passes over `indices` as they are: in this order, without augmentation, and complete. The
    /// last batch is filled up with the first image of the pass; [`Batch::real`] is the number that count.
    ///
    /// # Panics
    /// When an index is not one of an image, or the constants are not those of the images' channels.
    pub fn sequential(
        images: Arc<Images>,
        normalisation: Normalisation,
        indices: Vec<u32>,
        batch_size: usize,
    ) -> Result<Loader> {
        let batches = indices.len().div_ceil(batch_size.max(1));
        Loader::with(Filler::new(images, normalisation, indices, Order::Given), batch_size, batches)
    }

    fn with(mut filler: Filler, batch_size: usize, batches: usize) -> Result<Loader> {
        let values = batch_size.checked_mul(filler.images.size());
        let Some(values) = values.filter(|&values| values > 0) else {
            return Err(Error::Usage(format!("a batch cannot have {batch_size} images")));
        };
        let images = vec![0.0; values];
        let batch = Batch { images, placements: Vec::new(), labels: vec![0; batch_size], real: 0 };
        Loader::spawn(batch, batches, move |epoch, number, batch| filler.fill(epoch, number, batch))
    }

    /// A loader whose thread fills buffers like `batch` with `fill`.
    fn spawn(
        batch: Batch,
        batches: usize,
        mut fill: impl FnMut(u64, usize, &mut Batch) + Send + 'static,
    ) -> Result<Loader> {
        let (requests, orders) = sync_channel::<Request>(AHEAD);
        let (done, ready) = sync_channel(AHEAD);
        let work = move || {
            for Request { epoch, number, mut batch } in orders {
                fill(epoch, number, &mut batch);
                if done.send(batch).is_err() {
                    return;
                }
            }
        };
        let worker = Builder::new().name("loader".into()).spawn(work).map_err(|error| {
            Error::Device(format!("the thread that prepares batches cannot be started: {error}"))
        })?;
        Ok(Loader {
            requests: Some(requests),
            ready,
            worker: Some(worker),
            spare: vec![batch.clone(); AHEAD],
            current: batch,
            batches,
            epoch: 0,
            requested: 0,
            returned: 0,
        })
    }

    /// The same batches, augmented there.
    pub fn augmented_by(mut self, place: AugmentedBy) -> Loader {
        if place == AugmentedBy::Device {
            for batch in self.spare.iter_mut().chain([&mut self.current]) {
                batch.images = Vec::new();
                batch.placements = vec![PlacedImage::default(); batch.labels.len()];
            }
        }
        self
    }

    /// How many batches a pass has.
    pub fn batches_per_pass(&self) -> usize {
        self.batches
    }

    /// Begins the pass of an epoch; what is left of the pass before is dropped.
    pub fn start(&mut self, epoch: u64) {
        self.start_after(epoch, 0);
    }

    /// Begins the pass of an epoch after so many of its batches.
    pub fn start_after(&mut self, epoch: u64, batches: usize) {
        while self.returned < self.requested {
            let stale = self.receive();
            self.spare.push(stale);
        }
        let passed = batches.min(self.batches);
        (self.epoch, self.requested, self.returned) = (epoch, passed, passed);
        self.ask();
    }

    /// The next batch of the pass; none at its end, or when none was started.
    ///
    /// # Panics
    /// When the thread that prepares batches panicked.
    pub fn next_batch(&mut self) -> Option<&Batch> {
        if self.returned == self.requested {
            return None;
        }
        let batch = self.receive();
        self.spare.push(std::mem::replace(&mut self.current, batch));
        self.ask();
        Some(&self.current)
    }

    /// Sends the spare buffers out, as long as the pass has batches for them.
    fn ask(&mut self) {
        while self.requested < self.batches
            && let Some(batch) = self.spare.pop()
        {
            let request = Request { epoch: self.epoch, number: self.requested, batch };
            let sent = self.requests.as_ref().is_some_and(|requests| requests.send(request).is_ok());
            if !sent {
                self.pass_on_the_panic();
            }
            self.requested += 1;
        }
    }

    /// Waits for the next buffer to come back.
    fn receive(&mut self) -> Batch {
        match self.ready.recv() {
            Ok(batch) => {
                self.returned += 1;
                batch
            }
            Err(_) => self.pass_on_the_panic(),
        }
    }

    /// The thread only ends before the loader when it panicked; an early end of the pass would hide that.
    fn pass_on_the_panic(&mut self) -> ! {
        match self.worker.take().map(JoinHandle::join) {
            Some(Err(panic)) => resume_unwind(panic),
            _ => panic!("the thread that prepares batches has ended"),
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // At most AHEAD requests are still open, and the way back has room for all of them.
        self.requests = None;
        if let Some(worker) = self.worker.take() {
            // A panic of the thread has no one left to reach.
            let _ = worker.join();
        }
    }
}

/// In which order a pass visits its images, and whether it shows them as they are.
#[derive(Clone, Copy)]
enum Order {
    Given,
    Fresh { seed: u64, stream: Stream, augmentation: Augmentation },
}

/// What the thread knows.
struct Filler {
    images: Arc<Images>,
    normalisation: Normalisation,
    indices: Vec<u32>,
    order: Order,
    /// The images of a pass in their order, and the epoch that this is the order of.
    pass: Vec<u32>,
    pass_epoch: Option<u64>,
}

impl Filler {
    fn new(images: Arc<Images>, normalisation: Normalisation, indices: Vec<u32>, order: Order) -> Filler {
        let count = images.count();
        // Here rather than on the thread, where the reader learns of it only with its first batch.
        assert!(
            indices.iter().all(|&index| (index as usize) < count),
            "an index is not one of {count} images"
        );
        let channels = images.channels;
        assert!(normalisation.mean.len() == channels && normalisation.deviation.len() == channels);
        Filler { images, normalisation, pass: indices.clone(), indices, order, pass_epoch: None }
    }

    /// Fills a buffer with batch `number` of the pass of an epoch.
    fn fill(&mut self, epoch: u64, number: usize, batch: &mut Batch) {
        self.arrange(epoch);
        let (size, batch_size) = (self.images.size(), batch.labels.len());
        let start = number * batch_size;
        batch.real = batch_size.min(self.pass.len() - start);
        for place in 0..batch_size {
            let position = if place < batch.real { start + place } else { 0 };
            let index = self.pass[position] as usize;
            let placement = self.placement(epoch, index);
            match batch.placements.get_mut(place) {
                Some(placed) => *placed = placement.on_device(&self.images, index),
                None => {
                    let out = &mut batch.images[place * size..(place + 1) * size];
                    placement.apply(&self.images, index, &self.normalisation, out);
                }
            }
            batch.labels[place] = u32::from(self.images.labels[index]);
        }
    }

    /// Puts the images of a pass in order, unless they are.
    fn arrange(&mut self, epoch: u64) {
        if self.pass_epoch == Some(epoch) {
            return;
        }
        if let Order::Fresh { seed, stream, .. } = self.order {
            // From the given order, not from that of the pass before: an epoch must not depend on others.
            self.pass.copy_from_slice(&self.indices);
            self.pass.shuffle(&mut generator(seed, stream, epoch));
        }
        self.pass_epoch = Some(epoch);
    }

    /// How to show an image in an epoch. The address holds the image, not its position in the pass, so that
    /// loaders over different images of a set never draw the same numbers.
    fn placement(&self, epoch: u64, index: usize) -> Placement {
        let Images { height, width, .. } = *self.images;
        match self.order {
            Order::Given => Placement::default(),
            Order::Fresh { seed, augmentation, .. } => {
                let step = epoch * self.images.count() as u64 + index as u64;
                augmentation.draw(height, width, &mut generator(seed, Stream::Augmentation, step))
            }
        }
    }
}

#[cfg(test)]
mod tests;
