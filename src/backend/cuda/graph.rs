//! Sequences of launches, recorded once and launched as one: CUDA graphs.

use cudarc::driver::CudaGraph;
use cudarc::driver::sys::{CUgraphInstantiate_flags as Flags, CUstreamCaptureMode as CaptureMode};

use super::context::{Context, State, failure};
use super::geometry::MemoryPlace;
use super::{Cuda, Replay};
use crate::{Error, Result};

/// `0` launches every kernel by itself.
const SWITCH: &str = "DARTS_CUDA_GRAPH";

/// What was recorded so far.
pub struct Graphs {
    wanted: bool,
    recorded: Vec<Recorded>,
}

/// A graph; its kernels hold the addresses of the time when they were recorded.
struct Recorded {
    key: Replay,
    place: MemoryPlace,
    kernels: usize,
    graph: CudaGraph,
}

// SAFETY: graphs may be used from any thread as long as no two use one at a time (CUDA driver API, "Graph object thread
// safety"); they are reached through `&mut Cuda` only, and launched after cudarc made their context current.
unsafe impl Send for Recorded {}

impl Graphs {
    /// None yet, and none ever where the environment says so.
    pub fn new() -> Self {
        let wanted = std::env::var(SWITCH).map_or(true, |value| value != "0");
        Graphs { wanted, recorded: Vec::new() }
    }

    /// Forgets all: memory was laid out anew.
    pub fn clear(&mut self) {
        self.recorded.clear();
    }
}

impl Cuda {
    /// Makes the calls of `work`, from a graph if that can be.
    pub(super) fn replay_recorded(&mut self, key: Replay, work: &mut dyn FnMut(&mut Self)) {
        self.settle();
        if !self.graphs.wanted || self.context.status().is_err() {
            return self.plainly(work);
        }
        if self.context.state == State::DryRun {
            let launches = self.work.get().launches;
            self.plainly(work);
            let counted = self.work.get();
            return self.work.set(super::Work { launches: launches + 1, ..counted });
        }
        let place = self.memory.origin();
        let found = self.graphs.recorded.iter().position(|graph| graph.key == key && graph.place == place);
        let index = found.map_or_else(|| self.record(key, work), Ok);
        match index {
            Ok(index) => self.launch_graph(index),
            // The driver cannot record; it can launch.
            Err(reason) => {
                eprintln!("note: {reason}; every kernel is launched by itself, which is slower");
                self.graphs.wanted = false;
                self.plainly(work);
            }
        }
    }

    fn plainly(&mut self, work: &mut dyn FnMut(&mut Self)) {
        work(self);
        self.settle();
    }

    fn launch_graph(&mut self, index: usize) {
        let recorded = &self.graphs.recorded[index];
        let counted = self.work.get();
        let (kernels, launches) = (counted.kernels + recorded.kernels, counted.launches + 1);
        self.work.set(super::Work { kernels, launches });
        self.context.check("the GPU cannot run a recorded graph", recorded.graph.launch());
    }

    /// Records a graph; nothing runs meanwhile.
    fn record(&mut self, key: Replay, work: &mut dyn FnMut(&mut Self)) -> Result<usize> {
        let before = self.work.get();
        // Other threads may do as they like: each has its own stream.
        begin(&self.context)?;
        self.context.state = State::Recording;
        self.plainly(work);
        self.context.state = State::Running;
        let graph = self.context.stream().end_capture(Flags(0));
        let kernels = self.work.replace(before).kernels - before.kernels;
        if let Some(reason) = self.context.recover() {
            return Err(Error::Device(reason));
        }
        let graph = graph.map_err(|error| failure("the GPU cannot record a graph", error))?;
        let graph = graph.ok_or_else(|| Error::Device("the GPU recorded no graph".into()))?;
        let place = self.memory.origin();
        self.graphs.recorded.retain(|old| old.key != key);
        self.graphs.recorded.push(Recorded { key, place, kernels, graph });
        Ok(self.graphs.recorded.len() - 1)
    }
}

fn begin(context: &Context) -> Result<()> {
    let mode = CaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    context.stream().begin_capture(mode).map_err(|error| failure("the GPU cannot record a graph", error))
}
