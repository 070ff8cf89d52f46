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
mod event_loop;
mod heap;
mod log;
mod net;
mod process;
mod select;
#[cfg(feature = "signals")]
mod signals;
mod sys;
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
    Child, Parent, ProtocolError, Rung, SendError, Spawner, StartError, TaskConfig, TaskEvent,
    TaskExit, TaskHandle, TaskStatus, Tasks,
};
#[cfg(feature = "postcard")]
pub use task::{Malformed, SendValueError, decode};
pub use waker::{Waker, Wakeups, waker};

use std::os::fd::{AsFd, AsRawFd};

/// The source of a descriptor's events: of a socket, a pipe, a terminal, anything that epoll takes, and regular files, which are always ready.
///
/// For a raw number, `Source::new(fd as u32)`. The loop does not own the descriptor, and a [`Source`] does not keep it
/// open: it is a number. Cancel the threads of a descriptor, or let them end, **before** it is closed:
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
/// If a descriptor is closed while a thread waits on it, nothing else is harmed: the thread runs with
/// [`Readiness::ERROR`], in the next wait with [`SelectPoller`] and within 10 seconds of the loop's next activity with
/// [`EpollPoller`], unless another file has got the same number by then. In that case it waits for that file, and
/// runs when that one is ready. The number may also be that of a file which another thread waits for; adding a second
/// reader to it is [`AddError::Taken`].
///
/// Use non-blocking descriptors: readiness may be spurious, and a hook that blocks makes all others wait. kpt sets no
/// flags itself, since `O_NONBLOCK` is shared with every process that has the same file open. Writing to a socket or
/// pipe whose reader has gone raises `SIGPIPE`; Rust programs ignore that signal from the start, so that the write says
/// `BrokenPipe`. kpt leaves signals as they are.
pub fn source(fd: &impl AsFd) -> Source {
    // A descriptor that is borrowed is not negative.
    Source::new(fd.as_fd().as_raw_fd() as u32)
}
