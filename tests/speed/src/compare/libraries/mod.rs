//! Who takes part, each as its authors recommend it.

mod bare;
mod calloop;
mod kpt;
mod mio;
mod polling;
mod tokio;

use std::time::Instant;

use kpt_speed::contestants::{Contestant, fire, timers};
use kpt_speed::in_c;
use kpt_std::kpt_core::poller::Poller;
use kpt_std::{Builder, EpollPoller, SelectPoller};

use crate::cases::Work;
use crate::links::{self, Link, Peer, WithPeer};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// The calls of the system and nothing else.
    Floor,
    Kpt,
    InC(in_c::Library),
    Calloop,
    Tokio,
    Mio,
    Polling,
}

pub const ALL: [Library; 9] = [
    Library::Floor,
    Library::Kpt,
    Library::InC(in_c::Library::Ev),
    Library::InC(in_c::Library::Event),
    Library::InC(in_c::Library::Uv),
    Library::Calloop,
    Library::Tokio,
    Library::Mio,
    Library::Polling,
];

type Side = Result<Box<dyn Contestant>, String>;

const NO_SELECT: &str = "does not wait on select";
const NO_TIMERS: &str = "has no timers";

impl Library {
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Kpt => "kpt",
            Self::InC(in_c::Library::Ev) => "libev",
            Self::InC(in_c::Library::Event) => "libevent",
            Self::InC(in_c::Library::Uv) => "libuv",
            Self::Calloop => "calloop",
            Self::Tokio => "tokio",
            Self::Mio => "mio",
            Self::Polling => "polling",
        }
    }

    /// Its name and version, or why it does not take part.
    pub fn about(self) -> Result<String, String> {
        match self {
            Self::Floor => Ok(String::new()),
            Self::InC(library) => library.about(),
            _ => Ok(format!("{} {}", self.name(), locked_version(self.name()))),
        }
    }

    /// A contestant, or why there is none.
    pub fn side(self, work: Work) -> Side {
        match work {
            Work::CancelAdd { pending } => self.cancel_add(pending),
            Work::Fire { timers, is_on_select } => self.fire(timers, is_on_select),
            Work::Ring { pipes, active, is_on_select } => {
                self.relay(links::ring(pipes, active).map_err(told)?, is_on_select)
            }
            Work::OneAmong { watched, is_on_select } => {
                self.relay(links::one_among(watched).map_err(told)?, is_on_select)
            }
            Work::Echo { clients, bytes } => {
                let (links, peer) = links::clients(clients, bytes).map_err(told)?;
                Ok(with_peer(self.relay(links, false)?, peer))
            }
            Work::PingPong { bytes } => {
                let (links, peer) = links::clients(1, bytes).map_err(told)?;
                let is_floor = self == Self::Floor;
                let inner =
                    if is_floor { bare::blocking(links) } else { self.relay(links, false)? };
                Ok(with_peer(inner, peer))
            }
        }
    }

    fn relay(self, links: Vec<Link>, is_on_select: bool) -> Side {
        links::unblock(&links).map_err(told)?;
        match (self, is_on_select) {
            (Self::Floor, true) => Ok(bare::on_select(links)),
            (Self::Floor, false) => Ok(bare::epoll(links)),
            (Self::Kpt, true) => Ok(kpt::relay(links, SelectPoller::new())),
            (Self::Kpt, false) => Ok(kpt::relay(links, EpollPoller::new().map_err(told)?)),
            (Self::InC(library), _) => {
                let side = library.relay(&links::raw(&links), is_on_select);
                // The library has only the numbers.
                std::mem::forget(links);
                side.ok_or_else(|| library.about().err().unwrap_or(NO_SELECT.into()))
            }
            (_, true) => Err(NO_SELECT.into()),
            (Self::Calloop, false) => Ok(calloop::relay(links)),
            (Self::Tokio, false) => Ok(tokio::relay(links)),
            (Self::Mio, false) => Ok(mio::relay(links)),
            (Self::Polling, false) => Ok(polling::relay(links)),
        }
    }

    fn cancel_add(self, pending: usize) -> Side {
        match self {
            Self::Kpt => Ok(Box::new(timers::CancelAdd::new(pending))),
            Self::InC(library) => library.cancel_add(pending).ok_or_else(|| missing(library)),
            // Each of its operations goes through all timers.
            Self::Calloop if pending > 100_000 => Err("takes minutes to add so many".into()),
            Self::Calloop => Ok(Box::new(calloop::CancelAdd::new(pending))),
            Self::Tokio => Ok(Box::new(tokio::CancelAdd::new(pending))),
            Self::Floor | Self::Mio | Self::Polling => Err(NO_TIMERS.into()),
        }
    }

    fn fire(self, timers: usize, is_on_select: bool) -> Side {
        match (self, is_on_select) {
            (Self::Kpt, true) => Ok(kpt_fire(timers, SelectPoller::new())),
            (Self::Kpt, false) => Ok(kpt_fire(timers, EpollPoller::new().map_err(told)?)),
            (_, true) => Err(NO_SELECT.into()),
            (Self::InC(library), false) => library.fire(timers).ok_or_else(|| missing(library)),
            (Self::Calloop, false) => Ok(Box::new(calloop::Fire::new())),
            (Self::Tokio, false) => Ok(Box::new(tokio::Fire::new())),
            (Self::Floor | Self::Mio | Self::Polling, false) => Err(NO_TIMERS.into()),
        }
    }
}

fn kpt_fire<P>(timers: usize, poller: P) -> Box<dyn Contestant>
where
    P: Poller<Error: std::fmt::Debug> + 'static,
{
    let kpt = Builder::new().threads(timers).build_on(poller).expect("there is memory");
    Box::new(fire::Fire::new(kpt))
}

fn with_peer(inner: Box<dyn Contestant>, peer: Peer) -> Box<dyn Contestant> {
    Box::new(WithPeer { inner, peer })
}

fn missing(library: in_c::Library) -> String {
    library.about().err().unwrap_or_default()
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The version of a crate that this was built with.
fn locked_version(name: &str) -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
    let name = if name == "kpt" { "kpt-std" } else { name };
    let package =
        lock.split_once(&format!("name = \"{name}\"\nversion = \"")).map(|(_, rest)| rest);
    package.and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

/// How late it is.
fn nanos_since(deadline: Instant) -> i64 {
    let now = Instant::now();
    let late = now.saturating_duration_since(deadline).as_nanos() as i64;
    late - deadline.saturating_duration_since(now).as_nanos() as i64
}
