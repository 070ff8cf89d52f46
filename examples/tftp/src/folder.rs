//! Files for clients: those in a folder, and nothing beside it.
//!
//! A name goes down from the folder, part by part, and no part may be a symbolic link or begin with a dot. So it leads
//! neither out of the folder nor to hidden files. A file that is received is a hidden one until it is complete.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode as Bits, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::content::{Content, Draft, Incoming, Outgoing};
use crate::packet::{Code, Mode};

/// Why a request is refused.
pub type Refusal = (Code, &'static str);

/// Where files come from, and go to.
pub trait Store {
    /// Opens a file for reading. Returns its length, too, if it is known.
    ///
    /// # Errors
    /// Returns what the client is told.
    fn read(&mut self, name: &[u8], mode: Mode)
    -> Result<(Box<dyn Content>, Option<u64>), Refusal>;

    /// Opens a file for writing, of which the client says how long it is.
    ///
    /// # Errors
    /// Returns what the client is told.
    fn write(
        &mut self,
        name: &[u8],
        mode: Mode,
        size: Option<u64>,
    ) -> Result<Box<dyn Content>, Refusal>;
}

/// Which files a client may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// None.
    Nothing,
    /// Those that are not there.
    New,
    /// All.
    Any,
}

/// A folder.
#[derive(Debug)]
pub struct Folder {
    root: OwnedFd,
    writing: Writing,
    /// The longest file that can be written.
    longest: u64,
    uploads: u64,
}

impl Folder {
    /// Opens a folder. It stays the same one if it is renamed.
    ///
    /// # Errors
    /// Returns that of the system.
    pub fn open(path: impl AsRef<Path>, writing: Writing, longest: u64) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path.as_ref(), flags, Bits::empty())?;
        Ok(Self { root, writing, longest, uploads: 0 })
    }

    /// Goes down to the folder of a file. Returns that folder, and the last part of the name.
    fn find<'n>(&self, name: &'n [u8]) -> Result<(OwnedFd, &'n OsStr), Refusal> {
        let parts = name.split(|&byte| byte == b'/').filter(|part| !part.is_empty());
        let mut parts = parts.map(OsStr::from_bytes).peekable();
        let mut folder = self.root.try_clone().map_err(|_| (Code::Other, "no descriptor left"))?;
        while let Some(part) = parts.next() {
            if part.as_bytes().starts_with(b".") {
                break;
            }
            if parts.peek().is_none() {
                return Ok((folder, part));
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = rustix::fs::openat(&folder, part, flags, Bits::empty()).map_err(refusal)?;
        }
        Err((Code::Forbidden, "not a name for a file"))
    }
}

impl Store for Folder {
    fn read(
        &mut self,
        name: &[u8],
        mode: Mode,
    ) -> Result<(Box<dyn Content>, Option<u64>), Refusal> {
        let (folder, name) = self.find(name)?;
        // Opening a pipe would wait for its other side.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags, Bits::empty()).map_err(refusal)?;
        let status = rustix::fs::fstat(&file).map_err(refusal)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err((Code::Forbidden, "not a regular file"));
        }
        // As netascii, it may be longer.
        let size = (mode == Mode::Octet).then_some(status.st_size as u64);
        Ok((Box::new(Outgoing::new(File::from(file), mode)), size))
    }

    fn write(
        &mut self,
        name: &[u8],
        mode: Mode,
        size: Option<u64>,
    ) -> Result<Box<dyn Content>, Refusal> {
        if self.writing == Writing::Nothing {
            return Err((Code::Forbidden, "files can only be read"));
        }
        if size.is_some_and(|size| size > self.longest) {
            return Err((Code::Full, "the file is too long"));
        }
        let (folder, name) = self.find(name)?;
        match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(refusal(error)),
            Ok(_) if self.writing == Writing::New => return Err((Code::Exists, "the file exists")),
            Ok(status) if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile => {
                return Err((Code::Forbidden, "not a regular file"));
            }
            Ok(_) => {}
        }
        self.uploads += 1;
        let draft = format!(".tftp-{}-{}", std::process::id(), self.uploads);
        let upload = Upload::create(folder, draft, name.to_owned(), self.writing)?;
        Ok(Box::new(Incoming::new(upload, mode, self.longest)))
    }
}

/// A file on its way. It is removed unless it is completed.
#[derive(Debug)]
struct Upload {
    folder: OwnedFd,
    /// The hidden name; `None` when it has got its own.
    draft: Option<String>,
    name: OsString,
    writing: Writing,
    file: File,
}

impl Upload {
    fn create(
        folder: OwnedFd,
        draft: String,
        name: OsString,
        writing: Writing,
    ) -> Result<Self, Refusal> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let bits = Bits::RUSR | Bits::WUSR | Bits::RGRP | Bits::ROTH;
        let file = rustix::fs::openat(&folder, &draft, flags, bits).map_err(refusal)?;
        Ok(Self { folder, draft: Some(draft), name, writing, file: file.into() })
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Draft for Upload {
    fn complete(&mut self) -> io::Result<()> {
        let Some(draft) = &self.draft else { return Ok(()) };
        // Another client may have been faster.
        let flags = match self.writing {
            Writing::Any => RenameFlags::empty(),
            _ => RenameFlags::NOREPLACE,
        };
        rustix::fs::renameat_with(&self.folder, draft, &self.folder, &self.name, flags)?;
        self.draft = None;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(draft) = &self.draft {
            let _ = rustix::fs::unlinkat(&self.folder, draft, AtFlags::empty());
        }
    }
}

/// Says no more than a client may know.
fn refusal(error: Errno) -> Refusal {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => (Code::NotFound, "no such file"),
        Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::ISDIR | Errno::ROFS | Errno::NXIO => {
            (Code::Forbidden, "the file can't be opened")
        }
        Errno::NOSPC | Errno::DQUOT => (Code::Full, "the disk is full"),
        _ => (Code::Other, "the file can't be opened"),
    }
}
