//! The net under the tasks of this process: the guards, one for each user that the process has been, and a descriptor
//! of the process itself, which its tasks watch.
//!
//! It is there while a [`Share`] is: each set of channels that has started tasks has one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kpt_core::{Instant, Interest};

use crate::ask::{Question, ask};
use crate::clock;
use crate::sys::{self, Actions, Guard, Status};

/// A guard that has ended is replaced at most once in this time, except by a start.
const PERIOD: Duration = Duration::from_secs(1);

/// The start of a task, for its guard.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// The number among the starts of this process.
    number: u32,
    /// The user of the guard with which the task is registered.
    uid: u32,
}

static NET: Mutex<Net> = Mutex::new(Net::new());

struct Net {
    /// The process to which all of this belongs. Another one was forked from it.
    owner: i32,
    /// A descriptor of that process.
    own: Option<OwnedFd>,
    /// The last one has the current user.
    guards: Vec<Guard>,
    /// Where the system tells the actions of signals. `Some(None)` if it does not.
    status: Option<Option<Status>>,
    starts: u32,
    shares: u32,
    /// Whether there are tasks that could not be ended.
    has_left: bool,
    /// Counts the guards that were made.
    version: u32,
    made_at: Instant,
}

fn lock() -> MutexGuard<'static, Net> {
    NET.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Net {
    const fn new() -> Self {
        Self {
            owner: 0,
            own: None,
            guards: Vec::new(),
            status: None,
            starts: 0,
            shares: 0,
            has_left: false,
            version: 0,
            made_at: Instant::ZERO,
        }
    }

    /// Makes a guard with the current user, unless there is one.
    fn ensure_guard(&mut self) {
        self.guards.retain(|guard| !guard.has_ended());
        let uid = sys::real_user();
        if self.guards.last().is_some_and(|guard| guard.uid == uid) {
            return;
        }
        if let Some(at) = self.guards.iter().position(|guard| guard.uid == uid) {
            let guard = self.guards.remove(at);
            self.guards.push(guard);
        } else {
            match Guard::make(self.own.as_ref().map(AsFd::as_fd)) {
                Ok(guard) => self.guards.push(guard),
                Err(error) => {
                    return crate::log::error!(
                        "can't make a guard, without which tasks that hang may outlive this process: {}",
                        error
                    );
                }
            }
        }
        self.version = self.version.wrapping_add(1);
        self.made_at = clock::now_or_later();
    }

    fn guard_of(&self, start: Ticket) -> Option<&Guard> {
        self.guards.iter().find(|guard| guard.uid == start.uid)
    }

    /// Ends all guards. If there are tasks left, the guards see that the net is gone, kill them after a second, and end.
    fn close(&mut self) {
        if self.has_left {
            self.guards.clear();
        } else {
            self.guards.drain(..).for_each(Guard::end);
        }
        self.own = None;
        self.status = None;
    }
}

/// A part of the net of this process.
#[derive(Debug)]
pub struct Share {
    owner: i32,
    /// The `generation` of that process: asking for it takes no system call.
    generation: u32,
}

impl Share {
    pub fn new() -> Self {
        let (mut net, owner) = (lock(), sys::process_id());
        if net.owner != owner {
            // Descriptors of a process from which other code has forked this one are closed.
            let version = net.version;
            *net = Net { owner, version, ..Net::new() };
        }
        net.shares += 1;
        Self { owner, generation: sys::generation() }
    }

    /// Returns whether this belongs to the process that asks.
    pub fn is_own(&self) -> bool {
        self.generation == sys::generation()
    }

    /// Prepares for the start of a task.
    pub fn before_start(&self) -> Ticket {
        let mut net = lock();
        if net.own.is_none() {
            net.own = sys::open_process(self.owner).ok();
        }
        net.ensure_guard();
        if let Some(guard) = net.guards.last_mut() {
            guard.before_start();
        }
        net.status.get_or_insert_with(|| Status::open().ok());
        net.starts = net.starts.wrapping_add(1);
        Ticket { number: net.starts, uid: sys::real_user() }
    }

    /// Returns the number of guards that were made so far. The last one has to be told of the tasks that are alive, by
    /// [`adopt`].
    pub fn version(&self) -> u32 {
        lock().version
    }

    /// Opens a descriptor that is readable when the last guard has ended.
    pub fn open_guard(&self) -> Option<OwnedFd> {
        let net = lock();
        net.guards.last()?.process()?.try_clone_to_owned().ok()
    }

    /// Leaves tasks that could not be ended to the guards.
    pub fn leave_tasks(&self) {
        lock().has_left = true;
    }

    /// Replaces the last guard if it has ended, unless it was made a moment ago. Returns the time at which to call this
    /// again.
    pub fn renew(&self, now: Instant) -> Option<Instant> {
        let mut net = lock();
        let due = net.made_at + PERIOD;
        if now < due {
            return Some(due);
        }
        net.ensure_guard();
        None
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut net = lock();
        if net.owner == self.owner && self.is_own() {
            net.shares -= 1;
            if net.shares == 0 {
                net.close();
            }
        }
    }
}

/// Returns the actions of the signals of this process, if the system tells.
pub fn signal_actions() -> Option<Actions> {
    lock().status.as_ref()?.as_ref()?.actions()
}

/// Tells the last guard of a task that has not been reaped. Returns `false` if its queue is full, and it is to be told
/// later.
pub fn adopt(start: Ticket, pid: i32, process: Option<BorrowedFd<'_>>) -> bool {
    let net = lock();
    let Some(guard) = net.guards.last() else { return true };
    let result = guard.adopt(start.number, pid, process);
    !result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Asks the guard of a task to send it a signal: it may have rights that this process has given up.
///
/// # Errors
/// Fails if there is no such guard, or if it has no other rights than this process.
pub fn signal(start: Ticket, signal: i32) -> io::Result<()> {
    if start.uid == sys::real_user() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let net = lock();
    let guard = net.guard_of(start).ok_or(io::ErrorKind::NotFound)?;
    guard.signal(start.number, signal)
}

/// In a new task, before any code of the application runs: registers it with its guard, and closes all of the net but a
/// descriptor of the parent, which is returned. A task that can't register ends by the signal at the parent's death.
///
/// # Errors
/// Fails if the parent has died already.
pub fn enter(start: Ticket, parent: i32, name: &str) -> io::Result<Option<OwnedFd>> {
    let mut net = std::mem::replace(&mut *lock(), Net::new());
    if let Some(guard) = net.guard_of(start)
        && let Err(error) = guard.register(start.number)
    {
        crate::log::error!(
            "task {} (process {}) can't register with its guard: {}",
            name,
            sys::process_id(),
            error
        );
    }
    let has_ended = match sys::parent_id() {
        // It is in another PID namespace.
        0 => net.own.as_ref().is_some_and(has_ended),
        seen => seen != parent,
    };
    if has_ended {
        return Err(io::Error::other("the parent has died"));
    }
    net.guards.clear();
    // Kept: giving back its memory would write to pages that are shared with the parent.
    lock().guards = net.guards;
    Ok(net.own)
}

fn has_ended(process: &OwnedFd) -> bool {
    let mut question = [Question::new(process.as_raw_fd(), Interest::READABLE)];
    ask(&mut question, Some(Duration::ZERO)).is_ok() && !question[0].found.is_none()
}
