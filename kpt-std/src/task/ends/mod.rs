//! All channels of one loop, by the number of their source, and by the descriptors that belong to them.

mod drive;
mod wait;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};

use kpt_core::{Instant, Interest, Readiness, Source};

use super::end::End;
use super::net::Ticket;
use super::net_watch::NetWatch;
use super::parent_end::ParentEnd;
use super::scratch::Scratch;
use super::task_end::TaskEnd;
use crate::clock;

/// The first source number of channels. Descriptors are far below.
const FIRST: u32 = 1 << 31;

/// So many descriptors that most tasks' are below.
const FEW: usize = 16;

/// The channels of a loop, shared by its poller, its spawners and the handles. Used by one OS thread, and never
/// borrowed while code of the application runs.
pub type SharedEnds = Rc<RefCell<Ends>>;

/// The ends of all channels of a loop; see [`SharedEnds`].
pub struct Ends {
    by_number: BTreeMap<u32, Box<Entry>>,
    /// The number of the channel, by descriptor; 0 for none.
    by_descriptor: Vec<u32>,
    /// The channels to look at before the next wait.
    touched: Vec<u32>,
    /// The channels that have a deadline.
    timed: Vec<u32>,
    next: u32,
    scratch: Scratch,
    /// Lines for the log that have not been written.
    errors: Vec<String>,
    net: NetWatch,
    /// Whether waits leave the channels alone: those before the loop of a task runs, which only tell the time.
    waits_to_begin: bool,
}

struct Entry {
    end: End,
    /// The interest of the threads in the source.
    interest: Interest,
    /// Whether it is in `touched`, and in `timed`.
    is_touched: bool,
    is_timed: bool,
    /// Whether it has an owner. If not, it is removed as soon as it is over.
    is_owned: bool,
}

thread_local! {
    static ALL: RefCell<Vec<Weak<RefCell<Ends>>>> = const { RefCell::new(Vec::new()) };
}

/// Creates an empty set of channels.
pub fn shared() -> SharedEnds {
    let ends = Rc::new(RefCell::new(Ends {
        by_number: BTreeMap::new(),
        by_descriptor: Vec::new(),
        touched: Vec::new(),
        timed: Vec::new(),
        next: FIRST,
        scratch: Scratch::default(),
        errors: Vec::new(),
        net: NetWatch::default(),
        waits_to_begin: false,
    }));
    ALL.with_borrow_mut(|all| {
        all.retain(|ends| ends.strong_count() > 0);
        all.push(Rc::downgrade(&ends));
    });
    ends
}

/// Creates the channels of a task that is about to be forked: that to its parent. Waits leave it alone until `begin` is
/// called.
pub fn of_task(end: ParentEnd) -> (SharedEnds, Source) {
    let ends = shared();
    let source = {
        let mut ends = ends.borrow_mut();
        ends.wait_to_begin();
        // And for the descriptor of the parent.
        ends.by_descriptor.reserve(FEW);
        ends.insert(End::Parent(end))
    };
    (ends, source)
}

/// In a forked process: closes the copies of all channels that the parent's loops have, except `own`.
pub fn disown_all_but(own: &SharedEnds) {
    // They stay listed: an inherited spawner may start tasks here, which must release its channels, too.
    ALL.with_borrow(|all| {
        let others = all.iter().filter(|ends| ends.as_ptr() != Rc::as_ptr(own));
        for ends in others.filter_map(Weak::upgrade) {
            let Ok(mut ends) = ends.try_borrow_mut() else { continue };
            for entry in ends.by_number.values_mut() {
                entry.end.disown();
            }
            ends.by_descriptor.clear();
            ends.timed.clear();
            ends.net.disown();
        }
    });
}

/// Logs the errors of signals that could not be sent.
pub fn log_errors(ends: &SharedEnds) {
    // Not while the channels are borrowed: the logger may send to a task.
    let errors = std::mem::take(&mut ends.borrow_mut().errors);
    for error in errors {
        crate::log::error!("{}", error);
    }
}

/// Returns whether a source number is in the range of channels.
pub fn is_channel(source: Source) -> bool {
    source.number() >= FIRST
}

/// Operations of the owners of channels.
impl Ends {
    /// Adds a channel. It is kept until it is over and has been released.
    pub fn insert(&mut self, end: End) -> Source {
        while self.by_number.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1).max(FIRST);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1).max(FIRST);
        for descriptor in end.numbers() {
            self.assign(descriptor, number);
        }
        let entry = Entry {
            end,
            interest: Interest::NONE,
            is_touched: false,
            is_timed: false,
            is_owned: true,
        };
        self.by_number.insert(number, Box::new(entry));
        self.touch(number);
        Source::new(number)
    }

    /// In the process of a task: adds a descriptor of its parent.
    pub fn watch_parent(&mut self, source: Source, parent: OwnedFd) {
        self.assign(parent.as_raw_fd(), source.number());
        self.with_parent(source, |end| end.watch_parent(parent));
    }

    /// Notes that a descriptor belongs to the channel of that number.
    fn assign(&mut self, descriptor: RawFd, number: u32) {
        let descriptor = descriptor as usize;
        if self.by_descriptor.len() <= descriptor {
            self.by_descriptor.resize(descriptor + 1, 0);
        }
        self.by_descriptor[descriptor] = number;
    }

    /// Calls `work` with the end of a channel to a task. Returns `None` if there is no such channel.
    pub fn with_task<R>(
        &mut self,
        source: Source,
        work: impl FnOnce(&mut TaskEnd) -> R,
    ) -> Option<R> {
        let result = work(self.by_number.get_mut(&source.number())?.end.task()?);
        self.touch(source.number());
        Some(result)
    }

    /// Calls `work` with the end of a channel to the parent. Returns `None` if there is no such channel.
    pub fn with_parent<R>(
        &mut self,
        source: Source,
        work: impl FnOnce(&mut ParentEnd) -> R,
    ) -> Option<R> {
        let result = work(self.by_number.get_mut(&source.number())?.end.parent()?);
        self.touch(source.number());
        Some(result)
    }

    /// Prepares the net for the start of a task.
    pub fn before_start(&mut self) -> Ticket {
        let start = self.net.before_start();
        self.tell_new_guard();
        start
    }

    /// Tells the guard of all tasks that are alive, if it is a new one, or of as many as its queue takes now.
    fn tell_new_guard(&mut self) {
        if let Some(version) = self.net.new_version() {
            let mut tasks = self.by_number.values_mut().filter_map(|entry| entry.end.task());
            let has_told_all = tasks.all(|task| task.tell_guard(version));
            self.net.on_told(version, has_told_all);
        }
    }

    /// Marks a channel as having no owner.
    pub fn release(&mut self, source: Source) {
        let number = source.number();
        let Some(entry) = self.by_number.get_mut(&number) else { return };
        entry.is_owned = false;
        if entry.is_over() && !entry.is_retiring() {
            if entry.is_touched {
                self.touched.retain(|&touched| touched != number);
            }
            self.by_number.remove(&number);
        } else {
            self.touch(number);
        }
    }

    fn touch(&mut self, number: u32) {
        if let Some(entry) = self.by_number.get_mut(&number)
            && !entry.is_touched
        {
            entry.is_touched = true;
            self.touched.push(number);
        }
    }
}

/// What happens in a wait, with a poller and without.
impl Ends {
    /// Handles readiness that was found. Returns whether it belongs to a channel.
    pub fn found(&mut self, source: Source, readiness: Readiness) -> bool {
        let descriptor = source.number() as usize;
        let number = self.by_descriptor.get(descriptor).copied().unwrap_or(0);
        let Ok(descriptor) = RawFd::try_from(descriptor) else { return false };
        if let Some(entry) = self.by_number.get_mut(&number)
            && entry.end.found(descriptor, readiness, &mut self.scratch)
        {
            self.touch(number);
            return true;
        }
        self.net.found(descriptor, clock::now_or_earlier())
    }

    /// Does the work that is due.
    fn on_time(&mut self, now: Instant) {
        if self.net.on_time(now) {
            // At once, as the hooks may take long.
            self.tell_new_guard();
        }
        for number in std::mem::take(&mut self.timed) {
            let Some(entry) = self.by_number.get_mut(&number) else { continue };
            entry.end.on_time(now, &mut self.scratch);
            self.errors.extend(entry.end.task().and_then(|task| task.take_error()));
            entry.is_timed = entry.end.deadline().is_some();
            if entry.is_timed {
                self.timed.push(number);
            }
            self.touch(number);
        }
    }
}

impl Entry {
    /// Returns whether it has got a deadline since the last call.
    fn becomes_timed(&mut self) -> bool {
        let was_timed = std::mem::replace(&mut self.is_timed, self.end.deadline().is_some());
        self.is_timed |= was_timed;
        self.is_timed && !was_timed
    }

    /// Returns whether it can be removed.
    fn is_over(&self) -> bool {
        !self.is_owned && self.end.is_over()
    }

    fn has_news(&self) -> bool {
        !self.end.readiness().seen_by(self.interest | self.end.own_interest()).is_none()
    }
}
