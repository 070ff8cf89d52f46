//! A poller that uses Linux's epoll.

mod always;
mod registry;
mod set;
mod sweep;
mod table;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use kpt_core::{
    Instant, Interest, Readiness, Source,
    poller::{Poller, Ready, Unwatchable},
};
use libc::{EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, c_int};

use crate::clock;
use crate::sys::{self, Event};
use registry::Registry;
use set::{Found, Set};
use sweep::Sweep;
use table::{State, Told};

/// The largest number of descriptors that are watched, however high the limit of the process is: 8 bytes for each.
const MOST_DESCRIPTORS: u64 = 1 << 20;

/// The number of events that a wait takes from the kernel: 12 KiB. With a hundred, threads that are always ready would
/// not all be served in each turn.
const EVENTS: usize = 1_024;

/// A wake-up that takes longer than this is taken for a time in which the process did not run.
const LATE: Duration = Duration::from_millis(1);

/// A deadline that comes sooner than this after one that has woken the loop up waits for others: a wake-up costs as much
/// as many timers.
const BURST: Duration = Duration::from_micros(20);

/// The time between two wake-ups in a burst of deadlines.
const BETWEEN_WAKES: Duration = Duration::from_micros(60);

/// The pause between two looks at stale events where there is no room for another set.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits with epoll, level-triggered. The cost of a wait depends on the number of ready descriptors, not on the number
/// of watched ones. It watches descriptors below the soft `RLIMIT_NOFILE` at the time of [`new`](Self::new), at most
/// 1,048,576.
///
/// A change of interest costs a system call; a thread that continues with `again` costs none. A wait costs one.
/// Deadlines are those of a timer in the set, and some 30 µs late; where one follows another within 20 µs, they wake the
/// loop up every 60 µs, and are as late. The clock is read, and the timer set, only if a
/// deadline is earlier than the one for which the timer is set. A wait that is ended by a descriptor returns a time
/// that was read earlier. A wait that sleeps gives up the processor, and getting it back takes some microseconds;
/// [`spin_before_sleep`](Self::spin_before_sleep) trades CPU time for them.
///
/// The clock is `CLOCK_MONOTONIC`, which can't be set, and stands still while the machine is suspended.
///
/// # What a thread sees
/// Threads see what the kernel reports. A hang-up is [`HANGUP`](Readiness::HANGUP) and readable. An error of the file,
/// such as a reset of the connection or an entry in the error queue of a socket, is [`ERROR`](Readiness::ERROR),
/// readable and writable; the read or write returns the error. If that would block, the error is in `SO_ERROR`, or in
/// the error queue, which `recvmsg` with `MSG_ERRQUEUE` empties. Until then, each wait reports it.
///
/// [`ERROR`](Readiness::ERROR) alone means that the descriptor is closed, or can't be watched. A regular file or
/// `/dev/null` is always ready, as with `select`, and a loop that watches one never sleeps.
///
/// # Closed while it is watched
/// End the thread before you close its descriptor, as with each poller. Otherwise nothing else is harmed, but the
/// kernel does not report that the descriptor is closed. The poller looks for such descriptors itself, and reports an
/// error to their threads within 10 seconds of the loop's next activity, where [`SelectPoller`](crate::SelectPoller)
/// does so in the next wait. If the number has become that of another file, that file is watched.
///
/// # Forks
/// In a process that was forked by hand, the loop uses a set of its own, and leaves the parent's alone.
///
/// # As a guest
/// The descriptor of [`as_fd`](AsFd::as_fd) is readable when the loop has something to do. Another loop can wait for
/// it, level-triggered, and then call this loop's `poll`, as [`EventLoop::poll`](crate::EventLoop::poll) shows. After a
/// fork, `as_fd` returns another descriptor.
///
/// The host may be a guest as well, of poll(2) or of a loop with one epoll set, such as tokio's: each loop has two sets,
/// and Linux nests no more than five.
pub struct EpollPoller {
    registry: Registry,
    /// Has room for `EVENTS`, at the latest from the first look on.
    events: Vec<Event>,
    sweep: Sweep,
    /// The latest known time.
    time: Instant,
    /// When a deadline last woke the loop up, or kept it awake.
    woken: Instant,
    /// For how long a wait looks before it sleeps.
    spin_time: Duration,
    /// The `generation` of the process to which the set belongs.
    process: u32,
}

/// The result of a look at the set.
#[derive(Default)]
struct Looked {
    /// Whether the source of any thread is ready.
    is_any_ready: bool,
    /// The moment to which the timer was set, if it has fired.
    fired: Option<Instant>,
}

impl EpollPoller {
    /// Creates a poller that watches nothing, for as many descriptors as the process may have open now. Uses three
    /// descriptors itself.
    ///
    /// # Errors
    /// Returns the system's error: too many descriptors are open, or the process may not use epoll or timers.
    pub fn new() -> io::Result<Self> {
        let mut poller = Self::with(Set::new()?);
        // Here, so that no turn asks for memory.
        poller.events.reserve_exact(EVENTS);
        poller.registry.table.reserve();
        Ok(poller)
    }

    /// Makes each wait look for events again and again for this time before it sleeps. The default is zero.
    ///
    /// A process that sleeps has to be woken up: whoever sends to it pays for that, and it gets what was sent some
    /// microseconds later. A server whose clients answer at once serves more of them if it looks a little longer, and
    /// saves what the sleep would cost: 5 to 10 µs are enough. Each wait that sleeps all the same takes that much more CPU
    /// time, so that this is not for programs that are mostly idle. Loops of tasks don't spin.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use kpt_std::{Builder, EpollPoller, EventLoop};
    /// let poller = EpollPoller::new()?.spin_before_sleep(Duration::from_micros(6));
    /// let kpt: EventLoop<()> = Builder::new().threads(10_000).build_on(poller)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn spin_before_sleep(self, time: Duration) -> Self {
        Self { spin_time: time, ..self }
    }

    /// Creates one for a loop that is never a guest, and that has no memory of its own before it first looks.
    pub(crate) fn hidden() -> io::Result<Self> {
        Ok(Self::with(Set::hidden()?))
    }

    fn with(set: Set) -> Self {
        let limit = sys::descriptor_limit().unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS);
        Self {
            registry: Registry::new(set, usize::try_from(limit).unwrap_or(0)),
            events: Vec::new(),
            sweep: Sweep::new(),
            time: clock::now_or_earlier(),
            woken: Instant::ZERO,
            spin_time: Duration::ZERO,
            process: sys::generation(),
        }
    }

    /// Creates a new set after a fork.
    #[inline]
    fn adopt(&mut self) -> io::Result<()> {
        let process = sys::generation();
        if process == self.process {
            return Ok(());
        }
        self.registry.replace(self.registry.set.another()?);
        self.process = process;
        Ok(())
    }

    /// Returns whether the kernel may sleep until that moment. If it may, the timer is set for it.
    fn can_sleep(&mut self, until: Instant) -> io::Result<bool> {
        let mut soonest = until.min(self.sweep.due());
        let is_ahead = soonest > self.time;
        if is_ahead {
            if soonest < self.woken + BURST {
                soonest = self.woken + BETWEEN_WAKES;
            }
            if self.registry.set.is_armed_for(soonest) {
                return Ok(true);
            }
        }
        self.time = self.time.max(clock::now_or_earlier());
        if soonest <= self.time {
            if is_ahead {
                self.woken = self.time;
            }
            return Ok(false);
        }
        self.registry.set.arm(soonest)?;
        Ok(true)
    }

    /// Asks the kernel for events until there are any, for at most the time that a wait spins.
    #[inline(never)]
    fn spin(&mut self) -> io::Result<()> {
        let end = clock::now_or_later() + self.spin_time;
        while self.events.is_empty() && clock::now_or_earlier() < end {
            self.registry.set.wait(&mut self.events, false)?;
        }
        Ok(())
    }

    /// Waits until a descriptor is ready or the timer fires, or only looks. Pushes what it finds.
    fn look(&mut self, may_sleep: bool, ready: &mut Ready<'_>) -> io::Result<Looked> {
        self.events.clear();
        self.events.reserve_exact(EVENTS);
        if may_sleep && !self.spin_time.is_zero() {
            self.spin()?;
        }
        let registry = &mut self.registry;
        if self.events.is_empty() {
            registry.set.wait(&mut self.events, may_sleep)?;
        }
        let (mut looked, mut is_stale) = (Looked::default(), false);
        for event in &self.events {
            let (descriptor, generation, bits) = match registry.set.decode(*event) {
                Found::Timer(moment) => {
                    looked.fired = Some(moment);
                    continue;
                }
                Found::Source { descriptor, generation, bits } => (descriptor, generation, bits),
            };
            if registry.is_stale(descriptor, generation) {
                is_stale = true;
                continue;
            }
            looked.is_any_ready = true;
            ready.push(Source::new(descriptor), readiness(bits));
        }
        if is_stale && !registry.rebuild() && may_sleep && !looked.is_any_ready {
            // The next look would find the same at once.
            let _ = sys::poll(&mut [], Some(PAUSE));
        }
        Ok(looked)
    }

    /// Checks some of the descriptors for being closed while they were watched, and reports an error to their threads.
    /// Returns whether there were any.
    #[cold]
    fn sweep(&mut self, ready: &mut Ready<'_>) -> bool {
        let mut has_found = false;
        let registry = &mut self.registry;
        for descriptor in self.sweep.step(self.time, registry.table.end()) {
            let Told { state, interest, .. } = registry.table.get(descriptor);
            if state == State::Watched && registry.change(descriptor, interest).is_err() {
                has_found = true;
                ready.push(Source::new(descriptor), Readiness::ERROR);
            }
        }
        registry.table.trim();
        has_found
    }
}

impl Poller for EpollPoller {
    type Error = io::Error;

    /// A wait that finds nothing costs about as much as 25 hooks. Looking after 32 made execute threads take twice as long.
    const LOOK_AFTER_HOOKS: u32 = 1_024;

    fn now(&mut self) -> Instant {
        clock::now_or_later()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        #[cfg(feature = "sim")]
        if !interest.is_none() {
            crate::sim::on_real_poller(source);
        }
        if self.adopt().is_ok() {
            return self.registry.watch(source.number(), interest);
        }
        // The set belongs to another process, and this one can't get its own now.
        self.registry.forget(source.number());
        if interest.is_none() { Ok(()) } else { Err(Unwatchable) }
    }

    #[inline]
    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> io::Result<Instant> {
        self.adopt()?;
        if self.sweep.note() && self.registry.table.end() > 0 {
            self.time = self.time.max(clock::now_or_earlier());
            self.sweep.plan(self.time, self.registry.table.end());
        }
        loop {
            let has_odd_ones = self.registry.has_odd_ones();
            let mut has_found = has_odd_ones && self.registry.push_odd_ones(ready);
            // The look begins after the known time, so deadlines up to that time have passed.
            let may_sleep = self.can_sleep(if has_found { Instant::ZERO } else { until })?;
            if !may_sleep && self.sweep.due() <= self.time {
                has_found |= self.sweep(ready);
                if !has_found && until > self.time {
                    continue;
                }
            }
            if !may_sleep && until <= self.time && self.registry.table.end() == 0 {
                // Nothing is watched.
                return Ok(self.time);
            }
            let looked = self.look(may_sleep, ready)?;
            if has_found || looked.is_any_ready || !may_sleep && until <= self.time {
                return Ok(self.time);
            }
            if let Some(moment) = looked.fired {
                // The look was at that moment or later. If that was a while ago, since the process did not run, the
                // poller looks again.
                let now = clock::now_or_earlier();
                if until <= now && now - moment <= LATE {
                    self.time = self.time.max(now);
                    self.woken = self.time;
                    return Ok(self.time);
                }
            }
        }
    }

    fn prepare(&mut self, until: Instant) -> io::Result<Instant> {
        self.adopt()?;
        self.sweep.note_idle();
        let is_ready = self.registry.has_odd_ones();
        let soonest = if is_ready { Instant::ZERO } else { until.min(self.sweep.due()) };
        self.registry.set.nest()?;
        if !self.registry.set.is_armed_for(soonest) {
            self.registry.set.arm(soonest)?;
        }
        Ok(soonest)
    }
}

impl std::fmt::Debug for EpollPoller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpollPoller").finish_non_exhaustive()
    }
}

impl AsFd for EpollPoller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registry.set.as_fd()
    }
}

/// Translates what was found. A hang-up is also readable, and an error both readable and writable, so that hooks that
/// know only these two see everything, as with `select`.
#[inline]
fn readiness(bits: c_int) -> Readiness {
    if bits == EPOLLIN {
        return Readiness::READABLE;
    }
    let mut readiness = Readiness::NONE;
    for (found, meaning) in [
        (EPOLLIN, Readiness::READABLE),
        (EPOLLOUT, Readiness::WRITABLE),
        (EPOLLHUP, Readiness::READABLE | Readiness::HANGUP),
        (EPOLLERR, Readiness::READABLE | Readiness::WRITABLE | Readiness::ERROR),
    ] {
        if bits & found != 0 {
            readiness = readiness | meaning;
        }
    }
    readiness
}
