//! The life of a task as its parent sees it: what has happened, and what is to be done next to end it.
//!
//! A state machine without a process: it is told what happens and what time it is, and says what to do.
//!
//! ```text
//! starting -> running -> asked to stop -> terminated -> killed
//!     \__________\____________\_______________\___________\____ reaped
//! ```

use std::time::Duration;

use kpt_core::Instant;

/// How far it had to go to end a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// It was asked to, by a message.
    Asked,
    /// It was sent `SIGTERM`, and `SIGCONT` in case it had been stopped.
    Terminated,
    /// It was sent `SIGKILL`.
    Killed,
}

/// What to do to the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send it the stop message.
    Ask,
    /// Send it `SIGTERM` and `SIGCONT`.
    Terminate,
    /// Send it `SIGKILL`.
    Kill,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With that exit code.
    Code(i32),
    /// By that signal.
    Signal(i32),
    /// Somebody else has asked the system for it, which tells it only once.
    Unknown,
}

/// What is known of a task.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    has_started: bool,
    rung: Option<Rung>,
    terminate_at: Instant,
    kill_at: Instant,
    ended: Option<Ended>,
}

impl Life {
    /// It has been forked.
    pub const fn new() -> Self {
        Self {
            has_started: false,
            rung: None,
            terminate_at: Instant::NEVER,
            kill_at: Instant::NEVER,
            ended: None,
        }
    }

    /// It says that its loop runs.
    pub fn on_ready(&mut self) {
        self.has_started = true;
    }

    /// Whether its loop has run.
    pub fn has_started(&self) -> bool {
        self.has_started
    }

    /// It shall end before `grace` has passed: it is asked now, terminated after half of that time, and killed at its
    /// end. Said again, the sooner one counts.
    pub fn stop(&mut self, now: Instant, grace: Duration) -> Option<Action> {
        if self.ended.is_some() {
            return None;
        }
        self.terminate_at = self.terminate_at.min(now + grace / 2);
        self.kill_at = self.kill_at.min(now + grace);
        if self.rung.is_some() {
            return None;
        }
        self.rung = Some(Rung::Asked);
        Some(Action::Ask)
    }

    /// It shall end now.
    pub fn kill(&mut self) -> Option<Action> {
        if self.ended.is_some() {
            return None;
        }
        self.rung = Some(Rung::Killed);
        Some(Action::Kill)
    }

    /// What is to be done at that time. To be asked until it says nothing.
    pub fn on_time(&mut self, now: Instant) -> Option<Action> {
        self.deadline().filter(|&deadline| deadline <= now)?;
        if self.rung == Some(Rung::Asked) {
            self.rung = Some(Rung::Terminated);
            return Some(Action::Terminate);
        }
        self.kill()
    }

    /// When to call `on_time`.
    pub fn deadline(&self) -> Option<Instant> {
        if self.ended.is_some() {
            return None;
        }
        match self.rung? {
            Rung::Asked => Some(self.terminate_at),
            Rung::Terminated => Some(self.kill_at),
            Rung::Killed => None,
        }
    }

    /// It is no more. Only the first call counts.
    pub fn on_ended(&mut self, ended: Ended) {
        self.ended.get_or_insert(ended);
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// How far it had to go.
    pub fn rung(&self) -> Option<Rung> {
        self.rung
    }
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
