//! How often children are restarted, and after which pause.

use std::collections::VecDeque;
use std::time::Duration;

use kpt_core::Instant;

/// The moments of the last restarts, of which at most `most` may be within a period.
#[derive(Clone, Debug)]
pub(super) struct Intensity {
    most: usize,
    pub period: Duration,
    /// From the oldest. Has room for `most`, so that it never grows.
    moments: VecDeque<Instant>,
}

impl Intensity {
    pub fn new(most: usize, period: Duration) -> Self {
        Self { most, period, moments: VecDeque::with_capacity(most) }
    }

    /// Notes a restart. Returns whether it is one of those that are allowed.
    pub fn admit(&mut self, now: Instant) -> bool {
        if self.moments.len() == self.most {
            let is_past = |&first: &Instant| first + self.period <= now;
            if !self.moments.front().is_some_and(is_past) {
                return false;
            }
            self.moments.pop_front();
        }
        self.moments.push_back(now);
        true
    }
}

/// The pause before a restart.
#[derive(Clone, Copy, Debug)]
pub(super) struct BackOff {
    pub first: Duration,
    pub most: Duration,
}

impl BackOff {
    /// Returns the pause after `failures` in a row: `first * 2^(failures - 1)`, but not more than `most`.
    pub fn pause(self, failures: u32) -> Duration {
        // After 95 doublings a nanosecond is longer than any duration.
        let doublings = failures.saturating_sub(1).min(95);
        let pause = (0..doublings).fold(self.first, |pause, _| pause.saturating_mul(2));
        pause.min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_bound() {
        let millis = Duration::from_millis;
        let back_off = BackOff { first: millis(100), most: millis(1_000) };
        let pauses = [0, 1, 2, 3, 4, 5, 6, u32::MAX].map(|failures| back_off.pause(failures));
        assert_eq!(pauses, [100, 100, 200, 400, 800, 1_000, 1_000, 1_000].map(millis));
        let none = BackOff { first: Duration::ZERO, most: Duration::MAX };
        assert_eq!(none.pause(u32::MAX), Duration::ZERO);
        let long = BackOff { first: Duration::from_nanos(1), most: Duration::MAX };
        assert_eq!(long.pause(33), Duration::from_nanos(1 << 32));
        assert_eq!(long.pause(u32::MAX), Duration::MAX);
        let short = BackOff { first: millis(100), most: millis(1) };
        assert_eq!(short.pause(1), millis(1));
    }

    #[test]
    fn a_restart_is_forgotten_after_the_period() {
        let at = Instant::from_micros;
        let mut intensity = Intensity::new(2, Duration::from_micros(10));
        let admitted = [0, 5, 9, 10, 14, 15].map(|micros| intensity.admit(at(micros)));
        assert_eq!(admitted, [true, true, false, true, false, true]);
        assert!(!Intensity::new(0, Duration::ZERO).admit(at(1)));
        let mut ever = Intensity::new(1, Duration::MAX);
        assert!(ever.admit(at(1)) && !ever.admit(at(u64::MAX - 1)));
    }

    #[test]
    fn a_window_never_grows() {
        let mut intensity = Intensity::new(3, Duration::from_micros(1));
        let room = intensity.moments.capacity();
        assert!((0..1_000).all(|micros| intensity.admit(Instant::from_micros(micros))));
        assert_eq!(intensity.moments.capacity(), room);
    }
}
