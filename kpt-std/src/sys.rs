//! Every call to the operating system, and all the unsafe code of kpt.
//!
//! Each function here is safe to call with any arguments.

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
pub use net::{connect_tcp, connect_unix, is_of_connection, listen};

/// One word of a select bitmap: the kernel reads and writes whole `unsigned long`s.
pub type Word = c_ulong;

/// The bitmaps of one select call, of equal length: descriptor `n` is bit `n % BITS` of word `n / BITS`.
pub struct Bitmaps<'a> {
    pub readable: &'a mut [Word],
    pub writable: &'a mut [Word],
}

/// Waits until one of the descriptors below `descriptors` whose bits are set is ready, or `timeout` has passed (`None`:
/// for ever). Leaves the bits of those that are, and returns how many bits that is.
///
/// Not `fd_set`s: those end at 1,024 descriptors, while the kernel takes bitmaps of any length.
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

/// Whether the descriptor is open, for more than a path (`O_PATH`), which select can't watch either.
///
/// Not asked with `poll`, which has a limit of its own. Should there be no answer, it is not open: one that is closed and
/// taken for open would have a loop spin.
pub fn is_open(descriptor: c_int) -> bool {
    // SAFETY: F_GETFL takes no pointer and changes nothing.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFL) };
    flags != -1 && flags & libc::O_PATH == 0
}

/// How many descriptors the process may have open (the soft limit); `None` for no limit or none that can be read.
#[allow(clippy::unnecessary_cast)] // Where rlim_t is 32 bits wide, it is none.
pub fn descriptor_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for an rlimit, borrowed until the call returns.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur as u64)
}

/// The time on the monotonic clock.
pub fn monotonic_now() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for a timespec, borrowed until the call returns. The call can't fail: every Linux
    // has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Which of the two processes this is, after a fork.
pub enum Forked {
    Parent { child: pid_t },
    Child,
}

/// Forks, unless the process has more than one OS thread (`None`).
pub fn fork() -> io::Result<Option<Forked>> {
    if !is_single_threaded()? {
        return Ok(None);
    }
    // SAFETY: the child is a copy of a process with one thread, this one, as was just asked: no lock is held by a thread
    // that the child lacks, so all code may run in it.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Some(Forked::Child)),
        child => Ok(Some(Forked::Parent { child })),
    }
}

/// The folder of the process's threads has a link for each, and two more: one call, where reading the number from
/// `status` takes three and a lot of formatting.
fn is_single_threaded() -> io::Result<bool> {
    match std::fs::metadata("/proc/self/task")?.nlink() {
        3 => Ok(true),
        4.. => Ok(false),
        // Some kernel that does not count its links.
        _ => Ok(std::fs::read_dir("/proc/self/task")?.count() == 1),
    }
}

/// The number of this process.
pub fn process_id() -> pid_t {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::getpid() }
}

/// Ends the process at once: nothing is dropped, flushed or called.
pub fn exit_now(code: c_int) -> ! {
    // SAFETY: the call does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Has `handler` called when the process ends by `exit`. Says nothing if the C library has no room for it.
pub fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler is a function, so it is there as long as the process.
    unsafe { libc::atexit(handler) };
}

/// A child process, and the descriptor that means it and no other, where the kernel has such.
pub struct Process {
    pid: pid_t,
    descriptor: Option<OwnedFd>,
}

impl Process {
    /// Of a child that nobody has waited for.
    pub fn new(pid: pid_t) -> Self {
        Self { pid, descriptor: open_process(pid).ok() }
    }

    /// Readable when the process has ended.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    /// Gives up the descriptor.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptor.take()
    }

    /// How the process has ended; `None` if it has not. Once it has been said, the number may mean another process.
    ///
    /// `ECHILD` says that somebody else was told.
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
                // Linux 5.3 has descriptors for processes, and does not wait for them.
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

    /// Sends a signal, which does nothing if the process has ended. Not after it has been reaped.
    pub fn signal(&self, signal: c_int) {
        match &self.descriptor {
            Some(descriptor) => {
                let no_info = std::ptr::null::<libc::siginfo_t>();
                let descriptor = descriptor.as_raw_fd();
                // SAFETY: the descriptor is open, as it is owned; a null pointer means a signal as of `kill`.
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

/// While this is there, the OS thread gets no signals.
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

/// The parent of this process, as far as `on_parent_death` is concerned, and the timer that it starts.
static PARENT: AtomicI32 = AtomicI32::new(0);
static LAST_TIMER: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());

/// After the death of its parent, a process has so much time to end by itself.
const ORPHAN_GRACE_SECONDS: libc::time_t = 1;

/// Has this process killed one second after `parent` has died: a net for those that don't notice. Uses the last
/// real-time signal but one, as valgrind takes the last for itself.
///
/// # Errors
/// The parent has died already, or what the system says.
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
    // A parent in another namespace of processes is seen as 0. Its end is seen in the channel.
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
        return Err(io::Error::other("the parent has died"));
    }
    Ok(())
}

fn death_signal() -> c_int {
    libc::SIGRTMAX() - 1
}

/// The signal also comes when the OS thread that forked has ended, and the parent lives on: then it means nothing.
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

/// Sends what the socket takes now. Never blocks, and never raises `SIGPIPE`.
pub fn send(socket: &impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `bytes`, which are borrowed until the call returns.
    let sent = unsafe {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        libc::send(socket, bytes.as_ptr().cast(), bytes.len(), flags)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives what is there now, as much as the memory of `bytes` takes, in the place of what they were; none at the end
/// of what comes. Never blocks. Memory that nothing is written to is not touched.
pub fn receive(socket: &impl AsFd, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `capacity` bytes to the memory of `bytes`, which is borrowed until the call
    // returns, and says how many it has written: so many bytes of the vector are valid.
    let received = unsafe {
        let room = bytes.capacity();
        let count = libc::recv(socket, bytes.as_mut_ptr().cast(), room, libc::MSG_DONTWAIT);
        bytes.set_len(usize::try_from(count).unwrap_or(0));
        count
    };
    if received < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits until one of the descriptors is ready, or `timeout` has passed (`None`: for ever), and fills in what was found.
pub fn poll(descriptors: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = timeout.map_or(-1, |timeout| {
        c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
    });
    // SAFETY: the kernel reads and writes as many pollfds as the slice has, which are borrowed until the call returns.
    let result =
        unsafe { libc::poll(descriptors.as_mut_ptr(), descriptors.len() as libc::nfds_t, timeout) };
    check(result).map(drop)
}

/// Closes all descriptors but 0, 1, 2 and `kept`, and keeps their numbers: each becomes a path to nothing that can be
/// read, written or waited for, so that an object that still owns the number can do no harm to another file.
pub fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    // Before anything else: the process may have room for one descriptor only.
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    // Of which the last was open for reading the folder, and is closed by now.
    numbers.retain(|&number| number > 2 && !kept.contains(&number) && has_file(number));
    let nothing = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open("/dev/null")?;
    for number in numbers {
        // SAFETY: both numbers are plain numbers. The file that `number` meant is closed; all objects that own that
        // number are the parent's, as `become_task` calls this before anything of the task's own is made. They go on
        // owning an open descriptor, but where the number is beyond the limit; and are never dropped.
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

/// Whether the descriptor is open, for whatever.
fn has_file(descriptor: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer and changes nothing.
    unsafe { libc::fcntl(descriptor, libc::F_GETFD) != -1 }
}

/// The same, under a number above those of the standard streams: what is printed must not get into it.
pub fn above_standard<F: AsFd + From<OwnedFd>>(file: F) -> io::Result<F> {
    let number = file.as_fd().as_raw_fd();
    if number > 2 {
        return Ok(file);
    }
    // SAFETY: F_DUPFD_CLOEXEC takes a number and no pointer.
    let copy = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(F::from(unsafe { OwnedFd::from_raw_fd(copy) }))
}

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
