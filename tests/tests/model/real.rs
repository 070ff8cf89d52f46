//! The loop under test, on the simulator, with a poller around it that notes what it is told.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use kpt_core::sim::{Faults, SimPoller, World};
use kpt_core::{
    AddError, AgainError, Body, EventLoop, Exit, Hook, Instant, Interest, Link, Parts, Poller,
    Readiness, Ready, SortedList, Source, Storage, Thread, ThreadId, Threads, Timers, Unwatchable,
    Wheel, When,
};

use super::audit::{self, Audit};
use super::event::{Again, Event, Seen, Turned};
use super::input::{Act, Case, Finish, Geometry, Last, Op, Plan, SOURCES, Spec, Want};
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
    /// For a loop without a twin.
    audit: Option<Audit>,
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
    kpt: EventLoop<P, Stage<'o>, Arg, Tables<'o>>,
    stage: Stage<'o>,
}

impl<'o, P: Poller<Error = Turned>> Loop<'o, P> {
    fn new(case: Case, outside: &'o Outside, poller: fn(&'o Outside) -> P) -> Self {
        let kpt = EventLoop::from_parts(poller(outside), Tables::new(case));
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

impl<'o> Stage<'o> {
    fn add(&mut self, threads: &mut Threads<'_, Self, Arg>, spec: Spec) -> Event {
        let tag = self.ids.len() as u32;
        let hook: Hook<Self, Arg> = match spec.hook {
            0 => |stage, thread| stage.run(thread, 0),
            _ => |stage, thread| stage.run(thread, 1),
        };
        let arg = Arg { tag, run: 0, script: spec.script, _anchor: Rc::clone(&self.anchor) };
        let when = self.when(spec.want);
        let (id, event) = match threads.add(spec.name, when, hook, arg) {
            Ok(id) => (Some(id), Event::Added(tag)),
            Err(AddError::Full(arg)) => (None, Event::Full(arg.tag)),
            Err(AddError::Taken(arg)) => (None, Event::Taken(arg.tag)),
        };
        if let Some(id) = id {
            assert!(!self.granted.contains(&id), "id {id} was handed out twice");
            self.granted.push(id);
            self.audit_registration(tag, when);
        }
        self.ids.push(id);
        event
    }

    fn when(&self, want: Want) -> When {
        let now = self.outside.world.now();
        let when = want.when(now);
        if self.audit.is_some() { audit::tame_when(when, now) } else { when }
    }

    fn audit_registration(&mut self, tag: u32, when: When) {
        if let Some(audit) = &mut self.audit {
            audit.registered(tag, when, self.outside.world.now());
        }
    }

    fn audit_end(&mut self, arg: Arg) -> u32 {
        if let Some(audit) = &mut self.audit {
            audit.ended(arg.tag);
        }
        arg.tag
    }

    fn act(&mut self, threads: &mut Threads<'_, Self, Arg>, act: Act, own: Option<u32>) {
        let Some(act) = (if self.audit.is_some() { audit::tame(act) } else { Some(act) }) else {
            return;
        };
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
                let cancelled = cancelled.map(|arg| self.audit_end(arg));
                self.outside.note(Event::Cancelled(cancelled));
            }
            Act::CancelSource(source) => {
                let cancelled = threads.cancel_source(Source::new(source));
                let [reader, writer] =
                    [cancelled.reader, cancelled.writer].map(|arg| Some(self.audit_end(arg?)));
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
        let cancelled = threads.cancel(id).ok().map(|arg| self.audit_end(arg));
        self.outside.note(Event::Cancelled(cancelled));
    }

    /// The hook of all threads.
    fn run(&mut self, mut thread: Thread<'_, Self, Arg>, hook: u8) {
        let Arg { tag, run, script, .. } = thread.arg;
        thread.arg.run += 1;
        let seen = self.look(&mut thread, hook, run);
        self.outside.note(Event::Seen(seen));
        let mut period = None;
        if let Some(audit) = &mut self.audit {
            period = audit.calls(tag, seen.deadline, self.outside.world.now());
            if audit.is_calm {
                return;
            }
        }
        let plan = Plan::of(script, run);
        for act in plan.acts.into_iter().flatten() {
            self.act(&mut thread.threads(), act, Some(tag));
        }
        match plan.finish {
            Finish::Return => {}
            Finish::Again => self.finish(thread, period, Last::Again),
            Finish::AgainWhen(want) => self.finish(thread, period, Last::AgainWhen(want)),
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
                self.finish(thread, period, Last::Again);
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
                self.finish(thread, period, last);
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

    fn finish(&mut self, thread: Thread<'_, Self, Arg>, period: Option<u64>, last: Last) {
        let (tag, deadline) = (thread.arg.tag, thread.deadline());
        let error = match last {
            Last::Return => return,
            Last::End => {
                let (arg, _) = thread.end();
                return self.outside.note(Event::Ended(arg.tag));
            }
            Last::Again => {
                let error = thread.again();
                if let Some(audit) = self.audit.as_mut().filter(|_| error.is_none()) {
                    audit.registered_again(tag, deadline, period);
                }
                error
            }
            Last::AgainWhen(want) => {
                let when = self.when(want);
                let error = thread.again_when(when).err();
                if error.is_none() {
                    self.audit_registration(tag, when);
                }
                error
            }
        };
        self.outside.note(match error {
            None => Event::Again(tag, Again::Done),
            Some(AgainError::Ended(arg)) => Event::Again(arg.tag, Again::Ended),
            Some(AgainError::NoPeriod(arg)) => Event::Again(arg.tag, Again::NoPeriod),
            Some(AgainError::Taken(arg)) => Event::Again(arg.tag, Again::Taken),
        });
    }
}
