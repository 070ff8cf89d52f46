//! The pollers of this machine as one type, so that what is tested on each of them is compiled once.

use std::io::Error;

use kpt_core::poller::{HookCall, Poller, Ready, Unwatchable};
use kpt_core::{Instant, Interest, Source};
use kpt_std::{EpollPoller, SelectPoller};

use crate::loops::Shape;

/// Which of the pollers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// [`SelectPoller`].
    Select,
    /// [`EpollPoller`].
    Epoll,
}

impl Backend {
    /// Both of them. Prints which one is tried, which is shown if the test fails.
    pub fn both() -> impl Iterator<Item = Self> {
        [Self::Select, Self::Epoll].into_iter().inspect(|backend| println!("on {backend:?}"))
    }

    /// Makes a poller.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn poller(self) -> RealPoller {
        match self {
            Self::Select => RealPoller::Select(SelectPoller::new()),
            Self::Epoll => RealPoller::Epoll(EpollPoller::new().expect("epoll")),
        }
    }
}

/// A kind of loop and its poller: what a loop on this machine can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Real {
    /// The kind of loop.
    pub shape: Shape,
    /// Its poller.
    pub backend: Backend,
}

impl Real {
    /// The loops that ship, each on each poller. Prints which one is tried, which is shown if the test fails.
    pub fn all() -> impl Iterator<Item = Self> {
        Shape::both().flat_map(|shape| Backend::both().map(move |backend| Self { shape, backend }))
    }
}

/// Either of the pollers.
pub enum RealPoller {
    /// On select.
    Select(SelectPoller),
    /// On epoll.
    Epoll(EpollPoller),
}

impl Poller for RealPoller {
    type Error = Error;

    // One value for both of them.
    const LOOK_AFTER_HOOKS: u32 = EpollPoller::LOOK_AFTER_HOOKS;

    fn now(&mut self) -> Instant {
        match self {
            Self::Select(poller) => poller.now(),
            Self::Epoll(poller) => poller.now(),
        }
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        match self {
            Self::Select(poller) => poller.modify(source, interest),
            Self::Epoll(poller) => poller.modify(source, interest),
        }
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, Error> {
        match self {
            Self::Select(poller) => poller.wait(until, ready),
            Self::Epoll(poller) => poller.wait(until, ready),
        }
    }

    fn prepare(&mut self, until: Instant) -> std::io::Result<Instant> {
        match self {
            Self::Select(poller) => poller.prepare(until),
            Self::Epoll(poller) => poller.prepare(until),
        }
    }

    fn before_hook(&mut self, call: HookCall) {
        match self {
            Self::Select(poller) => poller.before_hook(call),
            Self::Epoll(poller) => poller.before_hook(call),
        }
    }

    fn after_hook(&mut self) {
        match self {
            Self::Select(poller) => poller.after_hook(),
            Self::Epoll(poller) => poller.after_hook(),
        }
    }
}
