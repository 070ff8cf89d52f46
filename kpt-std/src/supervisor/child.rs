//! One child of a supervisor: its state, and its moments.

use std::time::Duration;

use kpt_core::Instant;

use super::spec::{ChildSpec, Restart};

/// The state of a child.
///
/// ```text
/// Waiting -> Starting -> Ready -> (told) Stopping -> Killed
///    ^           \________/   \____ Condemned __/
///    |               |   \_ Hung
///    \______________exit_________________________/   or Over
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is to be started.
    Waiting,
    /// It has been started, and is not ready yet.
    Starting,
    /// It is ready.
    Ready,
    /// It was killed because it was not ready in time, or gave no heartbeat. Its exit may be a failure.
    Hung,
    /// It is to be stopped, when its turn comes.
    Condemned,
    /// It has been told to stop.
    Stopping,
    /// It was killed because it did not stop.
    Killed,
    /// It has ended, and is not to be started.
    Over,
}

/// One child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub spec: ChildSpec,
    pub state: State,
    /// It is not started before this moment.
    pub start_at: Instant,
    /// It is killed at this moment: when it should be ready, should have given a heartbeat, or should have stopped.
    pub kill_at: Instant,
    /// The time that it has for that.
    time: Duration,
    /// Whether it was given that time once more.
    was_spared: bool,
    /// Since when it is ready.
    pub ready_since: Option<Instant>,
    pub was_ever_ready: bool,
    /// How often it has failed in a row.
    pub failures: u32,
}

impl Child {
    pub fn new(spec: ChildSpec) -> Self {
        Self {
            spec,
            state: State::Waiting,
            start_at: Instant::ZERO,
            kill_at: Instant::NEVER,
            time: Duration::MAX,
            was_spared: false,
            ready_since: None,
            was_ever_ready: false,
            failures: 0,
        }
    }

    /// Returns whether it is being stopped, so that its exit is expected.
    pub fn is_leaving(&self) -> bool {
        matches!(self.state, State::Condemned | State::Stopping | State::Killed)
    }

    pub fn start(&mut self, now: Instant) {
        self.state = State::Starting;
        self.give(now, self.spec.ready_within);
    }

    pub fn stop(&mut self, now: Instant) {
        self.state = State::Stopping;
        self.give(now, self.spec.grace);
    }

    /// Notes that it is ready, or has given a heartbeat.
    pub fn note_life(&mut self, now: Instant) {
        self.give(now, self.spec.heartbeat);
    }

    /// Has it killed after this time, unless it does what it has the time for.
    fn give(&mut self, now: Instant, time: Duration) {
        self.kill_at = now + time;
        self.time = time;
        self.was_spared = false;
    }

    /// Gives it its time once more, if the time was over a while before this look at the clock: where all processes have
    /// stood still, it could do nothing either.
    pub fn spare(&mut self, now: Instant) {
        if !self.was_spared && self.kill_at + self.time / 4 < now {
            self.kill_at = now + self.time;
            self.was_spared = true;
        }
    }

    pub fn kill(&mut self) {
        self.state = if self.state == State::Stopping { State::Killed } else { State::Hung };
        self.kill_at = Instant::NEVER;
    }

    /// Notes an exit. A row of failures has ended if the child was ready for `long_enough`.
    pub fn exit(&mut self, now: Instant, long_enough: Duration) {
        if self.ready_since.take().is_some_and(|since| since + long_enough <= now) {
            self.failures = 0;
        }
        self.kill_at = Instant::NEVER;
    }

    /// Restarts it together with a child that has failed, not before `from`.
    pub fn join_restart(&mut self, from: Instant) {
        self.start_at = self.start_at.max(from);
        // A temporary one is over as well when it ends.
        if self.state == State::Over && self.spec.restart != Restart::Temporary {
            self.state = State::Waiting;
        }
        self.condemn();
    }

    /// Stops it for good.
    pub fn stop_for_good(&mut self) {
        if self.state == State::Waiting {
            self.state = State::Over;
        }
        self.condemn();
    }

    fn condemn(&mut self) {
        self.state = match self.state {
            State::Starting | State::Ready => State::Condemned,
            State::Hung => State::Killed,
            state => return self.state = state,
        };
        self.kill_at = Instant::NEVER;
    }
}
