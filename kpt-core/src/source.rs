//! What threads wait for: sources of events, what is wanted of them, and what was found.

use core::fmt;
use core::ops::{BitAnd, BitOr};

/// Where events come from: a file descriptor, an interrupt line, a task. To the loop it is a plain number; the poller
/// knows what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Source(u32);

impl Source {
    /// The source that the poller knows by `number`.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// What the poller knows it by.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Kind {
    /// Its deadline.
    Timer = 0,
    /// Its source to become readable.
    Read = Interest::READABLE.0,
    /// Its source to become writable.
    Write = Interest::WRITABLE.0,
    /// Its turn.
    Execute = 4,
}

impl Kind {
    /// One word, for `dump` and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Timer => "timer",
            Self::Execute => "execute",
        }
    }

    /// Whether a thread of that kind has a source.
    #[inline]
    pub(crate) const fn has_source(self) -> bool {
        !self.interest().is_none()
    }

    /// What a thread of that kind wants of its source.
    #[inline]
    pub(crate) const fn interest(self) -> Interest {
        Interest(self as u8 & Interest::BOTH.0)
    }
}

/// What the threads of one source want to know of it: a set of "readable" and "writable".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Interest(u8);

impl Interest {
    /// Nothing: the source is not watched.
    pub const NONE: Self = Self(0);
    /// Whether it can be read from.
    pub const READABLE: Self = Self(1);
    /// Whether it can be written to.
    pub const WRITABLE: Self = Self(2);
    /// Both.
    pub const BOTH: Self = Self(3);

    /// Whether "readable" is in the set.
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READABLE.0 != 0
    }

    /// Whether "writable" is in the set.
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE.0 != 0
    }

    /// The set without what is in `other`.
    #[cfg(feature = "large")]
    #[inline]
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is wanted.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What was found on a source: a set of "readable", "writable", "hang-up" and "error".
///
/// "Readable" wakes the reader, "writable" the writer, and the other two wake both. Any of it may be spurious: hooks
/// use non-blocking I/O and take "would block" as an answer.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing was found.
    pub const NONE: Self = Self(0);
    /// A read will not block.
    pub const READABLE: Self = Self(1);
    /// A write will not block.
    pub const WRITABLE: Self = Self(2);
    /// The other side has gone.
    pub const HANGUP: Self = Self(4);
    /// The source is broken, closed, or the poller can't watch it. A thread that goes on in spite of that is called in
    /// each turn.
    pub const ERROR: Self = Self(8);

    /// Whether anything of `other` is in the set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a read will not block.
    pub const fn is_readable(self) -> bool {
        self.intersects(Self::READABLE)
    }

    /// Whether a write will not block.
    pub const fn is_writable(self) -> bool {
        self.intersects(Self::WRITABLE)
    }

    /// Whether the other side has gone.
    pub const fn is_hangup(self) -> bool {
        self.intersects(Self::HANGUP)
    }

    /// Whether the source is broken, closed, or can't be watched.
    pub const fn is_error(self) -> bool {
        self.intersects(Self::ERROR)
    }

    /// Whether nothing was found.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The set without what is in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Which threads it wakes: those with any of these interests.
    #[cfg(feature = "large")]
    #[inline]
    pub(crate) const fn concerns(self) -> Interest {
        if self.0 & 0b1100 != 0 { Interest::BOTH } else { Interest(self.0 & Interest::BOTH.0) }
    }

    /// Returns the bits by which a thread with that interest is woken: its own, hang-up and error.
    pub fn seen_by(self, interest: Interest) -> Self {
        if interest.is_none() { Self::NONE } else { Self(self.0 & (interest.0 | 0b1100)) }
    }
}

impl BitOr for Readiness {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Readiness {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// `readable|hangup`, or `-` for nothing.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("-");
        }
        let names = [
            (Self::READABLE, "readable"),
            (Self::WRITABLE, "writable"),
            (Self::HANGUP, "hangup"),
            (Self::ERROR, "error"),
        ];
        let mut separator = "";
        for (bit, name) in names {
            if self.intersects(bit) {
                f.write_str(separator)?;
                f.write_str(name)?;
                separator = "|";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
