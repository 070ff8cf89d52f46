//! What sockets call where there are no tapes: nothing, so that nothing of it is in the program.

use std::convert::Infallible;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use kpt_core::Source;

use crate::{
    Address, ChildProcess, Message, SendError, SignalError, StartError, TaskEvent, TaskExit,
    TaskHandle,
};

/// A socket of a replay. There is none.
#[derive(Debug)]
pub struct Replayed(Infallible);

impl Replayed {
    pub fn address(&self) -> Address {
        match self.0 {}
    }

    pub fn accept(&self) -> io::Result<Self> {
        match self.0 {}
    }

    pub fn is_connected(&self) -> io::Result<bool> {
        match self.0 {}
    }

    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self.0 {}
    }

    pub fn shutdown(&self, _: Shutdown) -> io::Result<()> {
        match self.0 {}
    }

    pub fn set_nodelay(&self, _: bool) -> io::Result<()> {
        match self.0 {}
    }

    pub fn set_backlog(&self) -> io::Result<()> {
        match self.0 {}
    }

    pub fn write_parts(&self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn recv_from(&self, _: &mut [u8]) -> io::Result<(usize, Address)> {
        match self.0 {}
    }

    pub fn send_to(&self, _: &[u8], _: &Address) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Read for &Replayed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl Write for &Replayed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

impl AsFd for Replayed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

impl From<Replayed> for OwnedFd {
    fn from(socket: Replayed) -> Self {
        match socket.0 {}
    }
}

#[inline(always)]
pub fn opening<T: AsFd>(
    _: Opens,
    _: impl FnOnce() -> Address,
    real: impl FnOnce() -> io::Result<T>,
    _: impl FnOnce(&T) -> Address,
    _: impl FnOnce(Replayed) -> T,
) -> io::Result<T> {
    real()
}

/// How a socket is opened.
pub enum Opens {
    Bind,
    Connect,
}

#[inline(always)]
pub fn note_accepted<T: AsFd>(_: &impl AsFd, _: &io::Result<T>, _: impl FnOnce(&T) -> Address) {}

#[inline(always)]
pub fn note_read(_: &impl AsFd, _: &[u8], _: &io::Result<usize>) {}

#[inline(always)]
pub fn note_read_parts(_: &impl AsFd, _: &[IoSliceMut<'_>], _: &io::Result<usize>) {}

#[inline(always)]
pub fn note_written(_: &impl AsFd, _: &[u8], _: &io::Result<usize>) {}

#[inline(always)]
pub fn note_written_parts(_: &impl AsFd, _: &[IoSlice<'_>], _: &io::Result<usize>) {}

#[inline(always)]
pub fn note_received(_: &impl AsFd, _: &[u8], _: &io::Result<(usize, Address)>) {}

#[inline(always)]
pub fn note_sent(_: &impl AsFd, _: &[u8], _: &Address, _: &io::Result<usize>) {}

#[inline(always)]
pub fn note_connected(_: &impl AsFd, _: &io::Result<bool>) {}

#[inline(always)]
pub fn note_error(_: &impl AsFd, _: &io::Result<Option<io::Error>>) {}

#[inline(always)]
pub fn note_shutdown(_: &impl AsFd, _: Shutdown, _: &io::Result<()>) {}

#[inline(always)]
pub fn note_nodelay(_: &impl AsFd, _: bool, _: &io::Result<()>) {}

#[inline(always)]
pub fn note_backlog(_: &impl AsFd, _: &io::Result<()>) {}

/// The poller of an event loop.
pub type Taped<P> = P;

#[inline(always)]
pub fn taped<P>(inner: P) -> Taped<P> {
    inner
}

#[inline(always)]
pub fn untaped<P>(poller: &Taped<P>) -> &P {
    poller
}

#[inline(always)]
pub fn opening_other<T>(
    _: &str,
    open: impl FnOnce() -> io::Result<T>,
    _: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    open()
}

#[inline(always)]
pub fn taking(_: Taken, _: &impl AsFd, take: impl FnOnce() -> u32) -> u32 {
    take()
}

/// What is taken.
pub enum Taken {
    #[cfg(feature = "signals")]
    Signal,
    WakeUp,
}

/// A task of a replay. There is none.
pub struct ReplayedTask(Infallible);

impl ReplayedTask {
    pub fn source(&self) -> Source {
        match self.0 {}
    }

    pub fn id(&self) -> i32 {
        match self.0 {}
    }

    pub fn send(&self, _: &[u8], _: &mut Option<OwnedFd>) -> Result<(), SendError> {
        match self.0 {}
    }

    pub fn receive(&self) -> Option<TaskEvent<Message>> {
        match self.0 {}
    }

    pub fn wait(&self) -> TaskExit {
        match self.0 {}
    }

    pub fn stop(&self, _: Duration) {
        match self.0 {}
    }

    pub fn kill(&self) -> Result<(), SignalError> {
        match self.0 {}
    }
}

#[inline(always)]
pub fn starting(_: &str) -> Option<Result<ReplayedTask, StartError>> {
    None
}

#[inline(always)]
pub fn note_start(_: &str, _: &Result<TaskHandle, StartError>) {}

#[inline(always)]
pub fn note_message(_: Source, _: &[u8], _: Result<(), SendError>) {}

#[inline(always)]
pub fn note_event(_: Source, _: Option<&TaskEvent<Message>>) {}

#[inline(always)]
pub fn note_exit(_: Source, _: &TaskExit) {}

#[inline(always)]
pub fn note_stop(_: Source, _: Duration) {}

#[inline(always)]
pub fn note_kill(_: Source, _: Result<(), SignalError>) {}

#[inline(always)]
pub fn starting_program(
    command: &mut Command,
    start: impl FnOnce(&mut Command) -> io::Result<ChildProcess>,
) -> io::Result<ChildProcess> {
    start(command)
}

#[inline(always)]
pub fn asking_for_end(
    _: &impl AsFd,
    ask: impl FnOnce() -> io::Result<Option<ExitStatus>>,
) -> io::Result<Option<ExitStatus>> {
    ask()
}

#[inline(always)]
pub fn killing(_: &impl AsFd, kill: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    kill()
}
