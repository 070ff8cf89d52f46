//! A place for stories about sockets: those of the system, or simulated ones.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kpt_core::poller::{Poller, Ready, Waiting};
use kpt_std::sim::Sim;
use kpt_std::{
    Address, Datagram, EpollPoller, Instant, Interest, Listener, Readiness, Source, Stream,
};

/// A kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP or UDP.
    Ip,
    /// Unix sockets, with a path.
    Unix,
}

/// Where a story takes place.
pub struct Place {
    sim: Option<Sim>,
    /// The kind of its sockets.
    pub kind: Kind,
    paths: u32,
}

impl Place {
    /// Creates a place on the system, or in a simulation, which lasts as long as the place.
    pub fn new(kind: Kind, is_simulated: bool) -> Self {
        Self { sim: is_simulated.then(Sim::new), kind, paths: 0 }
    }

    /// Waits until all that was sent has arrived.
    pub fn settle(&self) {
        match &self.sim {
            Some(sim) => {
                let _ = look(sim.poller(), None);
                sim.advance(Duration::from_millis(10));
                let _ = look(sim.poller(), None);
                sim.advance(Duration::from_millis(10));
                let _ = look(sim.poller(), None);
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }

    /// Returns what a poller finds.
    pub fn readiness(&self, source: Source) -> Readiness {
        match &self.sim {
            Some(sim) => look(sim.poller(), Some(source)),
            None => look(EpollPoller::new().unwrap(), Some(source)),
        }
    }

    /// Returns a path where nothing is.
    pub fn path(&mut self) -> PathBuf {
        self.paths += 1;
        let place = if self.sim.is_some() { "sim" } else { "real" };
        let name = format!("kpt-fidelity-{}-{place}-{}", std::process::id(), self.paths);
        std::env::temp_dir().join(name)
    }

    /// Listens.
    pub fn listener(&mut self) -> Listener {
        match self.kind {
            Kind::Ip => Listener::bind(([127, 0, 0, 1], 0)).unwrap(),
            Kind::Unix => Listener::bind_unix(self.path()).unwrap(),
        }
    }

    /// Connects.
    pub fn connect(&self, to: &Address) -> io::Result<Stream> {
        match self.kind {
            Kind::Ip => Stream::connect(to.ip().unwrap()),
            Kind::Unix => Stream::connect_unix(to.path().unwrap()),
        }
    }

    /// The two ends of a connection.
    pub fn pair(&mut self) -> [Option<Stream>; 2] {
        let mut listener = self.listener();
        let here = self.connect(&listener.local()).unwrap();
        self.settle();
        let there = listener.accept().unwrap().unwrap();
        self.remove(&listener.local());
        [Some(here), Some(there)]
    }

    /// Opens a socket for datagrams.
    pub fn datagram(&mut self) -> Datagram {
        match self.kind {
            Kind::Ip => Datagram::bind(([127, 0, 0, 1], 0)).unwrap(),
            Kind::Unix => Datagram::bind_unix(self.path()).unwrap(),
        }
    }

    /// Removes what is left of a socket.
    pub fn remove(&self, address: &Address) {
        if let Some(path) = address.path() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What a poller finds.
#[derive(Default)]
struct Findings(Readiness);

impl Waiting for Findings {
    fn push(&mut self, _: Source, readiness: Readiness) {
        self.0 = self.0 | readiness;
    }

    fn ask(&mut self, _: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        false
    }
}

fn look<P: Poller>(mut poller: P, source: Option<Source>) -> Readiness {
    let mut findings = Findings::default();
    if let Some(source) = source {
        assert!(poller.modify(source, Interest::BOTH).is_ok());
    }
    let _ = poller.wait(Instant::ZERO, &mut Ready::new(&mut findings));
    if let Some(source) = source {
        let _ = poller.modify(source, Interest::NONE);
    }
    findings.0
}

/// Returns a result as text, with the name of an error.
pub fn told(result: io::Result<String>) -> String {
    result.unwrap_or_else(|error| match error.raw_os_error() {
        Some(number) => format!("{:?} ({number})", error.kind()),
        None => format!("{:?}", error.kind()),
    })
}

/// Compares what a story comes to, on the system's sockets and on simulated ones.
pub fn compare(
    kind: Kind,
    name: &str,
    tell: impl Fn(&mut Place) -> String,
    differences: &mut String,
) {
    // One after the other: what is opened while there is a simulation is simulated.
    let real = tell(&mut Place::new(kind, false));
    let simulated = tell(&mut Place::new(kind, true));
    println!("{name} ({kind:?})\n{real}");
    if real != simulated {
        let _ = writeln!(differences, "{name} ({kind:?})");
        for (one, other) in real.lines().zip(simulated.lines()) {
            let is_same = if one == other { "" } else { "   <-- simulated: " };
            let other = if one == other { "" } else { other.split_once(": ").unwrap().1 };
            let _ = writeln!(differences, "{one}{is_same}{other}");
        }
    }
}
