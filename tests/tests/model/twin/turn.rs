//! A turn, step by step.

use kpt_core::{Instant, Kind};

use super::{NEVER, Panicked, State, Thread, Twin};
use crate::machine::event::{Event, Turned};

impl Twin {
    pub(super) fn turn(&mut self) -> Result<Turned, Panicked> {
        let batch = self.pending();
        self.run_found()?;
        for tag in batch {
            if self.is_stopping {
                break;
            }
            if self.find(tag).is_some() {
                self.call(tag)?;
            }
        }
        if let Some(exit) = self.exit() {
            return Ok(exit);
        }
        if !self.pending().is_empty() && self.hooks_since_look < self.case.look_every {
            return Ok(Turned::More);
        }
        self.tell_new();
        if let Err(turned) = self.wait() {
            return Ok(turned);
        }
        self.mark_due();
        self.run_found()?;
        Ok(self.exit().unwrap_or(Turned::More))
    }

    fn exit(&mut self) -> Option<Turned> {
        match std::mem::take(&mut self.is_stopping) {
            true => Some(Turned::Stopped),
            false => self.threads.is_empty().then_some(Turned::Empty),
        }
    }

    /// The execute threads, in order.
    fn pending(&self) -> Vec<u32> {
        let mut pending: Vec<(u64, u32)> = Vec::new();
        for thread in &self.threads {
            if let State::Pending(order) = thread.state {
                pending.push((order, thread.tag));
            }
        }
        pending.sort_unstable();
        pending.into_iter().map(|(_, tag)| tag).collect()
    }

    /// Runs ready writers, then ready readers, then due timers.
    fn run_found(&mut self) -> Result<(), Panicked> {
        let next = |thread: &Thread| match (thread.kind, thread.state) {
            (Kind::Write, State::Ready(order)) => Some((0, order)),
            (Kind::Read, State::Ready(order)) => Some((1, order)),
            (Kind::Timer, State::Due(order)) => Some((2, order)),
            _ => None,
        };
        while !self.is_stopping
            && let Some(tag) = self.first(next)
        {
            self.call(tag)?;
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), Turned> {
        self.hooks_since_look = 0;
        let mut until = None;
        let position = self.position();
        for thread in &self.threads {
            match thread.state {
                State::Pending(_) | State::Ready(_) => until = Some(0),
                // Also if the clock has gone back since: a deadline in the past counts as now.
                State::Timer(due, _) if due <= position => until = Some(0),
                State::Timer(due, _) if due != NEVER => until = Some(until.unwrap_or(due).min(due)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        let result = self.world.wait(until, &mut found);
        self.log.push(Event::Waited(result.ok().map(Instant::from_micros)));
        for (source, readiness) in found {
            self.found(source, readiness);
        }
        self.time = self.time.max(result?.min(NEVER - 1));
        Ok(())
    }

    /// Timers that are due now, by deadline, equal ones in the order of adding.
    fn mark_due(&mut self) {
        let position = self.position();
        let nearest = |thread: &Thread| match thread.state {
            State::Timer(due, order) if due <= position => Some((due, order)),
            _ => None,
        };
        while let Some(at) = self.first(nearest).and_then(|tag| self.find(tag)) {
            self.threads[at].state = State::Due(self.next_order());
        }
    }
}
