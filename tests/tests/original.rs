//! The example programs of the original, by their numbers; those with tasks are elsewhere.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use kpt_core::sim::World;
use kpt_std::{AddError, Exit, Hook, Thread, Threads, source};
use kpt_tests::chance::Chance;
use kpt_tests::loops::{Shape, Trace, real_loop, sim_loop};
use kpt_tests::process::all_in_own_process;
use kpt_tests::real::Real;
use kpt_tests::time::millis;

#[test]
fn example_1_one_timer() {
    all_in_own_process("example_1_one_timer", |real| {
        let world = World::new();
        let mut kpt = sim_loop::<Trace, _>(&world, 4, real.shape);
        let note = |trace: &mut Trace, _: Thread<Trace>| trace.push("timer");
        kpt.threads().add_timer("timer", millis(2_000), note, ()).unwrap();
        let mut trace = Trace::new();
        assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Empty));
        assert_eq!((&trace[..], world.now().as_micros()), (&["timer"][..], 2_000_000));

        let mut kpt = real_loop::<u32, ()>(1, real);
        let start = Instant::now();
        kpt.threads().add_timer("timer", millis(20), |runs, _| *runs += 1, ()).unwrap();
        let mut runs = 0;
        assert_eq!(kpt.run_verified(&mut runs).unwrap(), Exit::Empty);
        assert!(runs == 1 && start.elapsed() >= millis(20));
    });
}

struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
    sent: u32,
    received: u32,
}

impl Pipe {
    fn new() -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        Self { reader, writer, sent: 0, received: 0 }
    }

    fn send(&mut self) {
        self.writer.write_all(b"message ").unwrap();
        self.sent += 1;
    }

    fn receive(&mut self) {
        let mut message = [0; 8];
        self.reader.read_exact(&mut message).unwrap();
        assert_eq!(&message, b"message ");
        self.received += 1;
    }
}

#[test]
fn example_2_a_pipe() {
    all_in_own_process("example_2_a_pipe", |real| {
        let mut pipe = Pipe::new();
        let mut kpt = real_loop::<Pipe, ()>(2, real);
        let mut threads = kpt.threads();
        threads.add_read("reader", source(&pipe.reader), |pipe, _| pipe.receive(), ()).unwrap();
        threads.add_write("writer", source(&pipe.writer), |pipe, _| pipe.send(), ()).unwrap();
        assert_eq!(kpt.run_verified(&mut pipe).unwrap(), Exit::Empty);
        assert_eq!((pipe.sent, pipe.received), (1, 1));
    });
}

/// The same for ever, until a timer cancels both by their descriptors.
#[test]
fn example_3_a_pipe_and_a_timer_that_ends_it() {
    all_in_own_process("example_3_a_pipe_and_a_timer_that_ends_it", |real| {
        let mut pipe = Pipe::new();
        let mut kpt = real_loop::<Pipe, ()>(3, real);
        let receive: Hook<Pipe> = |pipe, thread| {
            pipe.receive();
            thread.again();
        };
        let send: Hook<Pipe> = |pipe, thread| {
            pipe.send();
            thread.again();
        };
        let cancel: Hook<Pipe> = |pipe, mut thread| {
            let mut threads = thread.threads();
            assert_eq!(threads.cancel_source(source(&pipe.reader)).reader, Some(()));
            assert_eq!(threads.cancel_source(source(&pipe.writer)).writer, Some(()));
        };
        kpt.threads().add_read("reader", source(&pipe.reader), receive, ()).unwrap();
        kpt.threads().add_write("writer", source(&pipe.writer), send, ()).unwrap();
        let refused = kpt.threads().add_read("reader", source(&pipe.reader), receive, ());
        assert!(matches!(refused, Err(AddError::Taken(()))));
        kpt.threads().add_timer("cancel", millis(100), cancel, ()).unwrap();
        assert_eq!(kpt.run_verified(&mut pipe).unwrap(), Exit::Empty);
        assert!(pipe.received > 0 && pipe.received <= pipe.sent);
    });
}

const NAMES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

#[test]
fn example_6_ten_execute_threads() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<Trace, _>(&world, 10, shape);
        for name in NAMES {
            let record: Hook<Trace> = |trace, thread| trace.push(thread.name());
            kpt.threads().add_execute(name, record, ()).unwrap();
        }
        let mut trace = Trace::new();
        assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Empty));
        assert_eq!(trace, NAMES);

        for name in NAMES {
            let readd: Hook<Trace> = |trace, mut thread| {
                trace.push(thread.name());
                if trace.len() == 1_000 {
                    thread.threads().stop();
                }
                thread.again();
            };
            kpt.threads().add_execute(name, readd, ()).unwrap();
        }
        let mut trace = Trace::new();
        assert_eq!(kpt.run_verified(&mut trace), Ok(Exit::Stopped));
        assert_eq!(trace, NAMES.repeat(100), "in turns, for ever");
        assert_eq!(kpt.threads().len(), 10);
    }
}

/// How often a timer has fired, and the largest delay that any had.
struct Firings {
    fired: Vec<u32>,
    largest: Duration,
}

/// A hundred of a small loop.
#[test]
fn example_7_five_thousand_timers() {
    for shape in Shape::both() {
        let timers = if shape == Shape::Small { 100 } else { 5_000 };
        let world = World::new();
        let mut kpt = sim_loop::<Firings, usize>(&world, timers, shape);
        let fire: Hook<Firings, usize> = |state, mut thread| {
            let deadline = thread.deadline().unwrap();
            let late = thread.threads().now().saturating_duration_since(deadline);
            state.largest = state.largest.max(late);
            state.fired[thread.arg] += 1;
            if state.fired[thread.arg] < 10 {
                thread.again();
            }
        };
        let mut chance = Chance::new(7);
        for number in 0..timers {
            let delay = millis(100 + chance.below(4_901));
            kpt.threads().add_timer("timer", delay, fire, number).unwrap();
        }
        let mut state = Firings { fired: vec![0; timers], largest: Duration::ZERO };
        assert_eq!(kpt.run(&mut state), Ok(Exit::Empty));
        assert!(state.fired.iter().all(|&count| count == 10));
        assert_eq!(state.largest, Duration::ZERO, "in virtual time, nobody is late");
        assert!(world.now().as_micros() <= 50_000_000);
    }
}

/// One end of a connection: what it has still to send, and what it has received of a message.
struct Peer {
    stream: TcpStream,
    unsent: usize,
    received: usize,
}

/// A server and a client in one loop; the client sends a message, the server collects it and sends it back.
struct Echo {
    listener: TcpListener,
    client: Peer,
    server: Option<Peer>,
    size: usize,
    rounds: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Client,
    Server,
}

type EchoThread<'t> = Thread<'t, Echo, Side>;

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self { stream, unsent: 0, received: 0 }
    }

    fn send(&mut self) {
        let part = [0xA5; 16_384];
        while self.unsent > 0 {
            match self.stream.write(&part[..self.unsent.min(part.len())]) {
                Ok(count) => self.unsent -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// `false` at the end.
    fn receive(&mut self) -> bool {
        let mut part = [0; 16_384];
        match self.stream.read(&mut part) {
            Ok(0) => return false,
            Ok(count) => {
                assert!(part[..count].iter().all(|&byte| byte == 0xA5));
                self.received += count;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        true
    }
}

impl Echo {
    fn peer(&mut self, side: Side) -> &mut Peer {
        match side {
            Side::Client => &mut self.client,
            Side::Server => self.server.as_mut().unwrap(),
        }
    }

    fn start_sending(&mut self, side: Side, threads: &mut Threads<Echo, Side>) {
        let size = self.size;
        let peer = self.peer(side);
        peer.unsent = size;
        threads.add_write("sender", source(&peer.stream), Self::on_writable, side).unwrap();
    }

    fn on_connection(&mut self, mut thread: EchoThread) {
        let (stream, _) = self.listener.accept().unwrap();
        let peer = self.server.insert(Peer::new(stream));
        let source = source(&peer.stream);
        thread.threads().add_read("server", source, Self::on_readable, Side::Server).unwrap();
    }

    fn on_writable(&mut self, thread: EchoThread) {
        let peer = self.peer(thread.arg);
        peer.send();
        if peer.unsent > 0 {
            thread.again();
        }
    }

    fn on_readable(&mut self, mut thread: EchoThread) {
        let (side, size) = (thread.arg, self.size);
        let peer = self.peer(side);
        if !peer.receive() {
            assert!(side == Side::Server, "the client hangs up");
            return;
        }
        if peer.received < size {
            thread.again();
            return;
        }
        assert_eq!(peer.received, size, "one message at a time");
        peer.received = 0;
        if side == Side::Client {
            self.rounds -= 1;
            if self.rounds == 0 {
                self.client.stream.shutdown(std::net::Shutdown::Both).unwrap();
                return;
            }
        }
        self.start_sending(side, &mut thread.threads());
        thread.again();
    }
}

fn echo(real: Real, size: usize, rounds: u32) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Peer::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let mut kpt = real_loop::<Echo, Side>(8, real);
    let mut state = Echo { listener, client, server: None, size, rounds };
    let mut threads = kpt.threads();
    let (listener, client) = (source(&state.listener), source(&state.client.stream));
    threads.add_read("listener", listener, Echo::on_connection, Side::Server).unwrap();
    threads.add_read("client", client, Echo::on_readable, Side::Client).unwrap();
    state.start_sending(Side::Client, &mut threads);
    assert_eq!(kpt.run_verified(&mut state).unwrap(), Exit::Empty);
    assert_eq!(state.rounds, 0);
}

#[test]
fn example_8_echo_of_small_messages() {
    all_in_own_process("example_8_echo_of_small_messages", |real| echo(real, 1_024, 1_000));
}

#[test]
fn example_8_echo_of_large_messages() {
    all_in_own_process("example_8_echo_of_large_messages", |real| echo(real, 1_024_009, 10));
}
