//! What can go wrong, one small type for each operation; arguments come back in them.

use core::error::Error;
use core::fmt;

use crate::time::Instant;

/// Why no thread was added. Nothing has changed, and the argument is in here.
#[non_exhaustive]
pub enum AddError<A> {
    /// The loop has as many threads as it can have.
    Full(A),
    /// A thread of that kind is registered for that source; there is room for one reader and one writer.
    Taken(A),
}

/// Why a thread was not re-armed. It has ended, and its argument is in here.
#[non_exhaustive]
pub enum AgainError<A> {
    /// The hook itself has given the thread up, with `cancel_source`.
    Ended(A),
    /// It is a timer without a period: it was only ever given moments.
    NoPeriod(A),
    /// Another thread of that kind is registered for that source.
    Taken(A),
}

/// Why a thread was not rescheduled. It is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RescheduleError {
    /// The thread has ended, or it is the one that runs just now (which has `again_when` for that).
    Stale,
    /// Another thread of that kind is registered for that source.
    Taken,
}

/// The id's thread has ended, or it is the one that runs just now (which has `end` for that).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stale;

/// Why a loop returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Exit {
    /// No thread is left.
    Empty,
    /// `stop` was called.
    Stopped,
}

/// What a loop wants of its host after [`poll`](crate::FixedLoop::poll).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Next {
    /// Another `poll`, at once or after other work: a thread is ready, or hooks have run that may have made one so.
    Again,
    /// Another `poll` when a source becomes ready, at the latest at this moment ([`Instant::NEVER`] for no moment),
    /// which is to be rounded up to the host's clock: a `poll` that comes too early says the same again.
    Wait(Instant),
    /// The loop has come to its end. One more `poll` goes on, also with what a `stop` has left: a host that should not is
    /// to remember this.
    Exit(Exit),
}

impl Next {
    /// What to do if the loop can sleep until then.
    pub(crate) fn after(until: Instant) -> Self {
        if until == Instant::ZERO { Self::Again } else { Self::Wait(until) }
    }
}

impl<A> AddError<A> {
    /// The argument that the thread would have had.
    pub fn into_arg(self) -> A {
        match self {
            Self::Full(arg) | Self::Taken(arg) => arg,
        }
    }

    /// The same, to look at.
    pub(crate) fn arg(&self) -> &A {
        match self {
            Self::Full(arg) | Self::Taken(arg) => arg,
        }
    }

    fn message(&self) -> &'static str {
        match self {
            Self::Full(_) => "the thread tables are full",
            Self::Taken(_) => "the source already has a thread of that kind",
        }
    }
}

impl<A> AgainError<A> {
    /// The argument that the thread had.
    pub fn into_arg(self) -> A {
        match self {
            Self::Ended(arg) | Self::NoPeriod(arg) | Self::Taken(arg) => arg,
        }
    }

    /// The same, to look at.
    pub(crate) fn arg(&self) -> &A {
        match self {
            Self::Ended(arg) | Self::NoPeriod(arg) | Self::Taken(arg) => arg,
        }
    }

    pub(crate) fn message(&self) -> &'static str {
        match self {
            Self::Ended(_) => "its hook has cancelled its source",
            Self::NoPeriod(_) => "it is a timer without a period; use again_when",
            Self::Taken(_) => "the source already has a thread of that kind",
        }
    }

    fn variant(&self) -> &'static str {
        match self {
            Self::Ended(_) => "Ended",
            Self::NoPeriod(_) => "NoPeriod",
            Self::Taken(_) => "Taken",
        }
    }
}

impl Exit {
    /// One word, for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Stopped => "stopped",
        }
    }
}

/// One word.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Only the variant, so that `?` and `unwrap` ask nothing of the argument.
impl<A> fmt::Debug for AddError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Taken(_) => "Taken",
        })
    }
}

/// Only the variant, so that `?` and `unwrap` ask nothing of the argument.
impl<A> fmt::Debug for AgainError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.variant())
    }
}

impl<A> fmt::Display for AddError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl<A> fmt::Display for AgainError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the thread has ended, or it is the one that runs")
    }
}

impl fmt::Display for RescheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => Stale.fmt(f),
            Self::Taken => AddError::Taken(()).fmt(f),
        }
    }
}

impl<A> Error for AddError<A> {}
impl Error for RescheduleError {}
impl<A> Error for AgainError<A> {}
impl Error for Stale {}

#[cfg(feature = "defmt")]
impl<A> defmt::Format for AddError<A> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.message());
    }
}

#[cfg(feature = "defmt")]
impl<A> defmt::Format for AgainError<A> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.message());
    }
}
