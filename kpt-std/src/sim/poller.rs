//! The poller of the loops in a simulation.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};

use kpt_core::poller::{HookCall, Poller, Ready, Unwatchable};
use kpt_core::{Instant, Interest, Readiness, Source};

use super::world::End;
use super::{Inner, Sim, files, world};

/// The poller of a loop in a simulation. [`Sim::poller`] makes it. It watches simulated sources only.
///
/// A wait takes no time when a source is ready, and otherwise jumps to the next moment at which something happens. When
/// nothing can happen any more, it returns [`End::Idle`].
///
/// # Decisions
/// - `wake`: a wait that has found something ends on time, or late.
/// - `ready`, for each source where several things are ready: it is found now, later, or before the others.
pub struct SimPoller {
    owner: Owner,
    watches: Watches,
}

/// Whose loop it is.
enum Owner {
    /// The application's: time passes in its waits.
    Application(Sim),
    /// That of a peer, which the simulation owns, and not the other way round.
    Peer(Weak<Inner>),
}

impl Owner {
    /// Returns what `work` returns; `None` if the simulation has ended.
    fn with<R>(&self, work: impl FnOnce(&Sim) -> R) -> Option<R> {
        match self {
            Self::Application(sim) => Some(work(sim)),
            Self::Peer(sim) => sim.upgrade().map(|inner| work(&Sim(inner))),
        }
    }
}

/// What a loop waits for, as the world sees it.
#[derive(Clone)]
pub struct Watches(Rc<Watched>);

struct Watched {
    sources: RefCell<BTreeMap<Source, Interest>>,
    until: Cell<Instant>,
}

impl Default for Watches {
    /// Those of a loop that has not waited yet: it has something to do.
    fn default() -> Self {
        Self(Rc::new(Watched { sources: RefCell::default(), until: Cell::new(Instant::ZERO) }))
    }
}

impl Watches {
    pub fn until(&self) -> Instant {
        self.0.until.get()
    }

    pub fn is_any_ready(&self, sim: &Sim) -> bool {
        let sources = self.0.sources.borrow();
        sources.iter().any(|(&source, &interest)| !seen(sim, source, interest).is_none())
    }

    /// Returns the sources that are ready, in the order in which their files were opened.
    fn found(&self, sim: &Sim) -> Vec<(Source, Readiness)> {
        let sources = self.0.sources.borrow();
        let seen = sources.iter().map(|(&source, &interest)| (source, seen(sim, source, interest)));
        let mut found: Vec<_> = seen.filter(|(_, readiness)| !readiness.is_none()).collect();
        found.sort_by_key(|&(source, _)| name(source));
        found
    }
}

/// Returns what wakes a thread with this interest.
fn seen(sim: &Sim, source: Source, interest: Interest) -> Readiness {
    sim.world().net.borrow().readiness(source).seen_by(interest)
}

/// Fails the run if `source` is simulated: a loop on a real poller waits for it, since the test has not built its loop on
/// [`Sim::poller`].
pub fn on_real_poller(source: Source) {
    if let Some(sim) = files::number_of(source).and_then(|_| world::current()) {
        let what = "a thread waits for a simulated source, and its loop is not simulated";
        sim.fail(what, "use `Builder::build_on(sim.poller())`");
    }
}

/// Returns the number by which decisions about a source are known, which is the same in each process.
fn name(source: Source) -> u32 {
    files::number_of(source).unwrap_or(source.number())
}

impl SimPoller {
    pub(super) fn of_application(sim: &Sim) -> Self {
        Self { owner: Owner::Application(sim.clone()), watches: Watches::default() }
    }

    pub(super) fn of_peer(sim: &Sim, watches: Watches) -> Self {
        Self { owner: Owner::Peer(Rc::downgrade(&sim.0)), watches }
    }

    /// Pushes what has been found, some of it later or first.
    fn push_found(
        sim: &Sim,
        mut found: Vec<(Source, Readiness)>,
        is_due: bool,
        ready: &mut Ready<'_>,
    ) {
        // The order matters only if there are several things.
        if found.len() > 1 || (is_due && !found.is_empty()) {
            Self::reorder(sim, &mut found);
        }
        for (source, readiness) in found {
            ready.push(source, readiness);
        }
    }

    fn reorder(sim: &Sim, found: &mut Vec<(Source, Readiness)>) {
        let (mut at, mut is_first) = (0, true);
        while let Some(&(source, _)) = found.get(at) {
            let ways: &[&str] =
                if is_first { &["now", "later"] } else { &["now", "later", "first"] };
            is_first = false;
            match sim.choose("ready", name(source), ways) {
                1 => {
                    found.remove(at);
                    continue;
                }
                2 => found[..=at].rotate_right(1),
                _ => {}
            }
            at += 1;
        }
    }
}

impl Poller for SimPoller {
    type Error = End;

    fn now(&mut self) -> Instant {
        self.owner.with(Sim::now).unwrap_or(Instant::NEVER)
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        let mut sources = self.watches.0.sources.borrow_mut();
        if interest.is_none() {
            sources.remove(&source);
            return Ok(());
        }
        if files::number_of(source).is_none() {
            let what = "a thread of a simulated loop waits for what is not simulated";
            let number = source.number();
            let which = format_args!("descriptor {number}, which `kpt_std` has not opened here");
            self.owner.with(|sim| sim.fail(what, which));
        }
        sources.insert(source, interest);
        Ok(())
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, End> {
        self.watches.0.until.set(until);
        match &self.owner {
            Owner::Application(sim) => wait(sim, &self.watches, until, ready),
            Owner::Peer(sim) => {
                let sim = Sim(sim.upgrade().ok_or(End::Idle)?);
                let found = self.watches.found(&sim);
                found.into_iter().for_each(|(source, readiness)| ready.push(source, readiness));
                Ok(sim.now())
            }
        }
    }

    fn before_hook(&mut self, call: HookCall) {
        self.owner.with(|sim| sim.run().before_hook(&call));
    }

    fn after_hook(&mut self) {
        self.owner.with(|sim| sim.run().after_hook());
    }
}

/// A wait of the application's loop, in which the peers run and time passes.
fn wait(
    sim: &Sim,
    watches: &Watches,
    until: Instant,
    ready: &mut Ready<'_>,
) -> Result<Instant, End> {
    if sim.run().has_failed() {
        return Err(End::Failed);
    }
    if !sim.run().take_turn() {
        return Err(End::Turns);
    }
    let end = sim.world().end();
    if sim.now() > end {
        return Err(End::Time); // Its hooks have taken until after that.
    }
    let mut may_be_late = until > Instant::ZERO;
    loop {
        sim.world().settle(sim);
        let now = sim.now();
        let found = watches.found(sim);
        let is_due = until <= now;
        if !found.is_empty() || is_due {
            if may_be_late && sim.choose("wake", 0, &["on-time", "late"]) == 1 {
                may_be_late = false;
                sim.advance(sim.world().late.get());
                continue;
            }
            SimPoller::push_found(sim, found, is_due, ready);
            return Ok(now);
        }
        if sim.run().has_failed() {
            return Err(End::Failed);
        }
        let next = sim.world().next_moment().min(until);
        if next >= end {
            return Err(if next == Instant::NEVER { End::Idle } else { End::Time });
        }
        sim.run().set_now(now.max(next));
    }
}

impl fmt::Debug for SimPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_peer = matches!(self.owner, Owner::Peer(_));
        f.debug_struct("SimPoller").field("is_peer", &is_peer).finish_non_exhaustive()
    }
}
