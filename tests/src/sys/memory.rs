//! Memory: an allocator that counts, and what lies where.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// How much of this process lies in memory, in bytes.
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4_096
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
