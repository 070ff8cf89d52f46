//! A simulated world for the tests of an application, and a search through what may happen in it (feature `sim`).
//!
//! What an application does not decide itself is decided by the simulation: when bytes arrive, how many of them a read
//! returns, whether a packet is lost. Each such decision has a usual outcome, and others, which are **deviations**. A
//! **schedule** is a list of deviations, such as `packet/1000#0=twice write/1#3=not-yet`; everything else goes as usual.
//!
//! - [`check`] runs a test under all schedules with few deviations, fewest first, and then under random ones. It panics
//!   with the shortest schedule that fails, what happened in it, and the command that runs it again:
//!   `KPT_SCHEDULE='..' cargo test NAME`. [`explore`] returns a [`Report`] instead, [`replay`] runs one schedule, and
//!   [`fuzz`] the one that the bytes of a fuzzer stand for.
//! - [`Sim`] is what the test receives: it decides, and the test tells it what must hold [`always`](Sim::always),
//!   [`sometimes`](Sim::sometimes) and [`eventually`](Sim::eventually).
//! - Its world has virtual time and a poller for the application's loop ([`Sim::poller`]), clients that follow a script
//!   ([`Sim::client`]), and other loops ([`Sim::add_loop`]). While a simulation lives, what the same OS thread opens is
//!   opened in its newest one: the application's `Listener`, `Stream` and `Datagram`, its `Signals`, wakers and channels,
//!   and tasks that `start_owned` starts.
//!
//! ```
//! use kpt_std::sim::{Limits, Sim, explore};
//!
//! /// Sends a message up to three times, over a network that may lose it.
//! fn sends(sim: &Sim) -> Result<(), Box<dyn std::error::Error>> {
//!     let arrives = |_: &u32| sim.choose("packet", 0, &["on-time", "lost"]) == 0;
//!     let tries = (1..=3).find(arrives);
//!     sim.sometimes("it is sent again", tries.is_some_and(|tries| tries > 1));
//!     sim.always("it arrives", tries.is_some());
//!     Ok(())
//! }
//!
//! let report = explore(Limits::new().deviations(2), sends);
//! assert_eq!(report.by_deviations, [1, 1, 1]); // None is lost, the first, the first two.
//! assert!(report.failure.is_none());
//!
//! let failure = explore(Limits::new().deviations(3), sends).failure.unwrap();
//! assert_eq!(failure.schedule.to_string(), "packet/0#0=lost packet/0#1=lost packet/0#2=lost");
//! ```
//!
//! [Your first bug in ten minutes](https://github.com/kpt-rs/kpt/blob/main/docs/EXPLORE.md) goes through an example.

mod channels;
mod check;
mod choice;
mod clients;
mod conn;
mod datagrams;
mod events;
mod explore;
mod files;
mod listeners;
mod net;
mod panics;
mod poller;
mod progress;
mod report;
mod run;
mod runner;
mod schedule;
mod script;
mod shrink;
#[cfg(feature = "signals")]
mod signals;
mod streams;
mod tasks;
mod trace;
mod world;

pub use check::{Replay, check, fuzz, replay};
pub use clients::Client;
pub use explore::{Limits, explore};
pub use kpt_core::sim::ScheduleError;
pub use poller::SimPoller;
pub use report::{Failure, Report, SiteReport};
pub use schedule::Schedule;
pub use trace::{Observed, Trace};
pub use world::End;

pub(crate) use channels::SimTask;
pub(crate) use datagrams::{SimDatagram, bind_datagram, bind_datagram_unix};
pub(crate) use events::SimEvent;
pub(crate) use listeners::{SimListener, listen, listen_unix};
pub(crate) use poller::on_real_poller;
#[cfg(feature = "signals")]
pub(crate) use signals::SimSignals;
pub(crate) use streams::{SimStream, connect_tcp, connect_unix};
pub(crate) use world::current;

use std::fmt::{self, Display};
use std::rc::Rc;

use kpt_core::poller::Poller;
use kpt_core::sim::{Choices, Site};

use self::choice::Ways;
use self::run::{Class, Must, Run};
use self::world::World;

/// What a test returns: any error fails the run.
pub type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A simulation, which a test asks for decisions, and to which it reports. Clones are the same simulation.
///
/// As [`Choices`], it decides for `kpt_core::sim::Faults`, too: `Faults::with(poller, sim.clone())`.
#[derive(Clone)]
pub struct Sim(Rc<Inner>);

struct Inner {
    run: Run,
    world: World,
}

/// What is decided.
impl Sim {
    /// Creates a simulation outside of a search, in which everything goes as usual. It ends when its last clone has been
    /// dropped; clones that its own actions and peers keep count, too.
    pub fn new() -> Self {
        Self::of(Run::usual())
    }

    /// Decides on one of `ways`, and returns its index. The first is what usually happens; any other is a deviation.
    ///
    /// `site` is the name of the place in the code, the same each time. `who` is the connection, source or task that the
    /// decision is about, and 0 if it is about none: the decisions about each are counted separately.
    ///
    /// With one way, there is nothing to decide.
    ///
    /// # Panics
    /// If `site`, or one of `ways`, has other characters than letters, digits, `-`, `_` and `.`; if there are no ways.
    pub fn choose(&self, site: &'static str, who: u32, ways: &'static [&'static str]) -> usize {
        assert!(!ways.is_empty(), "Sim::choose at {site:?}: there are no ways");
        self.0.run.choose(Site::new(site, who, 1), Ways::Named(ways)) as usize
    }

    /// Picks one of `count` inputs, by number. No input is a deviation: a search tries each of them with all schedules.
    ///
    /// # Panics
    /// If `site` has other characters than letters, digits, `-`, `_` and `.`; if `count` is 0.
    pub fn pick(&self, site: &'static str, count: u32) -> u32 {
        assert!(count > 0, "Sim::pick at {site:?}: count is 0");
        self.0.run.choose(Site::new(site, 0, 1), Ways::Free(count))
    }
}

/// What must hold.
impl Sim {
    /// Fails the run if `holds` is false.
    pub fn always(&self, name: &'static str, holds: bool) {
        if !holds {
            self.0.run.fail_as(Class::Always(name), format!("not always: {name}"));
        }
    }

    /// Requires that `holds` is true in at least one call in at least one schedule. Otherwise the test is vacuous, and
    /// [`check`] fails.
    pub fn sometimes(&self, name: &'static str, holds: bool) {
        self.0.run.mark(name, Must::Sometimes, holds);
    }

    /// Requires that `holds` is true in at least one call in each schedule that reaches such a call. Otherwise the run
    /// fails at its end.
    pub fn eventually(&self, name: &'static str, holds: bool) {
        self.0.run.mark(name, Must::Eventually, holds);
    }

    /// Fails the run. `what` is the same for all failures of one cause, so that a search finds the shortest schedule for
    /// it; `details` may differ.
    pub fn fail(&self, what: &'static str, details: impl Display) {
        self.0.run.fail(what, details);
    }

    /// Returns whether the run has failed.
    pub fn has_failed(&self) -> bool {
        self.0.run.has_failed()
    }
}

/// What is seen.
impl Sim {
    /// Adds a line to the trace. `text` is made only if there is one.
    pub fn note(&self, text: impl FnOnce() -> String) {
        self.0.run.note(text);
    }

    /// Wraps a poller of your own, so that the trace has the hooks of its loop, and the run ends after the number of turns
    /// that its limits allow.
    ///
    /// ```
    /// use kpt_core::sim::{Faults, SimPoller, World};
    /// use kpt_core::{Exit, FixedLoop, Readiness, Source};
    /// use kpt_std::sim::{Limits, check};
    ///
    /// // Firmware in its own world, under each fault of a poller.
    /// let report = check(Limits::new().deviations(1), |sim| {
    ///     let world = World::<32>::new();
    ///     world.set(Source::new(5), Readiness::READABLE)?;
    ///     let poller = Faults::with(SimPoller::new(&world), sim.clone());
    ///     let mut kpt = FixedLoop::<_, u32, 4>::new(sim.observe(poller));
    ///     kpt.threads().add_read("button", Source::new(5), |presses, _| *presses += 1, ())?;
    ///     let mut presses = 0;
    ///     assert_eq!(kpt.run(&mut presses)?, Exit::Empty);
    ///     sim.always("each press is seen once", presses == 1);
    ///     Ok(())
    /// });
    /// assert_eq!(report.by_deviations[0], 1);
    /// ```
    pub fn observe<P: Poller>(&self, poller: P) -> Observed<P> {
        Observed::new(self.clone(), poller)
    }
}

impl Sim {
    fn of(run: Run) -> Self {
        let sim = Self(Rc::new(Inner { run, world: World::default() }));
        world::enter(&sim);
        sim
    }

    fn run(&self) -> &Run {
        &self.0.run
    }

    fn world(&self) -> &World {
        &self.0.world
    }

    /// Ends the world, when the test has returned or panicked.
    fn end(&self) {
        self.world().clear();
    }
}

/// Decides as [`Sim::choose`] does. In a walk, a site's `one_in` counts if it is larger than that of the walk.
impl Choices for Sim {
    fn decide(&mut self, site: Site, ways: &'static [&'static str]) -> usize {
        self.0.run.choose(site, Ways::Named(ways)) as usize
    }
}

impl Default for Sim {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("now", &self.0.run.now()).finish_non_exhaustive()
    }
}
