//! A flight recorder in a file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;

use crate::sys::{self, SharedWords};

/// The memory of a [`Ring`](super::Ring) in a file, which outlives the process: however that ends, the file has what the
/// loop did last. Writing to it takes no system call; the kernel writes it to the disk later.
///
/// The file of an earlier run is renamed: `.old` is appended to its name. `cargo run --example tape FILE` in kpt's
/// repository prints either.
///
/// ```no_run
/// use kpt_std::tape::{Recorder, Ring, RingFile};
/// use kpt_std::{Builder, EpollPoller, EventLoop};
///
/// let ring = Ring::new(RingFile::create("/run/app/flight", 64 * 1024)?);
/// let poller = Recorder::new(EpollPoller::new()?, ring);
/// let mut kpt: EventLoop<(), (), _> = Builder::new().build_on(poller)?;
/// # kpt.run(&mut ())?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It belongs to the process that has made it: in a process that was forked from that, nothing is recorded. No other
/// process may write to the file. If the file is truncated, the process ends by `SIGBUS`.
#[derive(Debug)]
pub struct RingFile {
    words: SharedWords,
    /// The `generation` of the process that writes.
    process: u32,
}

impl RingFile {
    /// Creates the file with this number of bytes, rounded down to words of 4 bytes, which are reserved on the disk.
    ///
    /// # Errors
    /// Returns the system's error: the directory can't be written to, the disk has no room, `bytes` is less than 4.
    pub fn create(path: impl AsRef<Path>, bytes: usize) -> io::Result<Self> {
        let path = path.as_ref();
        match fs::rename(path, old(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Self::map(&file, bytes)
    }

    /// Uses a file that is open for reading and writing, and sets its length.
    ///
    /// # Errors
    /// Fails as [`create`](Self::create) does.
    pub fn map(file: &File, bytes: usize) -> io::Result<Self> {
        let words = SharedWords::map(file, bytes / size_of::<AtomicU32>())?;
        Ok(Self { words, process: sys::generation() })
    }
}

/// The name of the file of the run before.
fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

/// An empty slice in any other process than the one that made it.
impl AsRef<[AtomicU32]> for RingFile {
    #[inline]
    fn as_ref(&self) -> &[AtomicU32] {
        if sys::generation() == self.process { self.words.as_ref() } else { &[] }
    }
}
