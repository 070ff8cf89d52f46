//! Every call to the operating system, and all the unsafe code of kpt.
//!
//! Functions are safe to call with any arguments, except for the conditions that their docs name.

mod ancestry;
mod descriptors;
mod epoll;
mod handlers;
#[cfg(feature = "signals")]
mod inbox;
mod memory;
mod net;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;

use libc::{c_int, c_ulong, pid_t};

use crate::task::Ended;

pub use ancestry::generation;
pub use descriptors::{EventFd, open_process};
pub use epoll::{EpollSet, Event, Timer};
pub use handlers::reset_signals;
#[cfg(feature = "signals")]
pub use inbox::{Handler, Inbox};
pub use memory::Pages;
pub use net::{connect_tcp, connect_unix, is_of_connection, listen, send_parts};

/// One word of a `select` bitmap: the kernel reads and writes whole `unsigned long`s.
pub type Word = c_ulong;

/// The bitmaps of one `select` call, of equal length. Descriptor `n` is bit `n % BITS` of word `n / BITS`.
pub struct Bitmaps<'a> {
    pub readable: &'a mut [Word],
    pub writable: &'a mut [Word],
}

/// Waits until one of the descriptors below `descriptors` whose bits are set is ready, or `timeout` has passed (`None`:
/// no limit). Clears the bits of all others, and returns the number of bits that are left.
///
/// The bitmaps are not `fd_set`s, which end at 1,024 descriptors: the kernel takes bitmaps of any length.
pub fn select(
    descriptors: usize,
    bitmaps: Bitmaps<'_>,
    timeout: Option<Duration>,
) -> io::Result<usize> {
    let room =
        bitmaps.readable.len().min(bitmaps.writable.len()).saturating_mul(Word::BITS as usize);
    let descriptors = c_int::try_from(descriptors.min(room)).unwrap_or(c_int::MAX);
    let mut timeout = timeout.map(|timeout| libc::timeval {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: timeout.subsec_micros() as libc::suseconds_t,
    });
    // SAFETY: the kernel reads and writes the first `descriptors` bits, rounded up to whole words, of each bitmap;
    // `room` above makes sure that both have them. The bitmaps and the timeout are borrowed until the call returns.
    let found = unsafe {
        libc::select(
            descriptors,
            bitmaps.readable.as_mut_ptr().cast(),
            bitmaps.writable.as_mut_ptr().cast(),
            std::ptr::null_mut(),
            timeout.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut),
        )
    };
    usize::try_from(found).map_err(|_| io::Error::last_os_error())
}

/// Returns whether the descriptor is open for more than its path (`O_PATH`), which `select` can't watch either.
///
/// Does not use `poll`, which has a limit of its own. Returns `false` on any error: a closed descriptor that is taken
/// for open would make a loop spin.
pub fn is_open(descriptor: c_int) -> bool {
    // SAFETY: F_GETFL takes no pointer and changes nothing.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
    flags != -1 && flags & libc::O_PATH == 0
}

/// Returns the soft limit of open descriptors; `None` if there is no limit, or if it can't be read.
#[allow(clippy::unnecessary_cast)] // `rlim_t` has 32 bits on some targets.
pub fn descriptor_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for an rlimit, borrowed until the call returns.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur as u64)
}

/// Returns the time of the monotonic clock.
pub fn monotonic_now() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for a timespec, borrowed until the call returns. The call can't fail: every Linux
    // has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The two processes after a fork.
pub enum Forked {
    Parent { child: pid_t },
    Child,
}

/// Forks. Returns `None`, and does not fork, if the process has more than one OS thread.
pub fn fork() -> io::Result<Option<Forked>> {
    if !is_single_threaded()? {
        return Ok(None);
    }
    // SAFETY: the child is a copy of a process with one thread, this one, as was just asked: no lock is held by a
    // thread that the child lacks, so all code may run in it.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Some(Forked::Child)),
        child => Ok(Some(Forked::Parent { child })),
    }
}

/// Counts the links of the directory of the process's OS threads: one for each, and two more. That is one system call,
/// where reading the number from `status` takes three and much parsing.
fn is_single_threaded() -> io::Result<bool> {
    match std::fs::metadata("/proc/self/task")?.nlink() {
        3 => Ok(true),
        4.. => Ok(false),
        // A kernel that does not count these links.
        _ => Ok(std::fs::read_dir("/proc/self/task")?.count() == 1),
    }
}

/// Returns the number of this process.
pub fn process_id() -> pid_t {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::getpid() }
}

/// Ends the process at once: nothing is dropped, flushed or called.
pub fn exit_now(code: c_int) -> ! {
    // SAFETY: the call does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Registers `handler` to be called when the process ends by `exit`. Does nothing if the C library has no room for it.
pub fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler is a function, so it exists as long as the process.
    unsafe { libc::atexit(handler) };
}

/// A child process, and a descriptor that refers to it alone, if the kernel has such descriptors.
pub struct Process {
    pid: pid_t,
    descriptor: Option<OwnedFd>,
}

impl Process {
    /// Takes the number of a child process that has not been waited for.
    pub fn new(pid: pid_t) -> Self {
        Self { pid, descriptor: open_process(pid).ok() }
    }

    /// Returns the descriptor, which is readable when the process has ended.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    /// Takes the descriptor out.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptor.take()
    }

    /// Returns how the process has ended, or `None` if it has not. After it has been returned once, the number may
    /// refer to another process.
    ///
    /// Fails with `ECHILD` if other code has already waited for the process.
    pub fn reap(&self, is_blocking: bool) -> io::Result<Option<Ended>> {
        let (mut what, mut number) = match &self.descriptor {
            Some(descriptor) => (libc::P_PIDFD, descriptor.as_raw_fd()),
            None => (libc::P_PID, self.pid),
        };
        let options = libc::WEXITED | if is_blocking { 0 } else { libc::WNOHANG };
        // SAFETY: all zero bytes are a valid siginfo, and the answer "nothing has ended".
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        loop {
            // SAFETY: `info` is a valid place for a siginfo, borrowed until the call returns.
            let result =
                check(unsafe { libc::waitid(what, number as libc::id_t, &mut info, options) });
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Linux 5.3 has descriptors for processes, but can't wait for them.
                Err(error)
                    if error.raw_os_error() == Some(libc::EINVAL) && what == libc::P_PIDFD =>
                {
                    (what, number) = (libc::P_PID, self.pid);
                }
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        // SAFETY: waitid has filled in these two, or they are the zeros from above.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        let is_code = info.si_code == libc::CLD_EXITED;
        Ok((pid != 0).then_some(if is_code { Ended::Code(status) } else { Ended::Signal(status) }))
    }

    /// Sends a signal. Has no effect if the process has ended. MUST NOT be called after the process has been reaped.
    pub fn signal(&self, signal: c_int) {
        match &self.descriptor {
            Some(descriptor) => {
                let no_info = std::ptr::null::<libc::siginfo_t>();
                let descriptor = descriptor.as_raw_fd();
                // SAFETY: the descriptor is open, as it is owned; a null pointer means a signal as `kill` sends it.
                unsafe {
                    libc::syscall(libc::SYS_pidfd_send_signal, descriptor, signal, no_info, 0);
                }
            }
            // SAFETY: kill touches no memory of this process. The number is that of a child that has not been reaped,
            // so it is not 0, -1 or that of a group.
            None => unsafe {
                libc::kill(self.pid, signal);
            },
        }
    }
}

/// Blocks all signals of this OS thread until it is dropped.
pub struct SignalsBlocked {
    before: libc::sigset_t,
}

impl SignalsBlocked {
    pub fn new() -> Self {
        // SAFETY: all zero bytes are a valid set, and sigfillset makes it that of all signals.
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        // SAFETY: both sets are valid, and borrowed until the calls return, which can't fail with these arguments.
        unsafe {
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        }
        Self { before }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: `before` was filled in by the same call; the old mask is not asked for.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut());
        }
    }
}

/// The parent of this process, and the timer that `on_parent_death` starts.
static PARENT: AtomicI32 = AtomicI32::new(0);
static LAST_TIMER: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());

/// The time that a process has to end by itself after its parent has died.
const ORPHAN_GRACE_SECONDS: libc::time_t = 1;

/// Makes the kernel kill this process one second after `parent` has died: a net for processes that don't notice. Uses
/// the signal `SIGRTMAX - 1`, since valgrind uses `SIGRTMAX` itself.
///
/// # Errors
/// Fails if the parent has died already, or with the system's error.
pub fn die_after(parent: pid_t) -> io::Result<()> {
    // SAFETY: all zero bytes are a valid sigevent.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGKILL;
    let mut timer = std::ptr::null_mut();
    // SAFETY: `event` is valid and `timer` a place for a timer, both borrowed until the call returns.
    check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) })?;
    // SAFETY: the call has no arguments and can't fail.
    let seen = unsafe { libc::getppid() };
    // A parent in another PID namespace is seen as 0. Its end is noticed by the channel.
    PARENT.store(if seen == 0 { 0 } else { parent }, Ordering::Relaxed);
    LAST_TIMER.store(timer, Ordering::Relaxed);
    let handler: extern "C" fn(c_int) = on_parent_death;
    // SAFETY: all zero bytes are a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is valid and borrowed until the call returns; what its handler does may be done in one.
    check(unsafe { libc::sigaction(death_signal(), &action, std::ptr::null_mut()) })?;
    // SAFETY: PR_SET_PDEATHSIG takes a number and no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, death_signal() as libc::c_ulong) })?;
    // SAFETY: the call has no arguments and can't fail.
    if seen != 0 && unsafe { libc::getppid() } != parent {
        return Err(io::Error::other(format!("the parent, process {parent}, has died")));
    }
    Ok(())
}

fn death_signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// The signal also arrives when the OS thread that forked has ended and the parent lives on; it is ignored then.
extern "C" fn on_parent_death(_: c_int) {
    // SAFETY: the call has no arguments and can't fail.
    if unsafe { libc::getppid() } == PARENT.load(Ordering::Relaxed) {
        return;
    }
    let time = libc::timespec { tv_sec: ORPHAN_GRACE_SECONDS, tv_nsec: 0 };
    let once =
        libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: time };
    let timer = LAST_TIMER.load(Ordering::Relaxed);
    // SAFETY: `die_after` has made the timer before it installed this handler, and it is never deleted. `once` is valid
    // and borrowed until the call returns. The call may be made in a signal handler, and does not fail, so that it
    // leaves errno alone.
    unsafe { libc::timer_settime(timer, 0, &once, std::ptr::null_mut()) };
}

/// Sends as many bytes as the socket accepts now, and returns their number. Never blocks, and never raises `SIGPIPE`.
pub fn send(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `bytes`, which are borrowed until the call returns.
    let sent = unsafe {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        libc::send(socket, bytes.as_ptr().cast(), bytes.len(), flags)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives the bytes that are there now, at most the capacity of `bytes`, and replaces the contents of `bytes` by
/// them. `bytes` is empty at the end of the stream. Never blocks. Does not touch memory that it does not write to.
pub fn receive(socket: &impl AsFd, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `capacity` bytes to the memory of `bytes`, which is borrowed until the call
    // returns. Its result is the number of bytes that it has written, so that many bytes of the vector are valid.
    let received = unsafe {
        let room = bytes.capacity();
        let count = libc::recv(socket, bytes.as_mut_ptr().cast(), room, libc::MSG_DONTWAIT);
        bytes.set_len(usize::try_from(count).unwrap_or(0));
        count
    };
    if received < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits until one of the descriptors is ready, or `timeout` has passed (`None`: no limit). Sets the results in
/// `descriptors`.
pub fn poll(descriptors: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = timeout.map_or(-1, |timeout| {
        c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
    });
    // SAFETY: the kernel reads and writes as many pollfds as the slice has, which are borrowed until the call returns.
    let result =
        unsafe { libc::poll(descriptors.as_mut_ptr(), descriptors.len() as libc::nfds_t, timeout) };
    check(result).map(drop)
}

/// Closes all descriptors except 0, 1, 2 and `kept`, and keeps their numbers in use: each refers to a file that can't
/// be read, written or waited for, so that an object that still owns the number can't affect another file. MUST only be
/// called in a new task, before it has opened anything of its own.
pub fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    // First, since the process may have room for one descriptor only.
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    // One of them was open for reading the directory, and is closed by now.
    numbers.retain(|&number| number > 2 && !kept.contains(&number) && has_file(number));
    let nothing = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open("/dev/null")?;
    for number in numbers {
        // SAFETY: the calls take numbers and no pointer. The file of `number` is closed. All objects that own that
        // number are the parent's, since `become_task` calls this before anything of the task's own is made. They are
        // never dropped, and go on owning an open descriptor, unless the number is beyond the limit.
        unsafe {
            while libc::dup3(nothing.as_raw_fd(), number, libc::O_CLOEXEC) == -1 {
                if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                    libc::close(number);
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Returns whether the descriptor is open, in any mode.
fn has_file(descriptor: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer and changes nothing.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) != -1 }
}

/// Returns the file under a number above those of the standard streams, so that printed text does not get into it.
pub fn above_standard<F: AsFd + From<OwnedFd>>(file: F) -> io::Result<F> {
    let number = file.as_fd().as_raw_fd();
    if number > 2 {
        return Ok(file);
    }
    // SAFETY: F_DUPFD_CLOEXEC takes a number and no pointer.
    let copy = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the descriptor is new, so it has no other owner.
    Ok(F::from(unsafe { OwnedFd::from_raw_fd(copy) }))
}

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
