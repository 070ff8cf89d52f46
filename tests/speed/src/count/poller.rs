//! A poller that costs next to nothing.

use std::convert::Infallible;

use kpt_std::kpt_core::poller::{Poller, Ready, Unwatchable};
use kpt_std::{Instant, Interest, Readiness, Source};

/// The source that it always finds readable, once a thread has asked for it.
pub const SOURCE: Source = Source::new(0);

/// In virtual time: a wait takes none where there is a reader, and else jumps to the next deadline.
#[derive(Default)]
pub struct Trivial {
    now: Instant,
    is_watched: bool,
}

impl Poller for Trivial {
    type Error = Infallible;

    /// As the poller of kpt-std has it.
    const LOOK_AFTER_HOOKS: u32 = <kpt_std::SelectPoller as Poller>::LOOK_AFTER_HOOKS;

    fn now(&mut self) -> Instant {
        self.now
    }

    fn modify(&mut self, _source: Source, interest: Interest) -> Result<(), Unwatchable> {
        self.is_watched = !interest.is_none();
        Ok(())
    }

    // Not inlined, so that it costs in a loop what it costs alone.
    #[inline(never)]
    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, Infallible> {
        if self.is_watched {
            ready.push(SOURCE, Readiness::READABLE);
        } else if until != Instant::NEVER {
            self.now = self.now.max(until);
        }
        Ok(self.now)
    }
}
