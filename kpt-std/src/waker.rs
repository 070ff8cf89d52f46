//! Wakes a loop from other OS threads.
//!
//! A waker is a flag in front of a descriptor. `wake` sets the flag, and then the descriptor if the flag was not set.
//! `take` clears the descriptor, and then the flag. So whenever the flag is set, the descriptor is readable or about to
//! be: either the thread that has set the flag is about to set the descriptor, or `take` is about to clear the flag.
//! The other order in `take` would lose wake-ups: a `wake` between the two steps would set both, its descriptor would
//! be cleared, and all later calls would find the flag set.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::event::Event;
use crate::tape::{self, Taken};

/// Creates a waker, and the source that it makes readable. Uses one descriptor.
///
/// ```
/// use kpt_std::{EventLoop, Thread, Wakeups, source, waker};
///
/// fn on_wake(wakeups: &mut Wakeups, mut thread: Thread<Wakeups>) {
///     wakeups.take(); // First: a later wake makes it readable again.
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
/// In a simulation (feature `sim`) the source is simulated, and to be woken from the OS thread of the simulation: by an
/// action of the test, which stands for the other OS threads. It is the same for a [`channel`](crate::channel()).
///
/// Both belong to the process that made them. A forked process shares their descriptor, and should neither wake nor
/// take.
///
/// # Errors
/// Returns the system's error if no descriptor is available.
pub fn waker() -> io::Result<(Waker, Wakeups)> {
    let new = || {
        let event = Event::new()?;
        Ok(Wakeups(Arc::new(Flag { is_set: AtomicBool::new(false), event })))
    };
    let wakeups = tape::opening_other("waker", new, new)?;
    Ok((Waker(wakeups.0.clone()), wakeups))
}

/// Wakes a loop, from any OS thread. Created by [`waker`]; clones wake the same loop.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Flag>);

impl Waker {
    /// Makes the [`Wakeups`] readable. Never blocks, and never fails.
    ///
    /// Memory that was written before this call is visible after the [`take`](Wakeups::take) that consumes it.
    ///
    /// Several wake-ups that have not been taken count as one. The first costs a system call, and each other one an
    /// atomic operation.
    pub fn wake(&self) {
        self.0.set();
    }
}

/// The receiving end of a [`Waker`]. It is a source, readable when it has been woken.
#[derive(Debug)]
#[must_use = "a waker has no effect unless a read thread waits for this source"]
pub struct Wakeups(Arc<Flag>);

impl Wakeups {
    /// Clears the wake-up, and returns whether there was one. The source may be readable without one.
    ///
    /// Call it before looking at the data that the waker announces: data that comes later wakes again.
    ///
    /// Never blocks. Costs a system call.
    pub fn take(&self) -> bool {
        tape::taking(Taken::WakeUp, self, || self.0.clear().into()) != 0
    }

    /// Makes this source readable again.
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
    event: Event,
}

impl Flag {
    fn set(&self) {
        // Release, for memory that was written before. A swap and not a load, so that this also holds when the flag is
        // set already.
        if !self.is_set.swap(true, Ordering::AcqRel) {
            self.event.set();
        }
    }

    fn clear(&self) -> bool {
        self.event.clear();
        // Acquire, for memory that the last `set` has published. A swap, since a store acquires nothing.
        self.is_set.swap(false, Ordering::AcqRel)
    }
}
