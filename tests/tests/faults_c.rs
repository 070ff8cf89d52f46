//! Faults of handles and tables in this field, by their numbers.

use std::time::Duration;

use kpt_core::sim::{Faults, SimPoller, World};
use kpt_std::{AddError, Exit, Instant, Readiness, Source, Stale, Thread, ThreadId, When};
use kpt_tests::loops::{Shape, Trace, any_loop, sim_loop};
use kpt_tests::time::millis;

const READABLE: Readiness = Readiness::READABLE;

#[derive(Default)]
struct Ids {
    ids: Vec<ThreadId>,
    trace: Trace,
}

#[test]
fn c01_cancel_in_the_own_hook() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<Ids, _>(&world, 4, shape);
        let cancel_me = |state: &mut Ids, mut thread: Thread<Ids>| {
            state.trace.push(thread.name());
            let id = thread.id();
            assert_eq!(id, state.ids[0]);
            assert_eq!(thread.threads().cancel(id), Err(Stale));
            assert_eq!(thread.threads().len(), 2, "no other thread has gone");
            if state.trace.len() < 3 {
                thread.again();
            } else {
                let ((), mut threads) = thread.end();
                assert_eq!(threads.cancel(id), Err(Stale));
                assert_eq!(threads.len(), 1);
            }
        };
        let id = kpt.threads().add_timer("one", millis(1), cancel_me, ()).unwrap();
        kpt.threads()
            .add_timer("other", millis(9), |state, _| state.trace.push("other"), ())
            .unwrap();
        let mut state = Ids { ids: vec![id], trace: Trace::new() };
        assert_eq!(kpt.run_verified(&mut state), Ok(Exit::Empty));
        assert_eq!(state.trace, ["one", "one", "one", "other"]);
    }
}

/// Found ready or due together: the first one cancels all others, of each kind.
#[test]
fn c02_cancel_a_peer_that_is_ready_already() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<Ids, u8>(&world, 8, shape);
        let first = |state: &mut Ids, mut thread: Thread<Ids, u8>| {
            state.trace.push(thread.name());
            for (number, &id) in state.ids.iter().enumerate() {
                let args = if number == 0 { Err(Stale) } else { Ok(number as u8) };
                assert_eq!(thread.threads().cancel(id), args);
                assert_eq!(thread.threads().cancel(id), Err(Stale));
            }
        };
        let source = Source::new(1);
        world.set(source, READABLE | Readiness::WRITABLE).unwrap();
        world.set(Source::new(2), READABLE).unwrap();
        world.advance(millis(1));
        let when = [
            When::Writable(source),
            When::Readable(source),
            When::Readable(Source::new(2)),
            When::At(Instant::ZERO),
            When::After(Duration::ZERO),
        ];
        let mut state = Ids::default();
        for (arg, when) in (0..).zip(when) {
            state.ids.push(kpt.threads().add("peer", when, first, arg).unwrap());
        }
        assert_eq!(kpt.run_verified(&mut state), Ok(Exit::Empty));
        assert_eq!(state.trace, ["peer"]);

        let mut state = Ids::default();
        for arg in 0..3 {
            state.ids.push(kpt.threads().add_execute("execute", first, arg).unwrap());
        }
        assert_eq!(kpt.run_verified(&mut state), Ok(Exit::Empty));
        assert_eq!(state.trace, ["execute"]);
    }
}

#[test]
fn c03_a_table_of_one() {
    for shape in Shape::both() {
        fn on_full(state: &mut u8, mut thread: Thread<u8, u8>) {
            *state += 1;
            let refused = thread.threads().add_execute("new", on_full, 9);
            assert!(matches!(refused, Err(AddError::Full(9))));
            match *state {
                1 => assert!(thread.try_again().is_ok()),
                2 => assert!(thread.again_when(When::After(millis(1))).is_ok()),
                3 => {
                    let (arg, mut threads) = thread.end();
                    assert_eq!(arg, 5);
                    threads.add_execute("new", on_full, arg).unwrap();
                }
                _ => assert_eq!((thread.name(), thread.arg), ("new", 5)),
            }
        }
        let world = World::new();
        let mut kpt = sim_loop(&world, 1, shape);
        kpt.threads().add_execute("old", on_full, 5).unwrap();
        let mut runs = 0;
        assert_eq!(kpt.run_verified(&mut runs), Ok(Exit::Empty));
        assert_eq!(runs, 4, "what the hook added is not wiped when it returns");
    }
}

#[test]
fn c04_no_stale_handle_comes_back() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<(), u32>(&world, 1, shape);
        let mut last = None;
        let first = kpt.threads().add_execute("first", |_, _| {}, 0).unwrap();
        kpt.threads().cancel(first).unwrap();
        // More often than any counter of 8, 16 or 20 bits goes.
        for round in 1..(1 << 20) + 2 {
            let id = kpt.threads().add_execute("thread", |_, _| {}, round).unwrap();
            assert!(Some(id) > last, "{id} comes after {last:?}");
            assert_eq!(kpt.threads().cancel(first), Err(Stale), "round {round}");
            assert_eq!(kpt.threads().cancel(last.unwrap_or(first)), Err(Stale));
            assert_eq!(kpt.threads().cancel(id), Ok(round));
            last = Some(id);
        }
    }
}

/// Every word that is no id of this loop is a stale one.
#[test]
fn c05_forged_handles() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<(), u8>(&world, 4, shape);
        let mut other = sim_loop::<(), u8>(&world, 64, shape);
        let ids = [0, 1, 2].map(|arg| kpt.threads().add_execute("t", |_, _| {}, arg).unwrap());
        kpt.threads().cancel(ids[1]).unwrap();
        let others = Vec::from_iter(
            (0..64).map(|arg| other.threads().add_execute("t", |_, _| {}, arg).unwrap()),
        );
        let words = (0..64).flat_map(|bit| [1_u64 << bit, !(1 << bit), (1 << bit) - 1]);
        let near = ids.iter().flat_map(|id| (0..64).map(|bit| id.to_raw() ^ (1 << bit)));
        let forged =
            words.chain(near).filter_map(ThreadId::from_raw).chain(others[3..].iter().copied());
        for id in forged.filter(|id| !ids.contains(id)) {
            assert_eq!(kpt.threads().cancel(id), Err(Stale), "{id}");
        }
        assert_eq!(kpt.threads().len(), 2);
        kpt.threads().verify().unwrap();
        assert_eq!(kpt.threads().cancel(ids[0]), Ok(0));
    }
}

#[test]
fn c08_full_tables() {
    for shape in Shape::both() {
        let world = World::new();
        for capacity in 0..5 {
            let mut kpt = sim_loop::<(), usize>(&world, capacity, shape);
            for arg in 0..capacity {
                kpt.threads().add_read("r", Source::new(arg as u32), |_, _| {}, arg).unwrap();
            }
            let before = kpt.threads().dump().to_string();
            let source = Source::new(77);
            let whens = [
                When::Readable(source),
                When::Writable(source),
                When::Now,
                When::After(millis(1)),
                When::At(Instant::ZERO),
            ];
            for when in whens {
                let refused = kpt.threads().add("more", when, |_, _| {}, 99);
                assert!(matches!(refused, Err(AddError::Full(99))), "{capacity} {when:?}");
                kpt.threads().verify().unwrap();
            }
            assert_eq!(kpt.threads().dump().to_string(), before, "nothing is half added");
            let nothing = kpt.threads().cancel_source(source);
            assert_eq!((nothing.reader, nothing.writer), (None, None));
            world.set(source, READABLE).unwrap();
            let until_idle = kpt.run_verified(&mut ());
            assert_eq!(until_idle.is_ok(), capacity == 0, "no one waits for the refused source");
            assert!(!kpt.threads().dump().to_string().contains("events for sources"));
        }
    }
}

/// Of a kind that is taken, next to one that is not.
#[test]
fn c08_a_taken_source() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<Trace, u8>(&world, 4, shape);
        let source = Source::new(5);
        let on_read = |trace: &mut Trace, thread: Thread<Trace, u8>| {
            trace.push(if thread.arg == 1 { "first" } else { "second" });
            let same = thread.source().unwrap();
            let mut thread = thread;
            let refused = thread.threads().add_read("again", same, |_, _| {}, 3);
            assert!(
                matches!(refused, Err(AddError::Taken(3))),
                "it runs, and still owns its source"
            );
        };
        kpt.threads().add_read("reader", source, on_read, 1).unwrap();
        assert!(matches!(
            kpt.threads().add_read("reader", source, on_read, 2),
            Err(AddError::Taken(2))
        ));
        world.set(source, READABLE).unwrap();
        let mut trace = Trace::new();
        assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Empty));
        kpt.threads().add_read("reader", source, on_read, 2).unwrap();
        assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Empty));
        assert_eq!(trace, ["first", "second"]);
    }
}

/// Every hook that runs first cancels all that there is.
#[test]
fn c10_all_cancelled_in_a_hook() {
    for shape in Shape::both() {
        for seed in 0..100 {
            let world: World = World::new();
            let poller = Faults::new(SimPoller::new(&world), seed);
            let mut kpt = any_loop(poller, 32, shape);
            let cancel_all = |state: &mut Ids, mut thread: Thread<Ids>| {
                assert!(state.trace.is_empty(), "cancelled, and runs");
                state.trace.push("ran");
                let mut threads = thread.threads();
                let cancelled = state.ids.iter().filter(|&&id| threads.cancel(id).is_ok());
                assert_eq!(cancelled.count(), 29);
                assert_eq!(threads.len(), 1);
            };
            let mut state = Ids::default();
            for number in 0..10 {
                let source = Source::new(number);
                world.set(source, READABLE | Readiness::WRITABLE).unwrap();
                for when in
                    [When::Readable(source), When::Writable(source), When::At(Instant::ZERO)]
                {
                    state.ids.push(kpt.threads().add("thread", when, cancel_all, ()).unwrap());
                }
            }
            assert_eq!(kpt.run_verified(&mut state), Ok(Exit::Empty));
            assert_eq!(state.trace, ["ran"]);
        }
    }
}
