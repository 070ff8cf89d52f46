//! What enters a loop, recorded: to see the last moments before a crash, or to run the program again elsewhere.
//!
//! - [`Recorder`] is a poller around any other one. It records what that one returns, and which hooks are called.
//! - [`Ring`] is a tape in fixed memory that keeps the last entries: a flight recorder. It needs no allocation and no
//!   operating system, and its memory is valid at every moment.
//! - [`Records`] reads a ring, or a tape of `kpt_std::tape`, which has the whole run, and can be replayed there.
//!
//! The format is the same on all machines, so that the tape of a microcontroller is read on a PC.

mod code;
mod entry;
mod recorder;
mod records;
mod ring;
#[cfg(test)]
mod tests;

pub use code::{Encoder, LONGEST_NAME, Output, TAPE, VERSION};
pub use entry::{Call, Called, Entry, Seconds};
pub use recorder::{Recorder, Tape};
pub use records::{NoTape, Record, Records};
pub use ring::{RING, Ring};
