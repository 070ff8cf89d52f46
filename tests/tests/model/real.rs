//! The loop under test, on the simulator, with a poller around it that notes what it is told.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use kpt_core::sim::{SimPoller, World};
use kpt_core::{
    AddError, AgainError, Body, EventLoop, Exit, Hook, Instant, Interest, Link, Parts, Poller,
    Readiness, Ready, SortedList, Source, Storage, Thread, ThreadId, Threads, Timers, Unwatchable,
    Wheel,
};

use super::event::{Again, Event, Seen, Turned};
use super::input::{Act, Case, Finish, Geometry, Last, Op, Plan, Spec};
use super::twin::nth_last;

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

/// Tables of any size with any timer structure.
struct Tables<'o> {
    links: Vec<Link>,
    bodies: Vec<Body<Stage<'o>, Arg>>,
    timers: Box<dyn Timers>,
}

impl Tables<'_> {
    fn new(case: Case) -> Self {
        let timers: Box<dyn Timers> = match case.geometry {
            Geometry::Sorted => Box::new(SortedList::new()),
            Geometry::Wheel2x3 => Box::new(Wheel::<2, 3>::new()),
            Geometry::Wheel16x10 => Box::new(Wheel::<16, 10>::new()),
            Geometry::Wheel64x6 => Box::new(Wheel::<64, 6>::new()),
        };
        let mut bodies = Vec::new();
        bodies.resize_with(case.capacity, || Body::VACANT);
        Self { links: vec![Link::VACANT; case.capacity], bodies, timers }
    }
}

impl<'o> Storage<Stage<'o>, Arg> for Tables<'o> {
    fn lend(&mut self) -> Parts<'_, Stage<'o>, Arg> {
        Parts { links: &mut self.links, bodies: &mut self.bodies, timers: &mut *self.timers }
    }
}

/// The application: the ids that it was given.
struct Stage<'o> {
    outside: &'o Outside,
    /// By tag.
    ids: Vec<Option<ThreadId>>,
    granted: Vec<ThreadId>,
    /// How many arguments are alive: its other owners.
    anchor: Rc<()>,
}

struct Arg {
    tag: u32,
    run: u32,
    script: u32,
    _anchor: Rc<()>,
}

/// What a hook panics with when it should.
struct Scripted;

/// A loop of any type.
pub trait Real {
    fn step(&mut self, op: Op);
    fn verify(&mut self) -> Result<(), String>;
    fn kept_args(&self) -> usize;
    fn outside(&self) -> &Outside;
}

pub fn boxed(case: Case, outside: &Outside) -> Box<dyn Real + '_> {
    match case.look_every {
        1 => Box::new(Loop::<1>::new(case, outside)),
        4 => Box::new(Loop::<4>::new(case, outside)),
        other => panic!("no poller is asked every {other} hooks"),
    }
}

struct Loop<'o, const LOOK: u32> {
    case: Case,
    kpt: EventLoop<Recorder<'o, LOOK>, Stage<'o>, Arg, Tables<'o>>,
    stage: Stage<'o>,
}

impl<'o, const LOOK: u32> Loop<'o, LOOK> {
    fn new(case: Case, outside: &'o Outside) -> Self {
        let poller = Recorder { inner: SimPoller::new(&outside.world), outside };
        let kpt = EventLoop::from_parts(poller, Tables::new(case));
        let stage = Stage { outside, ids: Vec::new(), granted: Vec::new(), anchor: Rc::new(()) };
        Self { case, kpt, stage }
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

impl<const LOOK: u32> Real for Loop<'_, LOOK> {
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
                *self = Self::new(self.case, outside);
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
}

impl<'o> Stage<'o> {
    fn add(&mut self, threads: &mut Threads<'_, Self, Arg>, spec: Spec) -> Event {
        let tag = self.ids.len() as u32;
        let hook: Hook<Self, Arg> = match spec.hook {
            0 => |stage, thread| stage.run(thread, 0),
            _ => |stage, thread| stage.run(thread, 1),
        };
        let arg = Arg { tag, run: 0, script: spec.script, _anchor: Rc::clone(&self.anchor) };
        let when = spec.want.when(self.outside.world.now());
        let (id, event) = match threads.add(spec.name, when, hook, arg) {
            Ok(id) => (Some(id), Event::Added(tag)),
            Err(AddError::Full(arg)) => (None, Event::Full(arg.tag)),
            Err(AddError::Taken(arg)) => (None, Event::Taken(arg.tag)),
        };
        if let Some(id) = id {
            assert!(!self.granted.contains(&id), "id {id} was handed out twice");
            self.granted.push(id);
        }
        self.ids.push(id);
        event
    }

    fn act(&mut self, threads: &mut Threads<'_, Self, Arg>, act: Act, own: Option<u32>) {
        let Outside { world, refused, .. } = self.outside;
        match act {
            Act::Add(spec) => {
                let event = self.add(threads, spec);
                self.outside.note(event);
            }
            Act::Cancel(back) => self.cancel(threads, nth_last(&self.granted, back)),
            Act::CancelOwn => {
                let id = own.and_then(|tag| *self.ids.get(tag as usize)?);
                self.cancel(threads, id);
            }
            Act::Forge(word) => {
                let id = ThreadId::from_raw(word).filter(|id| !self.granted.contains(id));
                let cancelled = id.and_then(|id| threads.cancel(id).ok());
                self.outside.note(Event::Cancelled(cancelled.map(|arg| arg.tag)));
            }
            Act::CancelSource(source) => {
                let cancelled = threads.cancel_source(Source::new(source));
                let [reader, writer] =
                    [cancelled.reader, cancelled.writer].map(|arg| arg.map(|arg| arg.tag));
                self.outside.note(Event::SourceCancelled { reader, writer });
            }
            Act::Stop => threads.stop(),
            Act::Now => {
                let now = threads.now();
                self.outside.note(Event::Now(now));
            }
            Act::Advance(micros) => world.advance(Duration::from_micros(micros)),
            Act::StepBack(micros) => {
                let now = world.now().as_micros().saturating_sub(micros);
                world.set_now(Instant::from_micros(now));
            }
            Act::Set(source, readiness) => {
                world.set(Source::new(source), readiness).expect("room for all sources");
            }
            Act::Clear(source, readiness) => world.clear(Source::new(source), readiness),
            Act::Later(micros, source, readiness) => {
                let at = world.now() + Duration::from_micros(micros);
                // Without room it does not happen, in the twin neither.
                let _ = world.at(at, Source::new(source), readiness);
            }
            Act::Refuse(source, is_refused) => {
                refused.borrow_mut().retain(|&other| other != source);
                if is_refused {
                    refused.borrow_mut().push(source);
                }
            }
        }
    }

    fn cancel(&mut self, threads: &mut Threads<'_, Self, Arg>, id: Option<ThreadId>) {
        let Some(id) = id else { return };
        let cancelled = threads.cancel(id).ok();
        self.outside.note(Event::Cancelled(cancelled.map(|arg| arg.tag)));
    }

    /// The hook of all threads.
    fn run(&mut self, mut thread: Thread<'_, Self, Arg>, hook: u8) {
        let Arg { tag, run, script, .. } = thread.arg;
        thread.arg.run += 1;
        let seen = self.look(&mut thread, hook, run);
        self.outside.note(Event::Seen(seen));
        let plan = Plan::of(script, run);
        for act in plan.acts.into_iter().flatten() {
            self.act(&mut thread.threads(), act, Some(tag));
        }
        match plan.finish {
            Finish::Return => {}
            Finish::Again => self.finish(thread, Last::Again),
            Finish::AgainWhen(want) => self.finish(thread, Last::AgainWhen(want)),
            Finish::End(act) => {
                let (arg, mut threads) = thread.end();
                self.outside.note(Event::Ended(arg.tag));
                drop(arg);
                if let Some(act) = act {
                    self.act(&mut threads, act, Some(tag));
                }
            }
            // Without the panic hook, and so without a word.
            Finish::Panic => resume_unwind(Box::new(Scripted)),
            Finish::AgainAndPanic => {
                self.finish(thread, Last::Again);
                resume_unwind(Box::new(Scripted));
            }
            Finish::DropSource(spec, last) => {
                if let Some(source) = seen.source {
                    self.act(&mut thread.threads(), Act::CancelSource(source), Some(tag));
                }
                if let Some(spec) = spec {
                    self.act(&mut thread.threads(), Act::Add(spec), Some(tag));
                }
                let seen = self.look(&mut thread, hook, run);
                self.outside.note(Event::Seen(Seen { readiness: Readiness::NONE, ..seen }));
                self.finish(thread, last);
            }
        }
    }

    fn look(&self, thread: &mut Thread<'_, Self, Arg>, hook: u8, run: u32) -> Seen {
        let tag = thread.arg.tag;
        Seen {
            tag,
            run,
            hook,
            name: thread.name(),
            kind: thread.kind(),
            source: thread.source().map(Source::number),
            readiness: thread.readiness(),
            deadline: thread.deadline(),
            has_its_id: self.ids.get(tag as usize) == Some(&Some(thread.id())),
            length: thread.threads().len(),
        }
    }

    fn finish(&self, thread: Thread<'_, Self, Arg>, last: Last) {
        let tag = thread.arg.tag;
        let error = match last {
            Last::Return => return,
            Last::End => {
                let (arg, _) = thread.end();
                return self.outside.note(Event::Ended(arg.tag));
            }
            Last::Again => thread.again(),
            Last::AgainWhen(want) => thread.again_when(want.when(self.outside.world.now())).err(),
        };
        self.outside.note(match error {
            None => Event::Again(tag, Again::Done),
            Some(AgainError::Ended(arg)) => Event::Again(arg.tag, Again::Ended),
            Some(AgainError::NoPeriod(arg)) => Event::Again(arg.tag, Again::NoPeriod),
            Some(AgainError::Taken(arg)) => Event::Again(arg.tag, Again::Taken),
        });
    }
}
