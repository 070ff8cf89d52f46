//! The promises of kpt about its code: no allocation, no unsafe, no panic.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_core::sim::{Faults, SimPoller, World};
use kpt_std::{Readiness, Source, Thread, ThreadId, When, source};
use kpt_tests::chance::Chance;
use kpt_tests::loops::{Shape, any_loop, real_loop};
use kpt_tests::process::all_in_own_process;
use kpt_tests::sys::CountingAllocator;
use kpt_tests::time::millis;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// From the first add to the last turn, on select: timers near and far, sockets, dump, errors.
#[test]
fn no_allocation() {
    all_in_own_process("no_allocation", |real| {
        struct State {
            ours: UnixStream,
            theirs: UnixStream,
            runs: u32,
        }
        let on_read = |state: &mut State, thread: Thread<State>| {
            assert!(state.ours.read(&mut [0; 8]).unwrap() > 0);
            state.runs += 1;
            thread.again();
        };
        let on_write = |state: &mut State, thread: Thread<State>| {
            state.theirs.write_all(b"x").unwrap();
            thread.again();
        };
        let on_time = |state: &mut State, mut thread: Thread<State>| {
            let far = thread.threads().add_timer("far", millis(9_000), |_, _| {}, ()).unwrap();
            thread.threads().cancel(far).unwrap();
            std::io::Write::write_fmt(
                &mut std::io::sink(),
                format_args!("{}", thread.threads().dump()),
            )
            .unwrap();
            state.runs += 1;
            thread.again();
        };
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut kpt = real_loop::<State, ()>(32, real);
        let mut state = State { ours, theirs, runs: 0 };

        let before = CountingAllocator::count();
        kpt.threads().add_read("reader", source(&state.ours), on_read, ()).unwrap();
        kpt.threads().add_write("writer", source(&state.theirs), on_write, ()).unwrap();
        kpt.threads().add_read("dead", Source::new(9_999), on_write, ()).unwrap();
        kpt.threads().add_timer("timer", Duration::from_micros(100), on_time, ()).unwrap();
        let busy = |_: &mut State, thread: Thread<State>| assert!(thread.try_again().is_ok());
        kpt.threads().add_execute("busy", busy, ()).unwrap();
        while kpt.threads().add_timer("more", millis(1), |_, _| {}, ()).is_ok() {}
        kpt.threads().cancel_source(Source::new(9_999));
        kpt.turn_until(&mut state, &mut |state| state.runs > 200);
        assert_eq!(CountingAllocator::count(), before, "a turn asks for memory");

        drop(Box::new(1_u64));
        let counted = std::hint::black_box(Box::new(2_u64));
        assert!(CountingAllocator::count() > before, "counting works: {counted}");
    });
}

#[test]
fn no_unsafe_in_the_core() {
    let manifest = include_str!("../../../kpt-core/Cargo.toml");
    for lint in ["unsafe_code = \"forbid\"", "panic = \"deny\"", "indexing_slicing = \"deny\""] {
        assert!(manifest.contains(lint), "{lint}");
    }
    assert!(include_str!("../../../kpt-core/src/lib.rs").contains("#![no_std]"));
}

/// Calls of all kinds, in any order, with what nobody means to pass.
#[test]
fn no_panic_whatever_the_input() {
    fn act(chance: &mut Chance, threads: &mut kpt_std::Threads<Chance, u64>) {
        let extreme = [0, 1, 999, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let number = extreme[chance.below(6) as usize] ^ chance.below(2);
        let source = Source::new((number ^ chance.below(4)) as u32);
        match chance.below(12) {
            0 => drop(ThreadId::from_raw(number).map(|id| threads.cancel(id))),
            1 => drop(ThreadId::from_raw(chance.number()).map(|id| threads.cancel(id))),
            2 => drop(threads.cancel_source(source)),
            3 => threads.stop(),
            4 => assert!(!threads.dump().to_string().is_empty()),
            5 => drop(threads.add("r", When::Readable(source), hook, number)),
            6 => drop(threads.add("w", When::Writable(source), hook, number)),
            7 => drop(threads.add("a", When::At(kpt_std::Instant::from_micros(number)), hook, 1)),
            8 => drop(threads.add("d", When::After(Duration::new(number, 999_999_999)), hook, 1)),
            9 => drop(threads.add("m", When::After(Duration::from_micros(number)), hook, 1)),
            _ => drop(threads.add("n", When::Now, hook, number)),
        }
        threads.verify().unwrap();
    }
    fn hook(chance: &mut Chance, mut thread: Thread<Chance, u64>) {
        act(chance, &mut thread.threads());
        assert!(!thread.readiness().to_string().is_empty());
        match chance.below(4) {
            0 => thread.again(),
            1 => drop(thread.again_when(When::Writable(Source::new(chance.below(9) as u32)))),
            2 => drop(thread.again_when(When::After(Duration::from_micros(chance.below(9))))),
            _ => act(chance, &mut thread.end().1),
        }
    }
    for (shape, seed) in Shape::both().flat_map(|shape| (0..300).map(move |seed| (shape, seed))) {
        let mut chance = Chance::new(seed);
        let start = [0, 77, u64::MAX - 100][seed as usize % 3];
        let world: World<4> = World::starting_at(kpt_std::Instant::from_micros(start));
        for number in 0..4 {
            world.set(Source::new(number), Readiness::READABLE | Readiness::WRITABLE).unwrap();
        }
        let poller = Faults::new(SimPoller::new(&world), seed);
        let mut kpt = any_loop(poller, 7, shape);
        for _ in 0..300 {
            act(&mut chance, &mut kpt.threads());
            let _ = kpt.turn(&mut chance);
            kpt.threads().verify().unwrap();
        }
    }
}
