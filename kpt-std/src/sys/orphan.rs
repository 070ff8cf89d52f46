//! The end of a process whose parent has died, as a second net for processes that don't notice.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use libc::{c_int, pid_t};

use super::check;

/// The parent of this process, and the timer that `on_parent_death` starts.
static PARENT: AtomicI32 = AtomicI32::new(0);
static LAST_TIMER: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());

/// The time that a process has to end by itself after its parent has died.
const ORPHAN_GRACE_SECONDS: libc::time_t = 1;

/// Makes the kernel kill this process one second after `parent` has died: a net for processes that don't notice. Uses
/// the signal `SIGRTMAX - 1`, since valgrind uses `SIGRTMAX` itself.
///
/// # Errors
/// Fails if the parent has died already, or with the system's error.
pub fn die_after(parent: pid_t) -> io::Result<()> {
    // SAFETY: all zero bytes are a valid sigevent.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGKILL;
    let mut timer = std::ptr::null_mut();
    // SAFETY: `event` is valid and `timer` a place for a timer, both borrowed until the call returns.
    check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) })?;
    // SAFETY: the call has no arguments and can't fail.
    let seen = unsafe { libc::getppid() };
    // A parent in another PID namespace is seen as 0. Its end is noticed by the channel.
    PARENT.store(if seen == 0 { 0 } else { parent }, Ordering::Relaxed);
    LAST_TIMER.store(timer, Ordering::Relaxed);
    let handler: extern "C" fn(c_int) = on_parent_death;
    // SAFETY: all zero bytes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is valid and borrowed until the call returns; what its handler does may be done in one.
    check(unsafe { libc::sigaction(death_signal(), &action, std::ptr::null_mut()) })?;
    // SAFETY: PR_SET_PDEATHSIG takes a number and no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, death_signal() as libc::c_ulong) })?;
    // SAFETY: the call has no arguments and can't fail.
    if seen != 0 && unsafe { libc::getppid() } != parent {
        return Err(io::Error::other(format!("the parent, process {parent}, has died")));
    }
    Ok(())
}

pub fn death_signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// The signal also arrives when the OS thread that forked has ended and the parent lives on; it is ignored then.
extern "C" fn on_parent_death(_: c_int) {
    // SAFETY: the call has no arguments and can't fail.
    if unsafe { libc::getppid() } == PARENT.load(Ordering::Relaxed) {
        return;
    }
    let time = libc::timespec { tv_sec: ORPHAN_GRACE_SECONDS, tv_nsec: 0 };
    let once =
        libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: time };
    let timer = LAST_TIMER.load(Ordering::Relaxed);
    // SAFETY: `die_after` has made the timer before it installed this handler, and it is never deleted. `once` is valid
    // and borrowed until the call returns. The call may be made in a signal handler, and does not fail, so that it
    // leaves errno alone.
    unsafe { libc::timer_settime(timer, 0, &once, std::ptr::null_mut()) };
}
