//! A microcontroller without an operating system: what interrupt handlers and the board give to a loop.

mod clock;
mod lines;
#[cfg(feature = "critical-section")]
mod mailbox;
mod poller;

pub use clock::{Clock, Counter};
pub use lines::Lines;
#[cfg(feature = "critical-section")]
pub use mailbox::{Buffer, Mailbox};
pub use poller::{Board, LinePoller};
