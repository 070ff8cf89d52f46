//! Which children a supervisor has, and when it restarts them.

use std::time::Duration;

/// Which children are restarted when one of them has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// That child only.
    OneForOne,
    /// That child, and those that were added after it.
    RestForOne,
    /// All children.
    OneForAll,
}

impl Strategy {
    /// Returns whether a failure of the child `failed` restarts the child `other`, too.
    pub(super) fn joins(self, failed: usize, other: usize) -> bool {
        match self {
            Self::OneForOne => false,
            Self::RestForOne => other > failed,
            Self::OneForAll => other != failed,
        }
    }
}

/// Which exits of a child are failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    Permanent,
    Transient,
    Temporary,
}

/// The specification of a child: `ChildSpec::permanent().heartbeat(Duration::from_secs(5))`.
///
/// By default, a child has 30 s to become ready and 5 s to stop, and no heartbeat.
#[derive(Clone, Copy, Debug)]
#[must_use = "`Supervisor::child` adds the child"]
pub struct ChildSpec {
    pub(super) restart: Restart,
    pub(super) ready_within: Duration,
    pub(super) grace: Duration,
    pub(super) heartbeat: Duration,
}

impl ChildSpec {
    /// Specifies a child that should always run. Each exit is a failure.
    pub const fn permanent() -> Self {
        Self::new(Restart::Permanent)
    }

    /// Specifies a child that has something to finish. An exit is a failure unless it is normal. After a normal exit,
    /// the child is started again only together with others that the strategy restarts, as in Erlang.
    pub const fn transient() -> Self {
        Self::new(Restart::Transient)
    }

    /// Specifies a child that is started once. None of its exits is a failure, and it is not restarted together with
    /// others, either.
    pub const fn temporary() -> Self {
        Self::new(Restart::Temporary)
    }

    const fn new(restart: Restart) -> Self {
        Self {
            restart,
            ready_within: Duration::from_secs(30),
            grace: Duration::from_secs(5),
            heartbeat: Duration::MAX,
        }
    }

    /// Sets the time in which the child must become ready after its start: 30 s by default. A child that does not counts as
    /// hung and is killed. `Duration::MAX` is no limit.
    pub const fn ready_within(mut self, time: Duration) -> Self {
        self.ready_within = time;
        self
    }

    /// Sets the time in which the child must exit after it was told to stop: 5 s by default. A child that does not is
    /// killed. `Duration::MAX` is no limit.
    pub const fn grace(mut self, time: Duration) -> Self {
        self.grace = time;
        self
    }

    /// Sets the longest time between two heartbeats, and from the moment at which the child is ready to the first one. A
    /// child that gives none counts as hung and is killed. By default, it needs none.
    pub const fn heartbeat(mut self, time: Duration) -> Self {
        self.heartbeat = time;
        self
    }

    /// Returns whether an exit calls for a restart.
    pub(super) fn is_failure(&self, is_normal: bool) -> bool {
        match self.restart {
            Restart::Permanent => true,
            Restart::Transient => !is_normal,
            Restart::Temporary => false,
        }
    }
}
