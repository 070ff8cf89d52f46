//! The event loop of a Linux program: the core's large loop, with memory on the heap and with tasks.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use std::{fmt, io};

use kpt_core::poller::Poller;
use kpt_core::{Exit, Next, Threads, large};

use crate::epoll::EpollPoller;
use crate::heap::HeapStorage;
use crate::tape;
use crate::task::{Spawner, Tasks};

/// A loop that runs pseudo threads one at a time, and drives tasks.
///
/// `S` is the application's state, which every hook receives. `A` is the type of the threads' arguments: an enum where
/// threads have different ones. `P` is the poller, which waits for descriptors; a [`Builder`] makes a loop with another
/// one than [`EpollPoller`].
///
/// A loop stays in the OS thread that made it. It may be used in the child of a fork made by hand; its tasks remain
/// those of the process that started them.
///
/// ```
/// use std::time::Duration;
/// use kpt_std::{EventLoop, Thread};
///
/// let mut kpt = EventLoop::with_capacity(16)?;
/// let hook = |ticks: &mut u32, thread: Thread<u32>| {
///     *ticks += 1;
///     if *ticks < 3 {
///         thread.again();
///     }
/// };
/// kpt.threads().add_timer("tick", Duration::from_millis(1), hook, ())?;
/// let mut ticks = 0;
/// kpt.run(&mut ticks)?;
/// assert_eq!(ticks, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EventLoop<S, A = (), P: Poller = EpollPoller> {
    inner: large::EventLoop<tape::Taped<Tasks<P>>, S, A, HeapStorage<S, A>>,
}

impl<S, A> EventLoop<S, A> {
    /// Creates a loop for 1,024 threads.
    ///
    /// # Errors
    /// Returns the system's error if there is not enough memory, or if the poller can't be created: too many
    /// descriptors are open.
    pub fn new() -> io::Result<Self> {
        Builder::new().build()
    }

    /// Creates a loop for `threads` threads, at most 16,777,215. All memory is reserved here; it becomes resident as it
    /// is used.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does.
    pub fn with_capacity(threads: usize) -> io::Result<Self> {
        Builder::new().threads(threads).build()
    }
}

impl<S, A, P: Poller> EventLoop<S, A, P> {
    /// Returns the threads, for adding and cancelling.
    ///
    /// Until a thread has been added, each call reads the clock, since the loop's time begins with its first thread.
    pub fn threads(&mut self) -> Threads<'_, S, A> {
        self.inner.threads()
    }

    /// Runs turns until no thread is left ([`Exit::Empty`]) or a hook has called [`stop`](Threads::stop)
    /// ([`Exit::Stopped`]). The loop can run again after that.
    ///
    /// # Errors
    /// Returns the error of the poller's wait. No thread is lost; `run` may be called again.
    pub fn run(&mut self, state: &mut S) -> Result<Exit, P::Error> {
        self.inner.run(state)
    }

    /// Runs one turn, for a program that does something else between turns. Returns `None` unless no thread is left or
    /// [`stop`](Threads::stop) was called. The steps of a turn are those of
    /// [`FixedLoop::turn`](kpt_core::FixedLoop::turn).
    ///
    /// # Errors
    /// Returns the error of the poller's wait. No thread is lost; `turn` may be called again.
    pub fn turn(&mut self, state: &mut S) -> Result<Option<Exit>, P::Error> {
        self.inner.turn(state)
    }

    /// Runs one turn that does not sleep, for a program whose own loop sleeps: that of another library, or another loop
    /// of kpt. Returns what that loop should do next.
    ///
    /// If the poller has a descriptor, as [`EpollPoller`] has, the host waits for it, level-triggered, after
    /// [`Next::Wait`]. It becomes readable when a source is ready or a deadline has passed, so the host needs no timer.
    /// Also call `poll` after the host itself has added a thread.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kpt_std::{EventLoop, Exit, Next, Thread, source};
    /// let mut guest = EventLoop::<u32>::with_capacity(8)?;
    /// guest.threads().add_timer("one", Duration::from_millis(100), |count, _| *count += 1, ())?;
    ///
    /// let mut host = EventLoop::<EventLoop<u32>>::with_capacity(8)?;
    /// let on_guest = |guest: &mut EventLoop<u32>, thread: Thread<EventLoop<u32>>| {
    ///     let mut count = 0;
    ///     let next = loop {
    ///         match guest.poll(&mut count) {
    ///             Ok(Next::Again) => {} // Or first do other work of the host.
    ///             next => break next,
    ///         }
    ///     };
    ///     match next {
    ///         Ok(Next::Wait(_)) => thread.again(),
    ///         _ => assert_eq!(count, 1),
    ///     }
    /// };
    /// assert!(matches!(guest.poll(&mut 0)?, Next::Wait(_)));
    /// host.threads().add_read("guest", source(&guest), on_guest, ())?;
    /// assert_eq!(host.run(&mut guest)?, Exit::Empty);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// An edge-triggered host, such as tokio's `AsyncFd`, must clear its readiness only after `poll` has returned
    /// [`Next::Wait`].
    ///
    /// # Errors
    /// Returns the error of the poller's wait. No thread is lost; `poll` may be called again.
    pub fn poll(&mut self, state: &mut S) -> Result<Next, P::Error> {
        self.inner.poll(state)
    }

    /// Returns a spawner of tasks that this loop drives. It may be cloned, and kept in the application's state.
    pub fn spawner(&self) -> Spawner {
        self.tasks().spawner()
    }

    /// Returns the poller that waits for descriptors.
    pub fn poller(&self) -> &P {
        self.tasks().inner()
    }

    fn tasks(&self) -> &Tasks<P> {
        tape::untaped(self.inner.poller())
    }

    /// Lets the loop wake up to `slack` later than a deadline, and never earlier, so that one wake-up serves all timers
    /// that are due by then. The default is zero. A timer whose period is shorter than the slack skips periods.
    pub fn set_slack(&mut self, slack: Duration) {
        self.inner.set_slack(slack);
    }

    /// Makes the loop's logs show arguments after the thread's id, as `show` writes them.
    #[cfg(feature = "log")]
    pub fn show_args(&mut self, show: fn(&A, &mut std::fmt::Formatter<'_>) -> std::fmt::Result) {
        self.inner.show_args(show);
    }
}

impl<S, A, P: Poller> fmt::Debug for EventLoop<S, A, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop").finish_non_exhaustive()
    }
}

/// Returns the descriptor of the poller, which is readable when a turn has something to do: for a loop that is driven
/// by another one.
impl<S, A, P: Poller + AsFd> AsFd for EventLoop<S, A, P> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller().as_fd()
    }
}

/// Configures a loop, and builds it.
///
/// ```
/// # use std::time::Duration;
/// # use kpt_std::{Builder, EventLoop};
/// let kpt: EventLoop<()> = Builder::new().threads(10_000).slack(Duration::from_millis(1)).build()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "`build` makes the loop"]
pub struct Builder {
    threads: usize,
    slack: Duration,
}

impl Builder {
    /// Creates a builder of loops for 1,024 threads, without slack.
    pub fn new() -> Self {
        Self { threads: 1_024, slack: Duration::ZERO }
    }

    /// Sets the number of threads that the loop can hold, at most 16,777,215. The default is 1,024.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Sets the loop's slack, as [`EventLoop::set_slack`] does. The default is zero.
    pub fn slack(self, slack: Duration) -> Self {
        Self { slack, ..self }
    }

    /// Builds the loop, with an [`EpollPoller`].
    ///
    /// # Errors
    /// Returns the system's error if there is not enough memory, or if the poller can't be created: too many
    /// descriptors are open.
    pub fn build<S, A>(self) -> io::Result<EventLoop<S, A>> {
        self.build_on(EpollPoller::new()?)
    }

    /// Builds the loop, with the given poller.
    ///
    /// # Errors
    /// Returns the system's error if there is not enough memory.
    pub fn build_on<S, A, P: Poller>(self, poller: P) -> io::Result<EventLoop<S, A, P>> {
        let storage = HeapStorage::new(self.threads)?;
        let mut inner = large::EventLoop::with_storage(tape::taped(Tasks::new(poller)), storage);
        inner.set_slack(self.slack);
        Ok(EventLoop { inner })
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}
