//! Signals that come again and again, for calls that they interrupt.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libc::c_int;

use super::check;

static ALARMS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count_alarm(_: c_int) {
    ALARMS.fetch_add(1, Ordering::Relaxed);
}

/// What sends `SIGALRM` again and again, until it is stopped.
pub struct Alarms(libc::timer_t);

// SAFETY: a `timer_t` is a name for a timer of the process, which all of its threads may use. Nothing deletes it.
unsafe impl Send for Alarms {}

impl Alarms {
    /// No more of them.
    ///
    /// # Errors
    /// What the system says.
    pub fn stop(&self) -> io::Result<()> {
        self.set(Duration::ZERO)
    }

    /// One each `period` from now on; none if it is zero.
    fn set(&self, period: Duration) -> io::Result<()> {
        let time = libc::timespec {
            tv_sec: period.as_secs().min(i32::MAX as u64) as _,
            tv_nsec: libc::c_long::from(period.subsec_nanos()),
        };
        let times = libc::itimerspec { it_interval: time, it_value: time };
        // SAFETY: the timer exists, `times` is valid; the old value is not asked for.
        check(unsafe { libc::timer_settime(self.0, 0, &times, std::ptr::null_mut()) }).map(drop)
    }
}

/// Sends this OS thread `SIGALRM` each `period` from now on. The handler has `SA_RESTART`, and only counts.
///
/// This thread and not the process, because that could let another thread have them, which is not in the call that they
/// should interrupt.
///
/// # Errors
/// What the system says.
pub fn start_alarms(period: Duration) -> io::Result<Alarms> {
    let handler: extern "C" fn(c_int) = count_alarm;
    // SAFETY: all zero bytes are a valid sigaction: no flags, an empty mask, the default handler.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is valid and borrowed until the call returns; its handler only adds to an atomic number, which
    // may be done in a signal handler.
    check(unsafe { libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) })?;
    // SAFETY: all zero bytes are a valid sigevent.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = libc::SIGALRM;
    // SAFETY: the call has no arguments and can't fail.
    event.sigev_notify_thread_id = unsafe { libc::gettid() };
    let mut timer = std::ptr::null_mut();
    // SAFETY: `event` is valid and `timer` a place for a timer, both borrowed until the call returns.
    check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) })?;
    let alarms = Alarms(timer);
    alarms.set(period)?;
    Ok(alarms)
}

/// How many `SIGALRM` the handler of [`start_alarms`] has seen.
pub fn alarms() -> u64 {
    ALARMS.load(Ordering::Relaxed)
}
