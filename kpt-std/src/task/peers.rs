//! The channels of one loop, by the number of their source, and the descriptors that belong to them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::{Rc, Weak};

use kpt_core::{
    Instant, Interest, Readiness, Source,
    poller::{Ready, Unwatchable},
};

use super::peer::{Peer, Scratch};
use crate::ask::{Question, ask};
use crate::clock;

/// The first source number of channels. Descriptors are far below.
const FIRST: u32 = 1 << 31;

/// The channels of a loop, shared by its poller, its spawners and the handles. Used by one OS thread, and never
/// borrowed while code of the application runs.
pub type SharedPeers = Rc<RefCell<Peers>>;

/// Tells the inner poller what to watch.
type Modify<'a> = dyn FnMut(Source, Interest) -> Result<(), Unwatchable> + 'a;

/// The channels of a loop; see [`SharedPeers`].
pub struct Peers {
    by_number: BTreeMap<u32, Box<Entry>>,
    /// The number of the channel, by descriptor; 0 for none.
    by_descriptor: Vec<u32>,
    /// The channels to look at before the next wait.
    touched: Vec<u32>,
    /// The channels that have a deadline.
    timed: Vec<u32>,
    next: u32,
    scratch: Scratch,
    /// The process to which the channels belong.
    owner: u32,
}

struct Entry {
    peer: Peer,
    /// Whether the inner poller can't watch its socket, and its process.
    is_socket_blind: bool,
    is_process_blind: bool,
    is_touched: bool,
    is_timed: bool,
    /// Whether it has an owner. If not, it is removed as soon as it is over.
    is_owned: bool,
    /// Whether its events end a wait, even if no thread waits for them.
    is_awaited: bool,
}

thread_local! {
    static ALL: RefCell<Vec<Weak<RefCell<Peers>>>> = const { RefCell::new(Vec::new()) };
}

/// Creates an empty set of channels.
pub fn shared() -> SharedPeers {
    let peers = Rc::new(RefCell::new(Peers {
        by_number: BTreeMap::new(),
        by_descriptor: Vec::new(),
        touched: Vec::new(),
        timed: Vec::new(),
        next: FIRST,
        scratch: Scratch::default(),
        owner: std::process::id(),
    }));
    ALL.with_borrow_mut(|all| {
        all.retain(|peers| peers.strong_count() > 0);
        all.push(Rc::downgrade(&peers));
    });
    peers
}

/// In a forked process: closes the copies of all channels that the parent's loops have.
pub fn disown_all() {
    // They stay listed: an inherited spawner may start tasks here, which must release its channels, too.
    ALL.with_borrow(|all| {
        for peers in all.iter().filter_map(Weak::upgrade) {
            let Ok(mut peers) = peers.try_borrow_mut() else { continue };
            for entry in peers.by_number.values_mut() {
                entry.peer.disown();
            }
            peers.by_descriptor.clear();
            peers.timed.clear();
            peers.owner = std::process::id();
        }
    });
}

/// Returns whether a source number is in the range of channels.
pub fn is_channel(source: Source) -> bool {
    source.number() >= FIRST
}

/// Operations of the owners of channels.
impl Peers {
    /// Adds a channel. It is kept until it is over and has been released.
    pub fn insert(&mut self, peer: Peer, is_awaited: bool) -> Source {
        while self.by_number.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1).max(FIRST);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1).max(FIRST);
        for descriptor in [peer.socket(), peer.process()].into_iter().flatten() {
            let descriptor = descriptor as usize;
            if self.by_descriptor.len() <= descriptor {
                self.by_descriptor.resize(descriptor + 1, 0);
            }
            self.by_descriptor[descriptor] = number;
        }
        let entry = Entry {
            peer,
            is_socket_blind: false,
            is_process_blind: false,
            is_touched: false,
            is_timed: false,
            is_owned: true,
            is_awaited,
        };
        self.by_number.insert(number, Box::new(entry));
        self.touch(number);
        Source::new(number)
    }

    /// Calls `work` with a channel. Returns `None` if there is no such channel.
    pub fn with<R>(&mut self, source: Source, work: impl FnOnce(&mut Peer) -> R) -> Option<R> {
        let result = work(&mut self.by_number.get_mut(&source.number())?.peer);
        self.touch(source.number());
        Some(result)
    }

    /// Returns whether the channels belong to this process, and not to the one from which other code has forked it.
    pub fn are_own(&self) -> bool {
        self.owner == std::process::id()
    }

    /// Marks a channel as having no owner.
    pub fn release(&mut self, source: Source) {
        if let Some(entry) = self.by_number.get_mut(&source.number()) {
            entry.is_owned = false;
            self.touch(source.number());
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

/// Operations of the poller around another poller. `modify` tells the inner poller what to watch.
impl Peers {
    /// Returns whether there are no channels.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Sets the interest of the threads in a channel.
    pub fn set_interest(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        match self.with(source, |peer| peer.interest = interest) {
            None if !interest.is_none() => Err(Unwatchable),
            _ => Ok(()),
        }
    }

    /// Prepares all channels for a wait. Returns the moment until which it may last, on the monotonic clock, which need
    /// not be the poller's.
    pub fn before_wait(&mut self, modify: &mut Modify) -> Option<Instant> {
        let mut has_news = false;
        for number in std::mem::take(&mut self.touched) {
            has_news |= self.settle(number, modify);
        }
        if has_news {
            return Some(Instant::ZERO);
        }
        self.timed.iter().filter_map(|number| self.by_number.get(number)?.peer.deadline()).min()
    }

    /// Updates the poller and the tables after a change of a channel. Returns whether the channel has an event.
    fn settle(&mut self, number: u32, modify: &mut Modify) -> bool {
        let Some(entry) = self.by_number.get_mut(&number) else { return false };
        entry.is_touched = false;
        let peer = &mut entry.peer;
        peer.refill();
        peer.read_rest(&mut self.scratch);
        close_retired(peer, modify);
        let wanted = peer.wanted();
        if let Some(socket) = peer.socket()
            && wanted != peer.told
        {
            entry.is_socket_blind = modify(source_of(socket), wanted).is_err();
            peer.told = wanted;
        }
        if let Some(process) = peer.process()
            && !peer.is_process_told
        {
            entry.is_process_blind = modify(source_of(process), Interest::READABLE).is_err();
            peer.is_process_told = true;
        }
        peer.is_blind = entry.is_socket_blind || entry.is_process_blind;
        if entry.becomes_timed() {
            self.timed.push(number);
        }
        if entry.is_over() {
            self.by_number.remove(&number);
            return false;
        }
        let has_news = entry.has_news();
        if has_news {
            self.touch(number);
        }
        has_news
    }

    /// Handles readiness that the inner poller has found. Returns whether it belongs to a channel.
    pub fn found(&mut self, source: Source, readiness: Readiness) -> bool {
        let descriptor = source.number() as usize;
        let number = self.by_descriptor.get(descriptor).copied().unwrap_or(0);
        let Some(entry) = self.by_number.get_mut(&number) else { return false };
        let descriptor = RawFd::try_from(descriptor).ok();
        if entry.peer.socket() == descriptor {
            if readiness.is_error() {
                // The poller may have stopped watching it.
                entry.peer.told = Interest::NONE;
            }
            entry.peer.on_socket(&mut self.scratch);
        } else if entry.peer.process() == descriptor {
            entry.peer.on_process(&mut self.scratch);
        } else {
            // The channel has closed the descriptor, and its number is another file by now.
            return false;
        }
        self.touch(number);
        true
    }

    /// Does the work that is due, and pushes the readiness that threads wait for. Returns whether there is an event
    /// that ends the wait.
    pub fn after_wait(&mut self, ready: &mut Ready<'_>, modify: &mut Modify) -> bool {
        let now = clock::now_or_earlier();
        self.on_time(now);
        let mut has_news = false;
        for &number in &self.touched {
            let Some(entry) = self.by_number.get_mut(&number) else { continue };
            entry.peer.stop_if_broken(now);
            close_retired(&mut entry.peer, modify);
            has_news |= entry.has_news();
            let seen = entry.peer.readiness().seen_by(entry.peer.interest);
            if !seen.is_none() {
                ready.push(Source::new(number), seen);
            }
        }
        has_news
    }

    fn on_time(&mut self, now: Instant) {
        for number in std::mem::take(&mut self.timed) {
            let Some(entry) = self.by_number.get_mut(&number) else { continue };
            entry.peer.on_time(now, &mut self.scratch);
            entry.is_timed = entry.peer.deadline().is_some();
            if entry.is_timed {
                self.timed.push(number);
            }
            self.touch(number);
        }
    }

    /// Notes that the inner poller has been dropped.
    pub fn forget_poller(&mut self) {
        for entry in self.by_number.values_mut() {
            entry.peer.retired.clear();
            entry.peer.told = Interest::NONE;
            entry.peer.is_process_told = false;
            entry.peer.interest = Interest::NONE;
        }
    }
}

impl Entry {
    /// Returns whether it has got a deadline since the last call.
    fn becomes_timed(&mut self) -> bool {
        let was_timed = std::mem::replace(&mut self.is_timed, self.peer.deadline().is_some());
        self.is_timed |= was_timed;
        self.is_timed && !was_timed
    }

    /// Returns whether it can be removed.
    fn is_over(&self) -> bool {
        !self.is_owned && (self.peer.task.is_none() || self.peer.exit().is_some())
    }

    fn has_news(&self) -> bool {
        let interest = if self.is_awaited {
            self.peer.interest | Interest::READABLE
        } else {
            self.peer.interest
        };
        !self.peer.readiness().seen_by(interest).is_none()
    }
}

/// Operations without a loop.
impl Peers {
    /// Drives all channels until there is an event, at the latest until `until`. Blocks.
    pub fn drive(&mut self, until: Option<Instant>) -> io::Result<()> {
        let mut questions = Vec::new();
        let mut next = until;
        let now = clock::now_or_later();
        for (&number, entry) in &mut self.by_number {
            entry.peer.stop_if_broken(now);
            if entry.becomes_timed() {
                self.timed.push(number);
            }
            let peer = &mut entry.peer;
            peer.refill();
            let has_read = peer.read_rest(&mut self.scratch);
            // A channel without room is not polled: if its other side has closed, each wait would end at once.
            let socket = peer.socket().map(|socket| (socket, peer.wanted()));
            let socket = socket.filter(|(_, wanted)| !wanted.is_none());
            let process = peer.process().map(|process| (process, Interest::READABLE));
            for (descriptor, interest) in [socket, process].into_iter().flatten() {
                questions.push(Question::new(descriptor, interest));
            }
            let deadline = peer.deadline();
            let has_news = has_read || (entry.is_awaited && entry.has_news());
            let news = has_news.then_some(Instant::ZERO);
            next = [next, deadline, news].into_iter().flatten().min();
        }
        ask(&mut questions, next.map(clock::remaining))?;
        for question in questions.iter().filter(|question| !question.found.is_none()) {
            self.found(source_of(question.descriptor), question.found);
        }
        for number in self.by_number.keys().copied().collect::<Vec<_>>() {
            self.touch(number);
        }
        self.on_time(clock::now_or_earlier());
        self.by_number.retain(|_, entry| !entry.is_over() || !entry.peer.retired.is_empty());
        Ok(())
    }
}

/// Tells the poller first, since closing a descriptor frees its number.
fn close_retired(peer: &mut Peer, modify: &mut Modify) {
    for descriptor in peer.retired.drain(..) {
        let _ = modify(source_of(descriptor.as_raw_fd()), Interest::NONE);
    }
}

fn source_of(descriptor: RawFd) -> Source {
    // An open descriptor is not negative.
    Source::new(descriptor as u32)
}

/// Kills the remaining tasks, and waits for them, when the last owner is dropped.
impl Drop for Peers {
    fn drop(&mut self) {
        if !self.are_own() {
            return;
        }
        for entry in self.by_number.values_mut() {
            entry.peer.kill_and_wait();
        }
    }
}
