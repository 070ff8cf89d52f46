//! One descriptor of a channel or a process, and what a poller knows of it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use kpt_core::{Instant, Interest, Source, poller::Unwatchable};

use crate::ask::Question;

/// Tells a poller what to watch.
pub type Modify<'a> = dyn FnMut(Source, Interest) -> Result<(), Unwatchable> + 'a;

/// The period of looking at what the poller can't watch.
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// The longest period of looking at what is readable although there is nothing new.
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

/// A descriptor that a poller watches. It is closed only after the poller was told, since that frees its number.
pub struct Watch {
    descriptor: Option<OwnedFd>,
    /// A descriptor that is closed as soon as the poller has been told.
    retired: Option<OwnedFd>,
    /// The interest of which the poller was told. `None`: it may have stopped watching by itself.
    told: Option<Interest>,
    sight: Sight,
    look_at: Instant,
    look_period: Duration,
}

/// Who notices that a descriptor is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// The poller.
    Watched,
    /// Periodic looks: the poller can't watch it, or there is no descriptor.
    Blind,
    /// Looks at growing intervals: it is readable although there is nothing new.
    Held,
}

impl Watch {
    /// Creates the watch of a descriptor, or of something for which the system has none.
    pub fn new(descriptor: Option<OwnedFd>) -> Self {
        Self {
            sight: if descriptor.is_some() { Sight::Watched } else { Sight::Blind },
            descriptor,
            retired: None,
            told: Some(Interest::NONE),
            look_at: Instant::ZERO,
            look_period: LOOK_PERIOD,
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
        let wanted = if self.sight == Sight::Held { Interest::NONE } else { wanted };
        if let Some(number) = self.number()
            && self.told != Some(wanted)
        {
            let is_blind = modify(source_of(number), wanted).is_err();
            if self.sight != Sight::Held {
                self.sight = if is_blind { Sight::Blind } else { Sight::Watched };
            }
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
        // Without a poller, the error comes from a question of its own.
        if self.told != Some(Interest::NONE) {
            self.told = None;
        }
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
        self.sight = Sight::Watched;
    }

    /// Notes that it is readable although there is nothing new: it is not watched from now on, but looked at.
    pub fn hold(&mut self, now: Instant) {
        if self.sight != Sight::Held {
            self.sight = Sight::Held;
            self.look_at = now + self.look_period;
        }
    }

    /// In a forked process: closes everything at once, since the poller is the parent's.
    pub fn disown(&mut self) {
        self.forget_poller();
        self.close();
    }

    /// Returns the moment of the next look, if it is not watched.
    pub fn look_at(&self) -> Option<Instant> {
        (self.sight != Sight::Watched).then_some(self.look_at)
    }

    /// Returns whether it has to be looked at now, and plans the next look.
    pub fn take_look(&mut self, now: Instant) -> bool {
        let is_due = self.look_at().is_some_and(|at| at <= now);
        if is_due {
            if self.sight == Sight::Held {
                self.look_period = (self.look_period * 2).min(LONGEST_PERIOD);
            }
            self.look_at = now + self.look_period;
        }
        is_due
    }

    /// Returns a question to the system that stands for the poller, if anything is wanted.
    pub fn question(&self, wanted: Interest) -> Option<Question> {
        let is_asked = !wanted.is_none() && self.sight != Sight::Held;
        let number = self.number().filter(|_| is_asked)?;
        Some(Question::new(number, wanted))
    }
}

/// Returns the source of a descriptor.
fn source_of(descriptor: RawFd) -> Source {
    // An open descriptor is not negative.
    Source::new(descriptor as u32)
}
