//! The large loop, for any number of threads.
//!
//! Lists, a table of sources and a timer structure make every operation O(1) on average. The large loop does the same
//! as the [small loop](crate::FixedLoop), which is its specification.

// Queues: which threads wait for what, in order.
mod link;
mod list;
mod queues;
mod shortcuts;
mod sources;
mod timers;
mod vacant;
mod wheel;

// Tables: every operation on threads that does not depend on the application's types.
mod found;
mod head;
mod registry;
mod tables;
mod verify;

// The loop: its memory, the view that hooks have of it, and the steps of a turn.
mod event_loop;
mod storage;
mod view;

pub use event_loop::{EventLoop, LargeLoop};
pub use link::Link;
pub use storage::{Body, FixedStorage, Parts, Storage};
pub(crate) use view::View;
pub use wheel::Wheel;
