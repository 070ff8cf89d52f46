//! Memory for tables that is not resident before it is used.

use std::io;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use kpt_core::large::{Body, Link};

use crate::heap::HostTimers;

/// The smallest page size of Linux.
const PAGE: usize = 4_096;

/// The largest page size of Linux on common machines.
const LARGEST_PAGE: usize = 64 << 10;

/// The size of a huge page on most machines. Tables of at least this size use huge pages: with a million threads,
/// operations on random timers take a quarter less time, since fewer addresses are translated. The first use of each
/// page takes 0.1 ms.
const HUGE_PAGE: usize = 2 << 20;

/// A slice in pages of its own.
///
/// Not a `Box`: for an alignment of 32 bytes, the allocator itself writes the zeros to each page.
#[derive(Debug)]
pub struct Pages<T> {
    first: NonNull<T>,
    count: usize,
    /// The number of bytes that are unmapped at the end.
    mapped: usize,
    owned: PhantomData<T>,
}

// SAFETY: it owns its values, as a box does.
unsafe impl<T: Send> Send for Pages<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Pages<T> {}

/// A value in pages of its own.
///
/// Not in the loop itself: a loop that is moved would touch all of it, and on the stack of a new process each page that
/// is touched takes as long as ten system calls.
#[derive(Debug)]
pub struct Paged<T>(Pages<T>);

/// The tables of a loop, all vacant.
#[derive(Debug)]
pub struct LoopPages<S, A> {
    pub links: Pages<Link>,
    pub bodies: Pages<Body<S, A>>,
    pub timers: Paged<HostTimers>,
}

impl<S, A> LoopPages<S, A> {
    // SAFETY: the compiler checks that zero bytes are valid values of these types, for this `S` and `A`, or else refuses
    // to make constants of them.
    const ZEROS: (ManuallyDrop<Link>, ManuallyDrop<Body<S, A>>, ManuallyDrop<HostTimers>) =
        unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };

    /// Allocates the tables for `threads` threads, in one call.
    pub fn new(threads: usize) -> io::Result<Self> {
        let _ = &Self::ZEROS;
        let lengths =
            [length::<Link>(threads)?, length::<Body<S, A>>(threads)?, length::<HostTimers>(1)?];
        // Each begins with a page, of whatever size. The kernel aligns a mapping to huge pages if it is a number of them.
        let is_huge = lengths.iter().any(|&length| length >= HUGE_PAGE);
        let step = if is_huge { HUGE_PAGE } else { LARGEST_PAGE };
        let parts = lengths.map(|length| length.next_multiple_of(step));
        let total = parts.iter().try_fold(0_usize, |sum, &part| sum.checked_add(part));
        let first = map(total.ok_or(io::ErrorKind::OutOfMemory)?)?;
        // SAFETY: these are three parts of the mapping that was just made, one behind the other, each as long as its
        // values. Zero bytes are valid values, as was checked: kpt-core defines them as vacant links, vacant bodies (no
        // hook is at address zero), and no timers.
        let (links, bodies, timers) = unsafe {
            let second = first.add(parts[0]);
            let third = second.add(parts[1]);
            if is_huge {
                // Each loop touches the timers, which are much smaller.
                libc::madvise(third.as_ptr().cast(), parts[2], libc::MADV_NOHUGEPAGE);
            }
            (
                Pages::at(first, threads, parts[0]),
                Pages::at(second, threads, parts[1]),
                Pages::at(third, 1, parts[2]),
            )
        };
        Ok(Self { links, bodies, timers: Paged::<HostTimers>(timers).touched() })
    }
}

/// Returns the number of bytes of `count` values.
fn length<T>(count: usize) -> io::Result<usize> {
    const { assert!(align_of::<T>() <= PAGE, "an argument is aligned to more than a page") };
    // So much that rounding it up is possible, too.
    let most = isize::MAX as usize - HUGE_PAGE;
    let length = count.checked_mul(size_of::<T>()).filter(|&length| length <= most);
    length.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// Maps pages of zeros, at an address that the kernel chooses.
fn map(length: usize) -> io::Result<NonNull<u8>> {
    let (access, kind) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: an anonymous mapping at an address that the kernel chooses touches nothing that is there.
    let pages = unsafe { libc::mmap(ptr::null_mut(), length, access, kind, -1, 0) };
    if pages == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(pages.cast()).expect("no mapping is at zero"))
}

impl<T> Pages<T> {
    /// Takes `mapped` bytes from `place` on, which are zero.
    ///
    /// # Safety
    /// The bytes MUST be whole pages of an anonymous mapping, as many as `count` values need, that nobody else uses. Zero
    /// bytes MUST be a valid `T`.
    unsafe fn at(place: NonNull<u8>, count: usize, mapped: usize) -> Self {
        if count * size_of::<T>() >= HUGE_PAGE {
            // SAFETY: advice about pages that are this slice's; a kernel without huge pages may refuse it.
            unsafe { libc::madvise(place.as_ptr().cast(), mapped, libc::MADV_HUGEPAGE) };
        }
        Self { first: place.cast(), count, mapped, owned: PhantomData }
    }
}

impl Paged<HostTimers> {
    /// Writes what is there to the last byte: what each loop uses comes last, and a page that is read before it is written
    /// to takes two page faults.
    fn touched(self) -> Self {
        // SAFETY: it is a byte of the only value, and stays zero.
        unsafe {
            let last = self.0.first.as_ptr().cast::<u8>().add(size_of::<HostTimers>() - 1);
            last.write_volatile(0);
        }
        self
    }
}

impl<T> Deref for Paged<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: there is one value, as in `Pages::deref`.
        unsafe { self.0.first.as_ref() }
    }
}

impl<T> DerefMut for Paged<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and only here, as `self` is borrowed mutably.
        unsafe { self.0.first.as_mut() }
    }
}

impl<T> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `count` valid values lie there, aligned as a page is, or they have no size; they are borrowed with
        // `self`.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl<T> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and only here, as `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.count) }
    }
}

impl<T> AsRef<[T]> for Pages<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T> AsMut<[T]> for Pages<T> {
    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<T> Drop for Pages<T> {
    fn drop(&mut self) {
        // SAFETY: the values are dropped once, and not used after that.
        unsafe { ptr::drop_in_place(ptr::from_mut::<[T]>(&mut **self)) };
        if self.mapped != 0 {
            // SAFETY: the pages are those of `at`, and nothing borrows from them any more.
            unsafe { libc::munmap(self.first.as_ptr().cast(), self.mapped) };
        }
    }
}
