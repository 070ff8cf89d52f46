//! Faults of loops found by running kpt, by their numbers; those of boards are `faults_r_board.rs`, R9 is in kpt-core
//! itself, since it needs the feature `log`, R10 in `sizes.rs`, R40 in `contract.rs`.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use kpt_core::sim::{Faults, SimPoller, World};
use kpt_core::{
    Interest, Next,
    poller::{Poller, Ready, Unwatchable},
};
use kpt_std::{Exit, Instant, Readiness, Source, Tasks, Thread, When, source};
use kpt_tests::bench::Machine;
use kpt_tests::loops::{AnyLoop, BoxedLoop, Shape, any_loop, sim_loop};
use kpt_tests::pollers::{Calls, Counting};
use kpt_tests::real::{Backend, Real};
use kpt_tests::rigs::{drain, pair};
use kpt_tests::sys;
use kpt_tests::time::millis;

/// Records until when each wait may sleep, and when it ended.
struct Recorder<P> {
    inner: P,
    waits: Rc<RefCell<Vec<(Instant, Instant)>>>,
}

impl<P: Poller> Poller for Recorder<P> {
    type Error = P::Error;

    const LOOK_AFTER_HOOKS: u32 = P::LOOK_AFTER_HOOKS;

    fn now(&mut self) -> Instant {
        self.inner.now()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        self.inner.modify(source, interest)
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, P::Error> {
        let now = self.inner.wait(until, ready)?;
        self.waits.borrow_mut().push((until, now));
        Ok(now)
    }
}

/// Adds timers of no delay, from outside and from hooks, and re-arms them in each way.
fn add_timers_of_zero<E: core::fmt::Debug>(kpt: &mut dyn AnyLoop<u32, (), Error = E>) {
    fn readd(runs: &mut u32, thread: Thread<u32>) {
        *runs += 1;
        if *runs < 100 {
            thread.end().1.add_timer("new", Duration::ZERO, readd, ()).unwrap();
        }
    }
    let again = |runs: &mut u32, thread: Thread<u32>| {
        *runs += 1;
        if *runs < 100 {
            thread.again();
        }
    };
    let again_when = |runs: &mut u32, thread: Thread<u32>| {
        *runs += 1;
        if *runs < 100 {
            thread.again_when(When::After(Duration::ZERO)).unwrap();
        }
    };
    for hook in [readd, again, again_when] {
        kpt.threads().add_timer("timer", Duration::ZERO, hook, ()).unwrap();
    }
}

#[test]
fn r01_a_delay_of_zero_does_not_sleep() {
    for (shape, backend) in Shape::all().flat_map(|shape| Backend::both().map(move |b| (shape, b)))
    {
        let waits = Rc::default();
        let poller = Recorder { inner: backend.poller(), waits: Rc::clone(&waits) };
        let mut kpt = any_loop(poller, 4, shape);
        add_timers_of_zero(&mut *kpt);
        let mut runs = 0;
        assert_eq!(kpt.run_verified(&mut runs).unwrap(), Exit::Empty);
        assert!(runs >= 100);
        let mut last = Instant::ZERO;
        for (until, now) in waits.take() {
            assert!(until <= last, "sleeps from {last:?} to {until:?}");
            last = now;
        }
    }
}

/// The next tick of the clock is 10 ms away.
#[test]
fn r01_a_delay_of_zero_does_not_sleep_for_a_tick() {
    for shape in Shape::all() {
        let machine = Machine::new();
        machine.may_sleep.set(false);
        let mut kpt = any_loop(machine.poller::<10_000>(), 4, shape);
        add_timers_of_zero(&mut *kpt);
        let mut runs = 0;
        assert_eq!(kpt.run_verified(&mut runs), Ok(Exit::Empty));
        assert!(runs >= 100);
    }
}

/// A moment that has passed counts as now, behind what is due already: before the first turn as after it.
#[test]
fn r05_moments_that_have_passed_keep_one_order() {
    let note = |ran: &mut Vec<u32>, thread: Thread<Vec<u32>, u32>| ran.push(thread.arg);
    for shape in Shape::all() {
        for has_turned in [false, true] {
            let world = World::starting_at(Instant::from_micros(1_000));
            let mut kpt = sim_loop(&world, 12, shape);
            let mut ran = Vec::new();
            if has_turned {
                kpt.threads().add_timer("first", Duration::ZERO, note, 99).unwrap();
                kpt.turn(&mut ran).unwrap();
                assert_eq!(ran, [99]);
                ran.clear();
            }
            let passed = [500, 300, 1_000, 0, 700, 999].map(Instant::from_micros).map(When::At);
            let zero = [When::After(Duration::ZERO); 2];
            for (arg, when) in (0..).zip(passed.into_iter().chain(zero)) {
                kpt.threads().add("passed", when, note, arg).unwrap();
            }
            kpt.threads().add_timer("later", Duration::from_micros(1), note, 8).unwrap();
            assert_eq!(kpt.run_verified(&mut ran), Ok(Exit::Empty));
            assert_eq!(ran, Vec::from_iter(0..9), "has turned: {has_turned}");
        }
    }
}

/// An execute thread of long slices does not keep the poller from being asked: only short ones run in a row.
#[test]
fn r16_long_slices_of_work_do_not_hold_up_a_timer() {
    const SLICE: Duration = Duration::from_millis(2);
    struct State<'w> {
        world: &'w World,
        latest: Duration,
        ticks: u32,
    }
    for (shape, width) in Shape::both().flat_map(|shape| [(shape, 1), (shape, 30)]) {
        let (world, calls) = (World::<32>::new(), Calls::default());
        let poller = Counting::<_, 1_024>::new(SimPoller::new(&world), &calls);
        let mut kpt = any_loop::<_, State<'_>, ()>(poller, 32, shape);
        for _ in 0..width {
            let work = |state: &mut State, thread: Thread<State>| {
                state.world.advance(SLICE);
                thread.again();
            };
            kpt.threads().add_execute("work", work, ()).unwrap();
        }
        let tick = |state: &mut State, thread: Thread<State>| {
            let due = thread.deadline().unwrap();
            let late = state.world.now().saturating_duration_since(due);
            state.latest = state.latest.max(late);
            state.ticks += 1;
            thread.again();
        };
        kpt.threads().add_timer("tick", millis(10), tick, ()).unwrap();
        let mut state = State { world: &world, latest: Duration::ZERO, ticks: 0 };
        kpt.turn_until(&mut state, &mut |state| state.ticks == 100);
        assert!(state.latest <= millis(5), "late by {:?} beside {width}", state.latest);
    }
}

/// The hooks of what a wait has found do not count: the first slice after them is noticed.
#[test]
fn r16_long_slices_after_many_found_hooks_do_not_hold_up_a_timer() {
    for shape in Shape::both() {
        let (world, calls) = (World::<32>::new(), Calls::default());
        let poller = Counting::<_, 1_024>::new(SimPoller::new(&world), &calls);
        let mut kpt = any_loop::<_, (&World, Duration), ()>(poller, 64, shape);
        for _ in 0..17 {
            let found = |_: &mut (&World, Duration), thread: Thread<(&World, Duration)>| {
                let slice = |state: &mut (&World, Duration), _: Thread<(&World, Duration)>| {
                    state.0.advance(millis(5));
                };
                thread.end().1.add_execute("slice", slice, ()).unwrap();
            };
            kpt.threads().add_timer("found", millis(1), found, ()).unwrap();
        }
        let tick = |state: &mut (&World, Duration), mut thread: Thread<(&World, Duration)>| {
            state.1 = thread.lateness();
        };
        kpt.threads().add_timer("tick", millis(2), tick, ()).unwrap();
        let mut state = (&world, Duration::ZERO);
        assert_eq!(kpt.run_verified(&mut state), Ok(Exit::Empty));
        assert!(state.1 <= millis(5), "late by {:?} on {shape:?}", state.1);
    }
}

/// Where slices are short, the poller is asked as seldom as it says.
#[test]
fn r16_short_slices_of_work_run_in_a_row() {
    for shape in Shape::both() {
        let (world, calls) = (World::<32>::new(), Calls::default());
        let poller = Counting::<_, 1_024>::new(SimPoller::new(&world), &calls);
        let mut kpt = any_loop::<_, u32, ()>(poller, 8, shape);
        for _ in 0..7 {
            let work = |runs: &mut u32, thread: Thread<u32>| {
                *runs += 1;
                thread.again();
            };
            kpt.threads().add_execute("work", work, ()).unwrap();
        }
        let mut runs = 0;
        kpt.turn_until(&mut runs, &mut |&runs| runs >= 10 * 1_024);
        // One of these is the first call of `threads`.
        assert!((10..=11).contains(&calls.waits.get()), "{} waits", calls.waits.get());
    }
}

/// What is outside of a loop that is polled.
struct Outside<'o> {
    source: Source,
    /// Makes the source readable, or not.
    set: &'o dyn Fn(bool),
    /// Lets 50 ms pass.
    pass: &'o dyn Fn(),
    /// A number that grows by sleeping.
    sleeps: &'o dyn Fn() -> u64,
    /// How many polls it may take to find what is there: the poller may return with nothing, and find what is not there.
    patience: u32,
}

type Ran = Vec<&'static str>;

/// A loop that is polled, what ran in it, and how much it has slept.
struct Polled<'o, 'p, E> {
    outside: Outside<'o>,
    kpt: BoxedLoop<'p, Ran, (), E>,
    ran: Ran,
    slept: u64,
}

impl<E: core::fmt::Debug> Polled<'_, '_, E> {
    fn poll(&mut self) -> Next {
        let before = (self.outside.sleeps)();
        let next = self.kpt.poll(&mut self.ran).unwrap();
        self.slept += (self.outside.sleeps)() - before;
        self.kpt.threads().verify().unwrap();
        next
    }

    /// Polls until the loop wants to wait, and returns until when.
    fn poll_until_wait(&mut self) -> Instant {
        for _ in 0..=self.outside.patience {
            match self.poll() {
                Next::Wait(until) => return until,
                Next::Again => {}
                Next::Exit(exit) => panic!("the loop has ended: {exit}"),
            }
        }
        panic!("does not want to wait, {:?}", self.ran);
    }

    /// Polls until a thread has run, which the loop has to say.
    fn poll_until_ran(&mut self, name: &str) {
        self.ran.clear();
        for _ in 0..self.outside.patience {
            let before = self.ran.len();
            let next = self.poll();
            assert!(self.ran.len() == before || next == Next::Again, "{:?}, {next:?}", self.ran);
            if self.ran.contains(&name) {
                return;
            }
        }
        panic!("{name} is not called: {:?}", self.ran);
    }
}

fn poll_returns_and_says_when<E: core::fmt::Debug>(
    kpt: BoxedLoop<'_, Ran, (), E>,
    outside: Outside<'_>,
) -> u64 {
    let note = |ran: &mut Ran, thread: Thread<Ran>| ran.push(thread.name());
    let note_again = |ran: &mut Ran, thread: Thread<Ran>| {
        ran.push(thread.name());
        thread.again();
    };
    let source = outside.source;
    let mut polled = Polled { outside, kpt, ran: Ran::new(), slept: 0 };
    assert_eq!(polled.poll(), Next::Exit(Exit::Empty));

    // Execute threads run. While one is pending, nobody waits.
    polled.kpt.threads().add_execute("execute", note, ()).unwrap();
    let again = polled.kpt.threads().add_execute("again", note_again, ()).unwrap();
    let hour = Duration::from_secs(3_600);
    let later = polled.kpt.threads().add_timer("later", hour, note, ()).unwrap();
    polled.kpt.threads().add_timer("timer", millis(20), note, ()).unwrap();
    let soonest = polled.kpt.threads().now() + millis(20);
    let mut polls = 0;
    // With a clock that runs ahead, the time of one poll may be over after the first.
    while polled.ran.len() < 3 && polls < 2 * polled.outside.patience {
        assert_eq!(polled.poll(), Next::Again);
        polls += 1;
    }
    assert_eq!(polled.ran, ["execute", "again", "again"]);
    polled.kpt.threads().cancel(again).unwrap();
    let until = polled.poll_until_wait();
    assert!(until > Instant::ZERO && until <= soonest, "{until:?}, and the timer: {soonest:?}");
    assert_eq!(polled.ran.len(), 3);

    // A source becomes ready.
    polled.kpt.threads().add_read("reader", source, note_again, ()).unwrap();
    assert_eq!(polled.poll_until_wait(), until);
    (polled.outside.set)(true);
    polled.poll_until_ran("reader");
    (polled.outside.set)(false);
    assert_eq!(polled.poll_until_wait(), until);

    // The deadline comes, and after it there is another one.
    (polled.outside.pass)();
    polled.poll_until_ran("timer");
    assert!(polled.poll_until_wait() > soonest);

    // Only a source is left, for which a poller may have work of its own now and then; and then nothing.
    polled.kpt.threads().cancel(later).unwrap();
    assert!(polled.poll_until_wait() > soonest + Duration::from_secs(1));
    polled.kpt.threads().stop();
    assert_eq!(polled.poll(), Next::Exit(Exit::Stopped));
    polled.kpt.threads().cancel_source(source);
    assert_eq!(polled.poll(), Next::Exit(Exit::Empty));
    polled.slept
}

/// How many polls a poller with faults may take.
const VAGUE: u32 = 64;

#[test]
fn r12_poll_returns_without_sleeping_and_says_when_in_virtual_time() {
    fn check<'w, P: Poller<Error: core::fmt::Debug> + 'w>(
        world: &World,
        poller: P,
        shape: Shape,
        patience: u32,
    ) {
        let source = Source::new(1);
        let set = |is_readable| {
            world.clear(source, Readiness::READABLE);
            let readiness = if is_readable { Readiness::READABLE } else { Readiness::NONE };
            world.set(source, readiness).unwrap();
        };
        let (pass, sleeps) = (|| world.advance(millis(50)), || world.now().as_micros());
        let outside = Outside { source, set: &set, pass: &pass, sleeps: &sleeps, patience };
        assert_eq!(poll_returns_and_says_when(any_loop(poller, 8, shape), outside), 0);
    }
    for shape in Shape::all() {
        let world = World::starting_at(Instant::from_micros(77));
        check(&world, SimPoller::new(&world), shape, 1);
        for seed in 0..100 {
            let world = World::new();
            check(&world, Faults::new(SimPoller::new(&world), seed), shape, VAGUE);
        }
    }
}

/// The board must not sleep, and its clock stands while it does not.
#[test]
fn r12_poll_returns_without_sleeping_and_says_when_on_a_board() {
    fn check<'m, P: Poller<Error: core::fmt::Debug> + 'm>(
        machine: &Machine,
        poller: P,
        shape: Shape,
        patience: u32,
    ) {
        machine.may_sleep.set(false);
        machine.step.set(0);
        let source = Source::new(1);
        let set = |is_set| {
            if is_set { machine.lines.set(source) } else { machine.lines.clear(source) }
        };
        let pass = || machine.nanos.set(machine.nanos.get() + 50_000_000);
        let sleeps = || u64::from(machine.sleeps.get());
        let outside = Outside { source, set: &set, pass: &pass, sleeps: &sleeps, patience };
        assert_eq!(poll_returns_and_says_when(any_loop(poller, 8, shape), outside), 0);
    }
    for shape in Shape::all() {
        let machine = Machine::new();
        check(&machine, machine.poller::<1>(), shape, 1);
        let machine = Machine::new();
        check(&machine, machine.poller::<10_000>(), shape, 1);
        for seed in 0..100 {
            let machine = Machine::new();
            check(&machine, Faults::new(machine.poller::<1>(), seed), shape, VAGUE);
        }
    }
}

#[test]
fn r12_poll_returns_without_sleeping_and_says_when_on_this_machine() {
    fn check<P: Poller<Error: core::fmt::Debug>>(poller: P, shape: Shape, patience: u32) {
        let (ours, mut theirs) = pair();
        let source = source(&ours);
        let theirs = RefCell::new(&mut theirs);
        let set = |is_readable| {
            if is_readable { theirs.borrow_mut().write_all(b"x").unwrap() } else { drain(&ours) }
        };
        let pass = || std::thread::sleep(millis(50));
        let outside = Outside { source, set: &set, pass: &pass, sleeps: &sys::sleeps, patience };
        let slept = poll_returns_and_says_when(any_loop(poller, 8, shape), outside);
        // A page of the program may have to be fetched for the first time.
        assert!(slept <= 2, "slept {slept} times");
    }
    for Real { shape, backend } in Real::all() {
        check(backend.poller(), shape, 1);
        check(Tasks::new(backend.poller()), shape, 1);
        check(Faults::new(backend.poller(), 1), shape, VAGUE);
        check(Faults::new(Tasks::new(backend.poller()), 2), shape, VAGUE);
        check(Tasks::new(Faults::new(backend.poller(), 3)), shape, VAGUE);
    }
}
