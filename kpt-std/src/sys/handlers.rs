//! The actions of signals in this process.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use libc::c_int;

use super::Actions;

/// The highest signal number of Linux.
pub const MOST: usize = 64;

/// The handler and its flags that `set_default` has replaced, by signal. In atomics, since signal handlers call it.
static TAKEN: [(AtomicUsize, AtomicI32); MOST + 1] =
    [const { (AtomicUsize::new(libc::SIG_DFL), AtomicI32::new(0)) }; MOST + 1];

/// Resets signals in a forked process: removes the parent's handlers, and unblocks all signals. Signals that the parent
/// ignores remain ignored, except those that end a task or report the end of its own tasks. Asks for the action of each
/// signal if they are not `known`.
pub fn reset_signals(known: Option<Actions>) {
    for signal in 1..=libc::SIGRTMAX() {
        let is_needed = matches!(signal, libc::SIGTERM | libc::SIGCONT | libc::SIGCHLD);
        let (is_handled, is_ignored) = match known {
            Some(known) => (known.handles(signal), known.ignores(signal)),
            None => match action(signal).map(|action| action.sa_sigaction) {
                None | Some(libc::SIG_DFL) => (false, false),
                Some(libc::SIG_IGN) => (false, true),
                Some(_) => (true, false),
            },
        };
        if (is_handled || is_ignored && is_needed)
            && let Some(had) = replace_by_default(signal)
        {
            store(signal, &had);
        }
    }
    unblock_signals();
}

/// The number of bytes of a set of signals of the kernel.
const SIGNAL_SET: usize = 8;

/// Unblocks all signals. By the plain system call, since the C library's function lies in a page of its own; where the
/// kernel has other sets, by that.
fn unblock_signals() {
    // SAFETY: an empty set is all zero bytes on Linux. It is valid, larger than the kernel's, and borrowed until the calls
    // return; the old set is not asked for.
    unsafe {
        let none: libc::sigset_t = std::mem::zeroed();
        let (set, no_set) = (std::ptr::from_ref(&none), std::ptr::null_mut::<libc::sigset_t>());
        let how = libc::SIG_SETMASK;
        if libc::syscall(libc::SYS_rt_sigprocmask, how, set, no_set, SIGNAL_SET) == -1 {
            libc::pthread_sigmask(how, set, no_set);
        }
    }
}

/// Returns the action of a signal in this process; `None` for a number that is not a signal. May be called in a
/// handler.
pub fn action(signal: c_int) -> Option<libc::sigaction> {
    // SAFETY: all zero bytes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `action` is a valid place for a sigaction, borrowed until the call returns. A number that is no signal is
    // an error.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
    (result == 0).then_some(action)
}

/// Sets a signal to its default action, and stores the handler `had` that it had. May be called in a handler.
#[cfg(feature = "signals")]
pub fn set_default(signal: c_int, had: &libc::sigaction) {
    store(signal, had);
    replace_by_default(signal);
}

/// Sets a signal to its default action, and returns the one that it had; `None` for a number that is not a signal. May
/// be called in a handler.
fn replace_by_default(signal: c_int) -> Option<libc::sigaction> {
    // SAFETY: all zero bytes are a valid sigaction: no flags, an empty mask, the default action.
    let (default, mut had): (libc::sigaction, libc::sigaction) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both are valid, and borrowed until the call returns. A number that is no signal is an error.
    let result = unsafe { libc::sigaction(signal, &default, &mut had) };
    (result == 0).then_some(had)
}

fn store(signal: c_int, had: &libc::sigaction) {
    if let Some((handler, flags)) = taken(signal) {
        handler.store(had.sa_sigaction, Ordering::Relaxed);
        flags.store(had.sa_flags, Ordering::Relaxed);
    }
}

/// Restores the handler of a signal that `set_default` has replaced, in this process or in an ancestor. Returns whether
/// there was one.
#[cfg(feature = "signals")]
pub fn give_back(signal: c_int) -> bool {
    let Some((handler, flags)) = taken(signal) else { return false };
    // SAFETY: all zero bytes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler.load(Ordering::Relaxed);
    action.sa_flags = flags.load(Ordering::Relaxed);
    // SAFETY: `action` is valid and borrowed until the call returns. Its handler and flags are those that the signal
    // had, or its default.
    let result = unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    result == 0 && action.sa_sigaction != libc::SIG_DFL
}

fn taken(signal: c_int) -> Option<&'static (AtomicUsize, AtomicI32)> {
    TAKEN.get(usize::try_from(signal).ok()?)
}

/// Blocks all signals of this OS thread until it is dropped.
pub struct SignalsBlocked {
    before: libc::sigset_t,
}

impl SignalsBlocked {
    pub fn new() -> Self {
        // SAFETY: all zero bytes are a valid set, and sigfillset makes it that of all signals.
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        // SAFETY: both sets are valid, and borrowed until the calls return, which can't fail with these arguments.
        unsafe {
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        }
        Self { before }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` was filled in by the same call; the old mask is not asked for.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut());
        }
    }
}
