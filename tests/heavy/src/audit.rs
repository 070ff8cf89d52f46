//! What holds of a loop on any poller, however it behaves: read from a log, without a twin.

use std::collections::HashMap;

use kpt_core::{Instant, Kind, When};

use crate::dice::TAME_END;
use crate::event::{Again, Entry, Event, Seen};

/// Goes through the log of a loop in a tame case, which has come to rest in the end. No timer is early, no registration
/// is called twice, equal deadlines and execute threads keep their order, and all are called in the end.
pub fn judge(log: &[Entry]) -> Result<(), String> {
    let mut audit = Audit::default();
    for Entry { at, event } in log {
        match *event {
            Event::Added(tag, when)
            | Event::Again(tag, Again::Done(Some(when)))
            | Event::Rescheduled(tag, when, Ok(())) => {
                audit.register(tag, when, *at);
            }
            Event::Rearms(tag) | Event::Again(tag, Again::Done(None)) => audit.register_again(tag),
            Event::Called(seen) => audit.call(seen, *at)?,
            Event::Dropped(tag) => audit.thread(tag).waits = None,
            _ => {}
        }
    }
    audit.check_all_called(log.last().map_or(Instant::ZERO, |entry| entry.at))
}

#[derive(Default)]
struct Audit {
    /// By tag.
    threads: Vec<Thread>,
    order: u64,
    /// The latest registration of those timers for a deadline that were called, and of execute threads.
    called: HashMap<Option<Instant>, u64>,
}

#[derive(Clone, Copy, Default)]
struct Thread {
    /// The registration that has not been called yet.
    waits: Option<Registration>,
    period: Option<u64>,
    /// That of the last call.
    deadline: Option<Instant>,
    is_timer: bool,
}

#[derive(Clone, Copy)]
struct Registration {
    order: u64,
    not_before: u64,
}

impl Thread {
    /// The deadline that a timer waits for, or was called for; at the least.
    fn last_deadline(&self) -> u64 {
        let called_for = self.deadline.map_or(0, Instant::as_micros);
        self.waits.map_or(called_for, |waits| waits.not_before)
    }
}

impl Audit {
    fn thread(&mut self, tag: u32) -> &mut Thread {
        let at = tag as usize;
        self.threads.resize(self.threads.len().max(at + 1), Thread::default());
        &mut self.threads[at]
    }

    fn register(&mut self, tag: u32, when: When, now: Instant) {
        let thread = self.thread(tag);
        let mut not_before = 0;
        if let When::After(delay) | When::AfterDeadline(delay) = when {
            let micros = u64::try_from(delay.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
            thread.period = Some(micros);
            let goes_on = thread.is_timer && matches!(when, When::AfterDeadline(_));
            let start = if goes_on { thread.last_deadline() } else { now.as_micros() };
            // No delay is one that is over.
            not_before = if micros == 0 && !goes_on { 0 } else { start.saturating_add(micros) };
        } else if let When::At(moment) = when {
            not_before = moment.as_micros();
        } else if when.kind() == Kind::Paused {
            not_before = u64::MAX;
        }
        thread.is_timer = when.kind() == Kind::Timer;
        self.wait(tag, not_before);
    }

    fn register_again(&mut self, tag: u32) {
        let Thread { deadline, period, .. } = *self.thread(tag);
        let next =
            deadline.zip(period).map(|(last, period)| last.as_micros().saturating_add(period));
        self.wait(tag, next.unwrap_or(0));
    }

    fn wait(&mut self, tag: u32, not_before: u64) {
        self.order += 1;
        self.thread(tag).waits = Some(Registration { order: self.order, not_before });
    }

    fn call(&mut self, Seen { tag, kind, deadline, .. }: Seen, now: Instant) -> Result<(), String> {
        let thread = self.thread(tag);
        thread.deadline = deadline;
        let Some(Registration { order, not_before }) = thread.waits.take() else {
            return Err(format!("thread {tag} is called and not registered"));
        };
        if now.as_micros() < not_before {
            return Err(format!("thread {tag} is called at {now:?}, before {not_before}"));
        }
        if deadline.is_some_and(|deadline| deadline.as_micros() < not_before) {
            return Err(format!("thread {tag} for {deadline:?}, which is before {not_before}"));
        }
        if matches!(kind, Kind::Timer | Kind::Execute) {
            let latest = self.called.entry(deadline).or_default();
            if *latest >= order {
                return Err(format!("thread {tag}, {order}, is called after {latest}"));
            }
            *latest = order;
        }
        Ok(())
    }

    fn check_all_called(&self, now: Instant) -> Result<(), String> {
        for (tag, thread) in self.threads.iter().enumerate() {
            let Some(Registration { not_before, .. }) = thread.waits else { continue };
            if not_before <= TAME_END && now.as_micros() <= TAME_END {
                return Err(format!("thread {tag} for {not_before} is not called until {now:?}"));
            }
        }
        Ok(())
    }
}
