//! A poller that uses POSIX `select`.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use kpt_core::{
    Instant, Interest, Readiness, Source,
    poller::{Poller, Ready, Unwatchable},
};

use crate::clock;
use crate::sys::{self, Bitmaps, Word};

/// The largest number of descriptors that are watched, however high the limit of the process is: 8 KiB for each bitmap.
const MOST_DESCRIPTORS: u64 = 65_536;

/// The longest timeout of one call. Kernels and C libraries differ in what they accept; one wake-up per day is cheap.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The kernel may delay the end of a timeout by a thousandth of it (a 200th in a process whose nice value is above 0),
/// up to 100 ms. So a long timeout is shortened by more than that, and the rest is waited for in another call: two or
/// three calls per timer, and no noticeable delay.
const SLACK_DIVISOR: u32 = 125;

/// Up to this timeout, the kernel's delay is about what a wake-up takes.
const SHORT_WAIT: Duration = Duration::from_millis(20);

const MICROSECOND: Duration = Duration::from_micros(1);

/// A wake-up that takes longer than this is taken for a time in which the process did not run.
const LATE: Duration = Duration::from_millis(1);

const BITS: usize = Word::BITS as usize;

/// Waits with `select`, on bitmaps of its own. It watches descriptors below the soft `RLIMIT_NOFILE` at the time of
/// [`new`](Self::new), at most 65,536, and is not limited to 1,024.
///
/// A change of interest costs no system call, unless the descriptor is higher than all before. A wait costs one, which
/// copies and scans the bitmaps up to the highest watched descriptor. For some tens or hundreds of descriptors, this is
/// cheap.
///
/// The clock is `CLOCK_MONOTONIC`, which can't be set, and stands still while the machine is suspended.
///
/// `select` reports only readable and writable. A hang-up or an error makes the reader readable, and the writer
/// writable if the kernel reports that writing would not block; the read or write then returns the error. If the read
/// would block, the error may be in the socket's error queue (`IP_RECVERR`), which `recvmsg` with `MSG_ERRQUEUE`
/// empties; until then, each wait reports the socket as readable. A descriptor that can't be watched (closed, or beyond
/// the limit) is reported as [`ERROR`](Readiness::ERROR) to its own threads.
pub struct SelectPoller {
    wanted: Wanted,
    /// The bitmaps of readable and of writable descriptors that a wait passes to the kernel, and that the kernel
    /// overwrites.
    found: Vec<Word>,
    /// One more than the highest watched descriptor.
    descriptors: usize,
    /// One more than the highest descriptor that has been seen open. `select` ignores numbers beyond the kernel's table
    /// of descriptors, without an error. That table only grows, so it reaches at least this far.
    seen_open: usize,
    /// The process in which it was seen. A forked process has a table of the smallest possible size.
    process: u32,
    /// The latest known time.
    time: Instant,
}

/// The watched descriptors. Memory is reserved for all descriptors up to the limit, and written only up to the highest
/// that has been watched: a forked process pays for each page that it touches.
struct Wanted {
    words: Vec<WantedWord>,
    /// The largest number of words.
    limit: usize,
}

/// One word of each bitmap.
#[derive(Clone, Copy, Default)]
struct WantedWord {
    readable: Word,
    writable: Word,
}

impl SelectPoller {
    /// Creates a poller that watches nothing, for as many descriptors as the process may have open now.
    pub fn new() -> Self {
        let limit = sys::descriptor_limit().unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS);
        let words = usize::try_from(limit).unwrap_or(0).div_ceil(BITS);
        let wanted = Wanted { words: Vec::with_capacity(words), limit: words };
        Self {
            wanted,
            found: Vec::with_capacity(2 * words),
            descriptors: 0,
            seen_open: 0,
            process: sys::generation(),
            time: clock::now_or_earlier(),
        }
    }

    /// Calls `select` once. Returns the number of bits that are set, 0 if the time is up.
    fn select(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let words = self.wanted.up_to(self.descriptors);
        self.found.clear();
        self.found.extend(words.iter().map(|word| word.readable));
        self.found.extend(words.iter().map(|word| word.writable));
        let (readable, writable) = self.found.split_at_mut(words.len());
        let bitmaps = Bitmaps { readable, writable };
        sys::select(self.descriptors, bitmaps, timeout)
    }

    /// Pushes the `count` bits that the last `select` has set.
    fn push_found(&self, mut count: usize, ready: &mut Ready<'_>) {
        let (all_readable, all_writable) = self.found.split_at(self.found.len() / 2);
        for (word, (&readable, &writable)) in all_readable.iter().zip(all_writable).enumerate() {
            for bit in bits(readable | writable) {
                let readiness = readiness(readable >> bit & 1, writable >> bit & 1);
                ready.push(Source::new((word * BITS) as u32 + bit), readiness);
            }
            count = count.saturating_sub((readable.count_ones() + writable.count_ones()) as usize);
            if count == 0 {
                return;
            }
        }
    }

    /// Stops watching closed descriptors, and reports an error to their threads. Returns whether there were any.
    fn push_closed(&mut self, ready: &mut Ready<'_>) -> bool {
        let mut has_found = false;
        for word in 0..self.descriptors.div_ceil(BITS) {
            for bit in bits(self.wanted.words[word].either()) {
                let descriptor = word * BITS + bit as usize;
                if !sys::is_open(descriptor as RawFd) {
                    has_found = true;
                    self.wanted.set(descriptor, Interest::NONE);
                    ready.push(Source::new(descriptor as u32), Readiness::ERROR);
                }
            }
        }
        self.lower_descriptors();
        has_found
    }

    /// Does the same after a fork, since the kernel's table may not reach as far as the watched descriptors.
    #[inline]
    fn adopt(&mut self, ready: &mut Ready<'_>) -> bool {
        let process = sys::generation();
        if process == self.process {
            return false;
        }
        let has_found = self.push_closed(ready);
        self.process = process;
        self.seen_open = self.descriptors;
        has_found
    }

    /// Finds the highest watched descriptor, at or below the one before.
    fn lower_descriptors(&mut self) {
        let words = self.wanted.up_to(self.descriptors);
        let highest = words.iter().rposition(|word| word.either() != 0);
        self.descriptors = highest
            .map_or(0, |word| (word + 1) * BITS - words[word].either().leading_zeros() as usize);
    }
}

impl std::fmt::Debug for SelectPoller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelectPoller").finish_non_exhaustive()
    }
}

impl Default for SelectPoller {
    fn default() -> Self {
        Self::new()
    }
}

impl Poller for SelectPoller {
    type Error = io::Error;

    /// A wait that finds nothing costs about as much as a hundred hooks.
    const LOOK_AFTER_HOOKS: u32 = 1_024;

    fn now(&mut self) -> Instant {
        clock::now_or_later()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        #[cfg(feature = "sim")]
        if !interest.is_none() {
            crate::sim::on_real_poller(source);
        }
        let descriptor = source.number() as usize;
        if descriptor / BITS >= self.wanted.limit {
            return if interest.is_none() { Ok(()) } else { Err(Unwatchable) };
        }
        if interest.is_none() {
            self.wanted.set(descriptor, interest);
            self.lower_descriptors();
            return Ok(());
        }
        if descriptor >= self.seen_open || self.process != sys::generation() {
            if !sys::is_open(descriptor as RawFd) {
                return Err(Unwatchable);
            }
            self.seen_open = self.seen_open.max(descriptor + 1);
        }
        self.wanted.set(descriptor, interest);
        self.descriptors = self.descriptors.max(descriptor + 1);
        Ok(())
    }

    fn wait(&mut self, mut until: Instant, ready: &mut Ready<'_>) -> io::Result<Instant> {
        if self.adopt(ready) {
            until = Instant::ZERO;
        }
        loop {
            let mut left = None;
            if until != Instant::NEVER {
                self.time = clock::now_or_earlier();
                // Less than a microsecond is not slept, but looked at again.
                left = Some(timeout(until.saturating_duration_since(self.time + MICROSECOND)));
            }
            let before = self.time;
            match self.select(left) {
                Ok(0) => {
                    if until <= before {
                        return Ok(before);
                    }
                    let now = clock::now_or_earlier();
                    if until <= now {
                        return Ok(looked_at(until, now));
                    }
                }
                Ok(count) => {
                    self.push_found(count, ready);
                    // The kernel looked at this time, or later during the sleep. Timers that have become due meanwhile
                    // are due in the next wait, which looks again.
                    return Ok(before);
                }
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
                    // An error will be reported, so the wait does not sleep; the other descriptors are still looked at.
                    until = Instant::ZERO;
                    if !self.push_closed(ready) {
                        return Ok(before);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Returns the time that a wait may report if it slept until `until`, found nothing, and ended at `now`. The kernel
/// looked once more when the time was up. If that was a while ago, since the process did not run, sources may have
/// become ready after it; timers that became due after it are left to the next wait, which looks again.
fn looked_at(until: Instant, now: Instant) -> Instant {
    if now - until <= LATE { now } else { until }
}

impl Wanted {
    /// Returns the words that hold these descriptors, up to the last word that has been used.
    fn up_to(&self, descriptors: usize) -> &[WantedWord] {
        &self.words[..self.words.len().min(descriptors.div_ceil(BITS))]
    }

    /// Sets the interest in a descriptor, which must be within the limit.
    fn set(&mut self, descriptor: usize, interest: Interest) {
        let (word, bit) = (descriptor / BITS, descriptor % BITS);
        if word >= self.words.len() {
            if interest.is_none() {
                return;
            }
            self.words.resize(word + 1, WantedWord::default());
        }
        let put = |word: &mut Word, is_wanted: bool| {
            *word = *word & !(1 << bit) | Word::from(is_wanted) << bit;
        };
        put(&mut self.words[word].readable, interest.is_readable());
        put(&mut self.words[word].writable, interest.is_writable());
    }
}

impl WantedWord {
    fn either(self) -> Word {
        self.readable | self.writable
    }
}

/// Returns the positions of the bits that are set, the lowest first.
fn bits(mut word: Word) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(bit)
    })
}

/// Returns the timeout to pass to the kernel when `remaining` is left.
fn timeout(remaining: Duration) -> Duration {
    let remaining = remaining.min(LONGEST_WAIT);
    if remaining <= SHORT_WAIT { remaining } else { remaining - remaining / SLACK_DIVISOR }
}

fn readiness(readable: Word, writable: Word) -> Readiness {
    let readable = if readable != 0 { Readiness::READABLE } else { Readiness::NONE };
    let writable = if writable != 0 { Readiness::WRITABLE } else { Readiness::NONE };
    readable | writable
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in the kernel's `select_estimate_accuracy`, for a process with a nice value above 0.
    fn most_late(timeout: Duration) -> Duration {
        (timeout / 200).min(Duration::from_millis(100))
    }

    #[test]
    fn r17_no_leave_of_the_kernel_reaches_beyond_a_deadline() {
        for millis in [21, 50, 100, 1_000, 5_000, 15_000, 600_000, 86_400_000] {
            let (mut left, mut calls) = (Duration::from_millis(millis), 0);
            while left > SHORT_WAIT {
                let asked = timeout(left);
                assert!(asked + most_late(asked) < left, "{left:?}");
                left -= asked;
                calls += 1;
            }
            assert!(calls <= 4, "{calls} calls for {millis} ms");
        }
    }
}
