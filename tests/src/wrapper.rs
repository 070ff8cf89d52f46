//! What a poller around another one must forward: everything. What it adds to that is its own business.
//!
//! It may return early, and change what is found, as any poller may; so it is asked again and again.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use kpt_core::{FixedLoop, Kind, Thread, When};
use kpt_core::{
    Instant, Interest, Readiness, Source,
    poller::{HookCall, Poller, Ready, Unwatchable},
};

use crate::waiting::Threads;

/// How often a wrapper is asked for what it must pass on, sooner or later.
const PATIENCE: usize = 64;

const LOOK_AFTER_HOOKS: u32 = 77;

/// Found by pushing it.
const PUSHED: Source = Source::new(3);
/// Found by asking for it.
const ASKED: Source = Source::new(5);
/// Asked for, and not ready.
const IDLE: Source = Source::new(6);
/// Can't be watched.
const REFUSED: Source = Source::new(9);

/// Checks that a poller around the one that `wrap` is given forwards everything.
///
/// # Panics
/// If it does not.
pub fn check<W: Poller<Error = Failed>>(wrap: impl FnOnce(Inner) -> W) {
    assert_eq!(W::LOOK_AFTER_HOOKS, LOOK_AFTER_HOOKS);
    let told = Rc::<Told>::default();
    let mut wrapper = wrap(Inner(Rc::clone(&told)));
    the_clock_is_the_inner_ones(&told, &mut wrapper);
    changes_and_their_answers_are_passed_on(&told, &mut wrapper);
    until_and_time_are_passed_on(&told, &mut wrapper);
    what_is_pushed_arrives(&told, &mut wrapper);
    questions_reach_the_threads_and_their_answers_the_poller(&told, &mut wrapper);
    a_failed_wait_fails(&told, &mut wrapper);
    a_wait_of_the_host_is_prepared(&told, &mut wrapper);
    hooks_are_announced(&told, wrapper);
}

/// A poller that does what it is told, to put others around.
pub struct Inner(Rc<Told>);

/// The wait has failed, as it was told to.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed;

/// What the inner poller is told, on one side by the suite, on the other by the wrapper.
#[derive(Default)]
struct Told {
    time: Cell<u64>,
    fails: Cell<bool>,
    pushes: Cell<bool>,
    asks: Cell<bool>,
    until: Cell<Option<Instant>>,
    changes: RefCell<Vec<(Source, Interest)>>,
    /// Which threads it has asked for, and whether any of them was ready.
    threads: RefCell<Vec<(Source, Interest)>>,
    is_any_ready: Cell<Option<bool>>,
    /// The call that has begun and not ended, and all that have ended.
    call: Cell<Option<HookCall>>,
    ended: RefCell<Vec<HookCall>>,
}

impl Poller for Inner {
    type Error = Failed;

    const LOOK_AFTER_HOOKS: u32 = LOOK_AFTER_HOOKS;

    fn now(&mut self) -> Instant {
        Instant::from_micros(self.0.time.get())
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        self.0.changes.borrow_mut().push((source, interest));
        if source == REFUSED && !interest.is_none() { Err(Unwatchable) } else { Ok(()) }
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, Failed> {
        self.0.until.set(Some(until));
        if self.0.pushes.get() {
            ready.push(PUSHED, Readiness::READABLE);
        }
        if self.0.asks.get() {
            let mut threads = self.0.threads.borrow_mut();
            threads.clear();
            let is_any_ready = ready.ask(&mut |source, interest| {
                threads.push((source, interest));
                if source == ASKED { Readiness::HANGUP } else { Readiness::NONE }
            });
            self.0.is_any_ready.set(Some(is_any_ready));
        }
        if self.0.fails.take() { Err(Failed) } else { Ok(self.now()) }
    }

    fn prepare(&mut self, until: Instant) -> Result<Instant, Failed> {
        self.0.until.set(Some(until));
        let due = Instant::from_micros(until.as_micros() - 1);
        if self.0.fails.take() { Err(Failed) } else { Ok(due) }
    }

    fn before_hook(&mut self, call: HookCall) {
        assert_eq!(self.0.call.replace(Some(call)), None, "a hook begins within another");
    }

    fn after_hook(&mut self) {
        self.0.ended.borrow_mut().push(self.0.call.take().expect("a hook has begun"));
    }
}

/// One wait without an error, and what it found.
fn wait(
    wrapper: &mut impl Poller<Error = Failed>,
    until: Instant,
    threads: &[(Source, Interest)],
) -> (Vec<(Source, Readiness)>, Instant) {
    let mut threads = Threads::new(threads);
    let time = wrapper.wait(until, &mut Ready::new(&mut threads)).expect("the wait works");
    (threads.found, time)
}

fn the_clock_is_the_inner_ones(told: &Told, wrapper: &mut impl Poller<Error = Failed>) {
    for time in [0, 5_000, 1_000_000] {
        told.time.set(time);
        assert!(wrapper.now() >= Instant::from_micros(time), "rounded up, never down");
    }
    let soon = Instant::from_micros(1_000_000) + Duration::from_secs(1);
    assert!(wrapper.now() < soon, "another clock");
}

fn changes_and_their_answers_are_passed_on(told: &Told, wrapper: &mut impl Poller) {
    let interests = [Interest::READABLE, Interest::WRITABLE, Interest::BOTH, Interest::NONE];
    for (source, answer) in [(PUSHED, Ok(())), (REFUSED, Err(Unwatchable))] {
        for interest in interests {
            let answer = if interest.is_none() { Ok(()) } else { answer };
            assert_eq!(wrapper.modify(source, interest), answer, "{source:?} {interest:?}");
        }
        assert_eq!(told.changes.take(), interests.map(|interest| (source, interest)));
    }
}

/// Nothing makes a wait longer, and it may be as long as that.
fn until_and_time_are_passed_on(told: &Told, wrapper: &mut impl Poller<Error = Failed>) {
    told.time.set(7_000_000);
    for until in [0, 8_000_000, u64::MAX - 1, u64::MAX].map(Instant::from_micros) {
        let (mut is_passed_on, mut has_time) = (false, false);
        for _ in 0..PATIENCE {
            told.until.set(None);
            let (_, time) = wait(wrapper, until, &[]);
            assert!(told.until.get().is_none_or(|told| told <= until), "longer than asked for");
            assert!(time.as_micros() <= 7_000_000, "claims more than has passed");
            is_passed_on |= told.until.get() == Some(until);
            has_time |= time.as_micros() == 7_000_000;
        }
        assert!(is_passed_on && has_time, "until {until:?}");
    }
}

fn what_is_pushed_arrives(told: &Told, wrapper: &mut impl Poller<Error = Failed>) {
    told.pushes.set(true);
    let expected = (PUSHED, Readiness::READABLE);
    let arrives = (0..PATIENCE).any(|_| wait(wrapper, Instant::ZERO, &[]).0.contains(&expected));
    assert!(arrives, "what is pushed does not arrive");
    told.pushes.set(false);
}

/// What the poller is answered decides whether it goes to sleep.
fn questions_reach_the_threads_and_their_answers_the_poller(
    told: &Told,
    wrapper: &mut impl Poller<Error = Failed>,
) {
    told.asks.set(true);
    let idle = [(IDLE, Interest::READABLE), (REFUSED, Interest::WRITABLE)];
    let all = [idle[0], (ASKED, Interest::READABLE), (ASKED, Interest::WRITABLE), idle[1]];
    for (threads, is_any_ready) in [(&idle[..], false), (&all[..], true)] {
        let mut arrives = false;
        told.is_any_ready.set(None);
        for _ in 0..PATIENCE {
            let (found, _) = wait(wrapper, Instant::NEVER, threads);
            arrives |= found.contains(&(ASKED, Readiness::HANGUP));
            assert!(
                told.is_any_ready.get().is_none_or(|told| told == is_any_ready),
                "the poller is told that {} is ready, and sleeps by that",
                if is_any_ready { "nothing" } else { "something" }
            );
        }
        assert!(told.is_any_ready.get().is_some(), "never gets to ask");
        assert_eq!(told.threads.borrow()[..], *threads, "asks for other threads");
        assert_eq!(arrives, is_any_ready, "what was found when asked");
    }
    told.asks.set(false);
}

fn a_failed_wait_fails(told: &Told, wrapper: &mut impl Poller<Error = Failed>) {
    told.fails.set(true);
    let mut nobody = Threads::new(&[]);
    let fails = (0..PATIENCE)
        .any(|_| wrapper.wait(Instant::ZERO, &mut Ready::new(&mut nobody)) == Err(Failed));
    assert!(fails, "an error is lost");
}

fn a_wait_of_the_host_is_prepared(told: &Told, wrapper: &mut impl Poller<Error = Failed>) {
    for until in [8_000_000, u64::MAX].map(Instant::from_micros) {
        told.until.set(None);
        let due = wrapper.prepare(until).expect("it can be prepared");
        assert_eq!(told.until.get(), Some(until), "the host would sleep without the poller");
        assert!(due < until, "the host would sleep longer than the poller says");
    }
    told.fails.set(true);
    assert_eq!(wrapper.prepare(Instant::NEVER), Err(Failed));
}

/// Before and after each hook, also if it panics.
fn hooks_are_announced(told: &Told, wrapper: impl Poller<Error = Failed>) {
    type State<'t> = &'t Told;
    told.time.set(7_000_000);
    let mut kpt = FixedLoop::<_, State<'_>, 2>::new(wrapper);
    let due = kpt.threads().now();
    let execute = kpt.threads().add_execute("execute", is_announced, ()).expect("room for it");
    let timer = kpt.threads().add("timer", When::At(due), is_announced, ()).expect("room for it");
    told.time.set(8_000_000);
    let mut state = told;
    while told.ended.borrow().len() < 2 {
        let turn = catch_unwind(AssertUnwindSafe(|| kpt.turn(&mut state)));
        assert!(told.call.get().is_none(), "a hook has not ended: {turn:?}");
    }
    let ended = told.ended.take();
    let seen = ended.iter().map(|call| (call.id, call.name, call.kind));
    let expected = [(execute, "execute", Kind::Execute), (timer, "timer", Kind::Timer)];
    assert_eq!(Vec::from_iter(seen), expected);
    assert_eq!(ended[1].due, due);
}

/// Returns from the first call, and panics in the second.
fn is_announced(told: &mut &Told, thread: Thread<&Told>) {
    let call = told.call.get().expect("the hook is announced");
    assert_eq!((call.id, call.kind), (thread.id(), thread.kind()));
    if !told.ended.borrow().is_empty() {
        std::panic::resume_unwind(Box::new(()));
    }
}
