//! The life of a task as its parent sees it, and the steps to end it.
//!
//! A state machine that does not touch the process: it is told the events and the time, and returns the actions.
//!
//! ```text
//! starting -> running -> asked to stop -> terminated -> killed
//!     \__________\____________\_______________\___________\____ reaped
//! ```

use std::time::Duration;

use kpt_core::Instant;

use crate::sys::Ended;

/// The last step that was taken to end a task. Later steps are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StopStep {
    /// It was sent a stop message.
    Asked,
    /// It was sent `SIGTERM`, and `SIGCONT` in case it had been stopped.
    Terminated,
    /// It was sent `SIGKILL`.
    Killed,
}

/// An action on the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send it the stop message.
    Ask,
    /// Send it `SIGTERM` and `SIGCONT`.
    Terminate,
    /// Send it `SIGKILL`.
    Kill,
}

/// The time after which a signal that could not be sent is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The state of a task.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    has_started: bool,
    step: Option<StopStep>,
    terminate_at: Instant,
    kill_at: Instant,
    /// The moment of the next attempt, after `SIGKILL` could not be sent.
    retry_at: Instant,
    ended: Option<Ended>,
}

#[cfg(feature = "sim")]
impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

impl Life {
    /// Creates the state of a task that has just been forked.
    pub const fn new() -> Self {
        Self {
            has_started: false,
            step: None,
            terminate_at: Instant::NEVER,
            kill_at: Instant::NEVER,
            retry_at: Instant::NEVER,
            ended: None,
        }
    }

    /// Notes that its loop runs.
    pub fn on_ready(&mut self) {
        self.has_started = true;
    }

    /// Returns whether its loop has run.
    pub fn has_started(&self) -> bool {
        self.has_started
    }

    /// Starts to end the task within `grace`: it is asked now, terminated after half of that time, and killed at its
    /// end. If called again, the earlier end counts.
    pub fn stop(&mut self, now: Instant, grace: Duration) -> Option<Action> {
        if self.ended.is_some() {
            return None;
        }
        self.terminate_at = self.terminate_at.min(now + grace / 2);
        self.kill_at = self.kill_at.min(now + grace);
        if self.step.is_some() {
            return None;
        }
        self.step = Some(StopStep::Asked);
        Some(Action::Ask)
    }

    /// Ends the task at once.
    pub fn kill(&mut self) -> Option<Action> {
        if self.ended.is_some() {
            return None;
        }
        self.step = Some(StopStep::Killed);
        self.retry_at = Instant::NEVER;
        Some(Action::Kill)
    }

    /// Notes that `SIGKILL` could not be sent. It is tried again.
    pub fn on_kill_failed(&mut self, now: Instant) {
        if self.step == Some(StopStep::Killed) {
            self.retry_at = now + RETRY;
        }
    }

    /// Returns an action that is due at `now`. Call it until it returns `None`.
    pub fn on_time(&mut self, now: Instant) -> Option<Action> {
        self.deadline().filter(|&deadline| deadline <= now)?;
        if self.step == Some(StopStep::Asked) {
            self.step = Some(StopStep::Terminated);
            return Some(Action::Terminate);
        }
        self.kill()
    }

    /// Returns the time at which to call `on_time`.
    pub fn deadline(&self) -> Option<Instant> {
        if self.ended.is_some() {
            return None;
        }
        match self.step? {
            StopStep::Asked => Some(self.terminate_at),
            StopStep::Terminated => Some(self.kill_at),
            StopStep::Killed => Some(self.retry_at).filter(|&at| at != Instant::NEVER),
        }
    }

    /// Notes that the process has ended. Only the first call counts.
    pub fn on_ended(&mut self, ended: Ended) {
        self.ended.get_or_insert(ended);
    }

    /// Returns how it ended, if it has.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Returns the last step that was taken to end it.
    pub fn last_step(&self) -> Option<StopStep> {
        self.step
    }
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
