//! Faults of time in this field, by their numbers: in virtual time.

use std::time::Duration;

use kpt_core::sim::{Idle, World};
use kpt_std::{Exit, Readiness, Source, Thread, ThreadId, When};
use kpt_tests::loops::{Shape, Trace, sim_loop};
use kpt_tests::time::{micros, millis};

fn moment(micros: u64) -> kpt_std::Instant {
    kpt_std::Instant::from_micros(micros)
}

/// A world, and what ran in it: the moments at which timers ran, and for which deadlines.
struct Seen<'w> {
    world: &'w World,
    runs: Vec<(u64, u64)>,
}

impl<'w> Seen<'w> {
    fn new(world: &'w World) -> Self {
        Self { world, runs: Vec::new() }
    }

    fn on_time(&mut self, thread: Thread<Seen<'w>>) {
        let deadline = thread.deadline().unwrap();
        self.runs.push((self.world.now().as_micros(), deadline.as_micros()));
    }
}

#[test]
fn t02_a_hook_that_takes_long() {
    for shape in Shape::all() {
        let world = World::new();
        let mut kpt = sim_loop::<Seen, _>(&world, 16, shape);
        let long = |state: &mut Seen, _: Thread<Seen>| state.world.advance(millis(3_000));
        kpt.threads().add_execute("long", long, ()).unwrap();
        for delay in [50, 10, 40, 20, 30, 5_000] {
            kpt.threads().add_timer("once", millis(delay), Seen::on_time, ()).unwrap();
        }
        let again = |state: &mut Seen, thread: Thread<Seen>| {
            state.runs.push((state.world.now().as_micros(), 0));
            if state.world.now() < moment(3_300_000) {
                thread.again();
            }
        };
        kpt.threads().add_timer("period", millis(700), again, ()).unwrap();
        let mut seen = Seen::new(&world);
        assert_eq!(kpt.run_verified(&mut seen), Ok(Exit::Empty));
        // Overdue ones run once, by deadline; the period goes on where its grid does.
        let expected = [
            (3_000_000, 10_000),
            (3_000_000, 20_000),
            (3_000_000, 30_000),
            (3_000_000, 40_000),
            (3_000_000, 50_000),
            (3_000_000, 0),
            (3_500_000, 0),
            (5_000_000, 5_000_000),
        ];
        assert_eq!(seen.runs, expected);
    }
}

#[test]
fn t03_the_clock_goes_backwards() {
    for shape in Shape::all() {
        let world = World::starting_at(moment(10_000_000));
        let mut kpt = sim_loop::<Seen, _>(&world, 8, shape);
        kpt.threads().add_timer("before", millis(1_000), Seen::on_time, ()).unwrap();
        world.set_now(moment(5_000_000));
        assert_eq!(kpt.threads().now(), moment(10_000_000), "it stands still");
        kpt.threads().add_timer("after", millis(500), Seen::on_time, ()).unwrap();
        let back = |state: &mut Seen, _: Thread<Seen>| state.world.set_now(moment(1));
        kpt.threads().add_timer("back", millis(100), back, ()).unwrap();
        kpt.threads().add("past", When::At(moment(3)), Seen::on_time, ()).unwrap();
        let mut seen = Seen::new(&world);
        assert_eq!(kpt.run_verified(&mut seen), Ok(Exit::Empty));
        let expected = [(5_000_000, 3), (10_500_000, 10_500_000), (11_000_000, 11_000_000)];
        assert_eq!(seen.runs, expected, "nothing early, nothing lost");
    }
}

/// Around each power of two, where a narrower counter would wrap.
#[test]
fn t04_no_counter_wraps() {
    for bits in 1..64 {
        for shape in Shape::all() {
            let start = (1_u64 << bits).saturating_sub(3);
            let world = World::starting_at(moment(start));
            let mut kpt = sim_loop::<Seen, _>(&world, 8, shape);
            for delay in [6, 1, 4, 3, 5, 2] {
                kpt.threads().add_timer("timer", micros(delay), Seen::on_time, ()).unwrap();
            }
            let mut seen = Seen::new(&world);
            assert_eq!(kpt.run_verified(&mut seen), Ok(Exit::Empty));
            let expected = (1..=6).map(|delay| (start + delay, start + delay));
            assert_eq!(seen.runs, Vec::from_iter(expected), "from {start}");
        }
    }
}

/// What lies beyond the end of the clock is never reached, and nothing runs early for it.
#[test]
fn t04_the_end_of_the_clock() {
    for shape in Shape::all() {
        let world = World::starting_at(moment(u64::MAX - 3));
        let mut kpt = sim_loop::<Seen, _>(&world, 8, shape);
        for delay in [1, 2, 3, 4, u64::MAX] {
            kpt.threads().add_timer("timer", micros(delay), Seen::on_time, ()).unwrap();
        }
        let mut seen = Seen::new(&world);
        assert_eq!(kpt.run_verified(&mut seen), Err(Idle));
        let last = [u64::MAX - 2, u64::MAX - 1].map(|moment| (moment, moment));
        assert_eq!((&seen.runs[..], kpt.threads().len()), (&last[..], 3));
    }
}

#[test]
fn t05_no_delay_and_the_longest() {
    for shape in Shape::all() {
        let world = World::starting_at(moment(77));
        let mut kpt = sim_loop::<Seen, _>(&world, 8, shape);
        let mut threads = kpt.threads();
        let never = threads.add_timer("max", Duration::MAX, Seen::on_time, ()).unwrap();
        threads.add_timer("micro", micros(1), Seen::on_time, ()).unwrap();
        threads.add_timer("nano", Duration::from_nanos(1), Seen::on_time, ()).unwrap();
        threads.add_timer("zero", Duration::ZERO, Seen::on_time, ()).unwrap();
        threads.add("start", When::At(kpt_std::Instant::ZERO), Seen::on_time, ()).unwrap();
        threads.add("never", When::At(kpt_std::Instant::NEVER), Seen::on_time, ()).unwrap();
        let mut seen = Seen::new(&world);
        kpt.turn(&mut seen).unwrap();
        assert_eq!(world.now(), moment(77), "no delay: the next turn");
        assert_eq!(kpt.run_verified(&mut seen), Err(Idle), "the rest is never");
        assert_eq!(seen.runs.len(), 4);
        assert_eq!(seen.runs[2..], [(78, 78), (78, 78)]);
        assert!(kpt.threads().cancel(never).is_ok());
    }
}

#[test]
fn t06_beyond_the_span() {
    let spans = [(1_024, 4, 1_u64 << 40), (16, 8, 1 << 32), (2, 3, 1 << 3)];
    for (slots, levels, span) in spans {
        let starts = [0, 1, span - 1, span, 5 * span + 3];
        let shapes = [Shape::Small, Shape::Wheel(slots, levels)];
        for (shape, start) in
            shapes.into_iter().flat_map(|shape| starts.map(|start| (shape, start)))
        {
            let world = World::starting_at(moment(start));
            let mut kpt = sim_loop::<Seen, _>(&world, 16, shape);
            let mut delays =
                [3 * span + 1, span + 1, span, span - 1, 2 * span - 1, 2 * span, 70 * span + 5];
            for delay in delays {
                kpt.threads().add_timer("timer", micros(delay), Seen::on_time, ()).unwrap();
            }
            let mut seen = Seen::new(&world);
            assert_eq!(kpt.run_verified(&mut seen), Ok(Exit::Empty));
            delays.sort_unstable();
            assert_eq!(seen.runs, delays.map(|delay| (start + delay, start + delay)));
        }
    }
}

#[test]
fn t07_next_deadline_hidden_by_a_level() {
    for shape in Shape::all() {
        let world = World::new();
        let mut kpt = sim_loop::<Seen, _>(&world, 8, shape);
        let add_400 = |state: &mut Seen, mut thread: Thread<Seen>| {
            assert_eq!(state.world.now(), moment(250));
            let when = When::At(moment(400));
            thread.threads().add("400", when, Seen::on_time, ()).unwrap();
        };
        kpt.threads().add("300", When::At(moment(300)), Seen::on_time, ()).unwrap();
        kpt.threads().add("250", When::At(moment(250)), add_400, ()).unwrap();
        let mut seen = Seen::new(&world);
        assert_eq!(kpt.run_verified(&mut seen), Ok(Exit::Empty));
        assert_eq!(seen.runs, [(300, 300), (400, 400)]);
    }
}

/// Adds, cancels and adds in the same slot, at each level, from positions of all kinds; `verify` compares bits and
/// slots.
#[test]
fn t08_occupancy_follows_the_slots() {
    for shape in Shape::all() {
        let world = World::new();
        let mut kpt = sim_loop::<Seen, _>(&world, 4, shape);
        let mut seen = Seen::new(&world);
        for bits in 0..40 {
            let slot = [1_u64 << bits, (1 << bits) + 1].map(|delay| When::After(micros(delay)));
            let mut add = |when| {
                let id = kpt.threads().add("timer", when, Seen::on_time, ()).unwrap();
                kpt.threads().verify().unwrap();
                id
            };
            let ids = slot.map(&mut add);
            for id in ids {
                assert!(kpt.threads().cancel(id).is_ok());
                kpt.threads().verify().unwrap();
            }
            let id = kpt.threads().add("timer", slot[0], Seen::on_time, ()).unwrap();
            assert_eq!(kpt.run_verified(&mut seen), Ok(Exit::Empty), "{id}");
            let (now, deadline) = seen.runs.pop().unwrap();
            assert_eq!((now, seen.runs.len()), (deadline, 0));
        }
    }
}

/// Timers that are due together re-arm themselves and each other while they expire.
#[test]
fn t09_rearmed_while_expiring() {
    #[derive(Default)]
    struct State {
        ids: Vec<ThreadId>,
        runs: [u32; 8],
    }
    fn on_expiry(state: &mut State, mut thread: Thread<State, usize>) {
        let me = thread.arg;
        state.runs[me] += 1;
        let (deadline, round) = (thread.deadline().unwrap(), state.runs[me]);
        if round == 20 {
            return;
        }
        // The neighbour, due in this turn as well or not, gets another deadline, with the same id or a new one.
        let neighbour = state.ids[(me + 1) % 8];
        if let Ok(arg) = thread.threads().cancel(neighbour) {
            let when = [When::At(deadline), When::After(micros(u64::from(round)))][me % 2];
            let id = thread.threads().add("timer", when, on_expiry, arg).unwrap();
            state.ids[arg] = id;
        }
        match me % 4 {
            0 => assert!(thread.again_when(When::At(deadline)).is_ok()),
            1 => assert!(thread.again_when(When::After(Duration::ZERO)).is_ok()),
            2 => assert!(thread.again_when(When::At(deadline + micros(64))).is_ok()),
            _ => assert!(thread.again_when(When::After(micros(100))).is_ok()),
        }
    }
    for shape in Shape::all() {
        let world = World::new();
        let mut kpt = sim_loop::<State, usize>(&world, 8, shape);
        let mut state = State::default();
        for arg in 0..8 {
            state.ids.push(kpt.threads().add_timer("timer", micros(5), on_expiry, arg).unwrap());
        }
        assert_eq!(kpt.run_verified(&mut state), Ok(Exit::Empty));
        assert_eq!(state.runs, [20; 8], "each ran as often as it was armed");
    }
}

/// They all run in one turn, in order; a reader runs before them and in the turn after. A small loop has no slots, and
/// not so many threads.
#[test]
fn t10_a_million_timers_in_one_slot() {
    struct State {
        next: u32,
        reads: Vec<u32>,
    }
    for (shape, timers) in [(Shape::Small, 63), (Shape::HOST, 1_000_000)] {
        let world = World::new();
        let mut kpt = sim_loop(&world, timers as usize + 1, shape);
        let on_time = |state: &mut State, thread: Thread<State, u32>| {
            assert_eq!(thread.arg, state.next, "first in, first out");
            state.next += 1;
        };
        for arg in 0..timers {
            kpt.threads().add_timer("timer", millis(1_000), on_time, arg).unwrap();
        }
        let on_read = |state: &mut State, thread: Thread<State, u32>| {
            state.reads.push(state.next);
            if state.next == 0 {
                thread.again();
            }
        };
        world.at(moment(1_000_000), Source::new(1), Readiness::READABLE).unwrap();
        kpt.threads().add_read("reader", Source::new(1), on_read, 0).unwrap();
        let mut state = State { next: 0, reads: Vec::new() };
        assert_eq!(kpt.run(&mut state), Ok(Exit::Empty));
        assert_eq!(state.next, timers);
        assert_eq!(state.reads, [0, timers]);
    }
}

#[test]
fn t11_a_chain_of_a_million_timers_of_zero() {
    for shape in Shape::both() {
        #[derive(Default)]
        struct State {
            links: u32,
            reads: u32,
        }
        fn on_link(state: &mut State, thread: Thread<State>) {
            state.links += 1;
            if state.links < 1_000_000 {
                let ((), mut threads) = thread.end();
                threads.add_timer("link", Duration::ZERO, on_link, ()).unwrap();
            }
        }
        let world = World::new();
        world.set(Source::new(1), Readiness::READABLE).unwrap();
        let mut kpt = sim_loop::<State, _>(&world, 2, shape);
        kpt.threads().add_timer("link", Duration::ZERO, on_link, ()).unwrap();
        let on_read = |state: &mut State, thread: Thread<State>| {
            state.reads += 1;
            if state.links < 1_000_000 {
                thread.again();
            }
        };
        kpt.threads().add_read("reader", Source::new(1), on_read, ()).unwrap();
        let mut state = State::default();
        assert_eq!(kpt.run(&mut state), Ok(Exit::Empty));
        assert_eq!((state.links, state.reads), (1_000_000, 1_000_001), "served between each two");
        assert_eq!(world.now(), moment(0));
    }
}

#[test]
fn t14_a_million_cancelled_timers() {
    for shape in Shape::all() {
        let world = World::new();
        let mut kpt = sim_loop::<(), u64>(&world, 1, shape);
        for round in 0..1_000_000_u64 {
            let delay = micros(round.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (round % 64));
            let id = kpt.threads().add_timer("timer", delay, |_, _| {}, round).unwrap();
            assert_eq!(kpt.threads().cancel(id), Ok(round));
        }
        kpt.threads().verify().unwrap();
        assert_eq!(kpt.run(&mut ()), Ok(Exit::Empty));
    }
}

#[test]
fn t15_only_cancelled_timers_left() {
    for shape in Shape::all() {
        let world = World::new();
        let mut kpt = sim_loop::<(Vec<ThreadId>, Trace), _>(&world, 4, shape);
        let cancel = |state: &mut (Vec<ThreadId>, Trace), mut thread: Thread<_>| {
            state.1.push("cancel");
            for &id in &state.0 {
                thread.threads().cancel(id).unwrap();
            }
        };
        let ids = [1, 50, 3_600_000].map(|delay| {
            kpt.threads().add_timer("timer", millis(delay), |_, _| panic!("cancelled"), ()).unwrap()
        });
        kpt.threads().add_timer("cancel", micros(1), cancel, ()).unwrap();
        let mut state = (Vec::from(ids), Trace::new());
        assert_eq!(kpt.run_verified(&mut state), Ok(Exit::Empty));
        assert_eq!((state.1, world.now()), (vec!["cancel"], moment(1)));
    }
}
