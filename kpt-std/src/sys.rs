//! Every call to the operating system, and all the unsafe code of kpt.
//!
//! Each function here is safe to call with any arguments.

use std::io;
use std::time::Duration;

use libc::{c_int, c_ulong};

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

/// Whether a call says that one of its descriptors is none.
pub fn is_bad_descriptor(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADF)
}

/// Whether the descriptor is open, for more than a path (`O_PATH`), which select can't watch either.
pub fn is_open(descriptor: c_int) -> bool {
    let mut question = libc::pollfd { fd: descriptor, events: 0, revents: 0 };
    // SAFETY: `question` is one valid pollfd, borrowed until the call returns, which is at once.
    let answers = unsafe { libc::poll(&mut question, 1, 0) };
    // A signal can interrupt even this, though not when the answer is "no".
    answers != 1 || question.revents & libc::POLLNVAL == 0
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
