//! A descriptor that is readable while it is set.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

#[cfg(feature = "sim")]
use crate::sim::SimEvent;
use crate::sys::EventFd;

#[derive(Debug)]
pub enum Event {
    Real(EventFd),
    #[cfg(feature = "sim")]
    Simulated(SimEvent),
}

impl Event {
    pub fn new() -> io::Result<Self> {
        #[cfg(feature = "sim")]
        if let Some(event) = SimEvent::open() {
            return event.map(Self::Simulated);
        }
        EventFd::new().map(Self::Real)
    }

    pub fn set(&self) {
        match self {
            Self::Real(event) => event.set(),
            #[cfg(feature = "sim")]
            Self::Simulated(event) => event.set(),
        }
    }

    pub fn clear(&self) {
        match self {
            Self::Real(event) => event.clear(),
            #[cfg(feature = "sim")]
            Self::Simulated(event) => event.clear(),
        }
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Real(event) => event.as_fd(),
            #[cfg(feature = "sim")]
            Self::Simulated(event) => event.as_fd(),
        }
    }
}
