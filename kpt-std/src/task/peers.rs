//! All channels of one loop, by the number of their source; and which descriptor belongs to which.

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

/// Sources from here on are channels. Descriptors are far below.
const FIRST: u32 = 1 << 31;

/// The channels of a loop, shared by its poller, its spawners and the handles. Used by one OS thread, and by nobody while
/// the application's code runs.
pub type SharedPeers = Rc<RefCell<Peers>>;

/// How the poller inside is told what to watch.
type Modify<'a> = dyn FnMut(Source, Interest) -> Result<(), Unwatchable> + 'a;

/// See [`SharedPeers`].
pub struct Peers {
    by_number: BTreeMap<u32, Box<Entry>>,
    /// The channel's number, by descriptor; 0 for none.
    by_descriptor: Vec<u32>,
    /// The channels to look at before the next wait.
    touched: Vec<u32>,
    /// The channels that have something to do at a time.
    timed: Vec<u32>,
    next: u32,
    scratch: Scratch,
    /// The process whose channels they are.
    owner: u32,
}

struct Entry {
    peer: Peer,
    /// The poller inside can't watch its socket, its process.
    is_socket_blind: bool,
    is_process_blind: bool,
    is_touched: bool,
    is_timed: bool,
    /// Whether somebody has it; if not, it is forgotten as soon as it is over.
    is_owned: bool,
    /// Whether news of it end a wait, even if no thread waits for them.
    is_awaited: bool,
}

thread_local! {
    static ALL: RefCell<Vec<Weak<RefCell<Peers>>>> = const { RefCell::new(Vec::new()) };
}

/// No channels yet.
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

/// In a forked process: closes the copies of all channels that this process's loops had. They belong to the parent.
pub fn disown_all() {
    // They stay listed: an inherited spawner may start tasks here, whose channels are not for the tasks after them.
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

/// Whether the number is that of a channel, or could be.
pub fn is_channel(source: Source) -> bool {
    source.number() >= FIRST
}

/// For owners of channels.
impl Peers {
    /// Takes in a channel. It is kept until it is over and `release` has been said.
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

    /// Works on a channel. `None` if there is no such.
    pub fn with<R>(&mut self, source: Source, work: impl FnOnce(&mut Peer) -> R) -> Option<R> {
        let result = work(&mut self.by_number.get_mut(&source.number())?.peer);
        self.touch(source.number());
        Some(result)
    }

    /// Whether they are this process's, and not its parent's, in one that was forked by other code than this.
    pub fn are_own(&self) -> bool {
        self.owner == std::process::id()
    }

    /// Nobody has the channel any more.
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

/// For the poller around another poller, which is told what to watch by `modify`.
impl Peers {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Threads want that of a channel.
    pub fn set_interest(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        match self.with(source, |peer| peer.interest = interest) {
            None if !interest.is_none() => Err(Unwatchable),
            _ => Ok(()),
        }
    }

    /// Gets all channels ready for a wait, and says until when it may last: on the monotonic clock, which need not be the
    /// poller's.
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

    /// Brings everything in line with what has happened to a channel. Whether it has something to report.
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

    /// The poller inside has found something. Whether it belongs to a channel.
    pub fn found(&mut self, source: Source, readiness: Readiness) -> bool {
        let descriptor = source.number() as usize;
        let number = self.by_descriptor.get(descriptor).copied().unwrap_or(0);
        let Some(entry) = self.by_number.get_mut(&number) else { return false };
        let descriptor = RawFd::try_from(descriptor).ok();
        if entry.peer.socket() == descriptor {
            if readiness.is_error() {
                // The poller may have let go of it.
                entry.peer.told = Interest::NONE;
            }
            entry.peer.on_socket(&mut self.scratch);
        } else if entry.peer.process() == descriptor {
            entry.peer.on_process(&mut self.scratch);
        } else {
            // The channel has closed it, and it is another file by now.
            return false;
        }
        self.touch(number);
        true
    }

    /// Does what is due, and pushes what threads wait for. Whether there is something that somebody waits for.
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

    /// The poller inside is no more.
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
    /// Whether it has something to do at a time, and had not before.
    fn becomes_timed(&mut self) -> bool {
        let was_timed = std::mem::replace(&mut self.is_timed, self.peer.deadline().is_some());
        self.is_timed |= was_timed;
        self.is_timed && !was_timed
    }

    /// Whether nobody needs it any more.
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

/// Without a loop.
impl Peers {
    /// Drives all channels until something has happened, at the latest until then. Blocks.
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
            // One that has no room is not asked about: that it has hung up would end each wait at once.
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

/// The poller has to know before the number is free.
fn close_retired(peer: &mut Peer, modify: &mut Modify) {
    for descriptor in peer.retired.drain(..) {
        let _ = modify(source_of(descriptor.as_raw_fd()), Interest::NONE);
    }
}

fn source_of(descriptor: RawFd) -> Source {
    // A descriptor that is open is not negative.
    Source::new(descriptor as u32)
}

/// The last owner has gone: what is left is killed, and waited for.
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
