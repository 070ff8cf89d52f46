//! Time in whole microseconds, on a clock that starts anywhere and never goes back.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment: microseconds since the start of the poller's clock, which may be any time.
///
/// [`Instant::NEVER`] is the last moment. A deadline at or beyond it is never reached. The clock lasts for 584,542
/// years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// The start of the clock. A deadline at this moment has passed.
    pub const ZERO: Self = Self(0);
    /// The deadline that is never reached.
    pub const NEVER: Self = Self(u64::MAX);

    /// Returns the moment `micros` microseconds after the start of the clock.
    #[inline]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the number of microseconds since the start of the clock.
    #[inline]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the moment that is later by `delay`, rounded up to whole microseconds; [`Instant::NEVER`] beyond the end
    /// of the clock.
    pub fn saturating_add(self, delay: Duration) -> Self {
        after(self, micros(delay))
    }

    /// Returns the time from `earlier` to this moment; zero if this moment is not later.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// The same as [`Instant::saturating_add`].
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, delay: Duration) -> Self {
        self.saturating_add(delay)
    }
}

/// The same as [`Instant::saturating_duration_since`].
impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// Returns the later of two moments. Where 64 bits take two registers, a call is smaller than inlined code.
#[cfg_attr(target_pointer_width = "64", inline)]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn later(one: Instant, other: Instant) -> Instant {
    one.max(other)
}

/// Returns the moment `micros` microseconds after `start`; [`Instant::NEVER`] beyond the end of the clock.
#[cfg_attr(target_pointer_width = "64", inline)]
#[cfg_attr(not(target_pointer_width = "64"), inline(never))]
pub(crate) fn after(start: Instant, micros: u64) -> Instant {
    Instant(start.0.saturating_add(micros))
}

/// Returns the moment one microsecond earlier.
#[cfg(feature = "large")]
pub(crate) fn before(moment: Instant) -> Instant {
    Instant(moment.0.saturating_sub(1))
}

/// The last moment that a loop's position may take. It is before [`Instant::NEVER`], so that a timer there is never
/// due.
pub(crate) const LAST: Instant = Instant(u64::MAX - 1);

/// Returns the duration in whole microseconds, rounded up; `u64::MAX` if it does not fit.
pub(crate) const fn micros(duration: Duration) -> u64 {
    const MOST_SECONDS: u64 = u64::MAX / 1_000_000;
    if duration.as_secs() > MOST_SECONDS {
        return u64::MAX;
    }
    // Divides by 1,000 and rounds up, with a multiplication that is exact for all 32-bit values. On a Cortex-M0, a
    // division calls a large function.
    let fraction =
        (duration.subsec_nanos() as u64).wrapping_add(999).wrapping_mul(274_877_907) >> 38;
    duration.as_secs().wrapping_mul(1_000_000).saturating_add(fraction)
}

/// A `u64` aligned to four bytes, so that the tables of 32-bit machines have no padding.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
pub(crate) struct Wide(u64);

impl Wide {
    pub(crate) const ZERO: Self = Self(0);

    #[inline]
    pub(crate) const fn new(value: u64) -> Self {
        Self(value)
    }

    #[inline]
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// The time between two runs of a timer that re-arms itself, or none.
///
/// Stored as microseconds + 1, so that none is all zero bytes. A period of `u64::MAX` microseconds is stored as none,
/// too: such a timer is never due, and if it is rescheduled, `again` finds no period.
#[derive(Clone, Copy)]
pub(crate) struct Period(Wide);

impl Period {
    pub(crate) const NONE: Self = Self(Wide::ZERO);

    pub(crate) fn from_micros(micros: u64) -> Self {
        Self(Wide::new(micros.wrapping_add(1)))
    }

    pub(crate) fn is_none(self) -> bool {
        self.0.get() == 0
    }

    /// Returns the value that `from_micros` received.
    fn micros(self) -> u64 {
        self.0.get().wrapping_sub(1)
    }

    /// Returns the first moment of the series `last`, `last` + period, `last` + 2 periods, ... that is after `last` and
    /// not before `now`. For a period of zero, returns the later of `last` and `now`.
    ///
    /// Advances in steps that double while they fit and then start again with one period: on a 32-bit machine, a
    /// division calls a large function.
    pub(crate) fn next(self, last: Instant, now: Instant) -> Instant {
        let period = self.micros();
        if period == 0 {
            return later(last, now);
        }
        let (mut next, mut step) = (last, period);
        loop {
            next = after(next, step);
            if next >= now {
                return next;
            }
            let left = now.0.wrapping_sub(next.0);
            step = if left >> 1 >= step { step << 1 } else { period };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_up_and_saturate() {
        for (nanos, expected) in
            [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (999_999_001, 1_000_000)]
        {
            assert_eq!(micros(Duration::from_nanos(nanos)), expected, "{nanos} ns");
        }
        for nanos in (0..1_000_000_000).step_by(999).chain(999_990_000..1_000_000_000) {
            assert_eq!(
                micros(Duration::new(7, nanos)),
                7_000_000 + u64::from(nanos.div_ceil(1_000))
            );
        }
        let most = Duration::from_micros(u64::MAX - 1);
        assert_eq!(micros(most), u64::MAX - 1);
        assert_eq!(micros(most + Duration::from_secs(1)), u64::MAX);
        assert_eq!(micros(Duration::MAX), u64::MAX);
        assert_eq!(Instant::from_micros(7) + Duration::MAX, Instant::NEVER);
    }

    #[test]
    fn periods_missed_are_as_by_division() {
        let edges = [0, 1, 2, 3, 7, 999, 1_000, 1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX - 1];
        for (period, last, now) in
            edges.iter().flat_map(|&p| edges.iter().flat_map(move |&l| edges.map(|n| (p, l, n))))
        {
            let next = last.saturating_add(period);
            let periods = now.saturating_sub(next).div_ceil(period.max(1));
            let expected = next.saturating_add(periods.saturating_mul(period.max(1)));
            let found = Period::from_micros(period).next(Instant(last), Instant(now));
            assert_eq!(found, Instant(expected), "period {period} last {last} now {now}");
        }
    }

    #[test]
    fn the_next_period_is_on_the_grid_and_not_before_now() {
        let period = Period::from_micros(10);
        for (last, now, expected) in [
            (100, 100, 110),
            (100, 109, 110),
            (100, 110, 110),
            (100, 111, 120),
            (100, 129, 130),
            (100, 140, 140),
        ] {
            let next = period.next(Instant(last), Instant(now));
            assert_eq!(next, Instant(expected), "last {last} now {now}");
        }
        assert_eq!(Period::from_micros(0).next(Instant(5), Instant(9)), Instant(9));
        assert_eq!(Period::from_micros(u64::MAX).next(Instant(5), Instant(9)), Instant::NEVER);
    }
}
