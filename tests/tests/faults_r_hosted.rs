//! Faults that came to light where a loop has a host: an interrupt handler, another executor.

use std::cell::Cell;
use std::time::Duration;

use kpt_core::board::{Board, LinePoller, Lines};
use kpt_core::sim::{Choices, Faults, SimPoller, Site, World};
use kpt_core::{
    FixedLoop, Instant, Interest, Next, Readiness, Source, Stale, Thread,
    poller::{Poller, Ready, Waiting},
};
use kpt_tests::loops::{Shape, sim_loop};

const LINE: Source = Source::new(0);

struct Bench {
    lines: &'static Lines<1>,
}

impl Board<1> for Bench {
    const TICK_MICROS: u32 = 1;

    fn lines(&self) -> &'static Lines<1> {
        self.lines
    }

    fn now(&mut self) -> Instant {
        Instant::ZERO
    }

    fn sleep(&mut self, _: Instant, _: &dyn Fn() -> bool) {
        panic!("a poll does not sleep");
    }
}

/// A host that is woken when a line is set has been woken for that already, and is not woken again.
#[test]
fn r12_wait_is_not_said_while_a_source_is_ready() {
    for seed in 0..1_000 {
        static LINES: Lines<1> = Lines::new();
        let poller = Faults::new(LinePoller::new(Bench { lines: &LINES }), seed);
        let mut kpt = FixedLoop::<_, u32, 1>::new(poller);
        let hook = |count: &mut u32, thread: Thread<u32>| {
            LINES.clear(LINE);
            *count += 1;
            thread.again();
        };
        kpt.threads().add_read("line", LINE, hook, ()).unwrap();
        let mut count = 0;
        LINES.set(LINE);
        while kpt.poll(&mut count).is_ok_and(|next| next == Next::Again) {}
        assert!(count > 0, "seed {seed}: told to wait, and the line is set");
    }
}

/// Threads of which one waits for one source, and whether that was found.
struct One {
    source: Source,
    is_found: Cell<bool>,
}

impl Waiting for One {
    fn push(&mut self, source: Source, _: Readiness) {
        self.is_found.set(self.is_found.get() || source == self.source);
    }

    fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        let is_found = !answer(self.source, Interest::READABLE).is_none();
        self.is_found.set(self.is_found.get() || is_found);
        is_found
    }
}

/// What a wait may miss, the next one or the one after finds.
#[test]
fn r04_faults_stay_within_the_contract() {
    for seed in 0..20 {
        let world = World::<32>::new();
        let mut poller = Faults::new(SimPoller::new(&world), seed);
        world.set(LINE, Readiness::READABLE).unwrap();
        poller.modify(LINE, Interest::READABLE).unwrap();
        let mut misses = 0;
        for _ in 0..10_000 {
            let mut threads = One { source: LINE, is_found: Cell::new(false) };
            poller.wait(Instant::NEVER, &mut Ready::new(&mut threads)).unwrap();
            misses = if threads.is_found.get() { 0 } else { misses + 1 };
            assert!(misses <= 2, "seed {seed}: {misses} waits in a row have missed it");
        }
    }
}

/// Decides for the way with this number each time, or for the last one.
struct Always(usize);

impl Choices for Always {
    fn decide(&mut self, _: Site, ways: &'static [&'static str]) -> usize {
        self.0.min(ways.len() - 1)
    }
}

/// Also by those who have no mercy: of three waits in a row, one holds nothing back.
#[test]
fn r04_faults_stay_within_the_contract_whatever_is_decided() {
    for way in 0..7 {
        let world = World::<32>::new();
        let mut poller = Faults::with(SimPoller::new(&world), Always(way));
        let mut wait = |until: Instant| {
            let mut threads = One { source: LINE, is_found: Cell::new(false) };
            let time = poller.wait(until, &mut Ready::new(&mut threads)).unwrap();
            assert!(time <= world.now(), "way {way}: claims more than has passed");
            time
        };
        for round in 1..100 {
            // A deadline comes.
            let until = Instant::from_micros(round * 10_000);
            let waits = (1..).find(|_| wait(until) >= until);
            assert!(waits <= Some(3), "way {way}: {waits:?} waits for a deadline");
            // Time passes where nothing is waited for.
            world.advance(Duration::from_micros(5_000));
            let now = world.now();
            let waits = (1..).find(|_| wait(Instant::ZERO) >= now);
            assert!(waits <= Some(3), "way {way}: the time has stood still in {waits:?} waits");
        }
        world.set(LINE, Readiness::READABLE).unwrap();
        poller.modify(LINE, Interest::READABLE).unwrap();
        let mut misses = 0;
        for _ in 0..100 {
            let mut threads = One { source: LINE, is_found: Cell::new(false) };
            poller.wait(Instant::NEVER, &mut Ready::new(&mut threads)).unwrap();
            misses = if threads.is_found.get() { 0 } else { misses + 1 };
            assert!(misses <= 2, "way {way}: {misses} waits in a row have missed it");
        }
    }
}

/// The docs say that an id is good in its own loop only. In another one it may mean a thread, and never more than that.
#[test]
fn r15_an_id_of_another_loop_harms_no_table() {
    for shape in Shape::both() {
        let world = World::new();
        let [mut one, mut other] = [(), ()].map(|()| sim_loop::<u32, u32>(&world, 4, shape));
        let hook = |_: &mut u32, _: Thread<u32, u32>| {};
        let id = one.threads().add_execute("one", hook, 1).unwrap();
        let same = other.threads().add_execute("other", hook, 2).unwrap();
        assert_eq!(id, same, "the ids of two loops are alike");
        assert_eq!(other.threads().cancel(id), Ok(2));
        assert_eq!(other.threads().cancel(same), Err(Stale));
        for kpt in [&mut one, &mut other] {
            kpt.threads().verify().unwrap();
        }
        assert_eq!((one.threads().len(), other.threads().len()), (1, 0));
    }
}
