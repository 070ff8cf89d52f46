//! Schedules the search for descriptors that were closed while they were watched, which the kernel does not report.

use std::ops::Range;
use std::time::Duration;

use kpt_core::Instant;

/// The duration of a pass over all descriptors. A descriptor that is closed after the pass has checked it is found by
/// the next one, so at the latest after twice this time.
const PASS: Duration = Duration::from_secs(5);

/// The number of descriptors that one step checks: less than a millisecond.
const STEP: u32 = 1_024;

/// Plans steps while the loop is active. Only its hooks, or other code of the same process, close descriptors: while
/// the loop sleeps, there is no step, and no wake-up for one.
pub struct Sweep {
    /// When the next step is due.
    due: Instant,
    /// The descriptor with which it begins.
    next: u32,
    /// Whether the loop has been active since the pass began.
    is_active: bool,
    /// Whether hooks may have run since the last wait began.
    is_noted: bool,
}

impl Sweep {
    pub fn new() -> Self {
        Self { due: Instant::NEVER, next: 0, is_active: false, is_noted: false }
    }

    #[inline]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Notes that a wait begins, after which hooks run. Returns whether a step has to be planned.
    #[inline]
    pub fn note(&mut self) -> bool {
        self.is_active |= self.is_noted;
        self.is_noted = true;
        self.due == Instant::NEVER
    }

    /// Notes that no hook has run after the last wait: a host that was woken for a step has called it.
    pub fn note_idle(&mut self) {
        self.is_noted = false;
    }

    /// Plans the next step for descriptors below `end`.
    pub fn plan(&mut self, now: Instant, end: u32) {
        self.due = now + PASS / end.div_ceil(STEP).max(1);
    }

    /// Returns the descriptors to check in the step that is due, and plans the next one.
    pub fn step(&mut self, now: Instant, end: u32) -> Range<u32> {
        if self.next == 0 {
            self.is_active = false;
        }
        let begin = self.next.min(end);
        let until = begin.saturating_add(STEP).min(end);
        self.next = if until == end { 0 } else { until };
        if self.next != 0 || self.is_active {
            self.plan(now, end);
        } else {
            self.due = Instant::NEVER;
        }
        begin..until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_sleeping_loop_is_not_woken_again_and_again() {
        let mut sweep = Sweep::new();
        assert!(sweep.note());
        sweep.plan(at(1), 10);
        assert_eq!((sweep.due(), sweep.note()), (at(6), false));
        assert_eq!(sweep.step(at(6), 10), 0..10);
        assert_eq!(sweep.due(), Instant::NEVER);
    }

    #[test]
    fn what_is_closed_behind_a_pass_is_found_in_the_next() {
        let end = 5 * STEP;
        let mut sweep = Sweep::new();
        assert!(sweep.note());
        sweep.plan(at(0), end);
        assert_eq!((sweep.due(), sweep.step(at(1), end)), (at(1), 0..STEP));
        assert!(!sweep.note(), "the loop closes a descriptor");
        for step in 1..10 {
            let begin = step as u32 % 5 * STEP;
            assert_eq!(sweep.due(), at(step + 1));
            assert_eq!(sweep.step(at(step + 1), end), begin..begin + STEP);
        }
        assert_eq!(sweep.due(), Instant::NEVER, "and then no more");
    }

    #[test]
    fn an_idle_guest_is_not_woken_again_and_again() {
        let end = 2 * STEP;
        let mut sweep = Sweep::new();
        assert!(sweep.note());
        sweep.plan(at(0), end);
        let mut steps = 0;
        while sweep.due() != Instant::NEVER {
            let now = sweep.due();
            assert!(!sweep.note(), "the host polls as a step is due");
            sweep.step(now, end);
            sweep.note_idle();
            steps += 1;
            assert!(steps <= 4, "there is no end");
        }
    }

    #[test]
    fn descriptors_may_become_fewer_within_a_pass() {
        let mut sweep = Sweep::new();
        sweep.note();
        sweep.plan(at(0), 3 * STEP);
        assert_eq!(sweep.step(at(1), 3 * STEP), 0..STEP);
        assert_eq!(sweep.step(at(2), 7), 7..7);
        assert_eq!(sweep.due(), Instant::NEVER);
    }
}
