//! The faults of the original, by their numbers; that of costs, and those of tasks, are elsewhere.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use kpt_core::sim::World;
use kpt_std::{
    AddError, EventLoop, Exit, Readiness, Source, Stale, Thread, ThreadId, When, source,
};
use kpt_tests::loops::{Shape, Trace, real_loop, sim_loop};
use kpt_tests::process::{all_in_own_process, in_own_process};
use kpt_tests::real::Real;
use kpt_tests::sys;
use kpt_tests::time::millis;
use kpt_tests::wall_clock::with_wall_clock_step;

const HOUR: Duration = Duration::from_secs(3_600);

#[test]
fn b02_the_last_timer_is_cancelled() {
    all_in_own_process("b02_the_last_timer_is_cancelled", |real| {
        let mut kpt = real_loop(2, real);
        let timer = kpt.threads().add_timer("never", HOUR, |_, _| {}, 7).unwrap();
        assert_eq!(kpt.threads().cancel(timer), Ok(7));
        assert_eq!(kpt.run(&mut ()).unwrap(), Exit::Empty);

        let mut kpt = real_loop::<Option<ThreadId>, u8>(2, real);
        let mut timer = kpt.threads().add_timer("never", HOUR, |_, _| {}, 7).ok();
        let cancel = |timer: &mut Option<ThreadId>, mut thread: Thread<Option<ThreadId>, u8>| {
            assert_eq!(thread.threads().cancel(timer.unwrap()), Ok(7));
        };
        kpt.threads().add_timer("cancel", millis(1), cancel, 1).unwrap();
        assert_eq!(kpt.run(&mut timer).unwrap(), Exit::Empty);
    });
}

#[test]
fn b03_stop_in_an_execute_hook() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop(&world, 4, shape);
        let mut trace = Trace::new();
        kpt.threads()
            .add_timer("hour", HOUR, |trace: &mut Trace, _| trace.push("hour"), ())
            .unwrap();
        let stop = |trace: &mut Trace, mut thread: Thread<Trace>| {
            trace.push("stop");
            thread.threads().stop();
        };
        kpt.threads().add_execute("stop", stop, ()).unwrap();
        kpt.threads().add_execute("next", |trace, _| trace.push("next"), ()).unwrap();
        assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Stopped));
        assert_eq!(
            (&trace[..], world.now().as_micros()),
            (&["stop"][..], 0),
            "nothing was waited for"
        );
        assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Empty), "it runs again");
        assert_eq!(trace, ["stop", "next", "hour"]);
    }
}

#[derive(Default)]
struct Busy {
    hooks: u32,
    is_read: bool,
}

impl Busy {
    fn on_busy(&mut self, thread: Thread<Busy>) {
        self.hooks += 1;
        assert!(self.hooks < 10_000, "starves the reader");
        thread.again();
    }

    fn on_readable(&mut self, mut thread: Thread<Busy>) {
        self.is_read = true;
        thread.threads().stop();
    }
}

/// Both with a thread that re-arms itself, and with one that adds another.
#[test]
fn b04_an_execute_hook_that_readds_itself() {
    in_own_process("b04_an_execute_hook_that_readds_itself", || {
        fn on_busy(state: &mut Busy, thread: Thread<Busy>) {
            state.hooks += 1;
            assert!(state.hooks < 10_000, "starves the reader");
            let (_, mut threads) = thread.end();
            threads.add_execute("busy", on_busy, ()).unwrap();
        }
        for hook in [on_busy, Busy::on_busy] {
            starve_a_reader(When::Now, hook);
        }
    });
}

#[test]
fn b05_a_timer_of_zero_that_readds_itself() {
    in_own_process("b05_a_timer_of_zero_that_readds_itself", || {
        fn on_busy(state: &mut Busy, thread: Thread<Busy>) {
            state.hooks += 1;
            assert!(state.hooks < 10_000, "starves the reader");
            let (_, mut threads) = thread.end();
            threads.add_timer("busy", Duration::ZERO, on_busy, ()).unwrap();
        }
        for hook in [on_busy, Busy::on_busy] {
            starve_a_reader(When::After(Duration::ZERO), hook);
        }
    });
}

fn starve_a_reader(when: When, hook: kpt_std::Hook<Busy>) {
    for real in Real::all() {
        let (reader, mut writer) = UnixStream::pair().unwrap();
        writer.write_all(b"x").unwrap();
        let mut kpt = real_loop(2, real);
        kpt.threads().add("busy", when, hook, ()).unwrap();
        kpt.threads().add_read("reader", source(&reader), Busy::on_readable, ()).unwrap();
        let mut state = Busy::default();
        assert_eq!(kpt.run_verified(&mut state).unwrap(), Exit::Stopped);
        assert!(state.is_read);
    }
}

#[test]
fn b06_dump_of_every_kind() {
    for real in Real::all() {
        let (a, b) = UnixStream::pair().unwrap();
        let mut kpt = real_loop(8, real);
        let mut threads = kpt.threads();
        threads.add_timer("a timer", HOUR, |_: &mut (), _| {}, ()).unwrap();
        threads.add("a moment", When::At(kpt_std::Instant::NEVER), |_, _| {}, ()).unwrap();
        threads.add_execute("an execute", |_, _| {}, ()).unwrap();
        threads.add_read("a socket", source(&a), |_, _| {}, ()).unwrap();
        threads
            .add_write("a plain number", Source::new(b.as_raw_fd() as u32), |_, _| {}, ())
            .unwrap();
        threads.add_read("no socket", Source::new(u32::MAX), |_, _| {}, ()).unwrap();
        let text = threads.dump().to_string();
        for words in
            ["timer    a timer", "timer    a moment", "execute  an execute", "read     a socket"]
        {
            assert!(text.contains(words), "{words} is missing:\n{text}");
        }
        assert!(text.contains("write    a plain number") && text.contains("read     no socket"));
        assert_eq!(text.lines().count(), 8, "{text}");
    }
}

/// The clock is the poller's, whatever the loop.
#[test]
fn b07_wall_clock_step() {
    with_wall_clock_step("b07_wall_clock_step", -3_600, || {
        let mut kpt = EventLoop::with_capacity(1).unwrap();
        let start = Instant::now();
        kpt.threads().add_timer("timer", millis(200), |runs, _| *runs += 1, ()).unwrap();
        let mut runs = 0;
        assert_eq!(kpt.run(&mut runs).unwrap(), Exit::Empty, "and not in an hour");
        assert!(runs == 1 && start.elapsed() >= millis(200));
    });
}

/// A closed one, and one that C's select can't take, next to one that is served.
#[test]
fn b08_bad_descriptors_stop_nobody() {
    all_in_own_process("b08_bad_descriptors_stop_nobody", |real| {
        sys::set_descriptor_limit(4_096).unwrap();
        let (high, mut writer) = UnixStream::pair().unwrap();
        let high = sys::duplicate_from(&high, 1_500).unwrap();
        let (closed, _other) = UnixStream::pair().unwrap();
        writer.write_all(b"x").unwrap();
        let mut kpt = real_loop::<Trace, ()>(4, real);
        let mut threads = kpt.threads();
        let on_closed = |trace: &mut Trace, thread: Thread<Trace>| {
            assert!(thread.readiness().is_error());
            trace.push("closed");
        };
        threads.add_read("closed", source(&closed), on_closed, ()).unwrap();
        threads.add_read("high", source(&high), |trace, _| trace.push("high"), ()).unwrap();
        threads.add_timer("timer", millis(1), |trace, _| trace.push("timer"), ()).unwrap();
        drop(closed);
        let mut trace = Trace::new();
        assert_eq!(kpt.run_verified(&mut trace).unwrap(), Exit::Empty);
        trace.sort_unstable();
        assert_eq!(trace, ["closed", "high", "timer"]);
    });
}

#[test]
fn b09_a_handle_kept_too_long() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<Trace, _>(&world, 1, shape);
        let mut trace = Trace::new();
        let old = kpt.threads().add_execute("old", |trace, _| trace.push("old"), ()).unwrap();
        assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Empty));
        let new = kpt.threads().add_execute("new", |trace, _| trace.push("new"), ()).unwrap();
        assert_ne!(old, new);
        assert_eq!(kpt.threads().cancel(old), Err(Stale));
        assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Empty));
        assert_eq!(trace, ["old", "new"]);
    }
}

#[test]
fn b18_cancel_by_number_what_was_added_as_a_socket() {
    for real in Real::all() {
        let (socket, _other) = UnixStream::pair().unwrap();
        let mut kpt = real_loop::<(), u8>(2, real);
        kpt.threads().add_read("reader", source(&socket), |_, _| {}, 1).unwrap();
        kpt.threads().add_write("writer", source(&socket), |_, _| {}, 2).unwrap();
        let number = Source::new(u32::try_from(socket.as_raw_fd()).unwrap());
        let cancelled = kpt.threads().cancel_source(number);
        assert_eq!((cancelled.reader, cancelled.writer), (Some(1), Some(2)));
        assert!(kpt.threads().is_empty());
    }
}

#[test]
fn b19_threads_that_ran_are_gone() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop(&world, 4, shape);
        let ends = |runs: &mut u32, _: Thread<u32>| *runs += 1;
        let mut runs = 0;
        for round in 0..1_000 {
            let [read, write] = [0, 1].map(Source::new);
            world.set(read, Readiness::READABLE).unwrap();
            world.set(write, Readiness::WRITABLE).unwrap();
            kpt.threads().add_read("read", read, ends, ()).unwrap();
            kpt.threads().add_write("write", write, ends, ()).unwrap();
            kpt.threads().add_timer("timer", millis(1), ends, ()).unwrap();
            kpt.threads().add_execute("execute", ends, ()).unwrap();
            assert_eq!(kpt.run_verified(&mut runs), Ok(Exit::Empty));
            assert_eq!((kpt.threads().len(), runs), (0, 4 * (round + 1)));
            assert_eq!(kpt.threads().dump().to_string().lines().count(), 2, "title and sum");
        }
    }
}

#[test]
fn b20_cancelled_timers_leave_nothing_behind() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<(), u32>(&world, 2, shape);
        for round in 0..100_000_u32 {
            let delay = Duration::from_micros(u64::from(round) * 7_919 % 3_600_000_000);
            let timer = kpt.threads().add_timer("timer", delay, |_, _| {}, round).unwrap();
            assert_eq!(kpt.threads().cancel(timer), Ok(round));
        }
        kpt.threads().verify().unwrap();
        for round in 0..2 {
            kpt.threads().add_timer("timer", HOUR, |_, _| {}, round).unwrap();
        }
        let third = kpt.threads().add_timer("timer", HOUR, |_, _| {}, 2);
        assert!(matches!(third, Err(AddError::Full(2))));
        assert_eq!(kpt.threads().len(), 2);
    }
}

#[test]
fn b22_equal_deadlines_and_drift() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop(&world, 64, shape);
        let record = |ran: &mut Vec<u32>, thread: Thread<Vec<u32>, u32>| ran.push(thread.arg);
        let deadline = world.now() + millis(5);
        for round in 0..40 {
            // Both ways to the same moment, and added from several positions of the wheel.
            let when = if round % 2 == 0 { When::At(deadline) } else { When::After(millis(5)) };
            kpt.threads().add("timer", when, record, round).unwrap();
        }
        let mut ran = Vec::new();
        assert_eq!(kpt.run_verified(&mut ran), Ok(Exit::Empty));
        assert_eq!(ran, Vec::from_iter(0..40));

        // A hook that takes 3 ms does not shift the next deadlines: ten periods of 98 ms end at 980 ms.
        struct Slow<'w>(&'w World, u32);
        let world = World::new();
        let mut kpt = sim_loop(&world, 1, shape);
        let tick = |state: &mut Slow, thread: Thread<Slow>| {
            state.0.advance(millis(3));
            state.1 += 1;
            assert_eq!(thread.deadline().unwrap().as_micros(), u64::from(state.1) * 98_000);
            if state.1 < 10 {
                thread.again();
            }
        };
        kpt.threads().add_timer("tick", millis(98), tick, ()).unwrap();
        assert_eq!(kpt.run_verified(&mut Slow(&world, 0)), Ok(Exit::Empty));
        assert_eq!(world.now().as_micros(), 983_000);
    }
}

struct Reuse {
    old: Option<UnixStream>,
    trigger: UnixStream,
    new: Option<(UnixStream, UnixStream)>,
    trace: Trace,
}

impl Reuse {
    /// Runs first, as writers do: closes the socket that is ready, and opens another one, which gets its number.
    fn on_writable(&mut self, mut thread: Thread<Reuse>) {
        self.trace.push("writer");
        let old = self.old.take().unwrap();
        let number = source(&old);
        assert!(thread.threads().cancel_source(number).reader.is_some());
        drop(old);
        let new = UnixStream::pair().unwrap();
        assert_eq!(source(&new.0), number, "the number is reused");
        thread.threads().add_read("new", number, Self::on_new, ()).unwrap();
        self.new = Some(new);
    }

    fn on_old(&mut self, _: Thread<Reuse>) {
        self.trace.push("old");
    }

    fn on_new(&mut self, _: Thread<Reuse>) {
        self.trace.push("new");
        let (socket, _) = self.new.as_mut().unwrap();
        assert_eq!(socket.read(&mut [0; 8]).unwrap(), 1);
    }
}

#[test]
fn b23_readiness_of_a_reused_number() {
    all_in_own_process("b23_readiness_of_a_reused_number", |real| {
        let (trigger, _other) = UnixStream::pair().unwrap();
        let (mut writer, old) = UnixStream::pair().unwrap();
        writer.write_all(b"x").unwrap();
        let mut kpt = real_loop(4, real);
        kpt.threads().add_read("old", source(&old), Reuse::on_old, ()).unwrap();
        kpt.threads().add_write("writer", source(&trigger), Reuse::on_writable, ()).unwrap();
        let mut state = Reuse { old: Some(old), trigger, new: None, trace: Trace::new() };
        kpt.turn(&mut state).unwrap();
        assert_eq!(state.trace, ["writer"], "{} is not readable", state.trigger.as_raw_fd());
        // Nothing is readable, so only a timer ends the next wait.
        kpt.threads()
            .add_timer("timer", millis(1), |state, _| state.trace.push("timer"), ())
            .unwrap();
        kpt.turn_until(&mut state, &mut |state| state.trace.len() > 1);
        assert_eq!(state.trace, ["writer", "timer"]);
        state.new.as_mut().unwrap().1.write_all(b"y").unwrap();
        assert_eq!(kpt.run_verified(&mut state).unwrap(), Exit::Empty);
        assert_eq!(state.trace, ["writer", "timer", "new"]);
    });
}

#[test]
fn b24_a_panic_in_one_hook() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop(&world, 3, shape);
        let mut trace = Trace::new();
        kpt.threads().add_execute("first", |trace: &mut Trace, _| trace.push("first"), ()).unwrap();
        kpt.threads().add_execute("panics", |_, _| panic!("on purpose"), ()).unwrap();
        kpt.threads().add_timer("last", millis(1), |trace, _| trace.push("last"), ()).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| kpt.run(&mut trace)));
        assert!(result.is_err(), "the panic is not swallowed");
        assert_eq!(kpt.threads().len(), 1);
        assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Empty));
        assert_eq!(trace, ["first", "last"]);
    }
}
