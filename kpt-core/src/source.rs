//! Sources of events: what threads want of them, and what a poller finds.

use core::fmt;
use core::ops::{BitAnd, BitOr};

/// The origin of events: a file descriptor, an interrupt line or a task. The loop treats it as a plain number; the
/// poller defines its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Source(u32);

impl Source {
    /// Returns the source that the poller identifies by `number`.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Returns the number by which the poller identifies the source.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// The kind of event that a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Kind {
    /// The thread waits for its deadline.
    Timer = 0,
    /// The thread waits for its source to become readable.
    Read = Interest::READABLE.0,
    /// The thread waits for its source to become writable.
    Write = Interest::WRITABLE.0,
    /// The thread waits for its source to become readable or writable.
    ReadWrite = Interest::BOTH.0,
    /// The thread waits for the next turn.
    Execute = 4,
    /// The thread waits for nothing, and keeps its source: [`When::Ready`](crate::When::Ready) with [`Interest::NONE`].
    Paused = 7,
}

impl Kind {
    /// Returns the kind as one word, for `dump` and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read-write",
            Self::Paused => "paused",
            Self::Timer => "timer",
            Self::Execute => "execute",
        }
    }

    /// Returns whether threads of this kind have a source.
    #[inline]
    pub(crate) const fn has_source(self) -> bool {
        !self.claim().is_none()
    }

    /// Returns what no other thread of the same source may wait for. A paused thread has its source to itself, so that it
    /// can wait for either later.
    #[inline]
    pub(crate) const fn claim(self) -> Interest {
        Interest(self as u8 & Interest::BOTH.0)
    }

    /// Returns what threads of this kind want of their source.
    #[inline]
    pub(crate) const fn interest(self) -> Interest {
        if self as u8 > Interest::BOTH.0 { Interest::NONE } else { Interest(self as u8) }
    }
}

/// What the threads of a source want to know about it: a set of "readable" and "writable".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Interest(u8);

impl Interest {
    /// The empty set: the source is not watched.
    pub const NONE: Self = Self(0);
    /// Whether the source can be read from.
    pub const READABLE: Self = Self(1);
    /// Whether the source can be written to.
    pub const WRITABLE: Self = Self(2);
    /// Both "readable" and "writable".
    pub const BOTH: Self = Self(3);

    /// Returns whether the set contains "readable".
    pub const fn is_readable(self) -> bool {
        self.0 & Self::READABLE.0 != 0
    }

    /// Returns whether the set contains "writable".
    pub const fn is_writable(self) -> bool {
        self.0 & Self::WRITABLE.0 != 0
    }

    /// Returns whether the two sets have an element in common.
    #[inline]
    pub(crate) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the set without the elements of `other`.
    #[cfg(feature = "large")]
    #[inline]
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns whether the set is empty.
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

/// What a poller has found on a source: a set of "readable", "writable", "hang-up" and "error".
///
/// "Readable" wakes the reader, "writable" the writer; "hang-up" and "error" wake both. Any of them may be spurious, so
/// hooks use non-blocking I/O and expect "would block".
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing was found.
    pub const NONE: Self = Self(0);
    /// A read does not block.
    pub const READABLE: Self = Self(1);
    /// A write does not block.
    pub const WRITABLE: Self = Self(2);
    /// The other side has hung up.
    pub const HANGUP: Self = Self(4);
    /// The source is broken or closed, or the poller can't watch it. A thread that is re-armed despite that is called
    /// in each turn.
    pub const ERROR: Self = Self(8);

    /// Returns whether the two sets have an element in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns whether a read does not block.
    pub const fn is_readable(self) -> bool {
        self.intersects(Self::READABLE)
    }

    /// Returns whether a write does not block.
    pub const fn is_writable(self) -> bool {
        self.intersects(Self::WRITABLE)
    }

    /// Returns whether the other side has hung up.
    pub const fn is_hangup(self) -> bool {
        self.intersects(Self::HANGUP)
    }

    /// Returns whether the source is broken or closed, or can't be watched.
    pub const fn is_error(self) -> bool {
        self.intersects(Self::ERROR)
    }

    /// Returns whether nothing was found.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Returns the set without the elements of `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns the interests of the threads that this readiness wakes.
    #[cfg(feature = "large")]
    #[inline]
    pub(crate) const fn concerns(self) -> Interest {
        if self.0 & 0b1100 != 0 { Interest::BOTH } else { Interest(self.0 & Interest::BOTH.0) }
    }

    /// Returns the elements that wake a thread with this interest: the interest itself, hang-up and error. Nothing
    /// wakes a thread with [`Interest::NONE`].
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
