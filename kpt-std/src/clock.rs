//! The monotonic clock, rounded one way and the other.

use std::time::Duration;

use kpt_core::Instant;

use crate::sys;

/// The time, rounded up: where a delay may begin.
pub fn now_or_later() -> Instant {
    Instant::ZERO + sys::monotonic_now()
}

/// The time, rounded down: which deadlines have certainly passed.
pub fn now_or_earlier() -> Instant {
    let now = sys::monotonic_now();
    Instant::from_micros(
        now.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(now.subsec_micros())),
    )
}

/// What is left until then; zero if it has passed.
pub fn remaining(until: Instant) -> Duration {
    until.saturating_duration_since(now_or_earlier())
}
