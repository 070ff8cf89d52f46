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

// Queues: which threads wait for what, in order; short lists, or long ones with a table of sources and a wheel of timers.
mod large_queues;
mod link;
mod list;
mod queues;
mod small_queues;
mod sources;
mod timers;
mod wheel;

// Tables: every operation on threads that does not depend on the application's types.
mod head;
mod tables;
mod verify;

// The loop: of what its tables are made, what hooks see, what a turn is.
mod event_loop;
mod poller;
mod storage;
mod thread;
mod threads;

// Telling people.
mod decimal;
mod dump;
mod log;

pub mod board;
pub mod sim;

#[cfg(test)]
mod retired_tests;

pub use board::{Board, LinePoller, Lines};
pub use dump::Dump;
pub use error::{AddError, AgainError, Exit, Stale};
pub use event_loop::{EventLoop, FixedLoop};
pub use id::{Index, ThreadId};
pub use large_queues::LargeQueues;
pub use link::{Link, Place};
pub use poller::{Poller, Ready, Unwatchable};
pub use queues::Queues;
pub use small_queues::SmallQueues;
pub use source::{Interest, Kind, Readiness, Source};
pub use storage::{Allocate, Body, FixedStorage, Parts, Storage};
pub use thread::Thread;
pub use threads::{CancelledSource, Hook, Threads};
pub use time::Instant;
pub use timers::Timers;
pub use wheel::Wheel;
pub use when::When;
