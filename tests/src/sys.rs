//! The calls to the operating system that tests need and the standard library lacks, and all their unsafe code.
//!
//! Each function here is safe to call with any arguments.

pub mod attempts;
pub mod family;
pub mod namespaces;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::CStr;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libc::c_int;

/// Sets the soft limit of open descriptors; the hard one stays.
///
/// # Errors
/// What the system says: above the hard limit, say.
pub fn set_descriptor_limit(limit: u64) -> io::Result<()> {
    let mut both = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `both` is a valid place for an rlimit, borrowed until the call returns.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut both) })?;
    both.rlim_cur = limit;
    // SAFETY: `both` is a valid rlimit, borrowed until the call returns.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &both) }).map(drop)
}

/// Sets the soft limit of open descriptors to the hard one.
///
/// # Errors
/// What the system says.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut both = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `both` is a valid place for an rlimit, borrowed until the call returns.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut both) })?;
    set_descriptor_limit(both.rlim_max)
}

/// Sets both limits of open descriptors.
///
/// # Errors
/// What the system says: only root may raise the hard one.
pub fn set_descriptor_limits(limit: u64) -> io::Result<()> {
    let both = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: `both` is a valid rlimit, borrowed until the call returns.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &both) }).map(drop)
}

/// Makes this process one of the user `nobody`, who may have that many processes. Root is bound by no such limit.
///
/// # Errors
/// What the system says: only root may do that.
pub fn become_nobody_with_processes(limit: u64) -> io::Result<()> {
    const NOBODY: libc::uid_t = 65_534;
    let both = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: `both` is a valid rlimit, borrowed until the call returns; the other call takes numbers.
    unsafe {
        check(libc::setrlimit(libc::RLIMIT_NPROC, &both))?;
        check(libc::setresuid(NOBODY, NOBODY, NOBODY)).map(drop)
    }
}

/// How many OS threads this process has.
pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// The same file under another number: the first free one that is not below `lowest`.
///
/// # Errors
/// What the system says: no such number free, say.
pub fn duplicate_from(file: &impl AsFd, lowest: RawFd) -> io::Result<OwnedFd> {
    let file = file.as_fd().as_raw_fd();
    // SAFETY: F_DUPFD_CLOEXEC takes a number and no pointer.
    let number = check(unsafe { libc::fcntl(file, libc::F_DUPFD_CLOEXEC, lowest) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The same file once more, of which only the number is known.
///
/// # Errors
/// What the system says: no such number, say.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes a number and no pointer.
    let copy = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// The status flags of an open file: `O_NONBLOCK` is one of them.
///
/// # Errors
/// What the system says.
pub fn status_flags(file: &impl AsFd) -> io::Result<c_int> {
    // SAFETY: F_GETFL takes no pointer and changes nothing.
    check(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_GETFL) })
}

static ALARMS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count_alarm(_: c_int) {
    ALARMS.fetch_add(1, Ordering::Relaxed);
}

/// What sends `SIGALRM` again and again, until it is stopped.
pub struct Alarms(libc::timer_t);

// SAFETY: a `timer_t` is a name for a timer of the process, which all of its threads may use. Nothing deletes it.
unsafe impl Send for Alarms {}

impl Alarms {
    /// No more of them.
    ///
    /// # Errors
    /// What the system says.
    pub fn stop(&self) -> io::Result<()> {
        self.set(Duration::ZERO)
    }

    /// One each `period` from now on; none if it is zero.
    fn set(&self, period: Duration) -> io::Result<()> {
        let time = libc::timespec {
            tv_sec: period.as_secs().min(i32::MAX as u64) as _,
            tv_nsec: libc::c_long::from(period.subsec_nanos()),
        };
        let times = libc::itimerspec { it_interval: time, it_value: time };
        // SAFETY: the timer exists, `times` is valid; the old value is not asked for.
        check(unsafe { libc::timer_settime(self.0, 0, &times, std::ptr::null_mut()) }).map(drop)
    }
}

/// Sends this OS thread `SIGALRM` each `period` from now on. The handler has `SA_RESTART`, and only counts.
///
/// This thread and not the process, because that could let another thread have them, which is not in the call that they
/// should interrupt.
///
/// # Errors
/// What the system says.
pub fn start_alarms(period: Duration) -> io::Result<Alarms> {
    let handler: extern "C" fn(c_int) = count_alarm;
    // SAFETY: all zero bytes are a valid sigaction: no flags, an empty mask, the default handler.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is valid and borrowed until the call returns; its handler only adds to an atomic number, which
    // may be done in a signal handler.
    check(unsafe { libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) })?;
    // SAFETY: all zero bytes are a valid sigevent.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = libc::SIGALRM;
    // SAFETY: the call has no arguments and can't fail.
    event.sigev_notify_thread_id = unsafe { libc::gettid() };
    let mut timer = std::ptr::null_mut();
    // SAFETY: `event` is valid and `timer` a place for a timer, both borrowed until the call returns.
    check(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) })?;
    let alarms = Alarms(timer);
    alarms.set(period)?;
    Ok(alarms)
}

/// How many `SIGALRM` the handler of [`start_alarms`] has seen.
pub fn alarms() -> u64 {
    ALARMS.load(Ordering::Relaxed)
}

/// Kills all processes of a group.
pub fn kill_group(group: u32) {
    let Ok(group) = c_int::try_from(group) else { return };
    if group > 1 {
        // SAFETY: kill touches no memory of this process.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

/// Forks a process that does `work` and leaves, and nothing else: a rival of tasks in benchmarks. Its number.
///
/// # Errors
/// What the system says; or there is more than one OS thread, of which the child would have one.
pub fn fork_and(work: impl FnOnce()) -> io::Result<u32> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("more than one OS thread"));
    }
    // SAFETY: there is one OS thread, so the child is a whole copy, in which all code may run.
    let child = check(unsafe { libc::fork() })?;
    if child == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // SAFETY: the call does not return, and touches no memory.
        unsafe { libc::_exit(result.is_err().into()) };
    }
    u32::try_from(child).map_err(io::Error::other)
}

/// Has the processes that this one forks from now on be in a namespace of their own, in which their parent has no number.
///
/// # Errors
/// What the system says: only root may do that.
pub fn unshare_processes() -> io::Result<()> {
    // SAFETY: the call takes a number and no pointer.
    check(unsafe { libc::unshare(libc::CLONE_NEWPID) }).map(drop)
}

/// Forks a process that leaves by `std::process::exit`, as other code does; and waits for it.
///
/// # Errors
/// What the system says.
pub fn fork_and_exit() -> io::Result<()> {
    // SAFETY: what a task runs is the whole copy of a process with one OS thread, in which all code may run.
    let child = check(unsafe { libc::fork() })?;
    if child == 0 {
        std::process::exit(0);
    }
    wait_for(u32::try_from(child).map_err(io::Error::other)?)
}

/// Closes 0, 1 and 2 while `work` runs, and opens them again.
///
/// # Errors
/// What the system says.
pub fn without_standard_descriptors<R>(work: impl FnOnce() -> R) -> io::Result<R> {
    let kept = [duplicate_high(0)?, duplicate_high(1)?, duplicate_high(2)?];
    for number in 0..3 {
        // SAFETY: nobody owns the number; whoever prints meanwhile finds it closed, which the standard library bears.
        unsafe { libc::close(number) };
    }
    let result = work();
    for (number, file) in (0..).zip(&kept) {
        // SAFETY: both numbers are plain numbers; what `work` has left under `number` is closed.
        check(unsafe { libc::dup2(file.as_raw_fd(), number) })?;
    }
    Ok(result)
}

fn duplicate_high(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes a number and no pointer.
    let copy = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the descriptor is new, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Waits for the end of a child of this process.
///
/// # Errors
/// What the system says.
pub fn wait_for(child: u32) -> io::Result<()> {
    let pid = c_int::try_from(child).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int, borrowed until the call returns.
    check(unsafe { libc::waitpid(pid, &mut status, 0) }).map(drop)
}

/// Waits for the end of a child of this process. Its exit code, or `None` if a signal has ended it.
///
/// # Errors
/// What the system says.
pub fn exit_code(child: u32) -> io::Result<Option<i32>> {
    let pid = c_int::try_from(child).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int, borrowed until the call returns.
    check(unsafe { libc::waitpid(pid, &mut status, 0) })?;
    Ok(libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)))
}

/// Ends this OS thread, and not the process if there are others. Nothing is unwound or dropped.
pub fn end_this_thread() {
    // SAFETY: the call ends the thread and touches no memory; what the thread's stack owns is leaked, which is allowed.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Whether a process group has members, zombies included.
pub fn group_exists(group: u32) -> bool {
    let Ok(group) = c_int::try_from(group) else { return false };
    // SAFETY: kill touches no memory of this process; signal 0 only asks.
    group > 1 && unsafe { libc::kill(-group, 0) } == 0
}

/// Whether this process has a child, zombies included.
pub fn has_children() -> bool {
    // SAFETY: all zero bytes are a valid siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a valid place for a siginfo, borrowed until the call returns.
    unsafe { libc::waitid(libc::P_ALL, 0, &mut info, options) == 0 }
}

/// Sends this process a signal.
pub fn raise(signal: c_int) {
    // SAFETY: raise touches no memory; what a handler of the test's does is its own matter.
    unsafe { libc::raise(signal) };
}

/// Sends a signal to a process that is a child of this one.
pub fn signal(process: u32, signal: c_int) {
    if let Ok(process) = c_int::try_from(process)
        && process > 1
    {
        // SAFETY: kill touches no memory of this process.
        unsafe { libc::kill(process, signal) };
    }
}

/// Has this process ignore a signal.
pub fn ignore(signal: c_int) {
    // SAFETY: SIG_IGN is no function, so that none can be called at the wrong time.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Has a signal do what it does by default.
pub fn reset(signal: c_int) {
    // SAFETY: SIG_DFL is no function, so that none can be called at the wrong time.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Has a signal call a handler that does nothing.
pub fn catch(signal: c_int) {
    extern "C" fn nothing(_: c_int) {}
    let handler: extern "C" fn(c_int) = nothing;
    // SAFETY: the handler does nothing, which may be done at any time.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
}

/// Blocks a signal.
pub fn block(signal: c_int) {
    // SAFETY: all zero bytes are a valid set; it is borrowed until the calls return.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut set, signal);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Blocks until a child of this process has ended, and leaves it to be waited for.
pub fn wait_until_ended(child: u32) {
    // SAFETY: all zero bytes are a valid siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is a valid place for a siginfo, borrowed until the call returns.
    unsafe { libc::waitid(libc::P_PID, child, &mut info, libc::WEXITED | libc::WNOWAIT) };
}

/// Opens a file for its path only, which the standard library does not do with musl.
///
/// # Errors
/// What the system says.
pub fn open_path(path: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: the string ends with a zero byte, and is borrowed until the call returns. What that returns, unless it fails,
    // is a new descriptor, which has no other owner.
    unsafe {
        let number = libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC);
        if number < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(number)) }
    }
}

/// Whether a child of this process is there and has not ended.
pub fn is_running(child: u32) -> bool {
    // SAFETY: all zero bytes are a valid siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a valid place for a siginfo, borrowed until the call returns, which fills it in or leaves zeros.
    unsafe { libc::waitid(libc::P_PID, child, &mut info, options) == 0 && info.si_pid() == 0 }
}

/// Waits for the end of any child, as code does that thinks it has all of them. Its number.
///
/// # Errors
/// What the system says: no child, say.
pub fn wait_for_any() -> io::Result<u32> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int, borrowed until the call returns.
    let child = check(unsafe { libc::waitpid(-1, &mut status, 0) })?;
    u32::try_from(child).map_err(io::Error::other)
}

/// Kills a process that is a child of this one, or of one of its children.
pub fn kill(process: u32) {
    if let Ok(process) = c_int::try_from(process)
        && process > 1
    {
        // SAFETY: kill touches no memory of this process.
        unsafe { libc::kill(process, libc::SIGKILL) };
    }
}

/// How much of this process lies in memory, in bytes.
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
}

/// Stops this process until somebody calls [`resume`] for it.
pub fn stop_myself() {
    // SAFETY: raise touches no memory; SIGSTOP has no handler.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Waits until a child of this process has stopped; it stays a child to be waited for.
///
/// # Errors
/// If it has ended instead, or what the system says.
pub fn wait_until_stopped(child: u32) -> io::Result<()> {
    let pid = c_int::try_from(child).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int, borrowed until the call returns.
    check(unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) })?;
    if libc::WIFSTOPPED(status) { Ok(()) } else { Err(io::Error::other("it has ended")) }
}

/// Lets a stopped child of this process go on.
pub fn resume(child: u32) {
    if let Ok(pid) = c_int::try_from(child)
        && pid > 1
    {
        // SAFETY: kill touches no memory of this process.
        unsafe { libc::kill(pid, libc::SIGCONT) };
    }
}

/// The time of the monotonic clock, to the nanosecond.
pub fn monotonic_time() -> Duration {
    time_of(libc::CLOCK_MONOTONIC)
}

/// How much processor time this OS thread has used.
pub fn thread_cpu_time() -> Duration {
    time_of(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// How often this OS thread has gone to sleep by itself.
pub fn sleeps() -> u64 {
    // SAFETY: all zero bytes are a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place for an rusage, borrowed until the call returns.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    u64::try_from(usage.ru_nvcsw).unwrap_or(0)
}

fn time_of(clock: libc::clockid_t) -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for a timespec, borrowed until the call returns.
    unsafe { libc::clock_gettime(clock, &mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, which counts how often each OS thread asks it for memory.
pub struct CountingAllocator;

impl CountingAllocator {
    /// How often this OS thread has asked for memory so far.
    pub fn count() -> u64 {
        ALLOCATIONS.get()
    }

    fn add_one() {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    }
}

// SAFETY: every call goes to the system's allocator as it is; counting allocates nothing, as the cell is a constant
// without a destructor.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add_one();
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`; all memory of this allocator is the system's.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::add_one();
        // SAFETY: the caller keeps to the contract of `realloc`; all memory of this allocator is the system's.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Whether a static lies in .bss, so that all its bytes are zero when the program starts.
pub fn is_in_bss<T>(value: &'static T) -> bool {
    // SAFETY: the linker defines both symbols as the ends of .bss; only their addresses are taken.
    unsafe extern "C" {
        static __bss_start: u8;
        static _end: u8;
    }
    let (start, end) = (&raw const __bss_start, &raw const _end);
    (start.addr()..end.addr()).contains(&std::ptr::from_ref(value).addr())
}

/// Has errors that a network reports for a UDP socket queued, as `traceroute` does.
///
/// # Errors
/// What the system says.
pub fn queue_errors(socket: &UdpSocket) -> io::Result<()> {
    let on: c_int = 1;
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads one int, which is borrowed until the call returns.
    let result = unsafe {
        let on = std::ptr::from_ref(&on).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_RECVERR, on, length)
    };
    check(result).map(drop)
}

/// Takes one error from the queue of a UDP socket.
///
/// # Errors
/// What the system says: `WouldBlock` if there is none.
pub fn take_queued_error(socket: &UdpSocket) -> io::Result<()> {
    // SAFETY: all zero bytes are a valid message that has room for nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: `message` is valid and borrowed until the call returns.
    let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes this process less important.
///
/// # Errors
/// What the system says.
pub fn set_nice(nice: c_int) -> io::Result<()> {
    // SAFETY: the call takes numbers and no pointer.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }).map(drop)
}

/// Puts a file under the number of another one, which is closed.
///
/// # Errors
/// What the system says.
pub fn replace(old: &OwnedFd, new: &impl AsFd) -> io::Result<()> {
    // SAFETY: both numbers are borrowed, so that they are open. What owns the old number, owns the new file from now on.
    check(unsafe { libc::dup2(new.as_fd().as_raw_fd(), old.as_raw_fd()) }).map(drop)
}

/// Writes a byte to a descriptor of which only the number is known. An error is as good as a byte that nobody reads.
pub fn write_byte(number: RawFd, byte: u8) {
    // SAFETY: the kernel reads one byte, which is borrowed until the call returns.
    unsafe { libc::write(number, std::ptr::from_ref(&byte).cast(), 1) };
}

/// Closes all descriptors from a number on, except one. What owns them MUST never be used or dropped.
pub fn close_from(lowest: RawFd, except: RawFd) {
    // SAFETY: the call takes numbers. The owners are neither used nor dropped, as the caller ensures.
    (lowest..1_024).filter(|&number| number != except).for_each(|number| unsafe {
        libc::close(number);
    });
}

/// Makes this process one of another user and group, for ever.
///
/// # Errors
/// What the system says: only root may do that.
pub fn become_user(user: u32) -> io::Result<()> {
    // SAFETY: the calls take numbers.
    unsafe {
        check(libc::setresgid(user, user, user))?;
        check(libc::setresuid(user, user, user)).map(drop)
    }
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::getuid() == 0 }
}
