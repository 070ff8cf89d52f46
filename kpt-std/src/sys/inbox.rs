//! The signals that have arrived, and the handlers that record them, registered with signal-hook.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use libc::c_int;
use signal_hook_registry::SigId;

use super::handlers::{MOST, action, give_back, set_default};
use super::orphan::death_signal;
use super::{EventFd, generation};

/// The signals that have arrived, and a descriptor that is readable when there are any.
///
/// Belongs to the process that made it: a signal that a forked process receives is not recorded here.
#[derive(Debug)]
pub struct Inbox {
    /// Signal n is bit n - 1.
    came: AtomicU64,
    pub event: EventFd,
    process: u32,
}

impl Inbox {
    pub fn new() -> io::Result<Self> {
        Ok(Self { came: AtomicU64::new(0), event: EventFd::new()?, process: generation() })
    }

    /// Takes the lowest signal that has arrived. The descriptor stays readable until this returns `None`.
    pub fn take(&self) -> Option<c_int> {
        self.take_lowest().or_else(|| {
            // In this order: a signal that arrives before the descriptor is cleared is found after that, and a later
            // one sets it again.
            self.event.clear();
            let signal = self.take_lowest()?;
            // More may have arrived with this one.
            self.event.set();
            Some(signal)
        })
    }

    fn take_lowest(&self) -> Option<c_int> {
        loop {
            let came = self.came.load(Ordering::Acquire);
            let lowest = came & came.wrapping_neg();
            if lowest == 0 {
                return None;
            }
            // Unless another OS thread has just taken it.
            if self.came.fetch_and(!lowest, Ordering::AcqRel) & lowest != 0 {
                return Some(lowest.trailing_zeros() as c_int + 1);
            }
        }
    }

    /// Records a signal, in its handler. Only the first of several costs a system call.
    fn put(&self, signal: c_int, known: &Known) {
        if self.process != generation() {
            in_forked_process(signal, known);
        } else if self.came.fetch_or(1 << (signal - 1), Ordering::AcqRel) == 0 {
            self.event.set();
        }
    }
}

/// The facts about a signal that its handler needs.
struct Known {
    /// Whether the signal had its default action before it was handled.
    was_default: AtomicBool,
    /// The `generation` of the last process that has handled the signal.
    process: AtomicU32,
}

static KNOWN: [Known; MOST + 1] =
    [const { Known { was_default: AtomicBool::new(false), process: AtomicU32::new(0) } }; MOST + 1];

/// Acts on a signal in its handler, in a process that was forked by hand and has its parent's handler: the signal has
/// its default action, unless the process handles it itself.
fn in_forked_process(signal: c_int, known: &Known) {
    let is_own = known.process.load(Ordering::Relaxed) == generation();
    if is_own || !known.was_default.load(Ordering::Relaxed) {
        return;
    }
    if let Some(action) = action(signal).filter(|action| action.sa_sigaction != libc::SIG_DFL) {
        set_default(signal, &action);
        // SAFETY: the call takes a number and touches no memory, and may be made in a handler. The signal is delivered
        // when this handler has returned.
        unsafe { libc::raise(signal) };
    }
}

/// Returns what is known of a signal that may be handled, and its action.
fn check(signal: c_int) -> io::Result<(&'static Known, libc::sigaction)> {
    let is_refused = signal_hook_registry::FORBIDDEN.contains(&signal) || signal == death_signal();
    let known = usize::try_from(signal).ok().and_then(|number| KNOWN.get(number));
    if let (Some(known), Some(before), false) = (known, action(signal), is_refused) {
        return Ok((known, before));
    }
    let text = format!(
        "signal {signal} can't be handled: it is not a signal, the system forbids it, or tasks use it"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Returns the error that [`Handler::new`] has for a signal that can't or must not be handled.
#[cfg(feature = "sim")]
pub fn check_signal(signal: c_int) -> io::Result<()> {
    check(signal).map(drop)
}

/// Records a signal in an inbox until it is dropped. The signal has no other effect, except through other handlers.
#[derive(Debug)]
pub struct Handler(SigId);

impl Handler {
    /// # Errors
    /// Returns `InvalidInput` if the number is not a signal, if the signal can't or must not be handled, or if tasks
    /// use it. Otherwise returns the system's error.
    pub fn new(signal: c_int, inbox: Arc<Inbox>) -> io::Result<Self> {
        let (known, before) = check(signal)?;
        known.process.store(generation(), Ordering::Relaxed);
        known.was_default.fetch_or(before.sa_sigaction == libc::SIG_DFL, Ordering::Relaxed);
        // SAFETY: the handler does not allocate, lock or panic. Besides atomics, it uses what may be called in one:
        // `write`, `sigaction`, `raise`; and `generation`, which has been called here, so that it only uses atomics there.
        // The inbox is not dropped in it, but by `unregister`. signal-hook keeps errno.
        let id =
            unsafe { signal_hook_registry::register(signal, move || inbox.put(signal, known)) };
        let handler = Self(id?);
        // In a forked process, signal-hook takes the handler of the parent for its own, and does not install it again.
        let is_default = action(signal).is_none_or(|now| now.sa_sigaction == libc::SIG_DFL);
        if is_default && !give_back(signal) {
            let text = format!(
                "other code has reset signal {signal} to its default action after it was handled"
            );
            return Err(io::Error::other(text));
        }
        Ok(handler)
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        signal_hook_registry::unregister(self.0);
    }
}
