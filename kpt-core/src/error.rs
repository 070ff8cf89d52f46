//! Errors, one small type for each operation, which return the argument; and the results of a loop.

use core::error::Error;
use core::fmt;

use crate::time::Instant;

/// The reason why a thread was not added. Nothing has changed, and the error holds the argument.
#[non_exhaustive]
pub enum AddError<A> {
    /// The loop has no vacant slot, or not as many as [`add_with_reserve`](crate::Threads::add_with_reserve) was to leave.
    Full(A),
    /// Another thread waits for the same of the source. A source has at most one reader and one writer, or one thread
    /// that waits for both or is paused.
    Taken(A),
}

/// The reason why a thread was not re-armed. The thread has ended, and the error holds its argument.
#[non_exhaustive]
pub enum AgainError<A> {
    /// The hook has called [`cancel_source`](crate::Threads::cancel_source) for the thread's own source.
    SourceCancelled(A),
    /// The thread is a timer without a period: it has only been armed with [`When::At`](crate::When::At), or
    /// its period is beyond the end of the clock.
    NoPeriod(A),
    /// Another thread waits for the same of the source.
    Taken(A),
}

/// The reason why a thread was not rescheduled. The thread is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RescheduleError {
    /// The thread has ended, or it is the running thread, which has [`again_when`](crate::Thread::again_when).
    Stale,
    /// Another thread waits for the same of the source.
    Taken,
}

/// The error for an id whose thread has ended, or is the running thread, which has [`end`](crate::Thread::end).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stale;

/// The reason why a loop returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Exit {
    /// No thread is left.
    Empty,
    /// `stop` was called.
    Stopped,
}

/// What a host should do after [`poll`](crate::FixedLoop::poll).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Next {
    /// Call `poll` again, at once or after other work: a thread is ready, or hooks have run that may have made one
    /// ready.
    Again,
    /// Call `poll` again when a source becomes ready, and at the latest at this moment ([`Instant::NEVER`] for no
    /// deadline), rounded up to the host's clock. A `poll` that comes too early returns the same again.
    Wait(Instant),
    /// No thread is left, or `stop` was called. Another `poll` continues, with the threads that `stop` has left: a host
    /// that should not continue must remember this.
    Exit(Exit),
}

impl<A> AddError<A> {
    /// Returns the argument of the thread that was not added.
    pub fn into_arg(self) -> A {
        match self {
            Self::Full(arg) | Self::Taken(arg) => arg,
        }
    }

    /// Returns a reference to the argument.
    pub(crate) fn arg(&self) -> &A {
        match self {
            Self::Full(arg) | Self::Taken(arg) => arg,
        }
    }

    fn message(&self) -> &'static str {
        match self {
            Self::Full(_) => {
                "no slot is left for the thread; end another one, or make the loop larger"
            }
            Self::Taken(_) => {
                "another thread waits for the same of this source; cancel that one first"
            }
        }
    }
}

impl<A> AgainError<A> {
    /// Returns the argument of the thread that has ended.
    pub fn into_arg(self) -> A {
        match self {
            Self::SourceCancelled(arg) | Self::NoPeriod(arg) | Self::Taken(arg) => arg,
        }
    }

    /// Returns a reference to the argument.
    pub(crate) fn arg(&self) -> &A {
        match self {
            Self::SourceCancelled(arg) | Self::NoPeriod(arg) | Self::Taken(arg) => arg,
        }
    }

    pub(crate) fn message(&self) -> &'static str {
        match self {
            Self::SourceCancelled(_) => {
                "the hook has cancelled the thread's own source; add a new thread"
            }
            Self::NoPeriod(_) => "the timer has no period; re-arm it with again_when",
            Self::Taken(_) => {
                "another thread waits for the same of this source; cancel that one first"
            }
        }
    }

    fn variant(&self) -> &'static str {
        match self {
            Self::SourceCancelled(_) => "SourceCancelled",
            Self::NoPeriod(_) => "NoPeriod",
            Self::Taken(_) => "Taken",
        }
    }
}

impl Exit {
    /// Returns the reason as one word, for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Stopped => "stopped",
        }
    }
}

/// The reason as one word.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Shows only the variant, so that `?` and `unwrap` require nothing of the argument.
impl<A> fmt::Debug for AddError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Taken(_) => "Taken",
        })
    }
}

/// Shows only the variant, so that `?` and `unwrap` require nothing of the argument.
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
        f.write_str("the thread has ended, or it is the running thread")
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
