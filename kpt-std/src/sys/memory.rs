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
    owned: PhantomData<T>,
}

// SAFETY: it owns its values, as a box does.
unsafe impl<T: Send> Send for Pages<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Pages<T> {}

impl Pages<Link> {
    /// Allocates `count` vacant links.
    pub fn vacant_links(count: usize) -> io::Result<Self> {
        // SAFETY: the compiler checks that zero bytes are a valid link, or else refuses to make a constant of them.
        const LINK: ManuallyDrop<Link> = unsafe { mem::zeroed() };
        // SAFETY: zero bytes are a valid link. kpt-core defines it as a vacant one.
        unsafe { Self::zeroed(count, &LINK) }
    }
}

impl<S, A> Pages<Body<S, A>> {
    // SAFETY: the compiler checks that zero bytes are a valid body for this `S` and `A`, as above.
    const BODY: ManuallyDrop<Body<S, A>> = unsafe { mem::zeroed() };

    /// Allocates `count` vacant bodies.
    pub fn vacant_bodies(count: usize) -> io::Result<Self> {
        // SAFETY: zero bytes are a valid body. It is a vacant one, as no hook is at address zero.
        unsafe { Self::zeroed(count, &Self::BODY) }
    }
}

/// A value in pages of its own.
///
/// Not in the loop itself: a loop that is moved would touch all of it, and on the stack of a new process each page that
/// is touched takes as long as ten system calls.
#[derive(Debug)]
pub struct Paged<T>(Pages<T>);

impl Paged<HostTimers> {
    /// Allocates timers, of which there are none.
    pub fn no_timers() -> io::Result<Self> {
        // SAFETY: the compiler checks that zero bytes are valid timers, as above.
        const TIMERS: ManuallyDrop<HostTimers> = unsafe { mem::zeroed() };
        // SAFETY: zero bytes are valid timers. kpt-core defines them as new ones.
        let pages = unsafe { Pages::zeroed(1, &TIMERS)? };
        Ok(Self(pages))
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

impl<T> Pages<T> {
    /// Allocates `count` values of zero bytes. `_zeroed` makes the compiler check that there is such a value.
    ///
    /// # Safety
    /// Zero bytes MUST be a valid `T`.
    unsafe fn zeroed(count: usize, _zeroed: &ManuallyDrop<T>) -> io::Result<Self> {
        const { assert!(align_of::<T>() <= PAGE, "an argument is aligned to more than a page") };
        let too_much = || io::Error::from(io::ErrorKind::OutOfMemory);
        let length = count.checked_mul(size_of::<T>()).ok_or_else(too_much)?;
        if length == 0 {
            return Ok(Self { first: NonNull::dangling(), count, owned: PhantomData });
        }
        // SAFETY: an anonymous mapping at an address that the kernel chooses touches nothing that is there.
        let pages = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if pages == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        if length >= HUGE_PAGE {
            // SAFETY: advice about the mapping that was just made; a kernel without huge pages may refuse it.
            unsafe { libc::madvise(pages, length, libc::MADV_HUGEPAGE) };
        }
        let first = NonNull::new(pages.cast()).expect("no mapping is at zero");
        Ok(Self { first, count, owned: PhantomData })
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
        let length = self.count * size_of::<T>();
        // SAFETY: the values are dropped once, and not used after that.
        unsafe { ptr::drop_in_place(ptr::from_mut::<[T]>(&mut **self)) };
        if length != 0 {
            // SAFETY: the mapping is that of `zeroed`, and nothing borrows from it any more.
            unsafe { libc::munmap(self.first.as_ptr().cast(), length) };
        }
    }
}
