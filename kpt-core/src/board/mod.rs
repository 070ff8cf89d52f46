//! A microcontroller without an operating system: what interrupt handlers and the board give to a loop.

mod lines;
mod poller;

pub use lines::Lines;
pub use poller::{Board, LinePoller};
