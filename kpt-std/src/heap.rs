//! The memory of a large loop, outside of the loop.

use std::{fmt, io};

use kpt_core::large::{Body, Link, Parts, Storage, Wheel};

use crate::sys::{LoopPages, Paged, Pages};

/// The timer structure of [`HeapStorage`]: a wheel of 4 levels with 1,024 slots each. It spans 12.7 days; timers beyond
/// that are in a list. It takes 32 KiB, and moves a timer at most four times.
pub type HostTimers = Wheel<1024, 4>;

/// The largest number of threads of a loop.
const MOST_THREADS: usize =
    if cfg!(target_pointer_width = "64") { (1 << 24) - 1 } else { u16::MAX as usize };

/// Memory for the threads of a loop, whose number is chosen at run time. Allocated once: on 64-bit targets, 64 bytes
/// per thread plus the argument. The system makes a page resident when the first thread in it is added. Tables of more
/// than 2 MiB use huge pages.
pub struct HeapStorage<S, A>(LoopPages<S, A>);

impl<S, A> HeapStorage<S, A> {
    /// Allocates memory for `threads` threads, at most 16,777,215 (65,535 on 32-bit targets).
    ///
    /// # Errors
    /// Returns the system's error if there is not enough memory.
    pub fn new(threads: usize) -> io::Result<Self> {
        let threads = threads.min(MOST_THREADS);
        Ok(Self(LoopPages::new(threads)?))
    }
}

impl<S, A> Storage<S, A> for HeapStorage<S, A> {
    type Links = Pages<Link>;
    type Bodies = Pages<Body<S, A>>;
    type Timers = Paged<HostTimers>;

    fn into_parts(self) -> Parts<Self::Links, Self::Bodies, Self::Timers> {
        let LoopPages { links, bodies, timers } = self.0;
        Parts { links, bodies, timers }
    }
}

impl<S, A> fmt::Debug for HeapStorage<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapStorage").field("threads", &self.0.links.len()).finish_non_exhaustive()
    }
}
