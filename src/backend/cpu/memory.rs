//! Memory as kernels see it: runs of numbers that several threads write in disjoint parts.

use memmap2::MmapMut;

use super::{Slot, Span};
use crate::machine::available_memory;
use crate::{Error, Result};

/// Zeroed, page-aligned numbers that keep their place until they must grow.
pub struct Buffer<T> {
    pages: Option<MmapMut>,
    len: usize,
    kind: std::marker::PhantomData<T>,
}

/// Numbers whose zero is all bits zero.
pub trait Plain: Copy {}
impl Plain for f32 {}
impl Plain for f64 {}

impl<T: Plain> Buffer<T> {
    /// No memory.
    pub fn new() -> Self {
        Buffer { pages: None, len: 0, kind: std::marker::PhantomData }
    }

    /// Fresh zeros.
    ///
    /// # Errors
    /// The system has no such memory.
    pub fn zeroed(len: usize) -> Result<Self> {
        if len == 0 {
            return Ok(Self::new());
        }
        let bytes = len * size_of::<T>();
        let pages = MmapMut::map_anon(bytes);
        let pages = pages.map_err(|error| Error::Device(format!("no {bytes} bytes of memory: {error}")))?;
        // Gigabytes in pages of 4 KiB miss the translation cache all the time. Where large pages are not to be
        // had, small ones serve.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Ok(Buffer { pages: Some(pages), len, kind: std::marker::PhantomData })
    }

    /// At least `len` numbers, whose values are of no interest; allocates only on first use.
    pub fn at_least(&mut self, len: usize) -> Area<T> {
        if self.len < len {
            *self = Self::zeroed(len).unwrap_or_else(|error| panic!("scratch memory: {error}"));
        }
        self.area()
    }

    /// All of it.
    pub fn area(&mut self) -> Area<T> {
        Area {
            start: self.start(),
            #[cfg(debug_assertions)]
            len: self.len,
        }
    }

    fn start(&self) -> *mut T {
        self.pages.as_ref().map_or(std::ptr::dangling_mut(), |pages| pages.as_ptr().cast_mut().cast())
    }

    /// All of it, for reading.
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: the pages hold `len` numbers, zeroed at least; no area writes while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }

    /// All of it, for writing.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: the pages hold `len` numbers, zeroed at least, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len) }
    }
}

/// Refuses tensors that the machine has no memory for: the system would grant them and end the process later.
pub fn check_available(bytes: usize) -> Result<()> {
    match available_memory() {
        Some(available) if bytes > available => {
            let gibibytes = |bytes: usize| bytes as f64 / f64::from(1 << 30);
            Err(Error::Device(format!(
                "the tensors take {:.1} GiB, and this machine has {:.1} GiB of memory to spare; lower --batch-size, \
                 --init-channels or --cells",
                gibibytes(bytes),
                gibibytes(available)
            )))
        }
        _ => Ok(()),
    }
}

/// A run of numbers that kernels read and write without a borrow: threads share it and touch disjoint
/// parts, as the tape and the list of work units guarantee. Debug builds check every bound.
#[derive(Debug)]
pub struct Area<T = f32> {
    start: *mut T,
    #[cfg(debug_assertions)]
    len: usize,
}

impl<T> Clone for Area<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Area<T> {}

// SAFETY: an area is an address; its users promise (see `pointer`) that no two threads touch one element
// of which one is a write.
unsafe impl<T: Send> Send for Area<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Send> Sync for Area<T> {}

impl<T: Copy> Area<T> {
    /// The elements of a slice, for as long as its owner keeps it.
    #[inline(always)]
    pub fn of(slice: &mut [T]) -> Self {
        Area {
            start: slice.as_mut_ptr(),
            #[cfg(debug_assertions)]
            len: slice.len(),
        }
    }

    /// Address of `len` elements from element `at`.
    #[inline(always)]
    pub fn pointer(self, at: usize, len: usize) -> *mut T {
        #[cfg(debug_assertions)]
        assert!(at + len <= self.len, "elements {at}+{len} of an area of {}", self.len);
        let _ = len;
        self.start.wrapping_add(at)
    }

    /// Address of element `at`, which need not exist.
    #[inline(always)]
    pub fn address(self, at: usize) -> *mut T {
        self.start.wrapping_add(at)
    }

    /// What follows the first `at` elements.
    #[inline(always)]
    pub fn from(self, at: usize) -> Self {
        Area {
            start: self.pointer(at, 0),
            #[cfg(debug_assertions)]
            len: self.len - at,
        }
    }

    /// `len` elements from element `at`, and nothing beyond.
    #[inline(always)]
    pub fn part(self, at: usize, len: usize) -> Self {
        Area {
            start: self.pointer(at, len),
            #[cfg(debug_assertions)]
            len,
        }
    }

    /// Element `at`.
    ///
    /// # Safety
    /// It lies in the area and no thread writes it meanwhile.
    #[inline(always)]
    pub unsafe fn get(self, at: usize) -> T {
        // SAFETY: the caller's promise; checked by `pointer` in debug builds.
        unsafe { *self.pointer(at, 1) }
    }

    /// Sets element `at`.
    ///
    /// # Safety
    /// It lies in the area and no other thread touches it meanwhile.
    #[inline(always)]
    pub unsafe fn set(self, at: usize, value: T) {
        // SAFETY: the caller's promise; checked by `pointer` in debug builds.
        unsafe { *self.pointer(at, 1) = value }
    }

    /// Elements `at..at + len`.
    ///
    /// # Safety
    /// They lie in the area and nobody writes them while the slice lives.
    #[inline(always)]
    pub unsafe fn slice<'a>(self, at: usize, len: usize) -> &'a [T] {
        // SAFETY: the caller's promise; checked by `pointer` in debug builds.
        unsafe { std::slice::from_raw_parts(self.pointer(at, len), len) }
    }

    /// Elements `at..at + len`, for writing.
    ///
    /// # Safety
    /// They lie in the area and nobody else touches them while the slice lives.
    #[inline(always)]
    pub unsafe fn slice_mut<'a>(self, at: usize, len: usize) -> &'a mut [T] {
        // SAFETY: the caller's promise; checked by `pointer` in debug builds.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(at, len), len) }
    }
}

/// The two memories of the device, as kernels see them.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Addressed by slots.
    pub activations: Area,
    /// Addressed by spans.
    pub state: Area,
}

impl Memory {
    /// The elements of a slot.
    #[inline(always)]
    pub fn slot(self, slot: Slot) -> Area {
        self.activations.part(slot.offset, slot.len)
    }

    /// The elements of a span.
    #[inline(always)]
    pub fn span(self, span: Span) -> Area {
        self.state.part(span.offset, span.len)
    }

    /// Whether work behind this gate is done.
    #[inline(always)]
    pub fn open(self, gate: Option<Span>) -> bool {
        // SAFETY: a gate is an element of the state, and no kernel writes it.
        gate.is_none_or(|gate| unsafe { self.span(gate).get(0) } != 0.0)
    }
}

/// Cuts a thread's scratch memory into pieces that each start on a cache line.
pub struct Carver {
    rest: Area,
}

/// Elements that a piece of `len` takes: whole lines and one vector more, because a vector may be read
/// or written across the end.
pub const fn piece(len: usize) -> usize {
    len.next_multiple_of(16) + 16
}

impl Carver {
    /// All of `area` is to be had.
    pub fn new(area: Area) -> Self {
        Carver { rest: area }
    }

    /// The next piece, with the slack that [`piece`] counts.
    pub fn take(&mut self, len: usize) -> Area {
        let taken = self.rest.part(0, piece(len));
        self.rest = self.rest.from(piece(len));
        taken
    }
}
