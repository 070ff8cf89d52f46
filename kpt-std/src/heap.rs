//! Tables on the heap.

use std::{fmt, io};

use kpt_core::large::{Body, Link, Parts, Storage, Wheel};

use crate::sys::Pages;

/// The timers of a loop on a host: a wheel of 4 levels with 1,024 slots, which span 12.7 days before timers are kept in
/// the far list. Its 32 KiB are there once, and a timer is moved at most four times in its life.
pub type HostTimers = Wheel<1024, 4>;

/// The most threads of a loop.
const MOST_THREADS: usize =
    if cfg!(target_pointer_width = "64") { (1 << 24) - 1 } else { u16::MAX as usize };

/// Memory for a number of threads that is known when the program runs: allocated once, 64 bytes and an argument each on
/// a 64-bit machine. The system makes a page of it resident when the first thread in it is added;
/// in tables of more than 2 MiB, these are huge pages.
pub struct HeapStorage<S, A> {
    links: Pages<Link>,
    bodies: Pages<Body<S, A>>,
}

impl<S, A> HeapStorage<S, A> {
    /// Returns memory for `threads` threads; a loop uses it for at most 16,777,215.
    ///
    /// # Errors
    /// Returns the system's error if there is not so much.
    pub fn new(threads: usize) -> io::Result<Self> {
        let threads = threads.min(MOST_THREADS);
        Ok(Self { links: Pages::vacant_links(threads)?, bodies: Pages::vacant_bodies(threads)? })
    }
}

impl<S, A> Storage<S, A> for HeapStorage<S, A> {
    type Links = Pages<Link>;
    type Bodies = Pages<Body<S, A>>;
    type Timers = HostTimers;

    fn into_parts(self) -> Parts<Self::Links, Self::Bodies, HostTimers> {
        Parts { links: self.links, bodies: self.bodies, timers: HostTimers::new() }
    }
}

impl<S, A> fmt::Debug for HeapStorage<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapStorage").field("threads", &self.links.len()).finish_non_exhaustive()
    }
}
