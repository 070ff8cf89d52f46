//! The calls of a guard to the system. All of them may be made after a fork; none allocates or locks.

use std::ffi::CStr;
use std::mem;
use std::ops::Range;
use std::ptr;

use libc::{c_int, c_void, pid_t};

use super::super::monotonic_now;
use super::message::LENGTH;
use super::run::{KICK, PARENT, SOCKET};
use super::wards::{Descriptor, Sender, Ward};

/// A control message of the kernel with a descriptor of the sender, since Linux 6.5.
const SCM_PIDFD: c_int = 4;

/// The number of bytes of a set of signals of the kernel.
const SIGNAL_SET: usize = 8;

/// Detaches the process from its parent: blocks all signals, takes the rights of the real user if that is root, leaves the
/// session and the working directory, changes the name, and closes all descriptors but three. Returns how many descriptors
/// it may have. MUST only be called in a new process, with descriptors above 2, whose owners are never dropped.
pub fn settle(socket: c_int, kick: c_int, parent: Option<c_int>) -> usize {
    let all = [u8::MAX; SIGNAL_SET];
    // SAFETY: the kernel reads a set of signals, and the name and the limit, which are borrowed until the calls return;
    // it writes the limit. The other calls take numbers. All owners of descriptors are the parent's, and never dropped
    // in this process, as the caller ensures.
    unsafe {
        let no_set = ptr::null_mut::<c_void>();
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            all.as_ptr(),
            no_set,
            SIGNAL_SET,
        );
        libc::dup2(socket, SOCKET);
        libc::dup2(kick, KICK);
        // Without a descriptor of the parent, its place is taken all the same: what the guard receives lies above.
        libc::dup2(parent.unwrap_or(kick), PARENT);
        let mut limit: libc::rlimit = mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        if libc::syscall(libc::SYS_close_range, PARENT + 1, c_int::MAX, 0) == -1 {
            // Before Linux 5.9.
            (PARENT + 1..limit.rlim_cur.min(1 << 16) as c_int).for_each(|number| {
                libc::close(number);
            });
        }
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        if libc::getuid() == 0 {
            // The parent may have lowered its effective user for some time. Not by the C library, which may take this process
            // for one of several OS threads.
            libc::syscall(libc::SYS_setresuid, 0, 0, 0);
        }
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, c"kpt-guard".as_ptr());
        if libc::getpid() == 1 {
            // The first process of a namespace has to reap the orphans of all others.
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        }
        usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
    }
}

/// Allocates a table that is not resident before it is used.
pub fn new_table(count: usize) -> Option<&'static mut [Ward]> {
    let length = count.checked_mul(mem::size_of::<Ward>())?;
    // SAFETY: an anonymous mapping at an address that the kernel chooses touches nothing that is there.
    let table = unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(ptr::null_mut(), length, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if table == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping was just made, is known only here, and stays. It is aligned as a page is, and zero bytes are a
    // valid `Ward`, as its docs say: numbers, and an `Option` of a number that is not zero.
    Some(unsafe { std::slice::from_raw_parts_mut(table.cast(), count) })
}

/// A message to a guard.
pub struct Received {
    pub bytes: [u8; LENGTH],
    pub sender: Sender,
    /// A descriptor of the sender, from the kernel.
    pub attested: Option<Descriptor>,
    /// A descriptor that the sender has sent.
    pub sent: Option<Descriptor>,
}

/// Room for the control messages of a message, aligned as they have to be.
#[repr(C)]
struct Control {
    _aligned: [libc::cmsghdr; 0],
    bytes: [u8; 96],
}

/// Takes a message from the queue. `None` if there is none. One that is shorter has zeros at its end.
pub fn receive(socket: c_int) -> Option<Received> {
    let mut bytes = [0; LENGTH];
    let mut control = Control { _aligned: [], bytes: [0; 96] };
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: LENGTH };
    // SAFETY: all zero bytes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes.as_mut_ptr().cast();
    message.msg_controllen = control.bytes.len() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `message` describes `bytes` and `control`, which are borrowed until the call returns.
    if unsafe { libc::recvmsg(socket, &mut message, flags) } <= 0 {
        return None;
    }
    let sender = Sender { pid: -1, uid: u32::MAX };
    let mut received = Received { bytes, sender, attested: None, sent: None };
    take_controls(&message, &mut received);
    Some(received)
}

/// Takes what the control messages of `message` have. MUST be called with a message that the kernel has filled in, and whose
/// memory is still there.
#[allow(clippy::unnecessary_cast)] // The length of a control message has 32 bits with some C libraries.
fn take_controls(message: &libc::msghdr, received: &mut Received) {
    // SAFETY: the kernel has filled in the control messages, as long as `message` says now, as the caller ensures.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: `next` is null or one of the control messages, which are not changed.
    while let Some(header) = unsafe { next.as_ref() } {
        // SAFETY: as above; the data of a control message lies within it.
        let (data, after) =
            unsafe { (libc::CMSG_DATA(header), libc::CMSG_NXTHDR(message, header)) };
        next = after;
        if header.cmsg_level != libc::SOL_SOCKET {
            continue;
        }
        match header.cmsg_type {
            libc::SCM_CREDENTIALS => {
                // SAFETY: the data of this kind is an ucred, of which the kernel has written all bytes.
                let known: libc::ucred = unsafe { ptr::read_unaligned(data.cast()) };
                received.sender = Sender { pid: known.pid, uid: known.uid };
            }
            SCM_PIDFD => {
                // SAFETY: the data of this kind is a descriptor, or an error in its place.
                received.attested = descriptor(unsafe { ptr::read_unaligned(data.cast()) });
            }
            libc::SCM_RIGHTS => {
                let end = ptr::from_ref(header).addr().saturating_add(header.cmsg_len as usize);
                let count = end.saturating_sub(data.addr()) / size_of::<c_int>();
                for at in 0..count {
                    // SAFETY: the control message has `count` descriptors.
                    let number = unsafe { ptr::read_unaligned(data.cast::<c_int>().add(at)) };
                    let sent = std::mem::replace(&mut received.sent, descriptor(number));
                    sent.into_iter().for_each(close);
                }
            }
            _ => {}
        }
    }
}

fn descriptor(number: c_int) -> Option<Descriptor> {
    Descriptor::new(number).filter(|number| number.get() > PARENT)
}

/// Closes a descriptor that the guard has received.
pub fn close(descriptor: Descriptor) {
    // SAFETY: the call takes a number. What the guard has received has no other owner.
    unsafe { libc::close(descriptor.get()) };
}

/// Makes an eventfd unreadable.
pub fn clear(event: c_int) {
    let mut count = [0_u8; 8];
    // SAFETY: the kernel writes 8 bytes, which are borrowed until the call returns.
    unsafe { libc::read(event, count.as_mut_ptr().cast(), count.len()) };
}

/// Returns whether a descriptor is readable.
pub fn is_readable(descriptor: Descriptor) -> bool {
    let mut asked = libc::pollfd { fd: descriptor.get(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the kernel reads and writes one pollfd, which is borrowed until the call returns.
    unsafe { libc::poll(&mut asked, 1, 0) == 1 }
}

/// Sends a signal by the descriptor of a process. Returns whether it was sent.
pub fn signal(process: Descriptor, signal: c_int) -> bool {
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null pointer means a signal as `kill` sends it.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.get(), signal, no_info, 0) == 0 }
}

/// Sends a signal by the number of a process, which is greater than 1. Returns whether it was sent.
pub fn kill(pid: pid_t, signal: c_int) -> bool {
    // SAFETY: kill touches no memory of this process.
    unsafe { libc::kill(pid, signal) == 0 }
}

/// Returns the process ID of the parent, or of the process that has adopted this one; 0 if that is outside of this PID
/// namespace.
pub fn parent_id() -> pid_t {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::getppid() }
}

/// Returns the time of the monotonic clock, in microseconds.
pub fn now() -> u64 {
    u64::try_from(monotonic_now().as_micros()).unwrap_or(u64::MAX)
}

/// Ends the process.
pub fn leave() -> ! {
    // SAFETY: the call does not return and touches no memory.
    unsafe { libc::_exit(0) }
}

/// Returns the size of a page in bytes.
pub fn page_size() -> usize {
    // SAFETY: the call takes a number; the C library knows the answer from the start of the program.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(0).max(4_096)
}

/// Returns addresses that the guard uses besides its code and its static variables, sorted: its stack, and where the C
/// library keeps what belongs to its thread.
pub fn used_addresses() -> [usize; 3] {
    let on_stack = 0_u8;
    // SAFETY: the calls have no arguments and can't fail.
    let (errno, thread) =
        unsafe { (libc::__errno_location().addr(), libc::pthread_self() as usize) };
    let mut used = [ptr::from_ref(&on_stack).addr(), errno, thread];
    used.sort_unstable();
    used
}

/// Makes the kernel forget the contents of pages; they are zeros if they are read again. MUST only be called by a guard,
/// and not for pages that it uses.
pub fn give_back(pages: Range<usize>) {
    let Some(length) = pages.end.checked_sub(pages.start).filter(|&length| length > 0) else {
        return;
    };
    // SAFETY: the pages belong to a private mapping without a file, and the guard uses nothing that lies in them, as the
    // caller ensures. The mapping stays.
    unsafe {
        let start = ptr::without_provenance_mut(pages.start);
        libc::madvise(start, length, libc::MADV_DONTNEED);
    }
}

/// A file that is open for reading.
pub struct File(c_int);

impl File {
    pub fn open(path: &CStr) -> Option<Self> {
        // SAFETY: the path ends with a zero byte, and is borrowed until the call returns.
        let number = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        (number >= 0).then_some(Self(number))
    }

    /// Reads once, and returns what it has read.
    pub fn read<'b>(&self, bytes: &'b mut [u8]) -> &'b [u8] {
        // SAFETY: the kernel writes at most as many bytes as there are, which are borrowed until the call returns.
        let count = unsafe { libc::read(self.0, bytes.as_mut_ptr().cast(), bytes.len()) };
        bytes.get(..usize::try_from(count).unwrap_or(0)).unwrap_or_default()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor was opened by `open` and has no other owner.
        unsafe { libc::close(self.0) };
    }
}
