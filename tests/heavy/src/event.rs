//! What can be seen of a loop, in the order in which it happens.

use kpt_core::{Exit, Instant, Interest, Kind, Next, Readiness, RescheduleError, When};

use crate::input::SOURCES;

/// An event, and the time in the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: Instant,
    pub event: Event,
}

/// Threads are known by their tag: how many had been tried to add before.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The poller hears of a call of a hook: the thread's name and kind, and since when it could have run.
    Before(&'static str, Kind, Instant),
    Called(Seen),
    /// The poller hears that the hook has ended.
    After,
    /// The hook that runs looks at its thread once more.
    Looked(Seen),
    Added(u32, When),
    Full(u32),
    Taken(u32),
    /// The argument of the thread that was cancelled, or `None` for a stale id.
    Cancelled(Option<u32>),
    Rescheduled(u32, When, Result<(), RescheduleError>),
    SourceCancelled {
        reader: Option<u32>,
        writer: Option<u32>,
    },
    Now(Instant),
    /// What `dump` says, without ids, its rows sorted.
    Dump(String),
    /// The thread is about to be re-armed in a way that does not say whether that works.
    Rearms(u32),
    Again(u32, Again),
    /// `end` gave back that argument.
    Ended(u32),
    /// The argument is dropped.
    Dropped(u32),
    /// The poller was asked for the time.
    Read(Instant),
    /// The poller is asked to wait, and watches that.
    Waits {
        until: Instant,
        watched: Sources,
    },
    /// The poller has asked for all threads, which wait for that; whether one is ready.
    Asked(Sources, bool),
    Waited(Result<Instant, Failed>),
    Turned(Turned),
    /// Threads at the end of the operation.
    Length(usize),
}

/// A thread as its hook sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    pub tag: u32,
    pub run: u32,
    pub hook: u8,
    pub name: &'static str,
    pub kind: Kind,
    pub source: Option<u32>,
    pub readiness: Readiness,
    pub deadline: Option<Instant>,
    /// Whether `id()` is the id that adding it returned.
    pub has_its_id: bool,
    pub length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Again {
    Done(Option<When>),
    Ended,
    NoPeriod,
    Taken,
}

/// What the loop says to its owner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Turned {
    Turn(Option<Exit>),
    Poll(Next),
    /// Something else has been done.
    Done,
    Failed(Failed),
    /// A hook or the poller panicked.
    Panicked,
}

/// Why a wait fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Failed {
    /// The simulator finds that nothing can ever happen.
    Idle,
    /// The test wants it to.
    Broken,
}

/// A set of sources, with an interest in each.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct Sources(u32);

impl Sources {
    pub fn of(source: u32, interest: Interest) -> Self {
        let bits = u32::from(interest.is_readable()) | u32::from(interest.is_writable()) << 1;
        Self(if source < SOURCES { bits << (2 * source) } else { 0 })
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The same sources, with an interest in all of them.
    pub fn whole(self) -> Self {
        let mut whole = self;
        for source in 0..SOURCES {
            let all = Self::of(source, Interest::BOTH).and(Self::paused(source));
            if !self.common(all).is_empty() {
                whole = whole.and(all);
            }
        }
        whole
    }

    /// The source of a thread that waits for nothing.
    pub fn paused(source: u32) -> Self {
        Self(if source < SOURCES { 1 << (2 * SOURCES + source) } else { 0 })
    }

    /// Without those that are paused.
    pub fn wanted(self) -> Self {
        Self(self.0 & ((1 << (2 * SOURCES)) - 1))
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What is in both.
    pub fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl From<When> for Sources {
    /// What a thread waits for that waits for this.
    fn from(when: When) -> Self {
        match when {
            When::Readable(source) => Self::of(source.number(), Interest::READABLE),
            When::Writable(source) => Self::of(source.number(), Interest::WRITABLE),
            When::Ready(source, Interest::NONE) => Self::paused(source.number()),
            When::Ready(source, interest) => Self::of(source.number(), interest),
            _ => Self::default(),
        }
    }
}

/// `r0 w0 r3`.
impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = (0..2 * SOURCES).filter(|bit| self.0 & 1 << bit != 0);
        let names = bits.map(|bit| format!("{}{}", if bit % 2 == 0 { 'r' } else { 'w' }, bit / 2));
        f.write_str(&names.collect::<Vec<_>>().join(" "))
    }
}
