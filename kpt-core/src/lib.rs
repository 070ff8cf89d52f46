#![doc = include_str!("../README.md")]
#![no_std]
// These lints protect the crate from panics. Tests may panic.
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

// Vocabulary: sources, times, ids and errors.
mod error;
mod id;
mod source;
mod time;
mod when;

// The interface to the platform.
pub mod poller;

// The types that hooks use.
mod row;
mod tables;
mod thread;
mod threads;

// The bounds on hooks and time between two waits.
mod budget;

// The loops: a small one, which is the specification, and a large one, which is fast.
#[cfg(feature = "large")]
pub mod large;
mod small;

// Output: logs, `dump` and `Debug`.
mod debug;
mod decimal;
mod dump;
mod log;

#[cfg(all(test, feature = "log"))]
mod log_tests;
#[cfg(test)]
mod retired_tests;

pub mod board;
pub mod sim;
pub mod tape;

pub use dump::{Dump, DumpWith};
pub use error::{AddError, AgainError, Exit, Next, RescheduleError, Stale};
pub use id::ThreadId;
pub use small::FixedLoop;
pub use source::{Interest, Kind, Readiness, Source};
pub use thread::Thread;
pub use threads::{CancelledSource, Hook, Threads};
pub use time::Instant;
pub use when::When;
