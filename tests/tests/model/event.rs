//! What can be seen of a loop, in the order in which it happens.

use kpt_core::{Instant, Interest, Kind, Readiness};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A hook is called, or looks at its thread once more.
    Seen(Seen),
    Added(u32),
    Full(u32),
    Taken(u32),
    /// The argument of the thread that was cancelled, or `None` for a stale id.
    Cancelled(Option<u32>),
    SourceCancelled {
        reader: Option<u32>,
        writer: Option<u32>,
    },
    Now(Instant),
    Again(u32, Again),
    /// `end` gave back that argument.
    Ended(u32),
    /// The poller was told to watch a source for that.
    Told(u32, Interest),
    /// The poller was asked to wait, and returned that.
    Waited(Option<Instant>),
    Turned(Turned),
    /// Threads at the end of the operation.
    Length(usize),
    Dropped,
}

/// A thread as its hook sees it. Threads are known by the number that adding them would have had.
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
    Done,
    Ended,
    NoPeriod,
    Taken,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Turned {
    More,
    Empty,
    Stopped,
    /// The simulator found that nothing can ever happen.
    Idle,
    /// The wait failed, as the test wanted it to.
    Broken,
    /// A hook panicked.
    Panicked,
}
