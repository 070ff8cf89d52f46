//! The promises of kpt, each by its own words. Those about tasks are elsewhere; that hooks are portable is `portable.rs`.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kpt_core::sim::{Faults, Idle, SimPoller, World};
use kpt_std::{
    AddError, Allocate, EventLoop, Exit, HeapStorage, Readiness, Source, Stale, Thread, ThreadId,
    When, source,
};
use kpt_tests::chance::Chance;
use kpt_tests::loops::{Trace, run_verified, sim_loop};
use kpt_tests::pollers::{Calls, Counting};
use kpt_tests::process::in_own_process;

const SOURCES: u64 = 6;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

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
    for seed in 0..200 {
        let world: World = World::new();
        for source in (0..SOURCES as u32).map(Source::new) {
            world.set(source, Readiness::READABLE | Readiness::WRITABLE).unwrap();
        }
        let poller = Faults::new(SimPoller::new(&world), seed);
        let mut kpt = kpt_core::EventLoop::from_parts(poller, HeapStorage::with_capacity(12));
        let mut state = Once { chance: Chance::new(seed), calls: Vec::new() };
        for _ in 0..12 {
            let arg = state.register();
            let when = any_when(&mut state.chance);
            let _ = kpt.threads().add("first", when, Once::on_call, arg);
        }
        assert_eq!(run_verified(&mut kpt, &mut state), Ok(Exit::Empty));
        assert!(state.calls.len() > 12);
    }
}

/// Measured from the moment of the call, on a real clock, and on one that stands still now and then.
#[test]
fn never_early() {
    in_own_process("never_early", || {
        type Moments = (Instant, Duration);
        let mut kpt: EventLoop<u32, Moments> = EventLoop::with_capacity(512);
        let on_time = |runs: &mut u32, thread: Thread<u32, Moments>| {
            let (start, delay) = thread.arg;
            assert!(start.elapsed() >= delay, "{:?} of {delay:?}", start.elapsed());
            *runs += 1;
        };
        let mut chance = Chance::new(1);
        for _ in 0..500 {
            let delay = Duration::from_nanos(chance.below(20_000_000));
            let arg = (Instant::now(), delay);
            kpt.threads().add_timer("timer", delay, on_time, arg).unwrap();
        }
        let mut runs = 0;
        assert_eq!(run_verified(&mut kpt, &mut runs).unwrap(), Exit::Empty);
        assert_eq!(runs, 500);
    });
}

#[test]
fn never_early_on_a_bad_clock() {
    for seed in 0..300 {
        let world: World = World::new();
        let poller = Faults::new(SimPoller::new(&world), seed);
        let mut kpt = kpt_core::EventLoop::from_parts(poller, HeapStorage::with_capacity(20));
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
        assert_eq!(run_verified(&mut kpt, &mut state), Ok(Exit::Empty));
        assert_eq!(state.1, 20, "and none is lost");
    }
}

/// However far apart in time they were added, and whatever was in between.
#[test]
fn first_in_first_out_among_equal_deadlines() {
    for seed in 0..100 {
        let world = World::new();
        let mut kpt = sim_loop::<Vec<(u64, u32)>, u32>(&world, 200);
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
            while kpt.threads().len() > 150 {
                kpt.turn(&mut ran).unwrap();
            }
        }
        assert_eq!(run_verified(&mut kpt, &mut ran), Ok(Exit::Empty));
        let mut sorted = ran.clone();
        sorted.sort_by_key(|&(deadline, _)| deadline);
        assert_eq!(ran, sorted, "by deadline");
        for pair in ran.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            assert!(pair[0].1 < pair[1].1, "{} before {}", pair[0].1, pair[1].1);
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

fn most_hooks_before_a_victim<const LOOK: u32>(seed: u64, capacity: usize) -> u32 {
    let world: World = World::new();
    let calls = Calls::default();
    let poller: Counting<_, LOOK> = Counting::new(SimPoller::new(&world), &calls);
    let mut kpt = kpt_core::EventLoop::from_parts(poller, HeapStorage::with_capacity(capacity));
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
    assert_eq!(run_verified(&mut kpt, &mut state), Ok(Exit::Stopped));
    assert_eq!(state.runs, 200);
    state.most
}

#[test]
fn bounded_work_per_turn() {
    for seed in 0..8 {
        for capacity in [2, 3, 8, 20] {
            let most = [
                (1, most_hooks_before_a_victim::<1>(seed, capacity)),
                (10, most_hooks_before_a_victim::<10>(seed, capacity)),
                (128, most_hooks_before_a_victim::<128>(seed, capacity)),
            ];
            for (look, most) in most {
                let bound = look + 3 * capacity as u32;
                assert!(most < bound, "{most} hooks; LOOK_EVERY {look}, capacity {capacity}");
            }
        }
    }
}

#[test]
fn nothing_lost_when_full() {
    let world = World::new();
    let mut kpt = sim_loop::<Vec<u32>, u32>(&world, 3);
    let add_too_many = |ran: &mut Vec<u32>, mut thread: Thread<Vec<u32>, u32>| {
        ran.push(thread.arg);
        for arg in 10..13 {
            let refused = thread.threads().add_execute("more", |_, _| panic!("refused"), arg);
            assert!(matches!(refused, Err(AddError::Full(back)) if back == arg));
        }
        if ran.len() == 9 {
            thread.threads().stop();
        }
        thread.again();
    };
    for (arg, when) in [When::Now, When::After(Duration::ZERO), When::Readable(Source::new(1))]
        .into_iter()
        .enumerate()
    {
        kpt.threads().add("thread", when, add_too_many, arg as u32).unwrap();
    }
    world.set(Source::new(1), Readiness::READABLE).unwrap();
    let mut ran = Vec::new();
    assert_eq!(run_verified(&mut kpt, &mut ran), Ok(Exit::Stopped));
    assert_eq!(kpt.threads().len(), 3);
    assert!((0..3).all(|arg| ran.contains(&arg)), "{ran:?}");
}

/// Every id that was ever given out is tried all the time.
#[test]
fn a_stale_id_never_touches_another_thread() {
    let world = World::new();
    let mut kpt = sim_loop::<Vec<ThreadId>, u64>(&world, 4);
    let mut chance = Chance::new(7);
    let mut live: Vec<(ThreadId, u64)> = Vec::new();
    let mut stale: Vec<ThreadId> = Vec::new();
    for arg in 0..2_000 {
        if live.len() == 4 || (!live.is_empty() && chance.below(2) == 0) {
            let (id, arg) = live.remove(chance.below(live.len() as u64) as usize);
            assert_eq!(kpt.threads().cancel(id), Ok(arg));
            stale.push(id);
        } else {
            let when = When::After(millis(chance.below(100)));
            live.push((kpt.threads().add("thread", when, |_, _| {}, arg).unwrap(), arg));
        }
        assert!(stale.iter().all(|&id| kpt.threads().cancel(id) == Err(Stale)));
        assert_eq!(kpt.threads().len(), live.len());
    }
}

/// The running thread gives itself up by its source. Another thread may have the source at once, and not the slot: what
/// the hook holds of itself is not that one's.
#[test]
fn a_stale_id_of_the_thread_that_runs() {
    let world = World::new();
    let mut kpt = sim_loop::<Option<ThreadId>, u8>(&world, 2);
    let give_up = |state: &mut Option<ThreadId>, mut thread: Thread<Option<ThreadId>, u8>| {
        let me = thread.id();
        let source = thread.source().unwrap();
        assert_eq!(thread.threads().cancel_source(source).reader, None, "it has it itself");
        let new = thread.threads().add_read("new", source, |_, _| {}, 2).unwrap();
        assert_eq!(
            thread.threads().add_execute("no room", |_, _| {}, 3).unwrap_err().into_arg(),
            3
        );
        assert_eq!((thread.id(), thread.name()), (me, "old"));
        assert_eq!(thread.kind(), kpt_std::Kind::Read);
        let id = thread.id();
        assert_eq!(thread.threads().cancel(id), Err(Stale));
        *state = Some(new);
        assert!(matches!(thread.try_again(), Err(kpt_std::AgainError::Ended(1))));
    };
    kpt.threads().add_read("old", Source::new(1), give_up, 1).unwrap();
    world.set(Source::new(1), Readiness::READABLE).unwrap();
    let mut new = None;
    kpt.turn(&mut new).unwrap();
    kpt.threads().verify().unwrap();
    assert_eq!(kpt.threads().cancel(new.unwrap()), Ok(2), "it is still there");
}

#[test]
fn a_dead_fd_hurts_only_its_owner() {
    in_own_process("a_dead_fd_hurts_only_its_owner", || {
        let (dead, _other) = UnixStream::pair().unwrap();
        let (sound, mut writer) = UnixStream::pair().unwrap();
        let mut kpt: EventLoop<Trace> = EventLoop::with_capacity(8);
        let record = |trace: &mut Trace, thread: Thread<Trace>| {
            assert_eq!(thread.readiness().is_error(), thread.name() == "dead");
            trace.push(thread.name());
        };
        kpt.threads().add_read("dead", source(&dead), record, ()).unwrap();
        kpt.threads().add_read("sound", source(&sound), record, ()).unwrap();
        kpt.threads().add_timer("timer", millis(1), record, ()).unwrap();
        drop(dead);
        writer.write_all(b"x").unwrap();
        let mut trace = Trace::new();
        assert_eq!(run_verified(&mut kpt, &mut trace).unwrap(), Exit::Empty);
        assert_eq!(trace.len(), 3);
    });
}

/// From hooks of each kind and from outside: the poller is not asked again, so it can't have waited.
#[test]
fn stop_never_waits() {
    let source = Source::new(1);
    for when in [
        When::Now,
        When::Readable(source),
        When::Writable(source),
        When::At(kpt_std::Instant::ZERO),
    ] {
        let world: World = World::new();
        world.set(source, Readiness::READABLE | Readiness::WRITABLE).unwrap();
        let calls = Calls::default();
        let poller: Counting<_> = Counting::new(SimPoller::new(&world), &calls);
        let mut kpt = kpt_core::EventLoop::from_parts(poller, HeapStorage::with_capacity(4));
        let stop = |waits: &mut u32, mut thread: Thread<u32, _>| {
            let calls: &Calls = thread.arg;
            *waits = calls.waits.get();
            thread.threads().stop();
        };
        kpt.threads().add("stop", when, stop, &calls).unwrap();
        kpt.threads().add_timer("hour", millis(3_600_000), |_, _| {}, &calls).unwrap();
        let mut waits = 0;
        assert_eq!(run_verified(&mut kpt, &mut waits), Ok(Exit::Stopped));
        assert_eq!(calls.waits.get(), waits, "{when:?}");
        kpt.threads().stop();
        assert_eq!(run_verified(&mut kpt, &mut waits), Ok(Exit::Stopped));
        assert_eq!((calls.waits.get(), world.now().as_micros()), (waits, 0));
    }
}

/// And a loop that only waits for what can't come says so, where that can be known.
#[test]
fn an_empty_loop_returns() {
    in_own_process("an_empty_loop_returns", || {
        let mut kpt: EventLoop<()> = EventLoop::with_capacity(4);
        assert_eq!(kpt.run(&mut ()).unwrap(), Exit::Empty);
        kpt.threads().add_execute("once", |_, _| {}, ()).unwrap();
        assert_eq!(kpt.run(&mut ()).unwrap(), Exit::Empty);
        let (socket, _other) = UnixStream::pair().unwrap();
        kpt.threads().add_read("reader", source(&socket), |_, _| {}, ()).unwrap();
        kpt.threads().cancel_source(source(&socket));
        assert_eq!(kpt.run(&mut ()).unwrap(), Exit::Empty);
    });
    let world = World::new();
    let mut kpt = sim_loop::<(), _>(&world, 1);
    kpt.threads().add_read("reader", Source::new(1), |_, _| {}, ()).unwrap();
    assert_eq!(kpt.run(&mut ()), Err(Idle));
}
