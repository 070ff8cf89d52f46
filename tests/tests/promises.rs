//! The promises of kpt, each by its own words. Those about when hooks run, and those about its code, have files of
//! their own; that hooks are portable is `portable.rs`; those about tasks are elsewhere.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kpt_core::sim::{Idle, SimPoller, World};
use kpt_std::{AddError, Exit, Readiness, Source, Stale, Thread, ThreadId, When, source};
use kpt_tests::chance::Chance;
use kpt_tests::loops::{Shape, Trace, any_loop, real_loop, sim_loop};
use kpt_tests::pollers::{Calls, Counting};
use kpt_tests::process::all_in_own_process;
use kpt_tests::time::millis;

#[test]
fn nothing_lost_when_full() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<Vec<u32>, u32>(&world, 3, shape);
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
        assert_eq!(kpt.run_verified(&mut ran), Ok(Exit::Stopped));
        assert_eq!(kpt.threads().len(), 3);
        assert!((0..3).all(|arg| ran.contains(&arg)), "{ran:?}");
    }
}

/// Every id that was ever given out is tried all the time.
#[test]
fn a_stale_id_never_touches_another_thread() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<Vec<ThreadId>, u64>(&world, 4, shape);
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
}

/// The running thread gives itself up by its source. Another thread may have the source at once, and not the slot: what
/// the hook holds of itself is not that one's.
#[test]
fn a_stale_id_of_the_thread_that_runs() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<Option<ThreadId>, u8>(&world, 2, shape);
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
            assert!(matches!(thread.try_again(), Err(kpt_std::AgainError::SourceCancelled(1))));
        };
        kpt.threads().add_read("old", Source::new(1), give_up, 1).unwrap();
        world.set(Source::new(1), Readiness::READABLE).unwrap();
        let mut new = None;
        kpt.turn(&mut new).unwrap();
        kpt.threads().verify().unwrap();
        assert_eq!(kpt.threads().cancel(new.unwrap()), Ok(2), "it is still there");
    }
}

#[test]
fn a_dead_fd_hurts_only_its_owner() {
    all_in_own_process("a_dead_fd_hurts_only_its_owner", |real| {
        let (dead, _other) = UnixStream::pair().unwrap();
        let (sound, mut writer) = UnixStream::pair().unwrap();
        let mut kpt = real_loop::<Trace, ()>(8, real);
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
        assert_eq!(kpt.run_verified(&mut trace).unwrap(), Exit::Empty);
        assert_eq!(trace.len(), 3);
    });
}

/// From hooks of each kind and from outside: the poller is not asked again, so it can't have waited.
#[test]
fn stop_never_waits() {
    for shape in Shape::both() {
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
            let mut kpt = any_loop(poller, 4, shape);
            let stop = |waits: &mut u32, mut thread: Thread<u32, _>| {
                let calls: &Calls = thread.arg;
                *waits = calls.waits.get();
                thread.threads().stop();
            };
            kpt.threads().add("stop", when, stop, &calls).unwrap();
            kpt.threads().add_timer("hour", millis(3_600_000), |_, _| {}, &calls).unwrap();
            let mut waits = 0;
            assert_eq!(kpt.run_verified(&mut waits), Ok(Exit::Stopped));
            assert_eq!(calls.waits.get(), waits, "{when:?}");
            kpt.threads().stop();
            assert_eq!(kpt.run_verified(&mut waits), Ok(Exit::Stopped));
            assert_eq!((calls.waits.get(), world.now().as_micros()), (waits, 0));
        }
    }
}

/// And a loop that only waits for what can't come says so, where that can be known.
#[test]
fn an_empty_loop_returns() {
    all_in_own_process("an_empty_loop_returns", |real| {
        let mut kpt = real_loop::<(), ()>(4, real);
        assert_eq!(kpt.run(&mut ()).unwrap(), Exit::Empty);
        kpt.threads().add_execute("once", |_, _| {}, ()).unwrap();
        assert_eq!(kpt.run(&mut ()).unwrap(), Exit::Empty);
        let (socket, _other) = UnixStream::pair().unwrap();
        kpt.threads().add_read("reader", source(&socket), |_, _| {}, ()).unwrap();
        kpt.threads().cancel_source(source(&socket));
        assert_eq!(kpt.run(&mut ()).unwrap(), Exit::Empty);

        let world = World::new();
        let mut kpt = sim_loop::<(), _>(&world, 1, real.shape);
        kpt.threads().add_read("reader", Source::new(1), |_, _| {}, ()).unwrap();
        assert_eq!(kpt.run(&mut ()), Err(Idle));
    });
}
