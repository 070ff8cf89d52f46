//! Short words for short times.

use std::time::Duration;

/// So many milliseconds.
pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// So many microseconds.
pub fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}
