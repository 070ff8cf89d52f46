//! What holds of a loop on any poller, however it behaves: checked as hooks are called, without a twin.

use std::collections::HashMap;
use std::time::Duration;

use kpt_core::{Instant, When};

use super::input::Act;

/// No delay and no step of the clock is longer, so that the clock's end stays away.
const LONGEST: u64 = 1 << 40;

#[derive(Default)]
pub struct Audit {
    /// By tag: the registration that has not been called yet.
    waiting: Vec<Option<Registration>>,
    order: u64,
    /// Of the timers that were called, the latest registration for that deadline.
    called: HashMap<Instant, u64>,
    /// Hooks do nothing but end.
    pub is_calm: bool,
}

#[derive(Clone, Copy)]
struct Registration {
    order: u64,
    not_before: u64,
    period: Option<u64>,
}

impl Audit {
    pub fn registered(&mut self, tag: u32, when: When, now: Instant) {
        let (not_before, period) = match when {
            When::At(moment) => (moment.as_micros(), None),
            When::After(delay) => {
                let micros = u64::try_from(delay.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
                (now.as_micros().saturating_add(micros), Some(micros))
            }
            _ => (0, None),
        };
        self.wait(tag, not_before, period);
    }

    /// `again`, after a call for `deadline`.
    pub fn registered_again(&mut self, tag: u32, deadline: Option<Instant>, period: Option<u64>) {
        let not_before = match (deadline, period) {
            (Some(deadline), Some(period)) => deadline.as_micros().saturating_add(period),
            _ => 0,
        };
        self.wait(tag, not_before, period);
    }

    fn wait(&mut self, tag: u32, not_before: u64, period: Option<u64>) {
        self.order += 1;
        let at = tag as usize;
        self.waiting.resize(self.waiting.len().max(at + 1), None);
        self.waiting[at] = Some(Registration { order: self.order, not_before, period });
    }

    /// Returns the period of the thread that is called.
    pub fn calls(&mut self, tag: u32, deadline: Option<Instant>, now: Instant) -> Option<u64> {
        let registration = self.waiting.get_mut(tag as usize).and_then(Option::take);
        let Some(Registration { order, not_before, period }) = registration else {
            panic!("thread {tag} is called and not registered");
        };
        let now = now.as_micros();
        assert!(now >= not_before, "thread {tag} is called at {now}, before {not_before}");
        if let Some(deadline) = deadline {
            assert!(not_before <= deadline.as_micros(), "{deadline:?} is before {not_before}");
            let latest = self.called.entry(deadline).or_default();
            assert!(*latest < order, "thread {tag}, {order}, is called after {latest}");
            *latest = order;
        }
        period
    }

    pub fn ended(&mut self, tag: u32) {
        if let Some(registration) = self.waiting.get_mut(tag as usize) {
            *registration = None;
        }
    }

    /// How many registrations have been called or will never be.
    pub fn check_all_called(&self, now: Instant) {
        // So late, a delay may well lie beyond the end of the clock.
        let end = u64::MAX - 2 * LONGEST;
        for (tag, registration) in self.waiting.iter().enumerate() {
            let Some(Registration { not_before, .. }) = *registration else { continue };
            assert!(
                not_before > end || now.as_micros() > end,
                "thread {tag} for {not_before} is not called until {now:?}"
            );
        }
    }
}

/// The same for a clock that goes on, and not too fast. `None` for a step back.
pub fn tame(act: Act) -> Option<Act> {
    Some(match act {
        Act::StepBack(_) => return None,
        Act::Advance(micros) => Act::Advance(micros.min(LONGEST)),
        Act::Later(micros, source, readiness) => Act::Later(micros.min(LONGEST), source, readiness),
        other => other,
    })
}

pub fn tame_when(when: When, now: Instant) -> When {
    let far = now + Duration::from_micros(LONGEST);
    match when {
        When::After(delay) if delay != Duration::MAX => {
            When::After(delay.min(Duration::from_micros(LONGEST)))
        }
        When::At(moment) if moment != Instant::NEVER => When::At(moment.min(far)),
        other => other,
    }
}
