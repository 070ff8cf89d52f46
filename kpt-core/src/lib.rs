#![doc = include_str!("../README.md")]
#![no_std]
// Tests may do what the crate may not.
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

#[cfg(test)]
extern crate std;

// Vocabulary: what is waited for, when, and what can go wrong.
mod error;
mod id;
mod source;
mod time;
mod when;

// Tables: where threads are. Not generic over the application's types.
mod head;
mod interest;
mod link;
mod list;
mod slots;
mod sorted;
mod sources;
mod tables;
mod timers;
mod verify;
mod wheel;

// The loop: who lends the tables, what hooks see, what a turn is.
mod event_loop;
mod lines;
mod poller;
mod storage;
mod thread;
mod threads;

// Telling people.
mod decimal;
mod dump;
mod log;

pub mod sim;

pub use dump::Dump;
pub use error::{AddError, AgainError, Exit, Stale};
pub use event_loop::{EventLoop, FixedLoop};
pub use id::{Index, ThreadId};
pub use lines::{Board, LinePoller, Lines};
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
