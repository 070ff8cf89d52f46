//! The signal at the parent's death, which ends a process that does not notice the end of its parent itself.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::{c_int, pid_t};

use super::{check, parent_id};

/// The parent of this process.
static PARENT: AtomicI32 = AtomicI32::new(0);

/// The time that a process has to end by itself after its parent has died.
const ORPHAN_GRACE_SECONDS: u8 = 1;

/// Makes the kernel kill this process one second after `parent` has died. Uses the signal `SIGRTMAX - 1`, since valgrind
/// uses `SIGRTMAX` itself.
///
/// # Errors
/// Fails if the parent has died already, or with the system's error.
pub fn die_after(parent: pid_t) -> io::Result<()> {
    // A parent in another PID namespace is seen as 0. Its end is noticed by the channel.
    PARENT.store(if parent_id() == 0 { 0 } else { parent }, Ordering::Relaxed);
    let handler: extern "C" fn(c_int) = on_parent_death;
    // SAFETY: all zero bytes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is valid and borrowed until the call returns; what its handler does may be done in one.
    check(unsafe { libc::sigaction(death_signal(), &action, std::ptr::null_mut()) })?;
    ask_for_death_signal(parent)
}

/// Asks the kernel for the signal of `die_after`. It has to be asked again after a change of the user, the group or the
/// capabilities, with which the kernel forgets it.
///
/// # Errors
/// Fails as `die_after` does.
pub fn ask_for_death_signal(parent: pid_t) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a number and no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, death_signal() as libc::c_ulong) })?;
    let seen = parent_id();
    if seen != 0 && seen != parent {
        return Err(io::Error::other(format!("the parent, process {parent}, has died")));
    }
    Ok(())
}

/// Returns the number of that signal.
pub fn death_signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// The signal also arrives when the OS thread that forked has ended and the parent lives on; it is ignored then.
extern "C" fn on_parent_death(_: c_int) {
    if parent_id() == PARENT.load(Ordering::Relaxed) {
        return;
    }
    // SAFETY: the call returns the place of this OS thread's errno, which the interrupted code may be about to read.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    if start_timer().is_none() {
        // There is no room for a signal of a timer: this one takes none, but may be blocked.
        // SAFETY: the calls take numbers, and may be made in a signal handler. The default action is no function.
        unsafe {
            libc::signal(libc::SIGALRM, libc::SIG_DFL);
            libc::alarm(ORPHAN_GRACE_SECONDS.into());
        }
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// Makes the system kill this process after the grace. By plain system calls, since the C library's functions for timers
/// may not be called in a signal handler. The timer is made here, since most processes never need it.
fn start_timer() -> Option<()> {
    // SAFETY: all zero bytes are a valid sigevent.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGKILL;
    let mut timer: c_int = 0;
    let (clock, zero) = (libc::CLOCK_MONOTONIC, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    let grace = libc::timespec { tv_sec: ORPHAN_GRACE_SECONDS.into(), tv_nsec: 0 };
    let once = libc::itimerspec { it_interval: zero, it_value: grace };
    let no_old = std::ptr::null_mut::<libc::itimerspec>();
    // SAFETY: `event` and `once` are valid, and `timer` is a place for the number of a timer; all are borrowed until the
    // calls return. The old setting is not asked for.
    let result = unsafe {
        if libc::syscall(libc::SYS_timer_create, clock, &mut event, &mut timer) == -1 {
            return None;
        }
        libc::syscall(libc::SYS_timer_settime, timer, 0, &once, no_old)
    };
    (result == 0).then_some(())
}
