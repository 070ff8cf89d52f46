//! A run of a program, recorded, and replayed anywhere; and a flight recorder (feature `tape`).
//!
//! # The end of a run
//! A [`Recorder`] on a [`Ring`] in a [`RingFile`] keeps the last moments: which hooks ran, how late and for how long, what
//! was ready, whether the process ended within a hook. It survives `SIGKILL`, costs no system call, and can always be on in
//! production.
//!
//! # A whole run
//! A [`Recording`] has all that has entered the program. A [`Replay`] runs the program again with that, and without the
//! system: on another machine, in another loop, in a debugger, and also after the program was changed, up to the first call
//! that differs.
//!
//! ```
//! use kpt_std::tape::{Recording, Replay};
//! use kpt_std::kpt_core::poller::Poller;
//! use kpt_std::{Builder, EpollPoller, EventLoop, Thread};
//! use std::time::Duration;
//!
//! /// The program, which is the same in a recording and in a replay.
//! fn run<P: Poller>(mut kpt: EventLoop<u64, (), P>) -> Option<u64> {
//!     let roll = |sum: &mut u64, thread: Thread<u64>| {
//!         *sum += kpt_std::tape::value(DICE, || u64::from(std::process::id() % 6 + 1));
//!         if *sum < 20 {
//!             thread.again();
//!         }
//!     };
//!     kpt.threads().add_timer("roll", Duration::from_millis(1), roll, ()).ok()?;
//!     let mut sum = 0;
//!     kpt.run(&mut sum).ok()?;
//!     Some(sum)
//! }
//!
//! const DICE: u32 = 1;
//!
//! # let path = std::env::temp_dir().join(format!("kpt-doc-tape-{}", std::process::id()));
//! let recording = Recording::start(std::fs::File::create(&path)?)?;
//! let sum = run(EventLoop::new()?);
//! recording.stop()?;
//!
//! let replay = Replay::start(&std::fs::read(&path)?)?;
//! assert_eq!(run(Builder::new().build_on(replay.poller()?)?), sum);
//! # assert!(sum.is_some_and(|sum| sum >= 20));
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The recording belongs to the OS thread that started it, so that the types of the application stay as they are.
//!
//! | on the tape | by |
//! |---|---|
//! | times, what was ready, errors of waits, which hooks were called | an [`EventLoop`](crate::EventLoop) that is built after the start; for another loop, [`Taped`] around its poller |
//! | each byte that was received, and each error | [`Stream`](crate::Stream), [`Listener`](crate::Listener), [`Datagram`](crate::Datagram), [`BufferedStream`](crate::BufferedStream) |
//! | a digest of 32 bits of what is sent, which a replay computes again, and how much the system has accepted | the same |
//! | signals | [`Signals`](crate::Signals), of which a replay takes none from the system |
//! | wake-ups by other OS threads | [`Wakeups`](crate::Wakeups) |
//! | the start of tasks, their messages and their end; whether a message was queued | [`Spawner`](crate::Spawner), [`TaskHandle`](crate::TaskHandle); a replay starts no process |
//! | the start and the end of programs, but not what they print | [`ChildProcess`](crate::ChildProcess); a replay starts none |
//! | all else that the application reads, and the results of what it does | [`value`], [`bytes`]; [`opened`] for a file for which threads wait |
//!
//! # What a program must do to be replayed
//! It must call the same, in the same order, whenever it has received the same. Otherwise the replay ends with a
//! [`Divergence`] at the first call that differs. So it must pass through [`value`] or [`bytes`]:
//! - the time of day and other clocks than [`Threads::now`](crate::Threads::now),
//! - random numbers and seeds, the number of the process, addresses of memory,
//! - command line, environment, configuration and other files, limits of the system,
//! - what other OS threads send (a [`Receiver`](crate::Receiver), a mutex, an atomic), where a hook takes it: with
//!   `bytes(LINES, || ..)` around `try_recv`,
//! - what comes through pipes, also those of a `ChildProcess`, and through other files,
//! - what it writes to files, removes or renames, so that a replay does not do it again.
//!
//! The order of a `HashMap` of the standard library is another one in each run: a program that iterates over one and sends
//! what it finds, or adds threads by it, is not replayed. One that only looks up keys is. Logs may differ.
//!
//! A task is a process of its own, which is not recorded; neither are processes that are forked by hand. A replay needs as
//! many descriptors as the recording, and room in its loop for as many threads.
//!
//! # Cost
//! Without a recording, each wait, hook and call of a socket asks whether there is one. A message of a ping-pong on a pair of
//! sockets, which is a wait, a hook, a read and a write, takes 50 instructions more than without the feature: 652 and 602,
//! besides its calls of the system (by callgrind, on x86-64, 2026-11-27).

mod address;
mod here;
mod player;
mod program;
mod recording;
mod replay;
mod ring_file;
mod socket;
mod step;
mod taped;
mod task;
mod value;

pub use kpt_core::tape::{Call, Called, Entry, NoTape, Record, Recorder, Records, Ring};
pub use player::{Divergence, ReplayError};
pub(crate) use program::*;
pub use recording::{Options, Recording};
pub use replay::{Replay, ReplayEnd, ReplayPoller};
pub use ring_file::RingFile;
pub(crate) use socket::*;
pub use taped::Taped;
pub(crate) use taped::{taped, untaped};
pub(crate) use task::*;
pub(crate) use value::{Taken, opening_other, taking};
pub use value::{bytes, opened, value};
