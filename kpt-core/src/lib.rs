//! Pseudo threads without an operating system.
//!
//! WIP

#![no_std]

#[cfg(test)]
extern crate std;

mod decimal;
mod dump;
mod error;
mod event_loop;
mod id;
mod link;
mod list;
mod log;
mod poller;
mod slots;
mod sorted;
mod source;
mod sources;
mod storage;
mod tables;
mod thread;
mod threads;
mod time;
mod timers;
mod wheel;
mod when;

pub mod sim;

pub use dump::Dump;
pub use error::{AddError, AgainError, Exit, Stale};
pub use event_loop::{EventLoop, FixedLoop};
pub use id::{Index, ThreadId};
pub use link::Link;
pub use poller::{Poller, Ready, Unwatchable};
pub use sorted::SortedList;
pub use source::{Interest, Kind, Readiness, Source};
pub use storage::{Allocate, Body, FixedStorage, Parts, Storage};
pub use thread::Thread;
pub use threads::{CancelledSource, Hook, Threads};
pub use time::Instant;
pub use timers::Timers;
pub use wheel::Wheel;
pub use when::When;
