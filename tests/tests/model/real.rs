//! The loop under test, on the simulator, with a poller around it that notes what it is told.

mod stage;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use kpt_core::sim::{Faults, SimPoller, World};
use kpt_core::{
    EventLoop, Exit, Instant, Interest, Poller, Queues, Readiness, Ready, SmallQueues, Source,
    Unwatchable,
};
use kpt_tests::loops::{AnyStorage, wheel};

use super::audit::Audit;
use super::event::{Event, Turned};
use super::input::{Case, Geometry, Op, SOURCES};
use stage::{Arg, Scripted, Stage};

/// What is outside of the loop, and what was seen of it in the last operation.
pub struct Outside {
    pub world: World<32>,
    pushed: RefCell<Vec<(u32, Readiness)>>,
    fails: Cell<bool>,
    refused: RefCell<Vec<u32>>,
    pub log: RefCell<Vec<Event>>,
}

impl Outside {
    pub fn new(case: Case) -> Self {
        Self {
            world: World::starting_at(Instant::from_micros(case.start)),
            pushed: RefCell::default(),
            fails: Cell::default(),
            refused: RefCell::default(),
            log: RefCell::default(),
        }
    }

    fn note(&self, event: Event) {
        self.log.borrow_mut().push(event);
    }
}

/// The simulator, with pushes that are not so, failures to order, and notes of what it is told.
struct Recorder<'o, const LOOK: u32> {
    inner: SimPoller<'o>,
    outside: &'o Outside,
}

impl<'o, const LOOK: u32> Recorder<'o, LOOK> {
    fn new(outside: &'o Outside) -> Self {
        Self { inner: SimPoller::new(&outside.world), outside }
    }
}

impl<const LOOK: u32> Poller for Recorder<'_, LOOK> {
    type Error = Turned;
    const LOOK_EVERY: u32 = LOOK;

    fn now(&mut self) -> Instant {
        self.inner.now()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        self.outside.note(Event::Told(source.number(), interest));
        if !interest.is_none() && self.outside.refused.borrow().contains(&source.number()) {
            self.inner.modify(source, Interest::NONE)?;
            return Err(Unwatchable);
        }
        self.inner.modify(source, interest)
    }

    fn wait(&mut self, until: Option<Instant>, ready: &mut Ready<'_>) -> Result<Instant, Turned> {
        let pushed = self.outside.pushed.take();
        for &(source, readiness) in &pushed {
            ready.push(Source::new(source), readiness);
        }
        let until = if pushed.is_empty() { until } else { Some(Instant::ZERO) };
        let result = if self.outside.fails.take() {
            Err(Turned::Broken)
        } else {
            self.inner.wait(until, ready).map_err(|_| Turned::Idle)
        };
        self.outside.note(Event::Waited(result.ok()));
        result
    }
}

fn storage(case: Case) -> AnyStorage {
    let queues: Box<dyn Queues> = match case.geometry {
        Geometry::Small => Box::new(SmallQueues::new()),
        Geometry::Wheel2x3 => wheel::<2, 3>(),
        Geometry::Wheel16x10 => wheel::<16, 10>(),
        Geometry::Wheel64x6 => wheel::<64, 6>(),
    };
    AnyStorage::new(case.capacity, queues)
}

/// A loop of any type.
pub trait Real {
    fn step(&mut self, op: Op);
    fn verify(&mut self) -> Result<(), String>;
    fn kept_args(&self) -> usize;
    fn outside(&self) -> &Outside;
    /// Lets everything happen that can, with hooks that do nothing, and checks that all are called.
    fn come_to_rest(&mut self);
}

pub fn boxed(case: Case, outside: &Outside) -> Box<dyn Real + '_> {
    match case.look_every {
        1 => Box::new(Loop::new(case, outside, Recorder::<1>::new)),
        4 => Box::new(Loop::new(case, outside, Recorder::<4>::new)),
        other => panic!("no poller is asked every {other} hooks"),
    }
}

/// The same with a poller that does what pollers may do, and an audit.
pub fn boxed_with_faults(case: Case, outside: &Outside) -> Box<dyn Real + '_> {
    let mut real = Loop::new(case, outside, |outside| {
        Faults::new(Recorder::<1>::new(outside), outside.world.now().as_micros())
    });
    real.stage.audit = Some(Audit::default());
    Box::new(real)
}

struct Loop<'o, P> {
    case: Case,
    poller: fn(&'o Outside) -> P,
    kpt: EventLoop<P, Stage<'o>, Arg, AnyStorage>,
    stage: Stage<'o>,
}

impl<'o, P: Poller<Error = Turned>> Loop<'o, P> {
    fn new(case: Case, outside: &'o Outside, poller: fn(&'o Outside) -> P) -> Self {
        let kpt = EventLoop::with_storage(poller(outside), storage(case));
        let (ids, granted, anchor) = (Vec::new(), Vec::new(), Rc::new(()));
        let stage = Stage { outside, ids, granted, anchor, audit: None };
        Self { case, poller, kpt, stage }
    }

    fn turn(&mut self) -> Turned {
        let Self { kpt, stage, .. } = self;
        match catch_unwind(AssertUnwindSafe(|| kpt.turn(stage))) {
            Ok(Ok(None)) => Turned::More,
            Ok(Ok(Some(Exit::Empty))) => Turned::Empty,
            Ok(Ok(Some(Exit::Stopped))) => Turned::Stopped,
            Ok(Err(error)) => error,
            Err(panic) if panic.is::<Scripted>() => Turned::Panicked,
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl<P: Poller<Error = Turned>> Real for Loop<'_, P> {
    fn step(&mut self, op: Op) {
        let outside = self.stage.outside;
        outside.log.borrow_mut().clear();
        match op {
            Op::Turn => {
                let turned = self.turn();
                outside.note(Event::Turned(turned));
            }
            Op::Do(act) => self.stage.act(&mut self.kpt.threads(), act, None),
            Op::Push(source, readiness) => outside.pushed.borrow_mut().push((source, readiness)),
            Op::FailWait => outside.fails.set(true),
            Op::Restart => {
                *self = Self::new(self.case, outside, self.poller);
                outside.note(Event::Dropped);
            }
        }
        let length = self.kpt.threads().len();
        outside.note(Event::Length(length));
    }

    fn verify(&mut self) -> Result<(), String> {
        self.kpt.threads().verify().map_err(|broken| format!("verify: {broken}"))
    }

    fn kept_args(&self) -> usize {
        Rc::strong_count(&self.stage.anchor) - 1
    }

    fn outside(&self) -> &Outside {
        self.stage.outside
    }

    fn come_to_rest(&mut self) {
        let Outside { world, refused, .. } = self.stage.outside;
        if let Some(audit) = &mut self.stage.audit {
            audit.is_calm = true;
        }
        refused.take();
        for source in 0..SOURCES {
            let both = Readiness::READABLE | Readiness::WRITABLE;
            world.set(Source::new(source), both).expect("room for all sources");
        }
        for _ in 0..20_000 {
            if let Turned::Empty | Turned::Idle = self.turn() {
                break;
            }
        }
        let Some(audit) = &self.stage.audit else { return };
        audit.check_all_called(world.now());
    }
}
