//! Waiting for descriptors, and what is asked about them: `select`, `poll`, limits.

use std::io;
use std::time::Duration;

use libc::{c_int, c_ulong};

use super::check;

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
        // What is longer than 68 years is waited for in parts. Some systems have 32 bits, others 64.
        tv_sec: timeout.as_secs().min(i32::MAX as u64) as _,
        tv_usec: timeout.subsec_micros() as _,
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

/// Waits until one of the descriptors is ready, or `timeout` has passed (`None`: no limit). Sets the results in
/// `descriptors`.
pub fn poll(descriptors: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let timeout =
        timeout.map_or(-1, |timeout| c_int::try_from(millis(timeout)).unwrap_or(c_int::MAX));
    // SAFETY: the kernel reads and writes as many pollfds as the slice has, which are borrowed until the call returns.
    let result =
        unsafe { libc::poll(descriptors.as_mut_ptr(), descriptors.len() as libc::nfds_t, timeout) };
    check(result).map(drop)
}

/// Returns the time in milliseconds, rounded up. Without numbers of 128 bits, whose division lies in a page of its own.
fn millis(time: Duration) -> u64 {
    let part = time.subsec_nanos().div_ceil(1_000_000);
    time.as_secs().saturating_mul(1_000).saturating_add(part.into())
}
