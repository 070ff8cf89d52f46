//! A naive loop, written from what the documentation says: one vector of threads, searched from end to end. A number
//! that counts up says what came before what.

mod hooks;
mod turn;

use kpt_core::{Instant, Interest, Kind, Readiness, When};

use super::event::{Again, Event, Turned};
use super::input::{Case, Op, Spec, Want};
use super::world::World;

/// No timer is ever due at this deadline, and the time does not get there.
const NEVER: u64 = u64::MAX;

#[derive(Clone, Debug)]
pub struct Twin {
    case: Case,
    threads: Vec<Thread>,
    /// Tags of all threads that were ever added, in order: whose ids there are.
    granted: Vec<u32>,
    tags: u32,
    order: u64,
    /// The latest that a wait returned.
    time: u64,
    /// The latest that the clock is known to have said.
    clock: u64,
    hooks_since_look: u32,
    is_stopping: bool,
    running: Option<u32>,
    world: World,
    pub log: Vec<Event>,
}

#[derive(Clone, Copy, Debug)]
struct Thread {
    tag: u32,
    run: u32,
    spec: Spec,
    kind: Kind,
    source: Option<u32>,
    deadline: u64,
    period: Option<u64>,
    readiness: Readiness,
    state: State,
}

/// With the number that orders threads in the same state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Running,
    /// The poller has yet to be told.
    New(u64),
    Watched,
    Ready(u64),
    /// Due at that moment; a deadline that had passed counts as the time of adding.
    Timer(u64, u64),
    Due(u64),
    Pending(u64),
}

/// A hook has panicked.
struct Panicked;

impl Thread {
    fn interest(&self) -> Interest {
        match self.kind {
            Kind::Read => Interest::READABLE,
            Kind::Write => Interest::WRITABLE,
            _ => Interest::NONE,
        }
    }

    /// A reader or writer that has cancelled its own source.
    fn has_given_up(&self) -> bool {
        !self.interest().is_none() && self.source.is_none()
    }

    fn is(&self, source: u32, kind: Kind) -> bool {
        self.source == Some(source) && self.kind == kind
    }
}

impl Twin {
    pub fn new(case: Case) -> Self {
        Self {
            case,
            threads: Vec::new(),
            granted: Vec::new(),
            tags: 0,
            order: 0,
            time: 0,
            clock: 0,
            hooks_since_look: 0,
            is_stopping: false,
            running: None,
            world: World::starting_at(case.start),
            log: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.threads.len()
    }

    pub fn case(&self) -> Case {
        self.case
    }

    pub fn step(&mut self, op: Op) {
        self.log.clear();
        match op {
            Op::Turn => {
                let turned = self.turn().unwrap_or(Turned::Panicked);
                self.log.push(Event::Turned(turned));
                self.settle();
            }
            Op::Do(act) => self.act(act, None),
            Op::Push(source, readiness) => self.world.pushed.push((source, readiness)),
            Op::FailWait => self.world.fails = true,
            Op::Restart => {
                let mut world = std::mem::take(&mut self.world);
                world.forget();
                *self = Self { world, log: vec![Event::Dropped], ..Self::new(self.case) };
            }
        }
        self.log.push(Event::Length(self.threads.len()));
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    fn find(&self, tag: u32) -> Option<usize> {
        self.threads.iter().position(|thread| thread.tag == tag)
    }

    fn find_source(&self, source: u32, kind: Kind) -> Option<usize> {
        self.threads.iter().position(|thread| thread.is(source, kind))
    }

    /// The tag of the thread with the smallest of the numbers that `order` gives to some.
    fn first<K: Ord>(&self, order: impl Fn(&Thread) -> Option<K>) -> Option<u32> {
        let ordered = self.threads.iter().filter_map(|thread| Some((order(thread)?, thread.tag)));
        ordered.min_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, tag)| tag)
    }

    /// The time as timers see it: they end one microsecond before `NEVER`.
    fn position(&self) -> u64 {
        self.time.min(NEVER - 1)
    }
}

/// Adding, re-arming, ending.
impl Twin {
    fn now(&mut self) -> u64 {
        // A step back is a clock that stands still, also for what a wait has returned.
        self.clock = self.clock.max(self.time).max(self.world.now);
        self.clock
    }

    fn when(&self, want: Want) -> When {
        want.when(Instant::from_micros(self.world.now))
    }

    fn add(&mut self, spec: Spec) -> Event {
        let tag = self.tags;
        self.tags += 1;
        let when = self.when(spec.want);
        if let Some(source) = when.source()
            && self.find_source(source.number(), when.kind()).is_some()
        {
            return Event::Taken(tag);
        }
        // The clock is read before anything changes, and also when there is no room.
        let now = self.now_for(when);
        if self.threads.len() == self.case.capacity {
            return Event::Full(tag);
        }
        self.threads.push(Thread {
            tag,
            run: 0,
            spec,
            kind: Kind::Execute,
            source: None,
            deadline: 0,
            period: None,
            readiness: Readiness::NONE,
            state: State::Running,
        });
        self.granted.push(tag);
        self.arm(self.threads.len() - 1, when, now);
        Event::Added(tag)
    }

    fn now_for(&mut self, when: When) -> u64 {
        if let When::After(_) = when { self.now() } else { 0 }
    }

    fn arm(&mut self, at: usize, when: When, now: u64) {
        let order = self.next_order();
        let position = self.position();
        let thread = &mut self.threads[at];
        thread.kind = when.kind();
        thread.source = when.source().map(|source| source.number());
        thread.readiness = Readiness::NONE;
        match when {
            When::Readable(_) | When::Writable(_) => thread.state = State::New(order),
            When::Now => thread.state = State::Pending(order),
            When::At(deadline) => thread.expect(deadline.as_micros(), position, order),
            When::After(delay) => {
                let micros = u64::try_from(delay.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
                thread.period = Some(micros);
                thread.expect(now.saturating_add(micros), position, order);
            }
        }
    }

    fn drop_thread(&mut self, at: usize) -> u32 {
        let thread = self.threads.remove(at);
        if self.running == Some(thread.tag) {
            self.running = None;
        }
        if let Some(source) = thread.source {
            self.tell(source);
        }
        thread.tag
    }

    fn cancel_source(&mut self, source: u32) -> Event {
        let own = self.running;
        let mut cancelled = [None; 2];
        let mut is_any = false;
        for (kind, tag) in [Kind::Read, Kind::Write].into_iter().zip(&mut cancelled) {
            let Some(at) = self.find_source(source, kind) else { continue };
            let thread = &mut self.threads[at];
            is_any = true;
            if own == Some(thread.tag) {
                // It has its argument itself, and its slot until the hook returns.
                thread.source = None;
            } else {
                *tag = Some(thread.tag);
                self.threads.remove(at);
            }
        }
        if is_any {
            self.tell(source);
        }
        let [reader, writer] = cancelled;
        Event::SourceCancelled { reader, writer }
    }

    fn again(&mut self, tag: u32) -> Again {
        let Some(at) = self.find(tag).filter(|&at| !self.threads[at].has_given_up()) else {
            return Again::Ended;
        };
        let order = self.next_order();
        let (time, position) = (self.time, self.position());
        let thread = &mut self.threads[at];
        match (thread.kind, thread.period) {
            (Kind::Timer, None) => return Again::NoPeriod,
            (Kind::Timer, Some(period)) => {
                let deadline = next_on_grid(thread.deadline, period, time);
                thread.expect(deadline, position, order);
            }
            (Kind::Execute, _) => thread.state = State::Pending(order),
            // The poller may have let go of a source with an error.
            _ if thread.readiness.is_error() => thread.state = State::New(order),
            _ => thread.state = State::Watched,
        }
        thread.readiness = Readiness::NONE;
        self.running = None;
        Again::Done
    }

    fn again_when(&mut self, tag: u32, want: Want) -> Again {
        let when = self.when(want);
        let Some(at) = self.find(tag).filter(|&at| !self.threads[at].has_given_up()) else {
            return Again::Ended;
        };
        let source = when.source().map(|source| source.number());
        if let Some(source) = source
            && self.find_source(source, when.kind()).is_some_and(|other| other != at)
        {
            return Again::Taken;
        }
        let left = self.threads[at].source.filter(|&left| source != Some(left));
        let now = self.now_for(when);
        self.arm(at, when, now);
        if let Some(left) = left {
            self.tell(left);
        }
        self.running = None;
        Again::Done
    }

    /// A thread that runs and has not been re-armed has ended.
    fn settle(&mut self) {
        if let Some(at) = self.running.and_then(|tag| self.find(tag)) {
            self.drop_thread(at);
        }
    }
}

impl Thread {
    fn expect(&mut self, deadline: u64, position: u64, order: u64) {
        self.deadline = deadline;
        self.state = State::Timer(deadline.max(position), order);
    }
}

/// The first of `last` + n × `period`, n > 0, that is not before `time`.
fn next_on_grid(last: u64, period: u64, time: u64) -> u64 {
    let (last, period, time) = (u128::from(last), u128::from(period), u128::from(time));
    let missed = time.saturating_sub(last + period).checked_next_multiple_of(period);
    let next = missed.map_or(time.max(last), |missed| last + period + missed);
    u64::try_from(next).unwrap_or(NEVER)
}

/// What the poller is told and finds.
impl Twin {
    /// Says all that the source's threads want, the new ones included. Whether the poller can't watch that: then they
    /// are new again, and those that are ready or run have an error.
    fn tell(&mut self, source: u32) -> bool {
        let of_source = |thread: &&mut Thread| thread.source == Some(source);
        let wanted = self.threads.iter_mut().filter(of_source);
        let interest = wanted.fold(Interest::NONE, |sum, thread| sum | thread.interest());
        self.log.push(Event::Told(source, interest));
        let is_refused = !self.world.modify(source, interest);
        let order = self.next_order();
        for thread in self.threads.iter_mut().filter(of_source) {
            match thread.state {
                State::New(_) | State::Watched if is_refused => thread.state = State::New(order),
                State::New(_) => thread.state = State::Watched,
                State::Ready(_) | State::Running if is_refused => {
                    thread.readiness = thread.readiness | Readiness::ERROR;
                }
                _ => {}
            }
        }
        is_refused
    }

    fn tell_new(&mut self) {
        let oldest = |thread: &Thread| match thread.state {
            State::New(order) => Some(order),
            _ => None,
        };
        while let Some(at) = self.first(oldest).and_then(|tag| self.find(tag)) {
            let source = self.threads[at].source.unwrap_or(0);
            if self.tell(source) {
                self.found(source, Readiness::ERROR);
            }
        }
    }

    fn found(&mut self, source: u32, readiness: Readiness) {
        for kind in [Kind::Write, Kind::Read] {
            let order = self.next_order();
            let Some(at) = self.find_source(source, kind) else { continue };
            let thread = &mut self.threads[at];
            let seen = readiness.seen_by(thread.interest());
            if seen.is_none() {
                continue;
            }
            match thread.state {
                State::New(_) | State::Watched => thread.state = State::Ready(order),
                State::Ready(_) => {}
                _ => continue,
            }
            thread.readiness = thread.readiness | seen;
        }
    }
}

/// The one that was put in so many before the last one, round and round.
pub fn nth_last<T: Copy>(all: &[T], back: u32) -> Option<T> {
    let back = (back as usize).checked_rem(all.len())?;
    all.iter().rev().nth(back).copied()
}
