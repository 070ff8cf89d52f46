//! The descriptors that a poller watches: those in the kernel's set, and those that the set refuses.

use kpt_core::{
    Interest, Readiness, Source,
    poller::{Ready, Unwatchable},
};
use libc::{EEXIST, EPERM, EPOLLIN, EPOLLOUT, c_int};

use super::always::{Always, Answer};
use super::set::Set;
use super::table::{State, Table, Told};

/// The watched descriptors.
pub struct Registry {
    pub set: Set,
    pub table: Table,
    always: Always,
    /// The generation of descriptors that are added now.
    generation: u32,
    /// The set may contain descriptors that were closed and whose files are still open as duplicates. They can't be
    /// removed.
    may_be_stale: bool,
    /// The table contains lost descriptors.
    has_lost: bool,
}

impl Registry {
    /// Creates a registry for the descriptors below `limit`.
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

    /// Watches a descriptor, or stops watching it if `interest` is none.
    pub fn watch(&mut self, descriptor: u32, interest: Interest) -> Result<(), Unwatchable> {
        if interest.is_none() {
            self.remove(descriptor);
            return Ok(());
        }
        if !self.table.has_room_for(descriptor) {
            return Err(Unwatchable);
        }
        match self.table.get(descriptor).state {
            // Also if the interest is the same: the number may be another file by now.
            State::Watched => self.change(descriptor, interest),
            State::Unwatched | State::Lost => self.add(descriptor, interest),
            State::Always => {
                self.always.remove(descriptor);
                self.add(descriptor, interest)
            }
        }
    }

    /// Stops watching a descriptor without telling the set, which is another process's.
    pub fn forget(&mut self, descriptor: u32) {
        if self.table.get(descriptor).state == State::Always {
            self.always.remove(descriptor);
        }
        self.table.set_state(descriptor, State::Unwatched);
    }

    /// Replaces the set, and adds all watched descriptors to the new one.
    #[cold]
    pub fn replace(&mut self, set: Set) {
        self.set = set;
        self.fill();
    }

    /// Rebuilds the set, without the descriptors that can't be removed from it. Returns whether it has: if no descriptor
    /// is available for a new set, the next stale event tries again.
    #[cold]
    pub fn rebuild(&mut self) -> bool {
        let is_clear = self.set.clear().is_ok();
        if is_clear {
            self.fill();
        }
        is_clear
    }

    /// Returns whether an event belongs to a descriptor that was closed.
    #[inline]
    pub fn is_stale(&self, descriptor: u32, generation: u32) -> bool {
        if !self.may_be_stale {
            return false;
        }
        let told = self.table.get(descriptor);
        told.state != State::Watched || told.generation != generation
    }

    /// Returns whether there are descriptors to report without asking the set.
    #[inline]
    pub fn has_odd_ones(&self) -> bool {
        self.has_lost || !self.always.is_empty()
    }

    /// Adds all watched descriptors to a new set.
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

    /// Watches a descriptor that is not in the table, or whose entry is wrong.
    fn add(&mut self, descriptor: u32, interest: Interest) -> Result<(), Unwatchable> {
        let (generation, bits) = (self.generation, bits(interest));
        let mut result = self.set.add(descriptor, generation, bits);
        if matches!(&result, Err(error) if error.raw_os_error() == Some(EEXIST)) {
            // The descriptor was closed, could not be removed, and is back under its number.
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

    /// Changes or renews the interest in a descriptor that is in the set.
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

    /// Notes that a descriptor was closed while it was watched. If its file is open under another number, or in another
    /// process, the set still reports it.
    #[cold]
    fn suspect(&mut self) {
        self.may_be_stale = true;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Pushes the descriptors that need no look at the set. Returns whether there were any.
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

    /// Pushes the last of the first `count` always-ready descriptors. Returns whether it was ready or failed.
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

/// Returns the events to watch for.
fn bits(interest: Interest) -> c_int {
    let readable = if interest.is_readable() { EPOLLIN } else { 0 };
    readable | if interest.is_writable() { EPOLLOUT } else { 0 }
}
