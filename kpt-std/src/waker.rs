//! Waking a loop from other OS threads.
//!
//! A flag in front of a descriptor. `wake` sets the flag, and then the descriptor if the flag was not set. `take` clears
//! the descriptor, and then the flag. So whenever the flag is set, the descriptor is readable, or is about to be: the one
//! who has set the flag is on the way to the descriptor, or `take` is on the way to the flag. The other order in `take`
//! would lose wake-ups: one that comes between the two steps would set both, and have its descriptor cleared, and all
//! later ones would find the flag set.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::EventFd;

/// Returns a waker, and what is readable when it has been woken: a source for a read thread.
///
/// ```
/// use kpt_std::{EventLoop, Thread, Wakeups, source, waker};
///
/// fn on_wake(wakeups: &mut Wakeups, mut thread: Thread<Wakeups>) {
///     wakeups.take(); // First of all: from now on, a wake is a new one.
///     thread.threads().stop();
/// }
///
/// let (waker, mut wakeups) = waker()?;
/// let mut kpt = EventLoop::new()?;
/// kpt.threads().add_read("wake", source(&wakeups), on_wake, ())?;
/// let other = std::thread::spawn(move || waker.wake());
/// kpt.run(&mut wakeups)?;
/// # other.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Both are of the process that made them. One that is forked from it has their descriptor, too: it should neither wake
/// nor take.
///
/// # Errors
/// Returns the system's error: no descriptor is left.
pub fn waker() -> io::Result<(Waker, Wakeups)> {
    let flag = Arc::new(Flag { is_set: AtomicBool::new(false), event: EventFd::new()? });
    Ok((Waker(flag.clone()), Wakeups(flag)))
}

/// Wakes a loop, from any OS thread. Made by [`waker`]; clones wake the same one.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Flag>);

impl Waker {
    /// Has the [`Wakeups`] be readable. Never blocks, and never fails.
    ///
    /// Whatever was written to memory before this call is seen after the [`take`](Wakeups::take) that takes it.
    ///
    /// Several wake-ups that have not been taken are one. The first costs a system call, and each other one an atomic
    /// operation.
    pub fn wake(&self) {
        self.0.set();
    }
}

/// The loop's side of a [`Waker`]: readable when it has been woken.
#[derive(Debug)]
#[must_use = "nothing is woken without its source"]
pub struct Wakeups(Arc<Flag>);

impl Wakeups {
    /// Takes the wake-up; returns whether there was one. It may also be readable when there is none.
    ///
    /// To be called before the hook looks at what it was woken for: what comes later wakes again.
    ///
    /// Never blocks; costs a system call.
    pub fn take(&self) -> bool {
        self.0.clear()
    }

    /// Wakes this side itself.
    pub(crate) fn put_back(&self) {
        self.0.set();
    }
}

impl AsFd for Wakeups {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

#[derive(Debug)]
struct Flag {
    is_set: AtomicBool,
    event: EventFd,
}

impl Flag {
    fn set(&self) {
        // Release, for what was written before; also where the flag is set already, so not a load.
        if !self.is_set.swap(true, Ordering::AcqRel) {
            self.event.set();
        }
    }

    fn clear(&self) -> bool {
        self.event.clear();
        // Acquire, for what the last one to set it has written, and a swap, since a store would acquire nothing.
        self.is_set.swap(false, Ordering::AcqRel)
    }
}
