//! What a person sees of a long search: one line that changes, on a terminal only.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// The time after which a search shows the line.
const PATIENCE: Duration = Duration::from_secs(2);

/// The time between two changes of the line.
const EVERY: Duration = Duration::from_millis(250);

/// A line on standard error. There is none in CI (where `CI` is set), nor in a file.
#[derive(Debug)]
pub(super) struct Progress {
    next: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        let is_wanted = io::stderr().is_terminal() && std::env::var_os("CI").is_none();
        Self { next: is_wanted.then(|| Instant::now() + PATIENCE), is_shown: false }
    }

    /// Shows what `line` returns, if it is time for that.
    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        let Some(next) = self.next else { return };
        let now = Instant::now();
        if now < next {
            return;
        }
        self.next = Some(now + EVERY);
        self.is_shown = true;
        // Not by `eprint`, which the harness of tests keeps to itself.
        let _ = write!(io::stderr(), "\r\x1b[K{}", line());
    }
}

/// Removes the line.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
