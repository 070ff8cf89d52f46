//! What the surroundings of a task do to it and to its parent: calls that are forbidden, tracers, odd sockets; and all
//! unsafe code of that.
//!
//! Each function here is safe to call with any arguments.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long};

use crate::sys::family::wait_for_traced;

/// The number of a socket option, since Linux 6.5.
pub const SO_PASSPIDFD: u32 = 76;

/// The number of a socket option, since Linux 6.16.
pub const SO_PASSRIGHTS: u32 = 83;

/// Forbids these calls to this process and all that it forks from now on: each fails with `error`.
///
/// # Errors
/// What the system says: it may have no such filters.
pub fn forbid(calls: &[c_long], error: c_int) -> io::Result<()> {
    let others = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    set_filter(&mut statements(calls, refuse(error), others))
}

/// Has these calls of this process, and of all that it forks from now on, wait until the descriptor is closed that is
/// returned; then each fails.
///
/// # Errors
/// What the system says: it may have no such filters.
pub fn hang(calls: &[c_long]) -> io::Result<OwnedFd> {
    let answer = |answer| statement(libc::BPF_RET | libc::BPF_K, answer);
    let (these, others) = (answer(libc::SECCOMP_RET_USER_NOTIF), answer(libc::SECCOMP_RET_ALLOW));
    let mut filter = statements(calls, these, others);
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    let (mode, flag) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the first call takes numbers. For the second, `program` and the filter that it points to are valid, and
    // borrowed until the call returns. What that returns, unless it fails, is a new descriptor, which has no other owner.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        let number = libc::syscall(libc::SYS_seccomp, mode, flag, &program) as c_int;
        check(number)?;
        Ok(OwnedFd::from_raw_fd(number))
    }
}

/// Forbids all other calls to this process from now on: it ends with `SIGSYS` at the first.
///
/// # Errors
/// What the system says: it may have no such filters.
pub fn allow_only(calls: &[c_long]) -> io::Result<()> {
    let answer = |answer| statement(libc::BPF_RET | libc::BPF_K, answer);
    let (these, others) = (answer(libc::SECCOMP_RET_ALLOW), answer(libc::SECCOMP_RET_KILL_PROCESS));
    set_filter(&mut statements(calls, these, others))
}

/// What is done to these calls, and to all others.
fn statements(
    calls: &[c_long],
    these: libc::sock_filter,
    others: libc::sock_filter,
) -> Vec<libc::sock_filter> {
    // The number of the call is the first word of what the filter sees.
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for &call in calls {
        filter.push(unless_equal(call as u32, 1));
        filter.push(these);
    }
    filter.push(others);
    filter
}

/// Forbids a call whose argument number `argument`, from 0 on, is `value`, as [`forbid`] does.
///
/// # Errors
/// What the system says: it may have no such filters.
pub fn forbid_argument(call: c_long, argument: u32, value: u32, error: c_int) -> io::Result<()> {
    // Arguments have 64 bits, and lie behind the number of the call, the architecture, and the address.
    let low_word = if cfg!(target_endian = "big") { 4 } else { 0 };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let mut filter = vec![
        statement(load, 0),
        unless_equal(call as u32, 3),
        statement(load, 16 + 8 * argument + low_word),
        unless_equal(value, 1),
        refuse(error),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    set_filter(&mut filter)
}

fn set_filter(filter: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the first call takes numbers. For the second, `program` and the filter that it points to are valid, and
    // borrowed until the call returns.
    unsafe {
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program))?;
    }
    Ok(())
}

/// Skips so many statements unless the word is this one.
fn unless_equal(word: u32, count: u8) -> libc::sock_filter {
    let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    libc::sock_filter { code, jt: 0, jf: count, k: word }
}

fn refuse(error: c_int) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error.cast_unsigned())
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Traces a process, without stopping it, until this process ends.
///
/// # Errors
/// What the system says: not every process may.
pub fn trace(process: u32) -> io::Result<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE reads and writes no memory of this process.
    let result = unsafe { libc::ptrace(libc::PTRACE_SEIZE, process, nothing, nothing) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How a process is held by a tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It is stopped.
    Stopped,
    /// It runs, and is stopped when it ends, before it has ended.
    AtItsEnd,
}

/// Holds a process, calls `when_held`, and waits for its end.
///
/// # Errors
/// What the system says: not every process may.
pub fn hold(process: u32, how: Hold, when_held: impl FnOnce()) -> io::Result<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    let options = std::ptr::without_provenance_mut::<libc::c_void>(match how {
        Hold::Stopped => 0,
        Hold::AtItsEnd => libc::PTRACE_O_TRACEEXIT as usize,
    });
    let call = |request, data: *mut libc::c_void| {
        // SAFETY: PTRACE_SEIZE and PTRACE_INTERRUPT read and write no memory of this process.
        let result = unsafe { libc::ptrace(request, process, nothing, data) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    call(libc::PTRACE_SEIZE, options)?;
    if how == Hold::Stopped {
        call(libc::PTRACE_INTERRUPT, nothing)?;
    }
    when_held();
    wait_for_traced(c_int::try_from(process).map_err(io::Error::other)?);
    Ok(())
}

/// Has the system keep as much as it may of what is sent on a socket and not received.
///
/// # Errors
/// What the system says.
pub fn enlarge_send_buffer(socket: &impl AsFd) -> io::Result<()> {
    let size: c_int = 8 << 20;
    // SAFETY: the kernel reads as many bytes as an int has, which is borrowed until the call returns.
    check(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            std::ptr::from_ref(&size).cast(),
            size_of::<c_int>() as u32,
        )
    })
}

/// Returns whether the kernel knows an option of sockets.
pub fn knows_option(socket: &impl AsFd, option: u32) -> bool {
    let (mut value, mut length) = (0 as c_int, size_of::<c_int>() as u32);
    // SAFETY: the kernel writes at most as many bytes as an int has, and their number; both are borrowed until the call
    // returns.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option as c_int,
            std::ptr::from_mut(&mut value).cast(),
            &mut length,
        )
    };
    result == 0
}

/// Has whoever closes a connection last wait until what was sent has arrived, for so many seconds at most.
///
/// # Errors
/// What the system says.
pub fn linger(socket: &impl AsFd, seconds: c_int) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: seconds };
    // SAFETY: the kernel reads as many bytes as a linger has, which is borrowed until the call returns.
    check(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            std::ptr::from_ref(&linger).cast(),
            size_of::<libc::linger>() as u32,
        )
    })
}

/// Sends bytes on a Unix socket, with descriptors: at most eight.
///
/// # Errors
/// What the system says.
pub fn send_descriptors(
    socket: &impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let numbers: Vec<c_int> = descriptors.iter().take(8).map(AsRawFd::as_raw_fd).collect();
    let length = size_of_val(&numbers[..]);
    // Aligned as a header has to be, with room for one and eight numbers.
    let mut control = [0_u64; 8];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zero bytes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: `control` has room for one header and the numbers, to which the pointers lead; everything is borrowed until
    // the call returns.
    let sent = unsafe {
        message.msg_controllen = libc::CMSG_SPACE(length as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(length as u32) as _;
        libc::CMSG_DATA(header).copy_from_nonoverlapping(numbers.as_ptr().cast(), length);
        libc::sendmsg(socket.as_fd().as_raw_fd(), &message, libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Opens an io_uring, which the system passes to no other process.
///
/// # Errors
/// What the system says: it may forbid them.
pub fn open_io_uring() -> io::Result<OwnedFd> {
    let mut parameters = [0_u64; 15];
    // SAFETY: the kernel reads and writes 120 bytes, which `parameters` has. What it returns, unless it fails, is a new
    // descriptor, which has no other owner.
    unsafe {
        let number = libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr());
        check(if number < 0 { -1 } else { 0 })?;
        Ok(OwnedFd::from_raw_fd(number as c_int))
    }
}

fn check(result: c_int) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
