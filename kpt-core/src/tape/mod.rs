//! What enters a loop, recorded: for the last moments before a crash, and for running it once more elsewhere.
//!
//! - [`Recorder`] is a poller around any other one. It puts on a tape what that one says, and which hooks are called.
//! - [`Ring`] is a tape in fixed memory, which keeps the last entries: a flight recorder. It needs no allocation and no
//!   operating system, and what lies in its memory is valid at every moment.
//! - [`Records`] reads a ring, or a tape of `kpt_std::tape`, which is complete, and can be replayed there.
//!
//! All numbers in the format are of the same size on all machines, so that a microcontroller's tape is read on a PC.

mod code;
mod entry;
mod recorder;
mod records;
mod ring;
#[cfg(test)]
mod tests;

pub use code::{Decoder, Encoder, Output, TAPE, VERSION};
pub use entry::{Call, Called, Entry, Seconds};
pub use recorder::{Recorder, Tape};
pub use records::{NoTape, Record, Records};
pub use ring::{RING, Ring};
