//! Faults of pollers and descriptors in this field, by their numbers; those of epoll and of forks are elsewhere.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kpt_std::{AddError, Exit, Readiness, Source, Thread, When, source};
use kpt_tests::loops::{Ran, Shape, Trace, real_loop, record};
use kpt_tests::process::{all_in_own_process, in_own_process, these_in_own_process};
use kpt_tests::real::{Backend, Real};
use kpt_tests::rigs::{fill, pair};
use kpt_tests::sys;
use kpt_tests::time::{micros, millis};

/// Open ones up to the limit work; what is closed, negative or beyond the limit is its own error.
#[test]
fn f01_fd_beyond_fd_setsize() {
    all_in_own_process("f01_fd_beyond_fd_setsize", |real| {
        sys::set_descriptor_limit(4_096).unwrap();
        let (reader, mut writer) = pair();
        writer.write_all(b"x").unwrap();
        let mut kpt = real_loop::<Ran, ()>(64, real);
        let mut expected = Ran::new();
        // Of these, nobody knows anything: the table of descriptors is still small.
        for number in [900, 1_022, 1_500, 4_095, 4_096, 65_535, 65_536, i32::MAX as u32, u32::MAX] {
            let bad = Source::new(number);
            kpt.threads().add_read("bad", bad, record, ()).unwrap();
            kpt.threads().add_write("bad", bad, record, ()).unwrap();
            expected.extend([(number, Readiness::ERROR); 2]);
        }
        let mut ran = Ran::new();
        kpt.turn_until(&mut ran, &mut |ran| ran.len() == expected.len());
        ran.sort_by_key(|&(number, _)| number);
        assert_eq!(ran, expected);
        assert!(kpt.threads().is_empty());

        let open = [1_023, 1_024, 1_500, 4_095]
            .map(|number| sys::duplicate_from(&reader, number).unwrap());
        for fd in &open {
            kpt.threads().add_read("open", source(fd), record, ()).unwrap();
        }
        kpt.threads().add_read("closed", Source::new(2_000), record, ()).unwrap();
        let mut ran = Ran::new();
        assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Empty);
        ran.sort_by_key(|&(number, _)| number);
        let found = [1_023, 1_024, 1_500, 2_000, 4_095].map(|number| {
            (number, if number == 2_000 { Readiness::ERROR } else { Readiness::READABLE })
        });
        assert_eq!(ran, found);
    });
}

/// Whoever is closed behind the loop's back runs with an error, again and again if it says so; the others are served
/// in the same turn. In a large loop on epoll, the first of these takes a while: see below.
#[test]
fn f02_a_watched_fd_is_closed() {
    let is_told_at_once =
        |real: &Real| real.backend == Backend::Select || real.shape == Shape::Small;
    let these = Real::all().filter(is_told_at_once).collect();
    these_in_own_process("f02_a_watched_fd_is_closed", these, &|real| {
        #[derive(Default)]
        struct State {
            errors: u32,
            reads: u32,
        }
        let (sound, mut writer) = pair();
        let (closed, _other) = pair();
        let mut kpt = real_loop::<State, ()>(4, real);
        let on_error = |state: &mut State, thread: Thread<State>| {
            if thread.readiness().is_error() {
                state.errors += 1;
            }
            thread.again();
        };
        let on_read = |state: &mut State, thread: Thread<State>| {
            state.reads += 1;
            thread.again();
        };
        kpt.threads().add_read("closed", source(&closed), on_error, ()).unwrap();
        kpt.threads().add_read("sound", source(&sound), on_read, ()).unwrap();
        kpt.threads().add_timer("turn", Duration::ZERO, |_, _| {}, ()).unwrap();
        let mut state = State::default();
        kpt.turn(&mut state).unwrap();
        drop(closed);
        writer.write_all(b"x").unwrap();
        for turn in 1..=100 {
            kpt.turn(&mut state).unwrap();
            kpt.threads().verify().unwrap();
            assert_eq!((state.errors, state.reads), (turn, turn), "both in each turn");
        }
    });
}

/// The kernel does not say so. The loop finds out within 10 seconds of its next activity, and does not spin until then.
#[test]
fn f02_a_watched_fd_is_closed_on_epoll() {
    in_own_process("f02_a_watched_fd_is_closed_on_epoll", || {
        let real = Real { shape: Shape::HOST, backend: Backend::Epoll };
        let (closed, _other) = pair();
        let (sound, _theirs) = pair();
        let mut kpt = real_loop::<Ran, ()>(4, real);
        let number = source(&closed).number();
        kpt.threads().add_read("closed", source(&closed), record, ()).unwrap();
        kpt.threads().add_read("sound", source(&sound), record, ()).unwrap();
        kpt.threads().add_timer("turn", Duration::ZERO, |_, _| {}, ()).unwrap();
        let mut ran = Ran::new();
        kpt.turn(&mut ran).unwrap();
        drop(closed);
        let (start, slept) = (Instant::now(), sys::sleeps());
        kpt.turn(&mut ran).unwrap();
        assert_eq!(ran, [(number, Readiness::ERROR)]);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert!(sys::sleeps() - slept <= 10, "wakes up {} times", sys::sleeps() - slept);
    });
}

/// Both threads of a closed one, of which only one says `again`.
#[test]
fn f02_both_threads_of_a_closed_fd() {
    all_in_own_process("f02_both_threads_of_a_closed_fd", |real| {
        let (closed, _other) = pair();
        fill(&closed);
        let mut kpt = real_loop::<Trace, ()>(4, real);
        let on_error = |trace: &mut Trace, thread: Thread<Trace>| {
            assert_eq!(thread.readiness(), Readiness::ERROR);
            trace.push(thread.name());
            if thread.name() == "writer" && trace.len() < 6 {
                thread.again();
            }
        };
        kpt.threads().add_read("reader", source(&closed), on_error, ()).unwrap();
        kpt.threads().add_write("writer", source(&closed), on_error, ()).unwrap();
        kpt.threads().add_timer("turn", Duration::ZERO, |_, _| {}, ()).unwrap();
        let mut trace = Trace::new();
        kpt.turn(&mut trace).unwrap();
        drop(closed);
        assert_eq!(kpt.run_verified(&mut trace).unwrap(), Exit::Empty);
        assert_eq!(trace, ["writer", "reader", "writer", "writer", "writer", "writer"]);
    });
}

/// Next to a closed one, what has hung up is not taken for closed as well.
#[test]
fn f02_hung_up_is_not_closed() {
    all_in_own_process("f02_hung_up_is_not_closed", |real| {
        let (closed, _other) = pair();
        let (hung_up, theirs) = pair();
        drop(theirs);
        let mut kpt = real_loop::<Ran, ()>(4, real);
        let number = source(&closed).number();
        kpt.threads().add_read("closed", source(&closed), record, ()).unwrap();
        kpt.threads().add_write("hung up", source(&hung_up), record, ()).unwrap();
        drop(closed);
        let mut ran = Ran::new();
        assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Empty);
        ran.sort_by_key(|&(_, readiness)| readiness.is_error());
        // Select does not tell a hang-up from room to write.
        let writable = match real.backend {
            Backend::Select => Readiness::WRITABLE,
            Backend::Epoll => Readiness::WRITABLE | Readiness::HANGUP,
        };
        let hung_up = (source(&hung_up).number(), writable);
        assert_eq!(ran, [hung_up, (number, Readiness::ERROR)]);
    });
}

/// Open for its path only: no call on it works, and select takes it for closed.
#[test]
fn f02_a_path_is_no_open_file() {
    all_in_own_process("f02_a_path_is_no_open_file", |real| {
        let path = sys::open_path(c"/tmp").unwrap();
        let (sound, mut writer) = pair();
        writer.write_all(b"x").unwrap();
        let mut kpt = real_loop::<Ran, ()>(4, real);
        kpt.threads().add_read("path", source(&path), record, ()).unwrap();
        kpt.threads().add_read("sound", source(&sound), record, ()).unwrap();
        let mut ran = Ran::new();
        assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Empty);
        let number = |fd: i32| fd as u32;
        ran.sort_by_key(|&(_, readiness)| readiness.is_error());
        let sound = (number(sound.as_raw_fd()), Readiness::READABLE);
        assert_eq!(ran, [sound, (number(path.as_raw_fd()), Readiness::ERROR)]);
    });
}

struct Reuse {
    pipes: Vec<(UnixStream, UnixStream)>,
    trace: Trace,
}

impl Reuse {
    /// The one that runs first closes the other, which is ready too, and opens a new one of the same number.
    fn on_readable(&mut self, mut thread: Thread<Reuse, usize>) {
        self.trace.push("first");
        let other = 1 - thread.arg;
        let (old, _) = self.pipes.remove(other);
        let number = source(&old);
        assert_eq!(thread.threads().cancel_source(number).reader, Some(other));
        drop(old);
        let (new, theirs) = pair();
        assert_eq!(source(&new), number);
        thread.threads().add_read("new", number, |state, _| state.trace.push("new"), 2).unwrap();
        self.pipes.push((new, theirs));
    }
}

#[test]
fn f03_fd_reused_in_the_same_turn() {
    all_in_own_process("f03_fd_reused_in_the_same_turn", |real| {
        let mut kpt = real_loop::<Reuse, usize>(4, real);
        let mut state = Reuse { pipes: vec![pair(), pair()], trace: Trace::new() };
        for (arg, (ours, theirs)) in state.pipes.iter_mut().enumerate() {
            theirs.write_all(b"x").unwrap();
            kpt.threads().add_read("old", source(ours), Reuse::on_readable, arg).unwrap();
        }
        kpt.turn(&mut state).unwrap();
        assert_eq!(state.trace, ["first"], "neither the old one nor the new one");
        kpt.threads()
            .add_timer("timer", millis(1), |state, _| state.trace.push("timer"), 9)
            .unwrap();
        kpt.turn_until(&mut state, &mut |state| state.trace.len() == 2);
        assert_eq!(state.trace[1], "timer", "the new one is not readable");
        let (_, theirs) = state.pipes.last_mut().unwrap();
        theirs.write_all(b"y").unwrap();
        assert_eq!(kpt.run_verified(&mut state).unwrap(), Exit::Empty);
        assert_eq!(state.trace, ["first", "timer", "new"]);
    });
}

#[test]
fn f06_eintr() {
    all_in_own_process("f06_eintr", |real| {
        sys::start_alarms(millis(1)).unwrap();
        let mut kpt = real_loop::<Ran, ()>(4, real);
        let (reader, _writer) = pair();
        kpt.threads().add_read("never", source(&reader), record, ()).unwrap();
        let stop = |_: &mut Ran, mut thread: Thread<Ran>| thread.threads().stop();
        for delay in [300, 20, 100] {
            let start = Instant::now();
            kpt.threads().add_timer("timer", millis(delay), stop, ()).unwrap();
            let mut ran = Ran::new();
            assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Stopped);
            assert!(start.elapsed() >= millis(delay), "early by a signal");
            assert!(ran.is_empty());
        }
        assert!(sys::alarms() > 20, "no signals, no test: {}", sys::alarms());
    });
}

/// The deadline is a moment, and so no later for all that came in between. They stop halfway, since each of them ends
/// what the kernel was asked for, also where that was too long.
#[test]
fn f06_eintr_does_not_stretch_a_wait() {
    all_in_own_process("f06_eintr_does_not_stretch_a_wait", |real| {
        const DELAY: Duration = Duration::from_millis(200);
        let mut kpt = real_loop::<(), ()>(1, real);
        let mut round = || {
            let before = sys::alarms();
            let alarms = sys::start_alarms(millis(1)).unwrap();
            let stopper = std::thread::spawn(move || {
                std::thread::sleep(DELAY / 2);
                alarms.stop().unwrap();
            });
            let start = Instant::now();
            kpt.threads().add_timer("timer", DELAY, |(), _| {}, ()).unwrap();
            assert_eq!(kpt.run_verified(&mut ()).unwrap(), Exit::Empty);
            let late = start.elapsed() - DELAY;
            stopper.join().unwrap();
            (late, u32::try_from(sys::alarms() - before).unwrap())
        };
        // A millisecond for each would be twice the bound. A machine may be late by itself, but not in every round.
        let rounds = Vec::from_iter((0..5).map(|_| round()));
        let is_good = |&(late, alarms): &_| alarms > 20 && late < micros(500) * alarms;
        assert!(rounds.iter().any(is_good), "late, signals: {rounds:?}");
    });
}

/// A closed descriptor under a storm of signals is still found, and an open one not taken for closed.
#[test]
fn f06_eintr_while_a_closed_fd_is_looked_for() {
    all_in_own_process("f06_eintr_while_a_closed_fd_is_looked_for", |real| {
        sys::start_alarms(Duration::from_micros(50)).unwrap();
        let mut kpt = real_loop::<Ran, ()>(4, real);
        let (idle, _theirs) = pair();
        kpt.threads().add_read("idle", source(&idle), record, ()).unwrap();
        for _ in 0..5_000 {
            let (closed, _other) = pair();
            let number = source(&closed).number();
            kpt.threads().add_read("closed", source(&closed), record, ()).unwrap();
            drop(closed);
            let mut ran = Ran::new();
            kpt.turn_until(&mut ran, &mut |ran| !ran.is_empty());
            assert_eq!(ran, [(number, Readiness::ERROR)]);
        }
        assert!(sys::alarms() > 0);
    });
}

/// A loop changes nothing of the files that it watches: their flags are other processes' flags as well.
#[test]
fn f13_flags_of_a_file_stay() {
    all_in_own_process("f13_flags_of_a_file_stay", |real| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let before = [sys::status_flags(&reader).unwrap(), sys::status_flags(&writer).unwrap()];
        assert_eq!(before[0] & libc::O_NONBLOCK, 0);
        writer.write_all(b"x").unwrap();
        let mut kpt = real_loop::<Ran, ()>(4, real);
        kpt.threads().add_read("reader", source(&reader), record, ()).unwrap();
        kpt.threads().add_write("writer", source(&writer), record, ()).unwrap();
        let stdin = std::io::stdin();
        let of_stdin = sys::status_flags(&stdin).unwrap();
        kpt.threads().add_read("stdin", source(&stdin), record, ()).unwrap();
        assert_eq!(kpt.run_verified(&mut Ran::new()).unwrap(), Exit::Empty);
        let after = [sys::status_flags(&reader).unwrap(), sys::status_flags(&writer).unwrap()];
        assert_eq!((before, of_stdin), (after, sys::status_flags(&stdin).unwrap()));
    });
}

#[test]
fn f14_same_fd_and_kind_twice() {
    all_in_own_process("f14_same_fd_and_kind_twice", |real| {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"x").unwrap();
        let mut kpt = real_loop::<Trace, &str>(4, real);
        let ran = |trace: &mut Trace, thread: Thread<Trace, &'static str>| trace.push(thread.arg);
        let source = source(&ours);
        let reader = kpt.threads().add_read("reader", source, ran, "first").unwrap();
        let second = kpt.threads().add_read("reader", source, ran, "second");
        assert!(matches!(second, Err(AddError::Taken("second"))));
        let writer = kpt.threads().add_write("writer", source, ran, "writer").unwrap();
        let second = kpt.threads().add("writer", When::Writable(source), ran, "second");
        assert!(matches!(second, Err(AddError::Taken("second"))));
        assert_ne!(reader, writer);
        let mut trace = Trace::new();
        assert_eq!(kpt.run_verified(&mut trace).unwrap(), Exit::Empty);
        assert_eq!(trace, ["writer", "first"]);
    });
}

/// Six hundred are ready in every turn (a hundred of a small loop), one of them slow: each is served once a turn.
#[test]
fn f16_many_ready_descriptors() {
    all_in_own_process("f16_many_ready_descriptors", |real| {
        sys::set_descriptor_limit(4_096).unwrap();
        let many = if real.shape == Shape::Small { 100 } else { 600 };
        let pairs = Vec::from_iter((0..many).map(|_| pair()));
        let mut kpt = real_loop::<Vec<u32>, usize>(many, real);
        let served = |served: &mut Vec<u32>, thread: Thread<Vec<u32>, usize>| {
            served[thread.arg] += 1;
            if thread.arg == 0 {
                // One that takes its time, and gives the others reason to be ready twice.
                std::thread::sleep(millis(1));
            }
            thread.again();
        };
        for (arg, (ours, theirs)) in pairs.iter().enumerate() {
            { theirs }.write_all(b"x").unwrap();
            kpt.threads().add_read("reader", source(ours), served, arg).unwrap();
        }
        let mut counts = vec![0; many];
        for turn in 1..=20 {
            kpt.turn(&mut counts).unwrap();
            assert!(counts.iter().all(|&count| count == turn), "turn {turn}: {counts:?}");
        }
    });
}
