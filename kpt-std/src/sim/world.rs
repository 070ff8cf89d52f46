//! What is around the loops: what is to come, the files that are open, and the peers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use kpt_core::{Instant, Threads};

use super::channels::Channel;
use super::net::{Arrival, Net};
use super::poller::{SimPoller, Watches};
use super::run::Run;
use super::{Inner, Sim};
use crate::{Builder, EventLoop};

/// How long what is sent takes to arrive, unless [`Sim::latency`] sets another time.
const LATENCY: Duration = Duration::from_micros(100);
/// How much later it arrives if it is late.
const LATE: Duration = Duration::from_millis(200);

/// The part of a simulation that is not about decisions.
pub struct World {
    script: RefCell<Script>,
    actors: RefCell<Vec<Option<Box<dyn Actor>>>>,
    pub net: RefCell<Net>,
    pub latency: Cell<Duration>,
    pub late: Cell<Duration>,
    /// The moment at which the loops of the application stop.
    end: Cell<Instant>,
    /// Whether code of a peer runs, and not that of the application.
    is_peer: Cell<bool>,
    clients: Cell<u32>,
    tasks: Cell<u32>,
}

/// What happens at a moment to come, in the order in which it was scheduled.
#[derive(Default)]
struct Script {
    events: BTreeMap<(Instant, u64), Event>,
    next: u64,
}

pub enum Event {
    Arrival(Arrival),
    Call(Box<dyn FnOnce(&Sim)>),
}

/// Something that acts in the world besides the application: the loop of a peer, a scripted client, or a task.
pub trait Actor {
    /// Returns whether it has something to do now.
    fn is_runnable(&self, sim: &Sim) -> bool;
    /// Returns the moment at which it has something to do, if nothing happens before.
    fn deadline(&self) -> Instant;
    /// Does what can be done now. Returns whether it goes on.
    fn turn(&mut self, sim: &Sim) -> bool;
    /// Returns what it has not done, for the trace of a run that has failed.
    fn standing(&self) -> Option<String> {
        None
    }
}

impl Default for World {
    fn default() -> Self {
        Self {
            script: RefCell::default(),
            actors: RefCell::default(),
            net: RefCell::default(),
            latency: Cell::new(LATENCY),
            late: Cell::new(LATE),
            end: Cell::new(Instant::NEVER),
            is_peer: Cell::new(false),
            clients: Cell::new(0),
            tasks: Cell::new(0),
        }
    }
}

impl World {
    /// Schedules an event.
    pub fn push(&self, at: Instant, event: Event) {
        let mut script = self.script.borrow_mut();
        let order = script.next;
        script.next += 1;
        script.events.insert((at, order), event);
    }

    pub fn push_actor(&self, actor: Box<dyn Actor>) {
        self.actors.borrow_mut().push(Some(actor));
    }

    /// Returns whether what runs now is the application, whose calls may go wrong.
    pub fn is_application(&self) -> bool {
        !self.is_peer.get()
    }

    /// Returns the number of a new client, from 1.
    pub fn next_client(&self) -> u32 {
        self.clients.set(self.clients.get() + 1);
        self.clients.get()
    }

    /// Returns the number of a new task, from 1.
    pub fn next_task(&self) -> u32 {
        self.tasks.set(self.tasks.get() + 1);
        self.tasks.get()
    }

    pub fn task(&self, who: u32) -> Option<Rc<Channel>> {
        self.net.borrow().tasks.get(&who).cloned()
    }

    /// Calls code of a peer, or of a task.
    pub fn as_peer<R>(&self, work: impl FnOnce() -> R) -> R {
        let _before = Before::replace(&self.is_peer, true);
        work()
    }

    pub fn end(&self) -> Instant {
        self.end.get()
    }

    /// Plays all events that are due, and gives the peers turns until all of them wait.
    pub fn settle(&self, sim: &Sim) {
        let _before = Before::replace(&self.is_peer, true);
        let mut rounds = 0;
        while self.play(sim, &mut rounds) && self.turn_actors(sim) {
            rounds += 1;
        }
    }

    /// Plays all events that are due. Returns false if they don't come to an end, so that the run has failed.
    ///
    /// `rounds` counts how often an event or a turn has led to another event at this moment.
    fn play(&self, sim: &Sim, rounds: &mut u64) -> bool {
        let known = self.script.borrow().next;
        while *rounds <= sim.run().turns() {
            let Some((order, event)) = self.pop_due(sim.now()) else { return true };
            *rounds += u64::from(order >= known);
            match event {
                Event::Arrival(arrival) => Net::arrive(sim, arrival),
                Event::Call(work) => work(sim),
            }
        }
        let what = "the peers go on for ever";
        sim.fail(what, format_args!("{rounds} rounds, and the time has stood still"));
        false
    }

    fn pop_due(&self, now: Instant) -> Option<(u64, Event)> {
        let mut script = self.script.borrow_mut();
        let first = script.events.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some((first.key().1, first.remove()))
    }

    /// Gives each actor that is runnable a turn. Returns whether there was one.
    fn turn_actors(&self, sim: &Sim) -> bool {
        let mut has_run = false;
        for at in 0.. {
            let Some(place) = self.actors.borrow_mut().get_mut(at).map(Option::take) else { break };
            let Some(mut actor) = place else { continue };
            let is_runnable = actor.deadline() <= sim.now() || actor.is_runnable(sim);
            has_run |= is_runnable;
            if !is_runnable || actor.turn(sim) {
                self.actors.borrow_mut()[at] = Some(actor);
            }
        }
        has_run
    }

    /// Returns the next moment at which something happens by itself.
    pub fn next_moment(&self) -> Instant {
        let actors = self.actors.borrow();
        let soonest = actors.iter().flatten().map(|actor| actor.deadline()).min();
        let event = self.script.borrow().events.first_key_value().map(|(&(at, _), _)| at);
        soonest.unwrap_or(Instant::NEVER).min(event.unwrap_or(Instant::NEVER))
    }

    /// Adds to the trace what the peers have not done.
    pub fn note_standing(&self, run: &Run) {
        for text in self.actors.borrow().iter().flatten().filter_map(|actor| actor.standing()) {
            run.note(|| text);
        }
    }

    /// Drops everything: what is in the world refers to it.
    pub fn clear(&self) {
        let (script, actors, net) = (self.script.take(), self.actors.take(), self.net.take());
        drop((script, actors, net));
    }
}

thread_local! {
    /// The simulations of this OS thread, the newest last.
    static ALL: RefCell<Vec<(u64, Weak<Inner>)>> = const { RefCell::new(Vec::new()) };
    static NEXT: Cell<u64> = const { Cell::new(1) };
}

/// Returns the newest simulation of this OS thread that has not ended: what is opened is opened there.
pub fn current() -> Option<Sim> {
    ALL.with_borrow(|all| all.iter().rev().find_map(|(_, inner)| inner.upgrade())).map(Sim)
}

/// Returns the simulation with this number, unless it has ended or is one of another OS thread.
pub fn find(number: u64) -> Option<Sim> {
    ALL.try_with(|all| {
        let all = all.try_borrow().ok()?;
        all.iter().rev().find(|(of, _)| *of == number)?.1.upgrade().map(Sim)
    })
    .ok()?
}

/// Makes a new simulation the current one, until it ends.
pub fn enter(sim: &Sim) {
    let number = NEXT.replace(NEXT.get() + 1);
    sim.world().net.borrow_mut().simulation = number;
    ALL.with_borrow_mut(|all| {
        all.retain(|(_, inner)| inner.strong_count() > 0);
        all.push((number, Rc::downgrade(&sim.0)));
    });
}

/// Time, and what happens in it.
impl Sim {
    /// Returns the time of the simulation.
    pub fn now(&self) -> Instant {
        self.run().now()
    }

    /// Lets `time` pass, as in a hook that takes long.
    pub fn advance(&self, time: Duration) {
        self.run().set_now(self.now() + time);
    }

    /// Calls `action` when `delay` has passed. Actions at the same moment happen in the order of these calls.
    pub fn after(&self, delay: Duration, action: impl FnOnce(&Self) + 'static) {
        self.at(self.now() + delay, action);
    }

    /// Calls `action` when the moment `at` comes. Actions at the same moment happen in the order of these calls.
    pub fn at(&self, at: Instant, action: impl FnOnce(&Self) + 'static) {
        self.world().push(at, Event::Call(Box::new(action)));
    }

    /// Sets how long what is sent takes to arrive, and how much later it arrives if it is late: 100 µs and 200 ms, unless
    /// this is called. Unix sockets take no time.
    pub fn latency(&self, usual: Duration, late: Duration) {
        self.world().latency.set(usual);
        self.world().late.set(late);
    }

    /// Returns the poller of the application's loop. Its clock is that of the simulation.
    pub fn poller(&self) -> SimPoller {
        SimPoller::of_application(self)
    }

    /// Adds another loop to the simulation, for up to `threads` threads: a peer with hooks of its own. `add` adds its first
    /// threads. It runs when the application's loop waits, and what it does never goes wrong by itself.
    ///
    /// # Panics
    /// If there is not enough memory for the loop.
    pub fn add_loop<S: 'static, A: 'static>(
        &self,
        threads: usize,
        mut state: S,
        add: impl FnOnce(&mut S, Threads<'_, S, A>),
    ) {
        let (mut kpt, watches) = self.inner_loop(threads);
        self.world().as_peer(|| add(&mut state, kpt.threads()));
        self.world().push_actor(Box::new(Peer { kpt, state, watches }));
    }

    pub(super) fn inner_loop<S, A>(&self, threads: usize) -> (Loop<S, A>, Watches) {
        let watches = Watches::default();
        let poller = SimPoller::of_peer(self, watches.clone());
        let kpt = Builder::new().threads(threads).build_on(poller);
        (kpt.expect("memory for the loop of a peer"), watches)
    }

    /// Calls `run`, which runs a loop of this simulation, and ends that loop when the moment `at` has come, or nothing can
    /// happen any more. Returns `Ok` then, and the time is `at`, unless a hook has called `stop` before. The loop can be run
    /// again. With [`Instant::NEVER`], it ends when nothing can happen any more, and the time stays as it is.
    ///
    /// ```
    /// use kpt_std::sim::Sim;
    /// use kpt_std::{Builder, EventLoop, Instant, Thread};
    /// use std::time::Duration;
    ///
    /// let sim = Sim::new();
    /// let mut kpt: EventLoop<u32, (), _> = Builder::new().threads(4).build_on(sim.poller())?;
    /// let hook = |count: &mut u32, thread: Thread<u32>| {
    ///     *count += 1;
    ///     thread.again();
    /// };
    /// kpt.threads().add_timer("tick", Duration::from_millis(10), hook, ())?;
    /// let mut count = 0;
    /// sim.run_until(Instant::from_micros(55_000), || kpt.run(&mut count).map(drop))?;
    /// assert_eq!(count, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns the error of the loop: [`End::Failed`] or [`End::Turns`].
    pub fn run_until(&self, at: Instant, run: impl FnOnce() -> Result<(), End>) -> Result<(), End> {
        let before = Before::replace(&self.world().end, at);
        let result = run();
        drop(before);
        match result {
            Err(End::Idle | End::Time) => {
                let moment = if at == Instant::NEVER { self.now() } else { at };
                self.run().set_now(self.now().max(moment));
                Ok(())
            }
            other => other,
        }
    }
}

/// Restores the value of a cell when this is dropped, also by a panic.
struct Before<'c, T: Copy>(&'c Cell<T>, T);

impl<'c, T: Copy> Before<'c, T> {
    fn replace(cell: &'c Cell<T>, with: T) -> Self {
        Self(cell, cell.replace(with))
    }
}

impl<T: Copy> Drop for Before<'_, T> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// A loop in a simulation.
pub type Loop<S, A> = EventLoop<S, A, SimPoller>;

struct Peer<S, A> {
    kpt: Loop<S, A>,
    state: S,
    watches: Watches,
}

impl<S, A> Actor for Peer<S, A> {
    fn is_runnable(&self, sim: &Sim) -> bool {
        self.watches.is_any_ready(sim)
    }

    fn deadline(&self) -> Instant {
        self.watches.until()
    }

    fn turn(&mut self, _: &Sim) -> bool {
        matches!(self.kpt.turn(&mut self.state), Ok(None))
    }
}

/// How a simulated run ends that no hook has stopped. The error of a [`SimPoller`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// Nothing can happen any more: there is no deadline, no ready source and nothing scheduled. A real loop would wait
    /// for ever. The run of a daemon that stops only by a signal ends in this way:
    /// `assert_eq!(kpt.run(&mut app), Err(End::Idle))`.
    Idle,
    /// The moment of [`Sim::run_until`] has come.
    Time,
    /// The limit of turns has been reached.
    Turns,
    /// The run has failed: a property does not hold, or a client got what it did not expect.
    Failed,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => {
                "nothing can happen any more in the simulation: all wait. If the test expects that, compare the result of \
                 the run with Err(End::Idle)"
            }
            Self::Time => "the simulation has reached the moment that was passed to run_until",
            Self::Turns => "the simulation has used up the turns that Limits::turns allows",
            Self::Failed => "the run of the simulation has failed",
        })
    }
}

impl std::error::Error for End {}
