//! Faults of pollers and descriptors in this field, by their numbers; those of epoll and of forks are elsewhere.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use kpt_core::sim::World;
use kpt_std::{AddError, EventLoop, Exit, Readiness, Source, Thread, When, source};
use kpt_tests::loops::{Trace, run_verified, sim_loop, turn_until};
use kpt_tests::process::in_own_process;
use kpt_tests::rigs::{drain, fill};
use kpt_tests::sys;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (a, b)
}

/// Which threads ran, and with what.
type Ran = Vec<(u32, Readiness)>;

fn record(ran: &mut Ran, thread: Thread<Ran>) {
    ran.push((thread.source().unwrap().number(), thread.readiness()));
}

/// Open ones up to the limit work; what is closed, negative or beyond the limit is its own error.
#[test]
fn f01_fd_beyond_fd_setsize() {
    in_own_process("f01_fd_beyond_fd_setsize", || {
        sys::set_descriptor_limit(4_096).unwrap();
        let (reader, mut writer) = pair();
        writer.write_all(b"x").unwrap();
        let mut kpt: EventLoop<Ran> = EventLoop::with_capacity(64);
        let mut expected = Ran::new();
        // Of these, nobody knows anything: the table of descriptors is still small.
        for number in [900, 1_022, 1_500, 4_095, 4_096, 65_535, 65_536, i32::MAX as u32, u32::MAX] {
            let bad = Source::new(number);
            kpt.threads().add_read("bad", bad, record, ()).unwrap();
            kpt.threads().add_write("bad", bad, record, ()).unwrap();
            expected.extend([(number, Readiness::ERROR); 2]);
        }
        let mut ran = Ran::new();
        turn_until(&mut kpt, &mut ran, |ran| ran.len() == expected.len());
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
        assert_eq!(run_verified(&mut kpt, &mut ran).unwrap(), Exit::Empty);
        ran.sort_by_key(|&(number, _)| number);
        let found = [1_023, 1_024, 1_500, 2_000, 4_095].map(|number| {
            (number, if number == 2_000 { Readiness::ERROR } else { Readiness::READABLE })
        });
        assert_eq!(ran, found);
    });
}

/// Whoever is closed behind the loop's back runs with an error, again and again if it says so; the others are served
/// in the same turn.
#[test]
fn f02_a_watched_fd_is_closed() {
    in_own_process("f02_a_watched_fd_is_closed", || {
        #[derive(Default)]
        struct State {
            errors: u32,
            reads: u32,
        }
        let (sound, mut writer) = pair();
        let (closed, _other) = pair();
        let mut kpt: EventLoop<State> = EventLoop::with_capacity(4);
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

/// Both threads of a closed one, of which only one says `again`.
#[test]
fn f02_both_threads_of_a_closed_fd() {
    in_own_process("f02_both_threads_of_a_closed_fd", || {
        let (closed, _other) = pair();
        fill(&closed);
        let mut kpt: EventLoop<Trace> = EventLoop::with_capacity(4);
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
        assert_eq!(run_verified(&mut kpt, &mut trace).unwrap(), Exit::Empty);
        assert_eq!(trace, ["writer", "reader", "writer", "writer", "writer", "writer"]);
    });
}

/// Open for its path only: no call on it works, and select takes it for closed.
#[test]
fn f02_a_path_is_no_open_file() {
    in_own_process("f02_a_path_is_no_open_file", || {
        let path =
            File::options().read(true).custom_flags(libc::O_PATH).open(std::env::temp_dir());
        let path = path.unwrap();
        let (sound, mut writer) = pair();
        writer.write_all(b"x").unwrap();
        let mut kpt: EventLoop<Ran> = EventLoop::with_capacity(4);
        kpt.threads().add_read("path", source(&path), record, ()).unwrap();
        kpt.threads().add_read("sound", source(&sound), record, ()).unwrap();
        let mut ran = Ran::new();
        assert_eq!(run_verified(&mut kpt, &mut ran).unwrap(), Exit::Empty);
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
    in_own_process("f03_fd_reused_in_the_same_turn", || {
        let mut kpt: EventLoop<Reuse, usize> = EventLoop::with_capacity(4);
        let mut state = Reuse { pipes: vec![pair(), pair()], trace: Trace::new() };
        for (arg, (ours, theirs)) in state.pipes.iter_mut().enumerate() {
            theirs.write_all(b"x").unwrap();
            kpt.threads().add_read("old", source(ours), Reuse::on_readable, arg).unwrap();
        }
        kpt.turn(&mut state).unwrap();
        assert_eq!(state.trace, ["first"], "neither the old one nor the new one");
        kpt.threads().add_timer("timer", millis(1), |state, _| state.trace.push("timer"), 9).unwrap();
        turn_until(&mut kpt, &mut state, |state| state.trace.len() == 2);
        assert_eq!(state.trace[1], "timer", "the new one is not readable");
        let (_, theirs) = state.pipes.last_mut().unwrap();
        theirs.write_all(b"y").unwrap();
        assert_eq!(run_verified(&mut kpt, &mut state).unwrap(), Exit::Empty);
        assert_eq!(state.trace, ["first", "timer", "new"]);
    });
}

#[test]
fn f06_eintr() {
    in_own_process("f06_eintr", || {
        sys::start_alarms(millis(1)).unwrap();
        let mut kpt: EventLoop<Ran> = EventLoop::with_capacity(4);
        let (reader, _writer) = pair();
        kpt.threads().add_read("never", source(&reader), record, ()).unwrap();
        let stop = |_: &mut Ran, mut thread: Thread<Ran>| thread.threads().stop();
        for delay in [300, 20, 100] {
            let start = Instant::now();
            kpt.threads().add_timer("timer", millis(delay), stop, ()).unwrap();
            let mut ran = Ran::new();
            assert_eq!(run_verified(&mut kpt, &mut ran).unwrap(), Exit::Stopped);
            assert!(start.elapsed() >= millis(delay), "early by a signal");
            assert!(ran.is_empty());
        }
        assert!(sys::alarms() > 20, "no signals, no test: {}", sys::alarms());
    });
}

/// A closed descriptor under a storm of signals is still found, and an open one not taken for closed.
#[test]
fn f06_eintr_while_a_closed_fd_is_looked_for() {
    in_own_process("f06_eintr_while_a_closed_fd_is_looked_for", || {
        sys::start_alarms(Duration::from_micros(50)).unwrap();
        let mut kpt: EventLoop<Ran> = EventLoop::with_capacity(4);
        let (idle, _theirs) = pair();
        kpt.threads().add_read("idle", source(&idle), record, ()).unwrap();
        for _ in 0..5_000 {
            let (closed, _other) = pair();
            let number = source(&closed).number();
            kpt.threads().add_read("closed", source(&closed), record, ()).unwrap();
            drop(closed);
            let mut ran = Ran::new();
            turn_until(&mut kpt, &mut ran, |ran| !ran.is_empty());
            assert_eq!(ran, [(number, Readiness::ERROR)]);
        }
        assert!(sys::alarms() > 0);
    });
}

/// Somebody else was faster, or the datagram was none: the hook takes "would block" as nothing and waits on.
#[test]
fn f07_spurious_readiness() {
    in_own_process("f07_spurious_readiness", || {
        struct State {
            ours: UnixDatagram,
            theirs: UnixDatagram,
            nothings: u32,
            bytes: u32,
        }
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let thief = ours.try_clone().unwrap();
        let mut kpt: EventLoop<State> = EventLoop::with_capacity(4);
        // Both numbers are the same socket: whoever comes second finds nothing.
        let on_readable = |state: &mut State, thread: Thread<State>| {
            match state.ours.recv(&mut [0; 8]) {
                Ok(count) => state.bytes += count as u32,
                Err(error) if error.kind() == ErrorKind::WouldBlock => state.nothings += 1,
                Err(error) => panic!("{error}"),
            }
            thread.again();
        };
        kpt.threads().add_read("reader", source(&ours), on_readable, ()).unwrap();
        kpt.threads().add_read("thief", source(&thief), on_readable, ()).unwrap();
        let mut state = State { ours, theirs, nothings: 0, bytes: 0 };
        for round in 1..=10 {
            state.theirs.send(b"x").unwrap();
            turn_until(&mut kpt, &mut state, |state| state.bytes + state.nothings == 2 * round);
            assert_eq!((state.bytes, state.nothings), (round, round));
        }
    });
}

/// The other side goes: reader and writer both get to know, and once.
#[test]
fn f08_hang_up() {
    in_own_process("f08_hang_up", || {
        let (ours, theirs) = pair();
        fill(&ours);
        let mut kpt: EventLoop<Ran> = EventLoop::with_capacity(4);
        kpt.threads().add_read("reader", source(&ours), record, ()).unwrap();
        kpt.threads().add_write("writer", source(&ours), record, ()).unwrap();
        drop(theirs);
        let mut ran = Ran::new();
        assert_eq!(run_verified(&mut kpt, &mut ran).unwrap(), Exit::Empty);
        assert_eq!(ran.len(), 2, "one-shot: nobody spins");

        let (reader, writer) = std::io::pipe().unwrap();
        kpt.threads().add_read("end of file", source(&reader), record, ()).unwrap();
        drop(writer);
        let (unread, full) = std::io::pipe().unwrap();
        kpt.threads().add_write("broken pipe", source(&full), record, ()).unwrap();
        drop(unread);
        let mut ran = Ran::new();
        assert_eq!(run_verified(&mut kpt, &mut ran).unwrap(), Exit::Empty);
        assert_eq!(ran.len(), 2);
    });
}

/// In the simulator, where a hang-up comes as one: it wakes both, the writer first.
#[test]
fn f08_hang_up_and_nothing_else() {
    for readiness in [Readiness::HANGUP, Readiness::ERROR] {
        let world = World::new();
        let mut kpt = sim_loop::<Trace, _>(&world, 2);
        let seen = |trace: &mut Trace, thread: Thread<Trace>| {
            let expected = Readiness::HANGUP | Readiness::ERROR;
            assert!(thread.readiness().intersects(expected) && !thread.readiness().is_readable());
            trace.push(thread.name());
        };
        kpt.threads().add_read("reader", Source::new(1), seen, ()).unwrap();
        kpt.threads().add_write("writer", Source::new(1), seen, ()).unwrap();
        world.set(Source::new(1), readiness).unwrap();
        let mut trace = Trace::new();
        assert_eq!(run_verified(&mut kpt, &mut trace), Ok(Exit::Empty));
        assert_eq!(trace, ["writer", "reader"]);
    }
}

/// After a half-close, the reader sees the end and the writer goes on.
#[test]
fn f09_half_close() {
    in_own_process("f09_half_close", || {
        struct State {
            ours: UnixStream,
            theirs: UnixStream,
            is_at_end: bool,
            sent: u32,
        }
        let (ours, theirs) = pair();
        theirs.shutdown(Shutdown::Write).unwrap();
        let mut kpt: EventLoop<State> = EventLoop::with_capacity(4);
        let on_end = |state: &mut State, _: Thread<State>| {
            assert_eq!(state.ours.read(&mut [0]).unwrap(), 0);
            state.is_at_end = true;
        };
        let send = |state: &mut State, thread: Thread<State>| {
            state.ours.write_all(b"x").unwrap();
            drain(&state.theirs);
            state.sent += 1;
            if state.sent < 10 {
                thread.again();
            }
        };
        kpt.threads().add_read("reader", source(&ours), on_end, ()).unwrap();
        kpt.threads().add_write("writer", source(&ours), send, ()).unwrap();
        let mut state = State { ours, theirs, is_at_end: false, sent: 0 };
        assert_eq!(run_verified(&mut kpt, &mut state).unwrap(), Exit::Empty);
        assert!(state.is_at_end && state.sent == 10);
    });
}

/// Closed with unread input, the other side reports a reset, as a value, to whoever waits for it.
#[test]
fn f09_close_with_unread_data() {
    in_own_process("f09_close_with_unread_data", || {
        let (ours, theirs) = pair();
        (&ours).write_all(b"unread").unwrap();
        let mut kpt: EventLoop<(UnixStream, bool)> = EventLoop::with_capacity(4);
        let on_reset = |state: &mut (UnixStream, bool), _: Thread<(UnixStream, bool)>| {
            let error = state.0.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            state.1 = true;
        };
        kpt.threads().add_read("reader", source(&ours), on_reset, ()).unwrap();
        drop(theirs);
        let mut state = (ours, false);
        assert_eq!(run_verified(&mut kpt, &mut state).unwrap(), Exit::Empty);
        assert!(state.1);
    });
}

#[test]
fn f12_write_to_a_closed_pipe() {
    in_own_process("f12_write_to_a_closed_pipe", || {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut kpt: EventLoop<(File, bool)> = EventLoop::with_capacity(4);
        let on_writable = |state: &mut (File, bool), _: Thread<(File, bool)>| {
            // A Rust program ignores SIGPIPE, so this is a value and not the end of the process.
            let error = state.0.write_all(b"x").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            state.1 = true;
        };
        kpt.threads().add_write("writer", source(&writer), on_writable, ()).unwrap();
        drop(reader);
        let mut state = (File::from(OwnedFd::from(writer)), false);
        assert_eq!(run_verified(&mut kpt, &mut state).unwrap(), Exit::Empty);
        assert!(state.1);
    });
}

/// A loop changes nothing of the files that it watches: their flags are other processes' flags as well.
#[test]
fn f13_flags_of_a_file_stay() {
    in_own_process("f13_flags_of_a_file_stay", || {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let before = [sys::status_flags(&reader).unwrap(), sys::status_flags(&writer).unwrap()];
        assert_eq!(before[0] & libc::O_NONBLOCK, 0);
        writer.write_all(b"x").unwrap();
        let mut kpt: EventLoop<Ran> = EventLoop::with_capacity(4);
        kpt.threads().add_read("reader", source(&reader), record, ()).unwrap();
        kpt.threads().add_write("writer", source(&writer), record, ()).unwrap();
        let stdin = std::io::stdin();
        let of_stdin = sys::status_flags(&stdin).unwrap();
        kpt.threads().add_read("stdin", source(&stdin), record, ()).unwrap();
        assert_eq!(run_verified(&mut kpt, &mut Ran::new()).unwrap(), Exit::Empty);
        let after = [sys::status_flags(&reader).unwrap(), sys::status_flags(&writer).unwrap()];
        assert_eq!((before, of_stdin), (after, sys::status_flags(&stdin).unwrap()));
    });
}

#[test]
fn f14_same_fd_and_kind_twice() {
    in_own_process("f14_same_fd_and_kind_twice", || {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"x").unwrap();
        let mut kpt: EventLoop<Trace, &str> = EventLoop::with_capacity(4);
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
        assert_eq!(run_verified(&mut kpt, &mut trace).unwrap(), Exit::Empty);
        assert_eq!(trace, ["writer", "first"]);
    });
}

/// Six hundred are ready in every turn, one of them slow: each is served once a turn.
#[test]
fn f16_many_ready_descriptors() {
    in_own_process("f16_many_ready_descriptors", || {
        sys::set_descriptor_limit(4_096).unwrap();
        const MANY: usize = 600;
        let pairs = Vec::from_iter((0..MANY).map(|_| pair()));
        let mut kpt: EventLoop<Vec<u32>, usize> = EventLoop::with_capacity(MANY);
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
        let mut counts = vec![0; MANY];
        for turn in 1..=20 {
            kpt.turn(&mut counts).unwrap();
            assert!(counts.iter().all(|&count| count == turn), "turn {turn}: {counts:?}");
        }
    });
}
