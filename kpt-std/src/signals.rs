//! Signals as a source that says which ones have come.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::sys::{Handler, Inbox};

/// Signals that a hook gets to know of: a source that is readable when some have come.
///
/// ```
/// use kpt_std::{EventLoop, Signal, Signals, Thread, source};
///
/// struct Daemon {
///     signals: Signals,
///     loads: u32,
/// }
///
/// impl Daemon {
///     fn on_signals(&mut self, mut thread: Thread<Daemon>) {
///         while let Some(signal) = self.signals.take() {
///             match signal {
///                 Signal::HUP => self.loads += 1,
///                 _ => return thread.threads().stop(),
///             }
///         }
///         thread.again();
///     }
/// }
///
/// let signals = Signals::new(&[Signal::HUP, Signal::INT, Signal::TERM])?;
/// let mut daemon = Daemon { signals, loads: 0 };
/// let mut kpt = EventLoop::new()?;
/// kpt.threads().add_read("signals", source(&daemon.signals), Daemon::on_signals, ())?;
/// # let script = "kill -HUP $PPID; kill -TERM $PPID";
/// # assert!(std::process::Command::new("sh").args(["-c", script]).status()?.success());
/// kpt.run(&mut daemon)?; // Until SIGINT or SIGTERM.
/// # assert_eq!(daemon.loads, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// These signals do nothing else from then on, but what handlers that were there before do, which are still called.
/// Several of one kind that come before they are taken are one, as always with signals. System calls go on after a
/// signal where the kernel can (`SA_RESTART`).
///
/// For the end of a child process, don't ask for `SIGCHLD`, which other code may need: tasks tell by themselves, and a
/// [`ChildProcess`](crate::ChildProcess) is a source.
///
/// Dropping it leaves the signals to others that have asked for them, by signal-hook or another `Signals`. If there are
/// none, a signal does nothing: the default action does not come back.
///
/// # Processes
/// It is of the process that made it. In a task, and in a process that was forked by hand, the signals have their
/// default actions: `SIGTERM` ends it, and its parent does not get to know of the signal. There, make a new one; a daemon
/// makes its first one after it has forked to get into the background. Programs that are started get default actions, as
/// always.
#[derive(Debug)]
#[must_use = "dropping it has the signals do nothing"]
pub struct Signals {
    inbox: Arc<Inbox>,
    _handlers: Vec<Handler>,
}

impl Signals {
    /// Has these signals come here, from now on.
    ///
    /// # Errors
    /// `InvalidInput`, with the number: the signal is none; or it is `SIGKILL` or `SIGSTOP`, which no process can handle;
    /// or `SIGILL`, `SIGFPE` or `SIGSEGV`, after which a program can't go on; or `SIGRTMAX - 1`, which tasks use. Otherwise
    /// the system's error. All signals are then as after a drop.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let inbox = Arc::new(Inbox::new()?);
        let handler = |signal: &Signal| Handler::new(signal.0, inbox.clone());
        let handlers = signals.iter().map(handler).collect::<io::Result<_>>()?;
        Ok(Self { inbox, _handlers: handlers })
    }

    /// Takes one that has come, the one with the lowest number first; `None` if none has.
    ///
    /// A hook may stop before it has had them all: the source stays readable. The call that returns `None` costs a system
    /// call, and no other one does.
    pub fn take(&self) -> Option<Signal> {
        self.inbox.take().map(Signal)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inbox.event.as_fd()
    }
}

/// A signal, by its number. The constants are those that a daemon may want.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// The terminal has gone; by custom, a daemon reads its configuration again.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// Ctrl-C.
    pub const INT: Self = Self(libc::SIGINT);
    /// Ctrl-\, which also asks for a core dump.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// To end in good order.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// For the application to choose.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// For the application to choose.
    pub const USR2: Self = Self(libc::SIGUSR2);
    /// The timer of `alarm` and `setitimer`.
    pub const ALRM: Self = Self(libc::SIGALRM);
    /// To go on, after a stop.
    pub const CONT: Self = Self(libc::SIGCONT);
    /// Ctrl-Z.
    pub const TSTP: Self = Self(libc::SIGTSTP);
    /// The size of the terminal has changed.
    pub const WINCH: Self = Self(libc::SIGWINCH);

    /// Returns the signal of that number, as `libc` has them. [`Signals::new`] says whether there is one.
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// Returns its number.
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    /// Writes the name of a constant, such as `SIGTERM`, and the number of any other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::HUP => "SIGHUP",
            Self::INT => "SIGINT",
            Self::QUIT => "SIGQUIT",
            Self::TERM => "SIGTERM",
            Self::USR1 => "SIGUSR1",
            Self::USR2 => "SIGUSR2",
            Self::ALRM => "SIGALRM",
            Self::CONT => "SIGCONT",
            Self::TSTP => "SIGTSTP",
            Self::WINCH => "SIGWINCH",
            Self(number) => return write!(f, "signal {number}"),
        };
        f.pad(name)
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
