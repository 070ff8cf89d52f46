//! Faults of descriptors whose other side does something, by their numbers.

use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use kpt_core::sim::World;
use kpt_std::{Exit, Readiness, Source, Stream, Thread, source};
use kpt_tests::loops::{Ran, Shape, Trace, real_loop, record, sim_loop};
use kpt_tests::process::{all_in_own_process, in_own_process};
use kpt_tests::rigs::{drain, fill, pair};
use kpt_tests::sys;

/// Somebody else was faster, or the datagram was none: the hook takes "would block" as nothing and waits on.
#[test]
fn f07_spurious_readiness() {
    all_in_own_process("f07_spurious_readiness", |real| {
        struct State {
            ours: UnixDatagram,
            theirs: UnixDatagram,
            nothings: u32,
            bytes: u32,
        }
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let thief = ours.try_clone().unwrap();
        let mut kpt = real_loop::<State, ()>(4, real);
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
            kpt.turn_until(&mut state, &mut |state| state.bytes + state.nothings == 2 * round);
            assert_eq!((state.bytes, state.nothings), (round, round));
        }
    });
}

/// The other side goes: reader and writer both get to know, and once.
#[test]
fn f08_hang_up() {
    all_in_own_process("f08_hang_up", |real| {
        let (ours, theirs) = pair();
        fill(&ours);
        let mut kpt = real_loop::<Ran, ()>(4, real);
        kpt.threads().add_read("reader", source(&ours), record, ()).unwrap();
        kpt.threads().add_write("writer", source(&ours), record, ()).unwrap();
        drop(theirs);
        let mut ran = Ran::new();
        assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Empty);
        assert_eq!(ran.len(), 2, "one-shot: nobody spins");

        let (reader, writer) = std::io::pipe().unwrap();
        kpt.threads().add_read("end of file", source(&reader), record, ()).unwrap();
        drop(writer);
        let (unread, full) = std::io::pipe().unwrap();
        kpt.threads().add_write("broken pipe", source(&full), record, ()).unwrap();
        drop(unread);
        let mut ran = Ran::new();
        assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Empty);
        assert_eq!(ran.len(), 2);
    });
}

/// In the simulator, where a hang-up comes as one: it wakes both, the writer first.
#[test]
fn f08_hang_up_and_nothing_else() {
    for shape in Shape::both() {
        for readiness in [Readiness::HANGUP, Readiness::ERROR] {
            let world = World::new();
            let mut kpt = sim_loop::<Trace, _>(&world, 2, shape);
            let seen = |trace: &mut Trace, thread: Thread<Trace>| {
                let expected = Readiness::HANGUP | Readiness::ERROR;
                assert!(
                    thread.readiness().intersects(expected) && !thread.readiness().is_readable()
                );
                trace.push(thread.name());
            };
            kpt.threads().add_read("reader", Source::new(1), seen, ()).unwrap();
            kpt.threads().add_write("writer", Source::new(1), seen, ()).unwrap();
            world.set(Source::new(1), readiness).unwrap();
            let mut trace = Trace::new();
            assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Empty));
            assert_eq!(trace, ["writer", "reader"]);
        }
    }
}

/// After a half-close, the reader sees the end and the writer goes on.
#[test]
fn f09_half_close() {
    all_in_own_process("f09_half_close", |real| {
        struct State {
            ours: UnixStream,
            theirs: UnixStream,
            is_at_end: bool,
            sent: u32,
        }
        let (ours, theirs) = pair();
        theirs.shutdown(Shutdown::Write).unwrap();
        let mut kpt = real_loop::<State, ()>(4, real);
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
        assert_eq!(kpt.run_verified(&mut state).unwrap(), Exit::Empty);
        assert!(state.is_at_end && state.sent == 10);
    });
}

/// Closed with unread input, the other side reports a reset, as a value, to whoever waits for it.
#[test]
fn f09_close_with_unread_data() {
    all_in_own_process("f09_close_with_unread_data", |real| {
        let (ours, theirs) = pair();
        (&ours).write_all(b"unread").unwrap();
        let mut kpt = real_loop::<(UnixStream, bool), ()>(4, real);
        let on_reset = |state: &mut (UnixStream, bool), _: Thread<(UnixStream, bool)>| {
            let error = state.0.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            state.1 = true;
        };
        kpt.threads().add_read("reader", source(&ours), on_reset, ()).unwrap();
        drop(theirs);
        let mut state = (ours, false);
        assert_eq!(kpt.run_verified(&mut state).unwrap(), Exit::Empty);
        assert!(state.1);
    });
}

#[test]
fn f12_write_to_a_closed_pipe() {
    all_in_own_process("f12_write_to_a_closed_pipe", |real| {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut kpt = real_loop::<(File, bool), ()>(4, real);
        let on_writable = |state: &mut (File, bool), _: Thread<(File, bool)>| {
            // A Rust program ignores SIGPIPE, so this is a value and not the end of the process.
            let error = state.0.write_all(b"x").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            state.1 = true;
        };
        kpt.threads().add_write("writer", source(&writer), on_writable, ()).unwrap();
        drop(reader);
        let mut state = (File::from(OwnedFd::from(writer)), false);
        assert_eq!(kpt.run_verified(&mut state).unwrap(), Exit::Empty);
        assert!(state.1);
    });
}

/// A program may have `SIGPIPE` do what it does by default, as one whose `main` is in C. The output is in two parts, as
/// what was sent has left room before what is queued.
#[test]
fn f20_a_stream_whose_other_side_has_gone_does_not_end_the_process() {
    in_own_process("f20_a_stream_whose_other_side_has_gone_does_not_end_the_process", || {
        sys::reset(libc::SIGPIPE);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let their_tcp = listener.accept().unwrap().0;
        let (unix, their_unix) = UnixStream::pair().unwrap();
        let streams = [Stream::try_from(tcp).unwrap(), Stream::try_from(unix).unwrap()];
        drop((their_tcp, their_unix));
        for mut stream in streams {
            while stream.write(b"x").is_ok() {}
            let parts = [IoSlice::new(b"x"), IoSlice::new(b"y")];
            let error = stream.write_vectored(&parts).map_err(|error| error.kind());
            assert_eq!(error, Err(ErrorKind::BrokenPipe));
        }
    });
}
