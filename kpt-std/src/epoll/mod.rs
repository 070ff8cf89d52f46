//! A poller on Linux's epoll.

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

/// However high the limit of the process is, no more descriptors than these are watched: 8 bytes for each.
const MOST_DESCRIPTORS: u64 = 1 << 20;

/// So many events are taken from the kernel in a wait: 12 KiB. With a hundred, threads that are ready all the time would
/// not be served once in each turn.
const EVENTS: usize = 1_024;

/// A wake-up that takes longer than this is not one.
const LATE: Duration = Duration::from_millis(1);

/// Waits with epoll, level-triggered: the cost of a wait depends on how many descriptors are ready, and not on how many
/// are watched. For up to as many descriptors as the soft `RLIMIT_NOFILE` at the time of [`new`](Self::new), at most
/// 1,048,576.
///
/// A change of interest costs a system call, and a thread that goes on with `again` costs none. A wait costs one. The clock
/// is read, and the kernel told of a deadline, only if it is earlier than those that it knows: deadlines are those of a
/// timer in the set, some 30 µs late. A wait that is ended by a descriptor returns the time of an earlier one.
///
/// The clock is `CLOCK_MONOTONIC`: nobody can set it, and it stands still while the machine is suspended.
///
/// # What a thread sees
/// What the kernel says: a hang-up is [`HANGUP`](Readiness::HANGUP) and readable. An error of the file, as a reset of the
/// connection or what is in the error queue of a socket, is [`ERROR`](Readiness::ERROR), readable and writable; the read or
/// write says which. If it says that it would block, the error is somewhere else: in `SO_ERROR`, or in the error queue,
/// which `recvmsg` with `MSG_ERRQUEUE` empties. Until then it is found in each wait.
///
/// [`ERROR`](Readiness::ERROR) alone: the descriptor is closed, or can't be watched. A regular file or `/dev/null` is always
/// ready, as with select, and a loop that watches one never sleeps.
///
/// # Closed while it is watched
/// End the thread before you close, as with each poller. If you don't, nothing else is harmed, but the kernel does not say
/// that it is closed. The poller looks for such descriptors itself, and tells their threads within 10 seconds of the loop's
/// next activity, where [`SelectPoller`](crate::SelectPoller) tells them in the next wait. A number that is another file by
/// then is watched from then on.
///
/// # Forks
/// In a process that was forked by hand, the loop goes on with a set of its own, and the parent's is left alone.
///
/// # As a guest
/// The descriptor of [`as_fd`](AsFd::as_fd) is readable when the loop has something to do, level-triggered: another loop can
/// wait for it and call `poll` of this one, as [`EventLoop::poll`](crate::EventLoop::poll) shows. After a fork, it is another
/// one.
pub struct EpollPoller {
    registry: Registry,
    events: Box<[Event]>,
    sweep: Sweep,
    /// The latest time that is known.
    time: Instant,
    /// The process whose set it is.
    process: u32,
}

/// What a look has found.
#[derive(Default)]
struct Looked {
    /// Whether any thread's source is ready.
    is_any_ready: bool,
    /// The timer has fired, which was set for that moment.
    fired: Option<Instant>,
}

impl EpollPoller {
    /// Returns a poller that watches nothing, for as many descriptors as the process may have open now. It has three
    /// descriptors itself.
    ///
    /// # Errors
    /// The process has too many descriptors open, or may not use epoll or timers.
    pub fn new() -> io::Result<Self> {
        let limit = sys::descriptor_limit().unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS);
        Ok(Self {
            registry: Registry::new(Set::new()?, usize::try_from(limit).unwrap_or(0)),
            events: vec![Event { events: 0, u64: 0 }; EVENTS].into(),
            sweep: Sweep::new(),
            time: clock::now_or_earlier(),
            process: sys::generation(),
        })
    }

    /// In a process that was forked, gets a set of its own.
    #[inline]
    fn adopt(&mut self) -> io::Result<()> {
        let process = sys::generation();
        if process == self.process {
            return Ok(());
        }
        self.registry.replace(Set::new()?);
        self.process = process;
        Ok(())
    }

    /// Returns whether the kernel may sleep until that moment: whether it is to come, and the timer is set for it.
    fn can_sleep(&mut self, until: Instant) -> io::Result<bool> {
        let soonest = until.min(self.sweep.due());
        if soonest > self.time && self.registry.set.is_armed_for(soonest) {
            return Ok(true);
        }
        self.time = self.time.max(clock::now_or_earlier());
        if soonest <= self.time {
            return Ok(false);
        }
        self.registry.set.arm(soonest)?;
        Ok(true)
    }

    /// Waits until something is found, or only looks, and pushes what is found.
    fn look(&mut self, may_sleep: bool, ready: &mut Ready<'_>) -> io::Result<Looked> {
        let registry = &mut self.registry;
        let count = registry.set.wait(&mut self.events, may_sleep)?;
        let (mut looked, mut is_stale) = (Looked::default(), false);
        for event in self.events.iter().take(count) {
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
        if is_stale {
            registry.rebuild();
        }
        Ok(looked)
    }

    /// Looks for descriptors that were closed while they were watched, among some, and tells their threads. Whether there
    /// are any.
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

    /// An empty look costs about as much as so many hooks.
    const LOOK_AFTER_HOOKS: u32 = 32;

    fn now(&mut self) -> Instant {
        clock::now_or_later()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        if self.adopt().is_ok() {
            return self.registry.watch(source.number(), interest);
        }
        // The set is that of another process, and this one can't have one yet.
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
            // The time that is known when the look begins is one that has passed when it looks.
            let may_sleep = self.can_sleep(if has_found { Instant::ZERO } else { until })?;
            if !may_sleep && self.sweep.due() <= self.time {
                has_found |= self.sweep(ready);
                if !has_found && until > self.time {
                    continue;
                }
            }
            let looked = self.look(may_sleep, ready)?;
            if has_found || looked.is_any_ready || until <= self.time {
                return Ok(self.time);
            }
            if let Some(moment) = looked.fired {
                // The look was at that moment or later. If that is a while ago, as the process did not run, there is
                // another one.
                let now = clock::now_or_earlier();
                if until <= now && now - moment <= LATE {
                    self.time = self.time.max(now);
                    return Ok(self.time);
                }
            }
        }
    }

    fn prepare(&mut self, until: Instant) -> io::Result<Instant> {
        self.adopt()?;
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

/// What was found, so that who only knows readable and writable gets to know of everything, as from select.
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
