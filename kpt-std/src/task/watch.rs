//! One descriptor of a channel or a process, and what a poller knows of it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use kpt_core::{Instant, Interest, Source, poller::Unwatchable};

use crate::ask::Question;

/// Tells a poller what to watch.
pub type Modify<'a> = dyn FnMut(Source, Interest) -> Result<(), Unwatchable> + 'a;

/// The period of looking at what the poller can't watch.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// A descriptor that a poller watches. It is closed only after the poller was told, since that frees its number.
pub struct Watch {
    descriptor: Option<OwnedFd>,
    /// A descriptor that is closed as soon as the poller has been told.
    retired: Option<OwnedFd>,
    /// The interest of which the poller was told. `None`: it may have stopped watching by itself.
    told: Option<Interest>,
    /// The poller can't watch it, or there is no descriptor: it is looked at periodically.
    is_blind: bool,
    look_at: Instant,
}

impl Watch {
    /// Creates the watch of a descriptor, or of something for which the system has none.
    pub fn new(descriptor: Option<OwnedFd>) -> Self {
        Self {
            is_blind: descriptor.is_none(),
            descriptor,
            retired: None,
            told: Some(Interest::NONE),
            look_at: Instant::ZERO,
        }
    }

    /// Returns the descriptor, unless it is closed.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    /// Returns the number of the descriptor, unless it is closed.
    pub fn number(&self) -> Option<RawFd> {
        self.descriptor.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Tells the poller what is wanted, if that has changed, and of a descriptor that is to be closed.
    pub fn settle(&mut self, wanted: Interest, modify: &mut Modify) {
        self.release(modify);
        if let Some(number) = self.number()
            && self.told != Some(wanted)
        {
            self.is_blind = modify(source_of(number), wanted).is_err();
            self.told = Some(wanted);
        }
    }

    /// Closes what is to be closed, after the poller was told.
    pub fn release(&mut self, modify: &mut Modify) {
        if let Some(retired) = self.retired.take() {
            let _ = modify(source_of(retired.as_raw_fd()), Interest::NONE);
        }
    }

    /// Returns whether a descriptor waits for the poller to be told before it is closed.
    pub fn is_retiring(&self) -> bool {
        self.retired.is_some()
    }

    /// Notes that the poller has reported an error, after which it may have stopped watching.
    pub fn doubt(&mut self) {
        self.told = None;
    }

    /// Notes that the poller has been dropped.
    pub fn forget_poller(&mut self) {
        self.retired = None;
        self.told = Some(Interest::NONE);
    }

    /// Closes the descriptor, and ends the periodic looks.
    pub fn close(&mut self) {
        let is_watched = self.told != Some(Interest::NONE);
        if let Some(descriptor) = self.descriptor.take() {
            self.retired = is_watched.then_some(descriptor);
        }
        self.told = Some(Interest::NONE);
        self.is_blind = false;
    }

    /// In a forked process: closes everything at once, since the poller is the parent's.
    pub fn disown(&mut self) {
        self.forget_poller();
        self.close();
    }

    /// Returns the moment of the next look, if it is not watched.
    pub fn look_at(&self) -> Option<Instant> {
        self.is_blind.then_some(self.look_at)
    }

    /// Returns whether it has to be looked at now, and plans the next look.
    pub fn take_look(&mut self, now: Instant) -> bool {
        let is_due = self.look_at().is_some_and(|at| at <= now);
        if is_due {
            self.look_at = now + LOOK_PERIOD;
        }
        is_due
    }

    /// Returns a question to the system that stands for the poller, if anything is wanted.
    pub fn question(&self, wanted: Interest) -> Option<Question> {
        let number = self.number().filter(|_| !wanted.is_none())?;
        Some(Question::new(number, wanted))
    }
}

/// Returns the source of a descriptor.
fn source_of(descriptor: RawFd) -> Source {
    // An open descriptor is not negative.
    Source::new(descriptor as u32)
}
