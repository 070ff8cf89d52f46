//! A file that is memory.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;

/// The words of a file, shared with everybody who has the file open or mapped. They stay in the file however the process
/// ends.
#[derive(Debug)]
pub struct SharedWords {
    first: NonNull<AtomicU32>,
    count: usize,
}

// SAFETY: it owns the mapping, and all access to the words is atomic.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps the first `count` words of a file that is open for reading and writing. The file gets that length, and room
    /// on its disk for all of it, so that no store fails later.
    pub fn map(file: &File, count: usize) -> io::Result<Self> {
        let too_much = || io::Error::from(io::ErrorKind::InvalidInput);
        let length = count.checked_mul(size_of::<AtomicU32>()).filter(|&length| length > 0);
        let length = length.ok_or_else(too_much)?;
        let bytes = libc::off64_t::try_from(length).map_err(|_| too_much())?;
        file.set_len(length as u64)?;
        // SAFETY: the call takes numbers and no pointer.
        let result = unsafe { libc::posix_fallocate64(file.as_raw_fd(), 0, bytes) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        // SAFETY: a new mapping at an address that the kernel chooses touches nothing that is there.
        let pages = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if pages == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let first = NonNull::new(pages.cast()).expect("no mapping is at zero");
        Ok(Self { first, count })
    }
}

impl AsRef<[AtomicU32]> for SharedWords {
    fn as_ref(&self) -> &[AtomicU32] {
        // SAFETY: the mapping has `count` words, aligned as a page is, and lives as long as `self`. Any bytes are valid
        // words, and other processes may change them, as they are atomics. If one of them makes the file shorter, the
        // next access is a signal that ends this process.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        let length = self.count * size_of::<AtomicU32>();
        // SAFETY: the mapping is that of `map`, and nothing borrows from it any more.
        unsafe { libc::munmap(self.first.as_ptr().cast(), length) };
    }
}
