//! The guard of a process that has tasks: a small process that kills those that are still there a second after their
//! parent has gone. It works where a signal at the parent's death does not: for a task that is stopped, blocks or
//! ignores signals, or has changed its user.
//!
//! From the bottom: [`message`] (what is said to it) and [`wards`] (the tasks in its care, and its steps) do no I/O.
//! [`calls`] are its calls to the system; `proc` and `shed` read `/proc`; [`run`] carries out the steps. `Guard` is the
//! parent's side.
//!
//! The process is made without an exit signal, so that no wait for any child finds it. It has the rights that its
//! parent had when it was made: a parent that changes its user gets a second one. Each task registers itself, which the
//! kernel attests; the guard finds that in its queue when the parent is gone, or when the parent kicks it.

mod calls;
mod message;
mod proc;
mod run;
mod shed;
mod wards;

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use libc::{c_int, c_long, c_ulong, pid_t};

use message::Message;

use super::descriptors::{EventFd, open_process};
use super::{SignalsBlocked, above_standard, check, poll, process_id, real_user};

/// The largest number of tasks. Places that are not used take no memory.
const MOST_TASKS: usize = 32_768;

/// The descriptors that a guard has besides those of its tasks: three, two of a message that it handles, and a file of
/// `/proc`.
const OWN_DESCRIPTORS: usize = 6;

/// The number of starts after which the guard is kicked. Its queue holds more than 250 messages.
const STARTS_PER_KICK: u32 = 64;

/// How often, and how long each time, a task waits for room in the queue of a guard that does not run.
const ATTEMPTS: u32 = 100;
const ATTEMPT: Duration = Duration::from_millis(10);

/// Has the kernel send a descriptor of the sender with each message, since Linux 6.5.
#[cfg(not(any(target_arch = "sparc", target_arch = "sparc64")))]
const SO_PASSPIDFD: c_int = 76;
#[cfg(any(target_arch = "sparc", target_arch = "sparc64"))]
const SO_PASSPIDFD: c_int = 0x55;

/// A guard, as its parent sees it.
#[derive(Debug)]
pub struct Guard {
    /// The real user whose rights it has.
    pub uid: u32,
    child: Child,
    /// Readable when the guard has ended. `None` before Linux 5.2.
    process: Option<OwnedFd>,
    socket: OwnedFd,
    kick: EventFd,
    /// Whether the kernel attests a descriptor of each sender.
    attests: bool,
    starts: u32,
}

impl Guard {
    /// Makes a guard for the tasks of this process. `own` is a descriptor of this process. In a process that is forked
    /// from this one, dropping the guard closes the copies of its descriptors.
    ///
    /// # Errors
    /// Returns the system's error: too many processes or descriptors, or not enough memory.
    pub fn make(own: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let (ours, theirs) = pair()?;
        enable(&theirs, libc::SO_PASSCRED)?;
        let attests = enable(&theirs, SO_PASSPIDFD).is_ok();
        let kick = EventFd::new()?;
        let (socket, event) = (theirs.as_raw_fd(), kick.as_fd().as_raw_fd());
        let own = own.map(|own| own.as_raw_fd());
        let parent = process_id();
        let signals = SignalsBlocked::new();
        let mut process: c_int = -1;
        // SAFETY: the new process is a copy of this one that runs `become_guard`, which does not return, and makes only
        // calls that may be made after a fork of a process of any number of OS threads. The kernel writes one int,
        // which is borrowed until the call returns; both have it, as they share no memory.
        let pid = unsafe {
            let flags = libc::CLONE_PIDFD as c_ulong;
            let place = ptr::from_mut(&mut process);
            if cfg!(target_arch = "s390x") {
                libc::syscall(libc::SYS_clone, 0, flags, place, 0, 0)
            } else {
                libc::syscall(libc::SYS_clone, flags, 0, place, 0, 0)
            }
        };
        if pid == 0 {
            become_guard(parent, socket, event, own);
        }
        let pid = check_long(pid)? as pid_t;
        drop(signals);
        // SAFETY: what the kernel has written is a new descriptor, which has no other owner.
        let process = (process >= 0).then(|| unsafe { OwnedFd::from_raw_fd(process) });
        let process = process.map(above_standard).transpose()?;
        let uid = real_user();
        Ok(Self { uid, child: Child(pid), process, socket: ours, kick, attests, starts: 0 })
    }

    /// Returns the descriptor that is readable when the guard has ended.
    pub fn process(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref().map(AsFd::as_fd)
    }

    /// Returns whether the guard has ended, and reaps it if it has.
    pub fn has_ended(&self) -> bool {
        self.child.has_ended()
    }

    /// Notes that a task is about to be started.
    pub fn before_start(&mut self) {
        self.starts = self.starts.wrapping_add(1);
        if self.starts.is_multiple_of(STARTS_PER_KICK) {
            self.kick.set();
        }
    }

    /// In a new task: tells the guard that it is start `number`. Blocks while the queue is full, for a second at most.
    ///
    /// # Errors
    /// Returns the system's error if the guard has ended, or does not run.
    pub fn register(&self, number: u32) -> io::Result<()> {
        let message = |start_time| Message::Register { number, start_time };
        if self.attests {
            return self.say(message(0), None, ATTEMPTS);
        }
        let own = open_process(process_id()).ok();
        self.say_which(own.as_ref().map(AsFd::as_fd), proc::own_start_time, message, ATTEMPTS)
    }

    /// Tells the guard that start `number` is this child, which has not been reaped. Never blocks.
    ///
    /// # Errors
    /// Returns the system's error, as `register` does; `WouldBlock` if the queue is full.
    pub fn adopt(
        &self,
        number: u32,
        pid: pid_t,
        process: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let message = |start_time| Message::Adopt { number, pid, start_time };
        self.say_which(process, || proc::start_time(pid), message, 0)
    }

    /// Says which process is meant: by its descriptor, or by when it was started, if it has none, or if the user has too many
    /// descriptors under way, which may be due to a hostile task.
    fn say_which(
        &self,
        process: Option<BorrowedFd<'_>>,
        start_time: impl FnOnce() -> u64,
        message: impl Fn(u64) -> Message,
        attempts: u32,
    ) -> io::Result<()> {
        if process.is_some() {
            match self.say(message(0), process, attempts) {
                Err(error) if error.raw_os_error() == Some(libc::ETOOMANYREFS) => {}
                result => return result,
            }
        }
        self.say(message(start_time()), None, attempts)
    }

    /// Asks the guard to send a signal to start `number`. Never blocks.
    ///
    /// # Errors
    /// Returns the system's error, as `adopt` does.
    pub fn signal(&self, number: u32, signal: c_int) -> io::Result<()> {
        self.say(Message::Signal { number, signal }, None, 0)?;
        self.kick.set();
        Ok(())
    }

    /// Sends a message, and while the queue is full, tries so many times more, 10 ms apart.
    fn say(
        &self,
        message: Message,
        descriptor: Option<BorrowedFd<'_>>,
        attempts: u32,
    ) -> io::Result<()> {
        let bytes = message.to_bytes();
        let mut left = attempts;
        loop {
            match send(&self.socket, &bytes, descriptor) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The queue is full, or has as many descriptors as a user may have under way.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ETOOMANYREFS)) =>
                {
                    self.kick.set();
                    if left == 0 {
                        return Err(error);
                    }
                    left -= 1;
                    let socket = self.socket.as_raw_fd();
                    let mut asked =
                        [libc::pollfd { fd: socket, events: libc::POLLOUT, revents: 0 }];
                    poll(&mut asked, Some(ATTEMPT))?;
                }
                result => return result,
            }
        }
    }

    /// Ends the guard, and waits for that. MUST only be called when all tasks have ended.
    ///
    /// If it can't be killed, it ends by itself, as its socket is closed, and is not waited for.
    pub fn end(self) {
        if matches!(self.child.reap(libc::WNOHANG), Ok(false))
            && calls::kill(self.child.0, libc::SIGKILL)
        {
            let _ = self.child.reap(0);
        }
    }
}

/// The process of a guard, which no wait for any child reaps.
#[derive(Debug)]
struct Child(pid_t);

impl Child {
    /// Returns whether it has ended, and reaps it if it has. Returns false if the system does not tell.
    fn has_ended(&self) -> bool {
        matches!(self.reap(libc::WNOHANG), Ok(true))
    }

    /// Returns whether there is no such child any more.
    fn reap(&self, option: c_int) -> io::Result<bool> {
        // SAFETY: all zero bytes are a valid siginfo, and the answer "has not ended".
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        let options = libc::WEXITED | libc::__WALL | option;
        loop {
            // SAFETY: `info` is a valid place for a siginfo, borrowed until the call returns.
            let result =
                unsafe { libc::waitid(libc::P_PID, self.0 as libc::id_t, &mut info, options) };
            match check(result) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Other code has reaped it.
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(true),
                Err(error) => return Err(error),
                // SAFETY: waitid has filled in the number, or it is the zero from above.
                Ok(_) => return Ok(unsafe { info.si_pid() } != 0),
            }
        }
    }
}

/// In the process of the guard.
fn become_guard(parent: pid_t, socket: c_int, kick: c_int, own: Option<c_int>) -> ! {
    let descriptors = calls::settle(socket, kick, own);
    // When there is no room in the table, those that have ended are forgotten. That is too late when the next message can't
    // bring its descriptor.
    let room = descriptors.saturating_sub(OWN_DESCRIPTORS).clamp(1, MOST_TASKS);
    match calls::new_table(room) {
        Some(table) => run::run(parent, own.is_some(), table),
        None => calls::leave(),
    }
}

/// Makes a pair of sockets that keep the borders of messages.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two ints, which are borrowed until the call returns.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    // SAFETY: both descriptors are new, so they have no other owner.
    let [ours, theirs] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    Ok((above_standard(ours)?, above_standard(theirs)?))
}

/// Enables an option of a socket.
fn enable(socket: &OwnedFd, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads one int, which is borrowed until the call returns.
    check(unsafe {
        let on = ptr::from_ref(&on).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, on, length)
    })
    .map(drop)
}

/// Room for one descriptor in a message.
#[repr(C)]
struct OneDescriptor {
    header: libc::cmsghdr,
    number: [c_int; 2],
}

/// Sends a message, with a descriptor if there is one. Never blocks, and never raises `SIGPIPE`.
fn send(socket: &OwnedFd, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    // SAFETY: all zero bytes are a valid msghdr, and a valid control message of no length.
    let (mut message, mut control): (libc::msghdr, OneDescriptor) =
        unsafe { (mem::zeroed(), mem::zeroed()) };
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    if let Some(descriptor) = descriptor {
        control.header.cmsg_level = libc::SOL_SOCKET;
        control.header.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: it computes a number.
        control.header.cmsg_len = unsafe { libc::CMSG_LEN(size_of::<c_int>() as _) } as _;
        control.number = [descriptor.as_raw_fd(), 0];
        message.msg_control = ptr::from_mut(&mut control).cast();
        message.msg_controllen = size_of::<OneDescriptor>() as _;
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: `message` describes `bytes` and `control`, which are borrowed until the call returns, and only read. The
    // data of a control message follow its header on all systems whose header is aligned as an int or as a pointer.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn check_long(result: c_long) -> io::Result<c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
