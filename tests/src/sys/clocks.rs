//! Clocks, and what an OS thread has used.

use std::time::Duration;

/// The time of the monotonic clock, to the nanosecond.
pub fn monotonic_time() -> Duration {
    time_of(libc::CLOCK_MONOTONIC)
}

/// How much processor time this OS thread has used.
pub fn thread_cpu_time() -> Duration {
    time_of(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// How often this OS thread has gone to sleep by itself.
pub fn sleeps() -> u64 {
    // SAFETY: all zero bytes are a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place for an rusage, borrowed until the call returns.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    u64::try_from(usage.ru_nvcsw).unwrap_or(0)
}

fn time_of(clock: libc::clockid_t) -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for a timespec, borrowed until the call returns.
    unsafe { libc::clock_gettime(clock, &mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
