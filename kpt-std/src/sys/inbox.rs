//! Signals that have come, and the handlers that note them, by signal-hook.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use libc::c_int;
use signal_hook_registry::SigId;

use super::handlers::{MOST, action, give_back, set_default};
use super::{EventFd, death_signal, generation};

/// The signals that have come, and a descriptor that is readable when there are some.
///
/// Of the process that made it: a signal that comes to a process that was forked from that one does not get here.
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

    /// Takes the lowest that has come. The descriptor stays readable until there was none.
    pub fn take(&self) -> Option<c_int> {
        self.take_lowest().or_else(|| {
            // In this order: what comes before it is cleared is found after that, and what comes later sets it again.
            self.event.clear();
            let signal = self.take_lowest()?;
            // More may have come with this one.
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

    /// In the handler. Only the first of several costs a call of the system.
    fn put(&self, signal: c_int, known: &Known) {
        if self.process != generation() {
            in_forked_process(signal, known);
        } else if self.came.fetch_or(1 << (signal - 1), Ordering::AcqRel) == 0 {
            self.event.set();
        }
    }
}

/// What handlers have to know of a signal.
struct Known {
    /// Whether it had its default action before it was handled.
    was_default: AtomicBool,
    /// The `generation` of the process that has handled it last.
    process: AtomicU32,
}

static KNOWN: [Known; MOST + 1] =
    [const { Known { was_default: AtomicBool::new(false), process: AtomicU32::new(0) } }; MOST + 1];

/// In the handler, in a process that was forked by hand and has its parent's handler: the signal does what it does by
/// default, unless the process handles it by itself.
fn in_forked_process(signal: c_int, known: &Known) {
    let is_own = known.process.load(Ordering::Relaxed) == generation();
    if is_own || !known.was_default.load(Ordering::Relaxed) {
        return;
    }
    if let Some(action) = action(signal).filter(|action| action.sa_sigaction != libc::SIG_DFL) {
        set_default(signal, &action);
        // SAFETY: the call takes a number and touches no memory, and may be made in a handler. It has its effect when this
        // handler has returned.
        unsafe { libc::raise(signal) };
    }
}

/// While this is there, a signal is put into an inbox, and does nothing else but what other handlers do with it.
#[derive(Debug)]
pub struct Handler(SigId);

impl Handler {
    /// # Errors
    /// `InvalidInput`: the signal is none, or can't be handled, or must not be; or it is one that tasks need. Or what the
    /// system says.
    pub fn new(signal: c_int, inbox: Arc<Inbox>) -> io::Result<Self> {
        let is_refused =
            signal_hook_registry::FORBIDDEN.contains(&signal) || signal == death_signal();
        let known = usize::try_from(signal).ok().and_then(|number| KNOWN.get(number));
        let (Some(known), Some(before), false) = (known, action(signal), is_refused) else {
            let text = format!("signal {signal} can't be handled");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
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
            let text = format!("other code has reset signal {signal}, which was handled before");
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
