//! The monotonic clock, rounded up or down to microseconds.

use std::time::Duration;

use kpt_core::Instant;

use crate::sys;

/// Returns the time, rounded up: the moment from which a delay counts.
pub fn now_or_later() -> Instant {
    Instant::ZERO + sys::monotonic_now()
}

/// Returns the time, rounded down: deadlines up to this moment have certainly passed.
pub fn now_or_earlier() -> Instant {
    let now = sys::monotonic_now();
    Instant::from_micros(
        now.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(now.subsec_micros())),
    )
}

/// Returns the time left until `until`; zero if that has passed.
pub fn remaining(until: Instant) -> Duration {
    until.saturating_duration_since(now_or_earlier())
}
