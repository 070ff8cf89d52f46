//! Signals as a source.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

#[cfg(feature = "sim")]
use crate::sim::SimSignals;
use crate::sys::{Handler, Inbox};
use crate::tape::{self, Taken};

/// No signal has this number.
const NONE: u32 = 0;

/// Receives signals in a hook. It is a source, readable when signals have arrived.
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
/// While this exists, the signals have no other effect, except that handlers installed before are still called. Several
/// signals of the same number that arrive before they are taken count as one, as always on Unix. Interrupted system
/// calls are restarted where the kernel can (`SA_RESTART`).
///
/// To learn of the end of a child process, don't use `SIGCHLD`, which other code may need: a task reports its end with
/// an event, and a [`ChildProcess`](crate::ChildProcess) is a source.
///
/// Dropping it leaves the signals to other code that handles them, through signal-hook or another `Signals`. If there
/// is none, they have no effect: the default action is not restored.
///
/// Where there is a simulation in this OS thread (feature `sim`), they are those that the test sends with `Sim::signal`,
/// and no signal of the system is handled.
///
/// # Processes
/// It belongs to the process that made it. In a task, and in a process forked by hand, the signals have their default
/// actions: `SIGTERM` ends that process, and its parent does not receive the signal. Make a new one there. A daemon
/// makes its first one after it has forked into the background. Programs that are started get default actions, as
/// always.
#[derive(Debug)]
#[must_use = "dropping it leaves the signals without effect"]
pub struct Signals(Origin);

/// Where the signals come from.
#[derive(Debug)]
enum Origin {
    Real {
        inbox: Arc<Inbox>,
        _handlers: Vec<Handler>,
    },
    #[cfg(feature = "sim")]
    Simulated(SimSignals),
}

impl Signals {
    /// Starts to receive these signals. Uses one descriptor.
    ///
    /// # Errors
    /// Returns `InvalidInput`, with the number, if it is not a signal; if it is `SIGKILL` or `SIGSTOP`, which no
    /// process can handle; if it is `SIGILL`, `SIGFPE` or `SIGSEGV`, after which a program can't continue; or if it is
    /// `SIGRTMAX - 1`, which tasks use. Otherwise returns the system's error. After an error, all signals are as after
    /// a drop.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if let Some(simulated) = SimSignals::open(signals) {
            return simulated.map(Origin::Simulated).map(Self);
        }
        // A replay takes none from the system.
        tape::opening_other("signals", || Self::handling(signals), || Self::handling(&[]))
    }

    fn handling(signals: &[Signal]) -> io::Result<Self> {
        let inbox = Arc::new(Inbox::new()?);
        let handler = |signal: &Signal| Handler::new(signal.0, inbox.clone());
        let _handlers = signals.iter().map(handler).collect::<io::Result<_>>()?;
        Ok(Self(Origin::Real { inbox, _handlers }))
    }

    /// Takes a signal that has arrived, the one with the lowest number first. Returns `None` if there is none.
    ///
    /// A hook may return before it has taken all signals: the source stays readable. Only the call that returns `None`
    /// costs a system call.
    pub fn take(&self) -> Option<Signal> {
        let inbox = match &self.0 {
            Origin::Real { inbox, .. } => inbox,
            #[cfg(feature = "sim")]
            Origin::Simulated(signals) => return signals.take(),
        };
        let take = || inbox.take().map_or(NONE, |number| number as u32);
        let number = tape::taking(Taken::Signal, self, take);
        (number != NONE).then_some(Signal(number as i32))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Origin::Real { inbox, .. } => inbox.event.as_fd(),
            #[cfg(feature = "sim")]
            Origin::Simulated(signals) => signals.as_fd(),
        }
    }
}

/// A signal number. The constants are those that daemons usually handle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// The terminal was closed. By convention, a daemon reloads its configuration.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// Interrupt from the terminal: Ctrl-C.
    pub const INT: Self = Self(libc::SIGINT);
    /// Quit from the terminal: Ctrl-\. By default, the process dumps core.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// Request to terminate.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// User-defined.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// User-defined.
    pub const USR2: Self = Self(libc::SIGUSR2);
    /// The timer of `alarm` or `setitimer` has expired.
    pub const ALRM: Self = Self(libc::SIGALRM);
    /// Continue after a stop.
    pub const CONT: Self = Self(libc::SIGCONT);
    /// Stop from the terminal: Ctrl-Z.
    pub const TSTP: Self = Self(libc::SIGTSTP);
    /// The size of the terminal window has changed.
    pub const WINCH: Self = Self(libc::SIGWINCH);

    /// Returns the signal with this number, as in `libc`. Does not check it; [`Signals::new`] does.
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    /// Writes the name of a constant, such as `SIGTERM`; for any other signal `signal` and its number.
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
