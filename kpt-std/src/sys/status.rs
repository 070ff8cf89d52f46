//! Which signals have handlers, by one call: the system tells it in `/proc/self/status`.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use libc::c_int;

use super::{above_standard, process_id};

/// The length of the file is about 1,500 bytes.
const LONGEST: usize = 4_096;

/// The file, kept open.
#[derive(Debug)]
pub struct Status(File);

/// The actions of the signals of a process, without its handlers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions {
    /// Signal n is bit n - 1.
    ignored: u64,
    handled: u64,
}

impl Status {
    /// Opens the file of this process.
    ///
    /// # Errors
    /// Fails without `/proc`.
    pub fn open() -> io::Result<Self> {
        let file = above_standard(OwnedFd::from(File::open("/proc/self/status")?))?;
        Ok(Self(file.into()))
    }

    /// Returns the actions of all signals now, or `None` if the file is not that of this process, or does not tell.
    pub fn actions(&self) -> Option<Actions> {
        let mut buffer = [0; LONGEST];
        let length = self.0.read_at(&mut buffer, 0).ok()?;
        Actions::of(buffer.get(..length)?, process_id())
    }
}

impl Actions {
    fn of(text: &[u8], process: c_int) -> Option<Self> {
        let (mut pid, mut ignored, mut handled) = (None, None, None);
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            if let Some(number) = line.strip_prefix(b"Pid:\t") {
                pid = number_of(number, 10);
            } else if let Some(mask) = line.strip_prefix(b"SigIgn:\t") {
                ignored = number_of(mask, 16);
            } else if let Some(mask) = line.strip_prefix(b"SigCgt:\t") {
                handled = number_of(mask, 16);
            }
        }
        let is_own = pid == u64::try_from(process).ok();
        Some(Self { ignored: ignored?, handled: handled? }).filter(|_| is_own)
    }

    /// Returns whether a signal has a handler.
    pub fn handles(self, signal: c_int) -> bool {
        has(self.handled, signal)
    }

    /// Returns whether a signal is ignored.
    pub fn ignores(self, signal: c_int) -> bool {
        has(self.ignored, signal)
    }
}

fn has(mask: u64, signal: c_int) -> bool {
    u32::try_from(signal - 1)
        .is_ok_and(|bit| mask.checked_shr(bit).is_some_and(|rest| rest & 1 != 0))
}

/// Returns the number in a whole line.
fn number_of(digits: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?.strip_suffix('\n')?, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Name:\tSigCgt:\\n\nTgid:\t12\nPid:\t12\nPPid:\t1\nSigBlk:\tffffffffffffffff\n\
        SigIgn:\t0000000000001000\nSigCgt:\t8000000180000440\nCapInh:\t0000000000000000\n";

    #[test]
    fn the_actions_are_those_of_the_system() {
        let actions = Actions::of(TEXT.as_bytes(), 12).expect("all is there");
        let numbers =
            |is_meant: &dyn Fn(c_int) -> bool| (-1..70).filter(|&it| is_meant(it)).collect();
        let handled: Vec<c_int> = numbers(&|signal| actions.handles(signal));
        let ignored: Vec<c_int> = numbers(&|signal| actions.ignores(signal));
        assert_eq!((handled, ignored), (vec![7, 11, 32, 33, 64], vec![13]));
    }

    #[test]
    fn what_is_not_certain_is_not_known() {
        assert_eq!(Actions::of(TEXT.as_bytes(), 13), None, "another process");
        assert_eq!(Actions::of(&TEXT.as_bytes()[..TEXT.len() / 2], 12), None);
        for length in 0..TEXT.len() {
            let known = Actions::of(&TEXT.as_bytes()[..length], 12);
            assert_eq!(
                known,
                Actions::of(TEXT.as_bytes(), 12).filter(|_| known.is_some()),
                "{length}"
            );
        }
        assert_eq!(Actions::of(b"SigIgn:\t0\nSigCgt:\tx\nPid:\t12\n", 12), None);
        assert_eq!(Actions::of(b"", 12), None);
    }

    /// The kernel's own file, and `sigaction`, say the same.
    #[test]
    fn this_process_has_the_actions_that_are_told() {
        let Ok(status) = Status::open() else { return println!("SKIPPED: there is no /proc") };
        let Some(actions) = status.actions() else { return println!("SKIPPED: it does not tell") };
        for signal in 1..=libc::SIGRTMAX() {
            let Some(action) = super::super::handlers::action(signal) else { continue };
            let is_handled = ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction);
            assert_eq!(actions.handles(signal), is_handled, "{signal}");
            assert_eq!(actions.ignores(signal), action.sa_sigaction == libc::SIG_IGN, "{signal}");
        }
    }
}
