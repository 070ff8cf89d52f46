//! Polls a few descriptors once, without a poller.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use kpt_core::{Interest, Readiness};

use crate::sys::{self, Bitmaps, Word};

const BITS: usize = Word::BITS as usize;

/// One descriptor to poll, and the result.
pub struct Question {
    pub descriptor: RawFd,
    pub interest: Interest,
    pub found: Readiness,
}

impl Question {
    pub fn new(descriptor: RawFd, interest: Interest) -> Self {
        Self { descriptor, interest, found: Readiness::NONE }
    }

    fn to_pollfd(&self) -> libc::pollfd {
        let readable = if self.interest.is_readable() { libc::POLLIN } else { 0 };
        let writable = if self.interest.is_writable() { libc::POLLOUT } else { 0 };
        libc::pollfd { fd: self.descriptor, events: readable | writable, revents: 0 }
    }

    /// Returns the index of the word in a bitmap, and of the bit in that word.
    fn place(&self) -> (usize, usize) {
        let number = self.descriptor.unsigned_abs() as usize;
        (number / BITS, number % BITS)
    }
}

/// Waits until one of the descriptors is ready, `timeout` has passed (`None`: no limit), or a signal has arrived.
///
/// # Errors
/// Returns the system's error: there is not enough memory; or a descriptor is closed and there are more descriptors
/// than the limit that the process has now.
pub fn ask(questions: &mut [Question], timeout: Option<Duration>) -> io::Result<()> {
    let mut asked: Vec<libc::pollfd> = questions.iter().map(Question::to_pollfd).collect();
    match sys::poll(&mut asked, timeout) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
        // More descriptors than the process may have open now. `poll` has this limit, `select` has not.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            return ask_select(questions, timeout);
        }
        Err(error) => return Err(error),
    }
    for (question, asked) in questions.iter_mut().zip(asked) {
        for (bits, readiness) in [
            (libc::POLLIN, Readiness::READABLE),
            (libc::POLLOUT, Readiness::WRITABLE),
            (libc::POLLHUP, Readiness::HANGUP),
            (libc::POLLERR | libc::POLLNVAL, Readiness::ERROR),
        ] {
            if asked.revents & bits != 0 {
                question.found = question.found | readiness;
            }
        }
    }
    Ok(())
}

fn ask_select(questions: &mut [Question], timeout: Option<Duration>) -> io::Result<()> {
    let words = questions.iter().map(|question| question.place().0 + 1).max().unwrap_or(0);
    let (mut readable, mut writable) = (vec![0; words], vec![0; words]);
    for question in &*questions {
        let (word, bit) = question.place();
        readable[word] |= Word::from(question.interest.is_readable()) << bit;
        writable[word] |= Word::from(question.interest.is_writable()) << bit;
    }
    let bitmaps = Bitmaps { readable: &mut readable, writable: &mut writable };
    match sys::select(words * BITS, bitmaps, timeout) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
        Err(error) => return Err(error),
    }
    for question in questions {
        let (word, bit) = question.place();
        for (bits, readiness) in
            [(&readable, Readiness::READABLE), (&writable, Readiness::WRITABLE)]
        {
            if bits[word] >> bit & 1 != 0 {
                question.found = question.found | readiness;
            }
        }
    }
    Ok(())
}
