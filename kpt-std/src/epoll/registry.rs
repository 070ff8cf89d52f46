//! What a poller watches: what the kernel has of it, and what it does not take.

use kpt_core::{
    Interest, Readiness, Source,
    poller::{Ready, Unwatchable},
};
use libc::{EEXIST, EPERM, EPOLLIN, EPOLLOUT, c_int};

use super::always::{Always, Answer};
use super::set::Set;
use super::table::{State, Table, Told};

/// See above.
pub struct Registry {
    pub set: Set,
    pub table: Table,
    always: Always,
    /// What is added now has this.
    generation: u32,
    /// The set may have descriptors that were closed and live on, as duplicates. They can't be taken out of it.
    may_be_stale: bool,
    /// There are lost ones in the table.
    has_lost: bool,
}

impl Registry {
    /// Returns one for the descriptors below `limit`.
    pub fn new(set: Set, limit: usize) -> Self {
        Self {
            set,
            table: Table::new(limit),
            always: Always::new(),
            generation: 0,
            may_be_stale: false,
            has_lost: false,
        }
    }

    /// Watches a descriptor, or ends that.
    pub fn watch(&mut self, descriptor: u32, interest: Interest) -> Result<(), Unwatchable> {
        if interest.is_none() {
            self.remove(descriptor);
            return Ok(());
        }
        if !self.table.has_room_for(descriptor) {
            return Err(Unwatchable);
        }
        match self.table.get(descriptor).state {
            // Also for the same: the number may be another file by now.
            State::Watched => self.change(descriptor, interest),
            State::Unwatched | State::Lost => self.add(descriptor, interest),
            State::Always => {
                self.always.remove(descriptor);
                self.add(descriptor, interest)
            }
        }
    }

    /// Ends the watch without telling the set, which is another process's.
    pub fn forget(&mut self, descriptor: u32) {
        if self.table.get(descriptor).state == State::Always {
            self.always.remove(descriptor);
        }
        self.table.set_state(descriptor, State::Unwatched);
    }

    /// Takes another set, and tells it of all that is watched.
    #[cold]
    pub fn replace(&mut self, set: Set) {
        self.set = set;
        self.fill();
    }

    /// Has the set forget what can't be taken out of it. Without room for another one, it is tried again with the next stale
    /// event.
    #[cold]
    pub fn rebuild(&mut self) {
        if self.set.clear().is_ok() {
            self.fill();
        }
    }

    /// Returns whether an event is one of a descriptor that was closed.
    #[inline]
    pub fn is_stale(&self, descriptor: u32, generation: u32) -> bool {
        if !self.may_be_stale {
            return false;
        }
        let told = self.table.get(descriptor);
        told.state != State::Watched || told.generation != generation
    }

    /// Returns whether there is something to push without asking the set.
    #[inline]
    pub fn has_odd_ones(&self) -> bool {
        self.has_lost || !self.always.is_empty()
    }

    /// Tells a new set of all that is watched.
    #[cold]
    fn fill(&mut self) {
        self.may_be_stale = false;
        for descriptor in 0..self.table.end() {
            let told = self.table.get(descriptor);
            if told.state == State::Watched && self.add(descriptor, told.interest).is_err() {
                self.table.set_state(descriptor, State::Lost);
                self.has_lost = true;
            }
        }
    }

    /// Watches a descriptor which the table does not have, or has wrongly.
    fn add(&mut self, descriptor: u32, interest: Interest) -> Result<(), Unwatchable> {
        let (generation, bits) = (self.generation, bits(interest));
        let mut result = self.set.add(descriptor, generation, bits);
        if matches!(&result, Err(error) if error.raw_os_error() == Some(EEXIST)) {
            // It was closed, could not be taken out, and is back under its number.
            result = self.set.modify(descriptor, generation, bits);
        }
        let state = match result {
            Ok(()) => State::Watched,
            Err(error) if error.raw_os_error() == Some(EPERM) => {
                self.always.add(descriptor, interest);
                State::Always
            }
            Err(_) => State::Unwatched,
        };
        self.table.set(descriptor, Told { generation, interest, state });
        if state == State::Unwatched { Err(Unwatchable) } else { Ok(()) }
    }

    /// Watches a descriptor that the set has for something else, or for the same.
    pub fn change(&mut self, descriptor: u32, interest: Interest) -> Result<(), Unwatchable> {
        let Told { generation, .. } = self.table.get(descriptor);
        if self.set.modify(descriptor, generation, bits(interest)).is_err() {
            self.suspect();
            return self.add(descriptor, interest);
        }
        self.table.set(descriptor, Told { generation, interest, state: State::Watched });
        Ok(())
    }

    fn remove(&mut self, descriptor: u32) {
        let Told { state, .. } = self.table.get(descriptor);
        if state == State::Always {
            self.always.remove(descriptor);
        } else if state == State::Watched && self.set.remove(descriptor).is_err() {
            self.suspect();
        }
        self.table.set_state(descriptor, State::Unwatched);
    }

    /// A descriptor was closed while it was watched. If its file is open under another number, or in another process, the
    /// set goes on telling of it.
    #[cold]
    fn suspect(&mut self) {
        self.may_be_stale = true;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Pushes what is known without asking the set. Whether there is any.
    #[cold]
    pub fn push_odd_ones(&mut self, ready: &mut Ready<'_>) -> bool {
        let mut has_found = false;
        if self.has_lost {
            self.has_lost = false;
            for descriptor in 0..self.table.end() {
                if self.table.get(descriptor).state == State::Lost {
                    has_found = true;
                    self.table.set_state(descriptor, State::Unwatched);
                    ready.push(Source::new(descriptor), Readiness::ERROR);
                }
            }
        }
        self.always.ask();
        for count in (1..=self.always.len()).rev() {
            has_found |= self.push_always(count, ready);
        }
        has_found
    }

    /// Pushes the last of the first `count` that are always ready. Whether it is.
    fn push_always(&mut self, count: usize, ready: &mut Ready<'_>) -> bool {
        let Some((descriptor, answer)) = self.always.answer(count) else { return false };
        let readiness = match answer {
            Answer::Ready(readiness) => readiness,
            Answer::Closed => {
                self.remove(descriptor);
                Readiness::ERROR
            }
            Answer::Changed => {
                self.remove(descriptor);
                let Told { interest, .. } = self.table.get(descriptor);
                if self.add(descriptor, interest).is_ok() {
                    return false;
                }
                Readiness::ERROR
            }
        };
        ready.push(Source::new(descriptor), readiness);
        true
    }
}

/// What the kernel is to look for.
fn bits(interest: Interest) -> c_int {
    let readable = if interest.is_readable() { EPOLLIN } else { 0 };
    readable | if interest.is_writable() { EPOLLOUT } else { 0 }
}
