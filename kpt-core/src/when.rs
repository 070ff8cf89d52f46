//! When a thread's hook is called. Each kind of thread waits for its own kind of event.

use core::fmt;
use core::time::Duration;

use crate::decimal::Decimal;
use crate::source::{Interest, Kind, Source};
use crate::time::{Instant, Period, micros};

/// The event on which a thread's hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum When {
    /// The source is readable, its other side has hung up, or it has an error.
    Readable(Source),
    /// The source is writable, its other side has hung up, or it has an error.
    Writable(Source),
    /// The source is what the interest says, its other side has hung up, or it has an error: one thread that waits for
    /// reading, for writing, or for both. With [`Interest::NONE`] it waits for nothing, and keeps its source, until
    /// another event is given to it by [`reschedule`](crate::Threads::reschedule). (A hang-up is found after that.)
    ///
    /// With [`READABLE`](Interest::READABLE) it is the same as `Readable`, and with [`WRITABLE`](Interest::WRITABLE)
    /// the same as `Writable`. With `BOTH` or `NONE`, the thread has the source to itself.
    Ready(Source, Interest),
    /// The moment has come. A moment before the end of the last wait counts as that end: the timer runs behind those
    /// that are already due, in the order of arming. (Before the first wait, the first call of `threads` takes the
    /// place of that end.)
    At(Instant),
    /// This much time, rounded up to whole microseconds, has passed since the call of `add`, `reschedule` or
    /// `again_when`. It is also the timer's period. `Duration::ZERO` is due in the next wait, which then does not
    /// sleep; `Duration::MAX` never comes.
    After(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] Duration),
    /// This much time has passed since the timer's last deadline, or a whole multiple of it if earlier multiples have
    /// been missed: the next period, of another length, without drift. It becomes the timer's period. For a thread that
    /// is not a timer, and in `add`, it means `After`.
    ///
    /// In a hook, the last deadline is the one that the hook is called for. For a waiting timer, it is the one that the
    /// timer waits for.
    AfterDeadline(#[cfg_attr(feature = "defmt", defmt(Debug2Format))] Duration),
    /// The next turn has begun. In asyncio this is `call_soon`, and in FRR an event.
    Now,
}

impl When {
    /// Returns the kind of thread that waits for this event.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Readable(_) => Kind::Read,
            Self::Writable(_) => Kind::Write,
            Self::Ready(_, interest) => match (interest.is_readable(), interest.is_writable()) {
                (true, true) => Kind::ReadWrite,
                (true, false) => Kind::Read,
                (false, true) => Kind::Write,
                (false, false) => Kind::Paused,
            },
            Self::At(_) | Self::After(_) | Self::AfterDeadline(_) => Kind::Timer,
            Self::Now => Kind::Execute,
        }
    }

    /// Returns the source that a reader or writer waits for; `None` for other events.
    pub const fn source(self) -> Option<Source> {
        match self {
            Self::Readable(source) | Self::Writable(source) | Self::Ready(source, _) => {
                Some(source)
            }
            Self::At(_) | Self::After(_) | Self::AfterDeadline(_) | Self::Now => None,
        }
    }
}

/// A [`When`] without its number, which is that of a source or microseconds. A `When` that is known at compile time
/// leaves nothing in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Readable,
    Writable,
    Either,
    Nothing,
    At,
    After,
    Now,
}

impl Request {
    /// Returns the request and its number. `AfterDeadline` becomes `After`; for a timer that has a deadline, use
    /// [`Request::after_deadline`].
    #[inline(always)]
    pub(crate) const fn new(when: When) -> (Self, u64) {
        match when {
            When::Readable(source) => (Self::Readable, source.number() as u64),
            When::Writable(source) => (Self::Writable, source.number() as u64),
            When::Ready(source, _) => {
                let request = match when.kind() {
                    Kind::Read => Self::Readable,
                    Kind::Write => Self::Writable,
                    Kind::ReadWrite => Self::Either,
                    _ => Self::Nothing,
                };
                (request, source.number() as u64)
            }
            When::At(deadline) => (Self::At, deadline.as_micros()),
            When::After(delay) | When::AfterDeadline(delay) => (Self::After, micros(delay)),
            When::Now => (Self::Now, 0),
        }
    }

    /// Returns the request for the first multiple of `period` microseconds after `deadline` that is not before `now`.
    pub(crate) fn after_deadline(period: u64, deadline: Instant, now: Instant) -> (Self, u64) {
        (Self::At, Period::from_micros(period).next(deadline, now).as_micros())
    }

    #[inline]
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::Readable => Kind::Read,
            Self::Writable => Kind::Write,
            Self::Either => Kind::ReadWrite,
            Self::Nothing => Kind::Paused,
            Self::At | Self::After => Kind::Timer,
            Self::Now => Kind::Execute,
        }
    }

    /// Returns the text before the number in a log line, and the unit after the number.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Readable => ("read source ", ""),
            Self::Writable => ("write source ", ""),
            Self::Either => ("read or write source ", ""),
            Self::Nothing => ("paused, source ", ""),
            Self::At => ("timer at ", " us of the loop's clock"),
            Self::After => ("timer in ", " us"),
            Self::Now => ("execute", ""),
        }
    }

    /// Returns the period that this request gives to a thread.
    #[inline]
    pub(crate) fn period(self, value: u64) -> Period {
        if self == Self::After { Period::from_micros(value) } else { Period::NONE }
    }
}

/// A request and its number, for log lines.
pub(crate) struct Wanted(pub(crate) Request, pub(crate) u64);

/// `read source 7`, `timer in 1500 us`.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, unit) = self.0.words();
        f.write_str(before)?;
        if self.0 != Request::Now {
            f.write_str(Decimal::new(self.1).as_str())?;
        }
        f.write_str(unit)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Wanted {
    fn format(&self, f: defmt::Formatter<'_>) {
        let (before, unit) = self.0.words();
        match self.0 {
            Request::Now => defmt::write!(f, "{=str}", before),
            _ => defmt::write!(f, "{=str}{=u64}{=str}", before, self.1, unit),
        }
    }
}
