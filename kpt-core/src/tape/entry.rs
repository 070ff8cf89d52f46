//! The entries of a tape, and their text.

use core::fmt;

use crate::id::ThreadId;
use crate::source::{Kind, Readiness, Source};
use crate::time::Instant;

/// One entry of a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// The recording has begun.
    Starts {
        /// [`Poller::LOOK_AFTER_HOOKS`](crate::poller::Poller::LOOK_AFTER_HOOKS) of the poller. A replay needs the same.
        look_after_hooks: u32,
    },
    /// The recording has ended. A tape without this entry was cut off.
    End,
    /// A hook is called.
    Hook {
        /// The name of the thread, cut to [`LONGEST_NAME`](super::LONGEST_NAME) bytes.
        name: &'a str,
        /// The kind of event that the thread waited for.
        kind: Kind,
        /// The id of the thread.
        id: ThreadId,
        /// For a timer, the time from its deadline to the end of the last wait, in microseconds; otherwise 0.
        late: u64,
    },
    /// The time at which a hook has returned, for information.
    Returned(Instant),
    /// The time after a wait, for information. The time that the wait returns may be earlier.
    Awake(Instant),
    /// A wait begins, and ends at that moment at the latest. For information.
    Sleeps(Instant),
    /// A wait finds a source ready. Comes before the `Woke` of that wait.
    Ready(Source, Readiness),
    /// A wait returns this time.
    Woke(Instant),
    /// A wait returns an error.
    Failed,
    /// The clock is read.
    Now(Instant),
    /// The poller can't watch a source.
    Refused(Source),
    /// A wait of the loop's host is prepared, and ends at that moment at the latest.
    Prepared(Instant),
    /// The application makes a call that brings something in.
    Called(Called<'a>),
}

/// A call of the application, and what came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called<'a> {
    /// What was called.
    pub call: Call,
    /// The socket on which it was called; for [`Call::Value`] the name of the value.
    pub source: Source,
    /// The digest of what the application has passed to the call; 0 for calls that are passed nothing.
    pub sent: u32,
    /// The number that the call returned, such as a count of bytes, or the number of the system's error.
    pub result: Result<u32, i32>,
    /// The bytes that the call returned.
    pub bytes: &'a [u8],
}

impl<'a> Called<'a> {
    /// Returns a value of the application's own as a call: what `name` says it is, and its bytes. A number is little-endian,
    /// and may leave out its highest bytes where they are zero.
    pub const fn value(name: u32, bytes: &'a [u8]) -> Self {
        Self { call: Call::Value, source: Source::new(name), sent: 0, result: Ok(0), bytes }
    }
}

/// The calls of an application that bring something in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Call {
    /// A value of the application, such as that of a sensor.
    Value = 0,
    /// A read from a stream.
    Read = 1,
    /// A write to a stream.
    Write = 2,
    /// A connection is accepted.
    Accept = 3,
    /// A datagram is received.
    Receive = 4,
    /// A datagram is sent.
    Send = 5,
    /// A socket is opened at an address.
    Bind = 6,
    /// A connection is started.
    Connect = 7,
    /// Whether a connection is made, or which error is pending.
    State = 8,
    /// An option or a direction of a socket is set.
    Set = 9,
    /// A signal is taken.
    Signal = 10,
    /// A task or a program is started.
    Start = 11,
    /// The next event of a task is taken.
    Event = 12,
}

impl Call {
    pub(super) const ALL: [Self; 13] = [
        Self::Value,
        Self::Read,
        Self::Write,
        Self::Accept,
        Self::Receive,
        Self::Send,
        Self::Bind,
        Self::Connect,
        Self::State,
        Self::Set,
        Self::Signal,
        Self::Start,
        Self::Event,
    ];

    /// Returns whether the digest of what was passed is on the tape.
    pub(super) const fn sends(self) -> bool {
        matches!(
            self,
            Self::Write | Self::Send | Self::Bind | Self::Connect | Self::Set | Self::Start
        )
    }

    /// Returns whether bytes that were brought are on the tape.
    pub(super) const fn brings(self) -> bool {
        !matches!(self, Self::Write | Self::Send | Self::Set | Self::State | Self::Signal)
    }

    /// Returns the call as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Read => "read",
            Self::Write => "write",
            Self::Accept => "accept",
            Self::Receive => "receive",
            Self::Send => "send",
            Self::Bind => "bind",
            Self::Connect => "connect",
            Self::State => "state",
            Self::Set => "set",
            Self::Signal => "signal",
            Self::Start => "start",
            Self::Event => "event",
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line, without its time.
impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starts { look_after_hooks } => {
                write!(f, "starts, and looks after {look_after_hooks} hooks")
            }
            Self::End => f.write_str("the tape ends"),
            Self::Hook { name, kind: Kind::Timer, id, late } => {
                write!(f, "hook {name} {id}, timer, {late} us late")
            }
            Self::Hook { name, kind, id, .. } => write!(f, "hook {name} {id}, {}", kind.as_str()),
            Self::Returned(_) => f.write_str("hook returned"),
            Self::Awake(_) => f.write_str("awake"),
            Self::Sleeps(Instant::NEVER) => f.write_str("sleeps"),
            Self::Sleeps(until) => write!(f, "sleeps until {}", Seconds(*until)),
            Self::Ready(source, readiness) => {
                write!(f, "source {} is {readiness}", source.number())
            }
            Self::Woke(time) => write!(f, "wait returned {}", Seconds(*time)),
            Self::Failed => f.write_str("wait failed"),
            Self::Now(time) => write!(f, "clock says {}", Seconds(*time)),
            Self::Refused(source) => write!(f, "source {} can't be watched", source.number()),
            Self::Prepared(Instant::NEVER) => f.write_str("host waits"),
            Self::Prepared(until) => write!(f, "host waits until {}", Seconds(*until)),
            Self::Called(called) => called.fmt(f),
        }
    }
}

impl fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.call.as_str(), self.source.number())?;
        if self.call.sends() {
            write!(f, ", digest {:08x}", self.sent)?;
        }
        match self.result {
            Ok(value) => write!(f, ": {value}")?,
            Err(code) => write!(f, ": error {code}")?,
        }
        if !self.bytes.is_empty() {
            write!(f, ", {} bytes: \"{}\"", self.bytes.len(), Start(self.bytes))?;
        }
        Ok(())
    }
}

/// The first bytes, as text on one line.
struct Start<'a>(&'a [u8]);

impl fmt::Display for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 40;
        let start = self.0.get(..MOST).unwrap_or(self.0);
        write!(f, "{}{}", start.escape_ascii(), if self.0.len() > MOST { "..." } else { "" })
    }
}

/// A moment as seconds with six digits behind the point.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub Instant);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MICROS: u64 = 1_000_000;
        let micros = self.0.as_micros();
        write!(f, "{}.{:06}", micros / MICROS, micros % MICROS)
    }
}
