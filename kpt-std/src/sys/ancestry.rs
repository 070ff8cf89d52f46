//! Detects that this process was forked from the one that made an object.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The smallest page size of Linux; the kernel rounds up to its own.
const PAGE: usize = 4_096;

/// The number of processes, among this one and its ancestors, that have called `generation` so far. A fork copies it.
static GENERATIONS: AtomicU32 = AtomicU32::new(0);

/// A number that is 0 in each forked process until the process writes to it.
static MARK: OnceLock<Option<&AtomicU32>> = OnceLock::new();

/// Returns a number that no ancestor and no descendant of this process has. An object that stores it can tell that it
/// is in a forked process. Costs less than a nanosecond; `getpid` costs a hundred.
///
/// Works for any `fork`, also for one that other code calls without telling.
#[inline]
pub fn generation() -> u32 {
    match MARK.get_or_init(wiped_on_fork) {
        Some(mark) => match mark.load(Ordering::Relaxed) {
            0 => mark_process(mark),
            generation => generation,
        },
        None => std::process::id(),
    }
}

/// Does the first `generation` of a process that has just been forked. Reading the mark first would take a page fault
/// more.
pub fn mark_new_process() {
    if let Some(Some(mark)) = MARK.get() {
        mark_process(mark);
    }
}

#[cold]
fn mark_process(mark: &AtomicU32) -> u32 {
    let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    // Another OS thread may have been first.
    match mark.compare_exchange(0, generation, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => generation,
        Err(first) => first,
    }
}

/// Returns a number that is 0 in each forked process until the process writes to it. `None` before Linux 4.14, or
/// without memory.
fn wiped_on_fork() -> Option<&'static AtomicU32> {
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: an anonymous mapping at an address that the kernel chooses touches nothing that is there.
    let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, access, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping was just made and is only known here. If it is kept, it stays for ever; it is aligned as a
    // page is, and its zero bytes are a valid number. The kernel changes it in new processes only, before they run.
    unsafe {
        if libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) == 0 {
            return Some(&*page.cast::<AtomicU32>());
        }
        libc::munmap(page, PAGE);
    }
    None
}
