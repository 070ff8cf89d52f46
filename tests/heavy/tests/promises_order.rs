//! The promises of kpt about when hooks run, each by its own words: once, not early, in order, and before long.

use std::time::{Duration, Instant};

use kpt_core::sim::{Faults, SimPoller, World};
use kpt_std::{Exit, Readiness, Source, Thread, When};
use kpt_tests::chance::Chance;
use kpt_tests::loops::{Shape, any_loop, real_loop, sim_loop};
use kpt_tests::pollers::{Calls, Counting};
use kpt_tests::process::all_in_own_process;

const SOURCES: u64 = 6;

fn any_when(chance: &mut Chance) -> When {
    let source = Source::new(chance.below(SOURCES) as u32);
    let delay = Duration::from_micros(chance.below(3_000));
    match chance.below(4) {
        0 => When::Readable(source),
        1 => When::Writable(source),
        2 => When::After(delay),
        _ => When::Now,
    }
}

/// Counts how often each registration was called, and makes new ones.
struct Once {
    chance: Chance,
    calls: Vec<u32>,
}

impl Once {
    /// The number of a new registration.
    fn register(&mut self) -> usize {
        self.calls.push(0);
        self.calls.len() - 1
    }

    fn on_call(&mut self, mut thread: Thread<Once, usize>) {
        self.calls[thread.arg] += 1;
        assert_eq!(self.calls[thread.arg], 1, "called twice for one registration");
        if self.calls.len() > 2_000 {
            return;
        }
        if self.chance.below(2) == 0 {
            let arg = self.register();
            let when = any_when(&mut self.chance);
            let _ = thread.threads().add("new", when, Self::on_call, arg);
        }
        if self.chance.below(3) > 0 {
            thread.arg = self.register();
            thread.again();
        }
    }
}

#[test]
fn at_most_one_call_per_registration() {
    for shape in Shape::both() {
        for seed in 0..200 {
            let world: World = World::new();
            for source in (0..SOURCES as u32).map(Source::new) {
                world.set(source, Readiness::READABLE | Readiness::WRITABLE).unwrap();
            }
            let poller = Faults::new(SimPoller::new(&world), seed);
            let mut kpt = any_loop(poller, 12, shape);
            let mut state = Once { chance: Chance::new(seed), calls: Vec::new() };
            for _ in 0..12 {
                let arg = state.register();
                let when = any_when(&mut state.chance);
                let _ = kpt.threads().add("first", when, Once::on_call, arg);
            }
            assert_eq!(kpt.run_verified(&mut state), Ok(Exit::Empty));
            assert!(state.calls.len() > 12);
        }
    }
}

/// Measured from the moment of the call, on a real clock, and on one that stands still now and then.
#[test]
fn never_early() {
    all_in_own_process("never_early", |real| {
        type Moments = (Instant, Duration);
        let timers = if real.shape == Shape::Small { 100 } else { 500 };
        let mut kpt = real_loop::<u32, Moments>(timers as usize, real);
        let on_time = |runs: &mut u32, thread: Thread<u32, Moments>| {
            let (start, delay) = thread.arg;
            assert!(start.elapsed() >= delay, "{:?} of {delay:?}", start.elapsed());
            *runs += 1;
        };
        let mut chance = Chance::new(1);
        for _ in 0..timers {
            let delay = Duration::from_nanos(chance.below(20_000_000));
            let arg = (Instant::now(), delay);
            kpt.threads().add_timer("timer", delay, on_time, arg).unwrap();
        }
        let mut runs = 0;
        assert_eq!(kpt.run_verified(&mut runs).unwrap(), Exit::Empty);
        assert_eq!(runs, timers);
    });
}

#[test]
fn never_early_on_a_bad_clock() {
    for shape in Shape::both() {
        for seed in 0..300 {
            let world: World = World::new();
            let poller = Faults::new(SimPoller::new(&world), seed);
            let mut kpt = any_loop(poller, 32, shape);
            let on_time = |state: &mut (&World, u32), thread: Thread<(&World, u32), u64>| {
                let now = state.0.now().as_micros();
                assert!(now >= thread.arg, "{now} and not {}", thread.arg);
                state.1 += 1;
            };
            let mut chance = Chance::new(seed);
            for _ in 0..20 {
                let delay = chance.below(5_000);
                let due = world.now().as_micros() + delay;
                let delay = Duration::from_micros(delay);
                kpt.threads().add_timer("timer", delay, on_time, due).unwrap();
                world.advance(Duration::from_micros(chance.below(100)));
            }
            let mut state = (&world, 0);
            assert_eq!(kpt.run_verified(&mut state), Ok(Exit::Empty));
            assert_eq!(state.1, 20, "and none is lost");
        }
    }
}

/// However far apart in time they were added, and whatever was in between.
#[test]
fn first_in_first_out_among_equal_deadlines() {
    for shape in Shape::both() {
        for seed in 0..100 {
            let world = World::new();
            let mut kpt = sim_loop::<Vec<(u64, u32)>, u32>(&world, 100, shape);
            let record = |ran: &mut Vec<(u64, u32)>, thread: Thread<Vec<(u64, u32)>, u32>| {
                ran.push((thread.deadline().unwrap().as_micros(), thread.arg));
            };
            let mut chance = Chance::new(seed);
            let mut ran = Vec::new();
            for number in 0..100 {
                let spread = [2, 100, 5_000, 300_000][number as usize % 4];
                let deadline = world.now() + Duration::from_micros(1 + chance.below(spread));
                // Two each, one of them added later, and one in between that is taken away again.
                kpt.threads().add("timer", When::At(deadline), record, 2 * number).unwrap();
                let other = kpt.threads().add("other", When::At(deadline), record, 999).unwrap();
                let late = |_: &mut Vec<(u64, u32)>, _: Thread<Vec<(u64, u32)>, u32>| {};
                kpt.threads().add("wake", When::Now, late, 0).unwrap();
                let _ = kpt.turn(&mut ran);
                if ran.last().is_none_or(|&(last, _)| last < deadline.as_micros()) {
                    kpt.threads().add("timer", When::At(deadline), record, 2 * number + 1).unwrap();
                }
                let _ = kpt.threads().cancel(other);
                while kpt.threads().len() > 50 {
                    kpt.turn(&mut ran).unwrap();
                }
            }
            assert_eq!(kpt.run_verified(&mut ran), Ok(Exit::Empty));
            let mut sorted = ran.clone();
            sorted.sort_by_key(|&(deadline, _)| deadline);
            assert_eq!(ran, sorted, "by deadline");
            for pair in ran.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
                assert!(pair[0].1 < pair[1].1, "{} before {}", pair[0].1, pair[1].1);
            }
        }
    }
}

/// Everybody re-arms itself for ever; the victim becomes ready at any moment.
struct Crowd<'w> {
    world: &'w World,
    chance: Chance,
    /// Hooks that ran since the victim has been ready.
    waited: Option<u32>,
    most: u32,
    runs: u32,
}

impl<'w> Crowd<'w> {
    fn on_busy(&mut self, mut thread: Thread<Crowd<'w>>) {
        if let Some(waited) = &mut self.waited {
            *waited += 1;
        } else if self.chance.below(20) == 0 {
            self.world.set(Source::new(99), Readiness::READABLE).unwrap();
            self.waited = Some(0);
        }
        if self.chance.below(4) == 0 {
            let _ = thread.threads().add_execute("more", Self::on_busy, ());
        }
        let when = match self.chance.below(5) {
            0 => When::At(kpt_std::Instant::ZERO),
            1 => When::Now,
            2 => When::After(Duration::ZERO),
            // A timer may have been given a moment, which is no period.
            _ if thread.deadline().is_some() => When::After(Duration::from_micros(1)),
            _ => {
                thread.again();
                return;
            }
        };
        thread.again_when(when).unwrap();
    }

    fn on_victim(&mut self, thread: Thread<Crowd<'w>>) {
        self.most = self.most.max(self.waited.take().unwrap());
        self.world.clear(Source::new(99), Readiness::READABLE);
        self.runs += 1;
        if self.runs < 200 {
            thread.again();
        } else {
            let ((), mut threads) = thread.end();
            threads.stop();
        }
    }
}

fn most_hooks_before_a_victim<const LOOK: u32>(shape: Shape, seed: u64, capacity: usize) -> u32 {
    let world: World = World::new();
    let calls = Calls::default();
    let poller: Counting<_, LOOK> = Counting::new(SimPoller::new(&world), &calls);
    let mut kpt = any_loop(poller, capacity, shape);
    let mut chance = Chance::new(seed);
    kpt.threads().add_read("victim", Source::new(99), Crowd::on_victim, ()).unwrap();
    for number in 1..capacity as u32 {
        world.set(Source::new(number), Readiness::READABLE | Readiness::WRITABLE).unwrap();
        let when = match chance.below(4) {
            0 => When::Readable(Source::new(number)),
            1 => When::Writable(Source::new(number)),
            2 => When::After(Duration::ZERO),
            _ => When::Now,
        };
        kpt.threads().add("busy", when, Crowd::on_busy, ()).unwrap();
    }
    let mut state = Crowd { world: &world, chance, waited: None, most: 0, runs: 0 };
    assert_eq!(kpt.run_verified(&mut state), Ok(Exit::Stopped));
    assert_eq!(state.runs, 200);
    state.most
}

#[test]
fn bounded_work_per_turn() {
    for (shape, seed) in Shape::both().flat_map(|shape| (0..8).map(move |seed| (shape, seed))) {
        for capacity in [2, 3, 8, 16] {
            let most = [
                (1, most_hooks_before_a_victim::<1>(shape, seed, capacity)),
                (10, most_hooks_before_a_victim::<10>(shape, seed, capacity)),
                (128, most_hooks_before_a_victim::<128>(shape, seed, capacity)),
            ];
            for (look, most) in most {
                let bound = look + 3 * capacity as u32;
                assert!(most < bound, "{most} hooks; LOOK_AFTER_HOOKS {look}, capacity {capacity}");
            }
        }
    }
}
