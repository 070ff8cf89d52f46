//! A world in virtual time, to test an application in: hooks and state as they are, no OS, no sleeping.
//!
//! - [`World`] is what is outside: the time, and what can be read from and written to. The application's state may hold
//!   a reference to it, to change it from hooks.
//! - [`SimPoller`] is a poller on a world. When nothing is ready, it jumps to the next moment at which something is.
//!   Time does not pass otherwise: a hook that takes time says so with [`World::advance`], and one that leaves its
//!   source ready and goes on is called again and again in the same microsecond.
//! - [`Faults`] is a poller around any poller that does all that a poller is allowed to do and seldom does.

mod faults;
mod map;
mod poller;
mod world;

pub use faults::Faults;
pub use poller::{Idle, SimPoller};
pub use world::{World, WorldFull};
