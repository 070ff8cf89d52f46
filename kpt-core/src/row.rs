//! The visible state of one thread, for its hook, for `dump` and for logs.

use crate::id::ThreadId;
use crate::source::{Kind, Readiness, Source};
use crate::time::Instant;

/// The visible state of a thread, as a value.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) id: ThreadId,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) state: State,
    /// What the poller has found on the source of a reader or writer.
    pub(crate) readiness: Readiness,
    /// The number of a reader's or writer's source, or a timer's deadline in microseconds.
    pub(crate) key: u64,
}

/// The state of a thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    Ready,
    Running,
}

impl Row {
    /// Returns the source of a reader or writer.
    #[inline]
    pub(crate) fn source(&self) -> Option<Source> {
        self.kind.has_source().then_some(Source::new(self.key as u32))
    }

    /// Returns the deadline of a timer.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (self.kind == Kind::Timer).then_some(Instant::from_micros(self.key))
    }
}

impl State {
    /// Returns the state as one word, for `dump`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Running => "running",
        }
    }
}
