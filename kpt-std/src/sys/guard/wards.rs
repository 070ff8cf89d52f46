//! The tasks in the care of a guard, and the steps that it takes. Without I/O: it is told what has happened, and says
//! what to do next.
//!
//! ```text
//! watching ── the parent is gone ──▶ grace of 1 s ── over ──▶ kill ──▶ leave
//!                                     └── no task is left ────────────▶ leave
//! ```
//!
//! No task is missed: a task registers first, and then looks at its parent, and exits if that is gone. The guard learns
//! first that the parent is gone, and then takes what is queued. So a task that has registered too late for that finds
//! that its parent is gone.

use super::message::Message;

/// The time that tasks have to end by themselves when their parent is gone, in microseconds.
pub const GRACE: u64 = 1_000_000;

/// The signals that a parent may ask for: those of the steps to end a task.
const SIGNALS: [i32; 3] = [libc::SIGTERM, libc::SIGCONT, libc::SIGKILL];

/// A registered task. All zeros are an empty place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ward {
    /// The number of its start.
    pub number: u32,
    pub pid: i32,
    /// Its descriptor, if there is one.
    pub descriptor: Option<Descriptor>,
    /// When it was started, to tell it from a later process of the same number; 0 if that is not known.
    pub start_time: u64,
}

/// The number of an open descriptor. It is not 0, which the guard has for something else.
pub type Descriptor = std::num::NonZeroI32;

/// Who has sent a message, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    pub pid: i32,
    pub uid: u32,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The task is registered, in place of an entry that is to be closed, if it was registered before.
    Kept { instead_of: Option<Ward> },
    /// There is no place. Forget the dead and ask again.
    Full,
    /// Send it this signal.
    Signal { ward: Ward, signal: i32 },
    /// Nothing.
    Refused,
}

/// What a guard does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for a kick, the end of the parent, and, if the parent is gone, the end of any task; at the latest until this
    /// time.
    Wait { until: Option<u64> },
    /// Take all messages from the queue.
    Drain,
    /// Look which tasks have ended.
    Look,
    /// Send all tasks that are left SIGKILL.
    Kill,
    /// Exit.
    Leave,
}

/// A guard.
#[derive(Debug)]
pub struct Wards<'t> {
    uid: u32,
    /// Whether it has rights that its user does not have.
    is_privileged: bool,
    parent: i32,
    table: &'t mut [Ward],
    count: usize,
    /// Whether a task could not be kept, since it could not be told from others later.
    has_unknown: bool,
    must_drain: bool,
    must_look: bool,
    /// Since the parent is gone: when the tasks that are left are killed.
    kill_at: Option<u64>,
    /// The last drain and look, or what comes after them.
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotYet,
    LastLook,
    Killed,
}

impl<'t> Wards<'t> {
    /// Creates a guard with the rights of `uid` for the tasks of process `parent`, with room for as many as `table` has
    /// places. `parent` is 0 if the guard is in a PID namespace of its own, for which `/proc` has other numbers.
    pub fn new(uid: u32, parent: i32, table: &'t mut [Ward]) -> Self {
        Self {
            uid,
            is_privileged: false,
            parent,
            table,
            count: 0,
            has_unknown: false,
            must_drain: false,
            must_look: false,
            kill_at: None,
            end: End::NotYet,
        }
    }

    /// Says that the guard has rights which its user does not have, as that of a setuid program. Then the parent can't name
    /// tasks to it: it may have given up these rights since.
    pub fn set_privileged(&mut self) {
        self.is_privileged = true;
    }

    /// Returns the registered tasks.
    pub fn all(&self) -> &[Ward] {
        self.table.get(..self.count).unwrap_or_default()
    }

    /// Returns whether the parent is gone.
    pub fn is_ending(&self) -> bool {
        self.kill_at.is_some()
    }

    /// Notes that messages may be queued, or that tasks may have ended.
    pub fn on_kick(&mut self) {
        (self.must_drain, self.must_look) = (true, true);
    }

    /// Notes that the parent is gone.
    pub fn on_parent_gone(&mut self, now: u64) {
        if self.kill_at.is_none() {
            self.kill_at = Some(now.saturating_add(GRACE));
            self.on_kick();
        }
    }

    /// Handles a message. `descriptor` is that of the process to be registered: the sender, or the one that the parent
    /// names. The caller keeps it if the answer is `Kept`, and closes it otherwise.
    ///
    /// Only a sender with the guard's user may register a process: a parent that has given up root could otherwise have
    /// a guard that has not kill any process. It may still end its own tasks.
    pub fn on_message(
        &mut self,
        message: Message,
        sender: Sender,
        descriptor: Option<Descriptor>,
    ) -> Answer {
        let is_same_user = sender.uid == self.uid;
        let is_parent = sender.pid == self.parent;
        let (number, pid, start_time) = match message {
            Message::Register { number, start_time } if is_same_user => {
                (number, sender.pid, start_time)
            }
            Message::Adopt { number, pid, start_time }
                if is_same_user && is_parent && !self.is_privileged =>
            {
                (number, pid, start_time)
            }
            Message::Signal { number, signal } if is_parent && SIGNALS.contains(&signal) => {
                return match self.all().iter().find(|ward| ward.number == number) {
                    Some(&ward) => Answer::Signal { ward, signal },
                    None => Answer::Refused,
                };
            }
            _ => return Answer::Refused,
        };
        // It could not be told from a later process of the same number.
        if descriptor.is_none() && (start_time == 0 || self.parent == 0) {
            self.has_unknown = true;
            return Answer::Refused;
        }
        self.keep(Ward { number, pid, descriptor, start_time })
    }

    fn keep(&mut self, new: Ward) -> Answer {
        let known = self.table.iter_mut().take(self.count).find(|ward| ward.number == new.number);
        if let Some(known) = known {
            return Answer::Kept { instead_of: Some(std::mem::replace(known, new)) };
        }
        let Some(place) = self.table.get_mut(self.count) else { return Answer::Full };
        *place = new;
        self.count = self.count.saturating_add(1);
        Answer::Kept { instead_of: None }
    }

    /// Forgets the tasks for which `has_ended` says so. The caller closes their descriptors.
    pub fn forget(&mut self, mut has_ended: impl FnMut(&Ward) -> bool) {
        let mut at = 0;
        while at < self.count {
            if self.table.get(at).is_some_and(&mut has_ended) {
                self.count = self.count.saturating_sub(1);
                self.table.swap(at, self.count);
            } else {
                at = at.saturating_add(1);
            }
        }
    }

    /// Returns what to do next.
    pub fn next(&mut self, now: u64) -> Step {
        if std::mem::take(&mut self.must_drain) {
            return Step::Drain;
        }
        if std::mem::take(&mut self.must_look) {
            return Step::Look;
        }
        let Some(kill_at) = self.kill_at else { return Step::Wait { until: None } };
        // When the first process of a PID namespace exits, the kernel kills all others. So with tasks that are not in the
        // table, the guard stays for the grace.
        let is_needed = self.count > 0 || self.has_unknown;
        if !is_needed || self.end == End::Killed {
            return Step::Leave;
        }
        if now < kill_at {
            return Step::Wait { until: Some(kill_at) };
        }
        if self.end == End::NotYet {
            self.end = End::LastLook;
            self.must_look = true;
            return Step::Drain;
        }
        self.end = End::Killed;
        Step::Kill
    }
}

#[cfg(test)]
#[path = "wards_tests.rs"]
mod tests;
