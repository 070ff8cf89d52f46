//! Pseudo threads for Linux.

mod clock;
mod heap;
mod select;
mod sys;

pub use heap::{HeapStorage, HostWheel};
pub use kpt_core::*;
pub use select::SelectPoller;

use std::os::fd::{AsFd, AsRawFd};

/// A loop on select, with tables on the heap.
pub type EventLoop<S, A = ()> = kpt_core::EventLoop<SelectPoller, S, A, HeapStorage<S, A>>;

/// The source of a descriptor's events.
pub fn source(fd: &impl AsFd) -> Source {
    Source::new(fd.as_fd().as_raw_fd() as u32)
}
