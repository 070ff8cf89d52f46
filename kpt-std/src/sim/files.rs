//! Descriptors for what is simulated.
//!
//! A simulated socket needs a number that is a [`Source`] and that [`AsFd`](std::os::fd::AsFd) can return. So it has a real
//! descriptor, of `/dev/null`. Descriptors are opened once and kept: in all simulations of an OS thread, the file with the
//! same number has the same descriptor, and opening it again costs no system call.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use kpt_core::Source;

use crate::sys;

/// The descriptors of OS threads that have ended.
static FREE: Mutex<BTreeMap<i32, &'static OwnedFd>> = Mutex::new(BTreeMap::new());

thread_local! {
    static FILES: RefCell<Files> = const { RefCell::new(Files { files: Vec::new(), numbers: Vec::new() }) };
}

/// The descriptors of an OS thread.
struct Files {
    /// By number.
    files: Vec<&'static OwnedFd>,
    /// The number of each descriptor, plus 1.
    numbers: Vec<u32>,
}

/// Returns the descriptor of the file with this number, counted from 0 in each simulation.
pub fn descriptor(number: u32) -> io::Result<&'static OwnedFd> {
    FILES.with_borrow_mut(|all| {
        while all.files.len() <= number as usize {
            let file = reused().map_or_else(opened, Ok)?;
            let raw = file.as_raw_fd() as usize; // An open descriptor is not negative.
            all.files.push(file);
            if all.numbers.len() <= raw {
                all.numbers.resize(raw + 1, 0);
            }
            all.numbers[raw] = all.files.len() as u32;
        }
        Ok(all.files[number as usize])
    })
}

/// Returns the number of the file whose descriptor this is.
pub fn number_of(source: Source) -> Option<u32> {
    FILES.with_borrow(|all| all.numbers.get(source.number() as usize)?.checked_sub(1))
}

fn reused() -> Option<&'static OwnedFd> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    free.pop_first().map(|(_, file)| file)
}

fn opened() -> io::Result<&'static OwnedFd> {
    let file = sys::above_standard(OwnedFd::from(File::open("/dev/null")?))?;
    Ok(Box::leak(Box::new(file)))
}

impl Drop for Files {
    fn drop(&mut self) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.extend(self.files.drain(..).map(|file| (file.as_raw_fd(), file)));
    }
}
