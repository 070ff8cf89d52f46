//! A run of a program, recorded, and replayed anywhere; and a flight recorder (feature `tape`).
//!
//! # The end of a run
//! A [`Recorder`] on a [`Ring`] in a [`RingFile`] keeps the last moments: which hooks ran, how late and for how long,
//! what was ready, whether the process ended within a hook. It survives `SIGKILL`, costs no system call, and can be on
//! in production always.
//!
//! # A whole run
//! A [`Recording`] has all that has entered the program: times, what was ready, and through kpt's streams, listeners and
//! datagrams each byte that was received. A [`Replay`] is the same without a system around it: on another machine, in
//! another loop, in a debugger, and with a program that has been changed, up to the first call that differs.
//!
//! The recording belongs to the OS thread that started it, so that the types of the application stay as they are: what
//! records is a [`Recorder`] around the poller with the tape [`ThisThread`], and all sockets that are opened on that OS
//! thread. The application's other sources are [`value`] and [`opened`].
//!
//! Not on a tape: tasks and their messages, signals, and all that the application reads otherwise (files, environment,
//! the time of day). A program that has the same state whenever it has received the same is replayed; one that iterates
//! over a `HashMap` of the standard library, whose order is another in each run, is not.
//!
//! What is sent is on the tape as a digest of 32 bits, and not the bytes: a replay computes them anew.

mod here;
mod player;
mod recording;
mod replay;
mod ring_file;
mod socket;
mod value;

pub use kpt_core::tape::{Call, Called, Entry, NoTape, Record, Recorder, Records, Ring};
pub use player::{Divergence, ReplayError};
pub use recording::{Options, Recording, ThisThread};
pub use replay::{Replay, ReplayEnd, ReplayPoller};
pub use ring_file::RingFile;
pub(crate) use socket::*;
pub use value::{opened, value};
