#![doc = include_str!("../README.md")]
#![deny(missing_debug_implementations)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "kpt-std works on Linux only; kpt-core has no operating system below it and works anywhere"
);

mod ask;
mod channel;
mod clock;
mod epoll;
mod event;
mod event_loop;
mod heap;
mod log;
mod net;
mod process;
mod select;
#[cfg(feature = "signals")]
mod signals;
#[cfg(feature = "sim")]
pub mod sim;
pub mod supervisor;
mod sys;
#[cfg(feature = "tape")]
pub mod tape;
#[cfg(not(feature = "tape"))]
#[path = "tape/off.rs"]
mod tape;
mod task;
mod waker;

pub use channel::{Receiver, Sender, channel};
pub use epoll::EpollPoller;
pub use event_loop::{Builder, EventLoop};
pub use heap::{HeapStorage, HostTimers};
pub use kpt_core;
pub use kpt_core::{
    AddError, AgainError, CancelledSource, Dump, DumpWith, Exit, Hook, Instant, Interest, Kind,
    Next, Readiness, RescheduleError, Source, Stale, Thread, ThreadId, Threads, When,
};
pub use net::{Address, BufferedStream, Datagram, Listener, Output, OutputFull, Stream};
pub use process::ChildProcess;
pub use select::SelectPoller;
#[cfg(feature = "signals")]
pub use signals::{Signal, Signals};
pub use task::{
    Child, Limit, Message, Parent, Passed, ProtocolError, SendError, SendWithError, SignalError,
    Spawner, StartError, StopStep, TaskConfig, TaskEvent, TaskExit, TaskHandle, TaskStatus, Tasks,
};
#[cfg(feature = "postcard")]
pub use task::{Malformed, SendValueError, decode};
pub use waker::{Waker, Wakeups, waker};

use std::os::fd::{AsFd, AsRawFd};

/// Returns the [`Source`] of a descriptor: a socket, a pipe, a terminal, or anything else that epoll accepts. Regular
/// files are always ready.
///
/// For a raw descriptor, use `Source::new(fd as u32)`. A [`Source`] is only a number: it does not keep the descriptor
/// open, and the loop does not own it. Cancel the threads of a descriptor, or let them end, **before** the descriptor
/// is closed:
///
/// ```
/// # use kpt_std::{EventLoop, source};
/// # let mut kpt = EventLoop::<()>::new()?;
/// # let (socket, _other) = std::os::unix::net::UnixStream::pair()?;
/// # kpt.threads().add_read("socket", source(&socket), |_, _| {}, ())?;
/// kpt.threads().cancel_source(source(&socket));
/// drop(socket);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A hook whose argument owns the descriptor calls [`Thread::end`] before it drops it.
///
/// If a descriptor is closed while a thread waits for it, no other thread is harmed. The thread runs with
/// [`Readiness::ERROR`]: in the next wait with [`SelectPoller`], and within 10 seconds of the loop's next activity with
/// [`EpollPoller`]. If another file has got the same number by then, the thread waits for that file instead. Another
/// thread may already wait for that file: adding a second reader to it fails with [`AddError::Taken`].
///
/// Use non-blocking descriptors: readiness may be spurious, and a hook that blocks delays all other threads. kpt does
/// not set `O_NONBLOCK` itself, since the flag is shared with every process that has the same file open. Writing to a
/// socket or pipe without a reader raises `SIGPIPE`. Rust programs ignore that signal by default, so the write fails
/// with `BrokenPipe`. kpt does not change how signals are handled.
pub fn source(fd: &impl AsFd) -> Source {
    // A borrowed descriptor is not negative.
    Source::new(fd.as_fd().as_raw_fd() as u32)
}
