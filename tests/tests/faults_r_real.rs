//! Faults of the pollers of this machine found by running kpt, by their numbers.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use kpt_std::{Exit, Readiness, Thread, source};
use kpt_tests::loops::{Ran, real_loop, record};
use kpt_tests::process::all_in_own_process;
use kpt_tests::real::{Backend, Real};
use kpt_tests::rigs::pair;
use kpt_tests::sys;
use kpt_tests::time::millis;

/// With no descriptor allowed, whether one is open can't be asked as usual.
#[test]
fn r02_a_closed_descriptor_is_told_whatever_the_limit() {
    all_in_own_process("r02_a_closed_descriptor_is_told_whatever_the_limit", |real| {
        let (closed, _other) = pair();
        let mut kpt = real_loop::<Ran, ()>(4, real);
        kpt.threads().add_read("closed", source(&closed), record, ()).unwrap();
        kpt.threads().add_timer("turn", Duration::ZERO, |_, _| {}, ()).unwrap();
        let mut ran = Ran::new();
        kpt.turn(&mut ran).unwrap();
        sys::set_descriptor_limit(0).unwrap();
        let number = source(&closed).number();
        drop(closed);
        // Which would not end if the loop spun.
        assert_eq!(kpt.run_verified(&mut ran).unwrap(), Exit::Empty);
        assert_eq!(ran, [(number, Readiness::ERROR)]);
    });
}

/// Nothing listens there, of which the network tells. The queue of these errors is apart from what is read.
#[test]
fn r14_a_queued_error_is_told_from_something_to_read() {
    all_in_own_process("r14_a_queued_error_is_told_from_something_to_read", |real| {
        struct State {
            real: Real,
            socket: UdpSocket,
            calls: u32,
            errors: u32,
        }
        let on_readable = |state: &mut State, thread: Thread<State>| {
            state.calls += 1;
            // Select knows two answers only, so that a hook has to look for errors if there is nothing to read.
            let is_known = state.real.backend == Backend::Epoll;
            assert_eq!(thread.readiness().is_error(), is_known, "{}", thread.readiness());
            match state.socket.recv(&mut [0; 8]).unwrap_err().kind() {
                ErrorKind::ConnectionRefused => {}
                ErrorKind::WouldBlock => {
                    while sys::take_queued_error(&state.socket).is_ok() {
                        state.errors += 1;
                    }
                }
                other => panic!("{other}"),
            }
            thread.again();
        };
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(closed).unwrap();
        sys::queue_errors(&socket).unwrap();
        socket.send(b"x").unwrap();
        let mut kpt = real_loop::<State, ()>(4, real);
        kpt.threads().add_read("reader", source(&socket), on_readable, ()).unwrap();
        let stop = |_: &mut State, mut thread: Thread<State>| thread.threads().stop();
        kpt.threads().add_timer("stop", millis(100), stop, ()).unwrap();
        let mut state = State { real, socket, calls: 0, errors: 0 };
        assert_eq!(kpt.run_verified(&mut state).unwrap(), Exit::Stopped);
        assert_eq!(state.errors, 1);
        assert!(state.calls <= 3, "called {} times", state.calls);
    });
}

/// The kernel takes leave to be late by a part of the timeout, five times as much as otherwise.
#[test]
fn r17_timers_of_a_nice_process_are_not_later() {
    all_in_own_process("r17_timers_of_a_nice_process_are_not_later", |real| {
        const DELAY: Duration = Duration::from_millis(1_000);
        sys::set_nice(5).unwrap();
        let mut kpt = real_loop::<(), ()>(1, real);
        let mut round = || {
            let start = Instant::now();
            kpt.threads().add_timer("timer", DELAY, |(), _| {}, ()).unwrap();
            assert_eq!(kpt.run_verified(&mut ()).unwrap(), Exit::Empty);
            start.elapsed() - DELAY
        };
        // A machine may be late by itself, but not in every round.
        let is_late = (0..4).map(|_| round()).all(|late| late >= Duration::from_micros(800));
        assert!(!is_late);
    });
}
