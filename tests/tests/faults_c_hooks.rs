//! Faults of hooks in this field, by their numbers. C6 is also what must not compile: see the crate's docs.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use kpt_core::sim::World;
use kpt_std::{AgainError, Exit, Instant, Readiness, Source, Stale, Thread, When};
use kpt_tests::loops::{Shape, Trace, real_loop, sim_loop};
use kpt_tests::real::Real;
use kpt_tests::time::millis;

const READABLE: Readiness = Readiness::READABLE;

/// A loop of each kind in a hook of each.
#[test]
fn c06_another_loop_in_a_hook() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<Trace, _>(&world, 2, shape);
        let outer = |trace: &mut Trace, thread: Thread<Trace>| {
            for shape in Shape::both() {
                let world = World::new();
                let mut inner = sim_loop(&world, 1, shape);
                let note = |trace: &mut Trace, _: Thread<Trace>| trace.push("inner");
                inner.threads().add_timer("inner", millis(1), note, ()).unwrap();
                assert_eq!(inner.run_verified(trace), Ok(Exit::Empty));
            }
            trace.push("outer");
            if trace.len() < 6 {
                thread.again();
            }
        };
        kpt.threads().add_execute("outer", outer, ()).unwrap();
        let mut trace = Trace::new();
        assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Empty));
        assert_eq!(trace, ["inner", "inner", "outer"].repeat(2));
    }
}

/// In a hook of each kind, before and after it has done something with its thread.
#[test]
fn c07_a_panic_in_a_hook() {
    for shape in Shape::both() {
        let source = Source::new(3);
        let kinds =
            [When::Now, When::After(millis(1)), When::Readable(source), When::Writable(source)];
        for when in kinds {
            for step in 0..3 {
                let world = World::new();
                world.set(source, READABLE | Readiness::WRITABLE).unwrap();
                let mut kpt = sim_loop::<Trace, u8>(&world, 3, shape);
                let panics = |_: &mut Trace, thread: Thread<Trace, u8>| {
                    match thread.arg {
                        0 => {}
                        1 => assert!(thread.try_again().is_ok()),
                        _ => drop(thread.end()),
                    }
                    panic!("on purpose");
                };
                let id = kpt.threads().add("panics", when, panics, step).unwrap();
                kpt.threads()
                    .add_timer("other", millis(5), |trace, _| trace.push("other"), 9)
                    .unwrap();
                let result = catch_unwind(AssertUnwindSafe(|| kpt.run(&mut Trace::new())));
                assert!(result.is_err(), "{when:?}");
                kpt.threads().verify().unwrap();
                // Only one that had been re-armed is still there.
                assert_eq!(kpt.threads().cancel(id), if step == 1 { Ok(1) } else { Err(Stale) });
                assert_eq!(kpt.threads().len(), 1);
                kpt.threads().add("same source", when, |trace, _| trace.push("same"), 8).unwrap();
                let mut trace = Trace::new();
                assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Empty));
                assert_eq!(trace, ["same", "other"], "{when:?}");
            }
        }
    }
}

/// Each kind of hook says stop, twice, next to others that are ready: they run when the loop runs again.
#[test]
fn c09_stop() {
    for shape in Shape::both() {
        let source = Source::new(3);
        let kinds =
            [When::Now, When::Writable(source), When::Readable(source), When::At(Instant::ZERO)];
        for stopper in 0..kinds.len() {
            let world = World::new();
            world.set(source, READABLE | Readiness::WRITABLE).unwrap();
            let mut kpt = sim_loop::<Vec<usize>, usize>(&world, 8, shape);
            let stop = |ran: &mut Vec<usize>, mut thread: Thread<Vec<usize>, usize>| {
                ran.push(thread.arg);
                thread.threads().stop();
                thread.threads().stop();
            };
            let ran =
                |ran: &mut Vec<usize>, thread: Thread<Vec<usize>, usize>| ran.push(thread.arg);
            for (kind, when) in kinds.into_iter().enumerate() {
                let hook = if kind == stopper { stop } else { ran };
                kpt.threads().add("thread", when, hook, kind).unwrap();
            }
            kpt.threads().add_timer("hour", millis(3_600_000), ran, 9).unwrap();
            let mut ran = Vec::new();
            assert_eq!(kpt.run_verified(&mut ran), Ok(Exit::Stopped));
            assert_eq!(ran, Vec::from_iter(0..=stopper), "no hook is called after stop");
            assert_eq!(world.now(), Instant::ZERO, "and nothing is waited for");
            assert_eq!(kpt.run_verified(&mut ran), Ok(Exit::Empty));
            assert_eq!(ran, [0, 1, 2, 3, 9]);
        }
    }
}

#[test]
fn c09_stop_before_run() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<Trace, _>(&world, 8, shape);
        let mut trace = Trace::new();
        kpt.threads().stop();
        assert_eq!(kpt.run(&mut trace), Ok(Exit::Stopped), "even with nothing to run");
        assert_eq!(kpt.run(&mut trace), Ok(Exit::Empty), "the flag is cleared");
        kpt.threads()
            .add_execute("execute", |trace: &mut Trace, _| trace.push("execute"), ())
            .unwrap();
        kpt.threads().stop();
        kpt.threads().stop();
        assert_eq!((kpt.run(&mut trace), trace.len()), (Ok(Exit::Stopped), 0));
        assert_eq!((kpt.run(&mut trace), trace.len()), (Ok(Exit::Empty), 1));
    }
}

/// Counts how many of it are alive, and how many have been dropped.
struct Counted(Rc<(Cell<i32>, Cell<i32>)>);

impl Counted {
    fn new(counts: &Rc<(Cell<i32>, Cell<i32>)>) -> Self {
        counts.0.set(counts.0.get() + 1);
        Self(Rc::clone(counts))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() - 1);
        self.0.1.set(self.0.1.get() + 1);
        assert!(self.0.0.get() >= 0, "dropped twice");
    }
}

#[test]
fn c11_every_argument_is_dropped_once() {
    for shape in Shape::both() {
        type Hook = kpt_std::Hook<(), Counted>;
        let counts = Rc::new((Cell::new(0), Cell::new(0)));
        let arg = || Counted::new(&counts);
        let dropped = |expected: i32, why: &str| {
            assert_eq!(counts.1.replace(0), expected, "{why}");
        };
        let world = World::new();
        let mut kpt = sim_loop::<(), Counted>(&world, 2, shape);
        let ends: Hook = |(), _| {};

        kpt.threads().add_execute("fires", ends, arg()).unwrap();
        kpt.run(&mut ()).unwrap();
        dropped(1, "fired");
        let id = kpt.threads().add_execute("cancelled", ends, arg()).unwrap();
        drop(kpt.threads().cancel(id));
        dropped(1, "cancelled");
        kpt.threads().add_execute("ends", |(), thread| drop(thread.end()), arg()).unwrap();
        kpt.run(&mut ()).unwrap();
        dropped(1, "ended");
        kpt.threads().add_execute("takes", |(), thread| drop(thread.arg), arg()).unwrap();
        kpt.run(&mut ()).unwrap();
        dropped(1, "taken out");
        let no_period: Hook =
            |(), thread| assert!(matches!(thread.try_again(), Err(AgainError::NoPeriod(_))));
        kpt.threads().add("no period", When::At(Instant::ZERO), no_period, arg()).unwrap();
        kpt.run(&mut ()).unwrap();
        dropped(1, "not re-armed");
        kpt.threads().add_execute("panics", |(), _| panic!("on purpose"), arg()).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| kpt.run(&mut ()))).is_err());
        dropped(1, "panicked");

        kpt.threads().add_read("reader", Source::new(1), ends, arg()).unwrap();
        drop(kpt.threads().add_read("taken", Source::new(1), ends, arg()));
        dropped(1, "taken");
        kpt.threads().add_write("writer", Source::new(1), ends, arg()).unwrap();
        drop(kpt.threads().add_write("full", Source::new(2), ends, arg()));
        dropped(1, "full");
        drop(kpt.threads().cancel_source(Source::new(1)));
        dropped(2, "cancelled by source");

        kpt.threads().add_timer("left", millis(1), ends, arg()).unwrap();
        kpt.threads().add_execute("left", ends, arg()).unwrap();
        drop(kpt);
        dropped(2, "dropped with the loop");
        assert_eq!(counts.0.get(), 0, "none is left");
    }
}

/// `C11` on a real loop: descriptors in arguments are closed with their threads.
#[test]
fn c11_descriptors_in_arguments() {
    for real in Real::all() {
        use std::io::Read;
        use std::os::unix::net::UnixStream;
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut kpt = real_loop::<(), UnixStream>(1, real);
        let source = kpt_std::source(&ours);
        kpt.threads().add_write("writer", source, |(), _| {}, ours).unwrap();
        assert_eq!(kpt.run(&mut ()).unwrap(), Exit::Empty);
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "closed when the hook returned");
    }
}
