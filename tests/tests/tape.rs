//! A server and its clients on real sockets, recorded, and replayed without.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use kpt_core::FixedLoop;
use kpt_core::poller::{HookCall, Poller, Ready, Unwatchable};
use kpt_std::tape::{Options, Replay, ReplayEnd, ReplayPoller};
use kpt_std::{
    BufferedStream, Builder, EpollPoller, EventLoop, Exit, Instant, Interest, Listener, Source,
    Thread, Threads, When, source,
};
use kpt_tests::tape::Memory;

/// A poller around a poller that hashes which hooks are called, at which time of the loop.
struct Hashed<P> {
    inner: P,
    time: Instant,
    hash: Rc<RefCell<u64>>,
}

impl<P> Hashed<P> {
    fn new(inner: P, hash: &Rc<RefCell<u64>>) -> Self {
        Self { inner, time: Instant::ZERO, hash: Rc::clone(hash) }
    }
}

impl<P: Poller> Poller for Hashed<P> {
    type Error = P::Error;

    const LOOK_AFTER_HOOKS: u32 = P::LOOK_AFTER_HOOKS;

    fn now(&mut self) -> Instant {
        self.inner.now()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        self.inner.modify(source, interest)
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, P::Error> {
        self.time = self.inner.wait(until, ready)?;
        Ok(self.time)
    }

    fn prepare(&mut self, until: Instant) -> Result<Instant, P::Error> {
        self.inner.prepare(until)
    }

    fn before_hook(&mut self, call: HookCall) {
        let text = format!("{:?} {} {:?} {:?}", self.time, call.name, call.kind, call.due);
        let mut hash = self.hash.borrow_mut();
        for byte in text.bytes() {
            *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        drop(hash);
        self.inner.before_hook(call);
    }

    fn after_hook(&mut self) {
        self.inner.after_hook();
    }
}

/// A server that sends back lines, ticks, and ends with the line "end".
struct Echo {
    listener: Listener,
    clients: BTreeMap<u32, BufferedStream>,
    next: u32,
    lines: u32,
    ticks: u32,
    /// Each way in which the program may be another one.
    change: Change,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Change {
    #[default]
    None,
    OtherAnswer,
    OtherName,
    OtherPeriod,
    ReadsTheClock,
    ReadsOnce,
}

impl Echo {
    fn new(listener: Listener, change: Change) -> Self {
        Self { listener, clients: BTreeMap::new(), next: 0, lines: 0, ticks: 0, change }
    }

    fn add_threads(&self, mut threads: Threads<Self, u32>) {
        threads.add("accept", self.listener.when(), Self::on_connection, 0).unwrap();
        let period = if self.change == Change::OtherPeriod { 3_000 } else { 2_000 };
        threads.add_timer("tick", Duration::from_micros(period), Self::on_tick, 0).unwrap();
    }

    fn on_tick(&mut self, mut thread: Thread<Self, u32>) {
        self.ticks += 1;
        if self.ticks == 2 && self.change == Change::ReadsTheClock {
            thread.threads().now();
        }
        if self.ticks.is_multiple_of(2) {
            thread.threads().add_execute("work", |_, _| {}, 0).unwrap();
        }
        thread.again();
    }

    fn on_connection(&mut self, mut thread: Thread<Self, u32>) {
        while let Ok(Some(stream)) = self.listener.accept() {
            let client = BufferedStream::new(stream, 1024, 4096);
            let when = When::Ready(source(&client), client.wants());
            let name = if self.change == Change::OtherName { "peer" } else { "client" };
            thread.threads().add(name, when, Self::on_client, self.next).unwrap();
            self.clients.insert(self.next, client);
            self.next += 1;
        }
        thread.again_when(self.listener.when()).unwrap();
    }

    fn on_client(&mut self, mut thread: Thread<Self, u32>) {
        let key = thread.arg;
        match self.serve(key) {
            Ok(true) => {
                let client = &self.clients[&key];
                let when = When::Ready(source(client), client.wants());
                thread.again_when(when).unwrap();
            }
            Ok(false) => thread.threads().stop(),
            Err(_) => {
                let (_, mut threads) = thread.end();
                let client = self.clients.remove(&key).unwrap();
                threads.cancel_source(source(&client));
            }
        }
    }

    /// Returns whether the server goes on.
    fn serve(&mut self, key: u32) -> io::Result<bool> {
        let client = self.clients.get_mut(&key).unwrap();
        if client.fill()? > 0 && self.change == Change::ReadsOnce {
            let _ = client.get_mut().read(&mut [0; 8]);
        }
        let (input, output) = client.input_and_output();
        let (mut used, mut is_over) = (0, false);
        for line in input.split_inclusive(|&byte| byte == b'\n').filter(|l| l.ends_with(b"\n")) {
            self.lines += 1;
            is_over |= line == b"end\n";
            let end = if self.change == Change::OtherAnswer && self.lines == 3 { "!" } else { "." };
            output.queue(line).and_then(|()| output.queue(end.as_bytes()))?;
            used += line.len();
        }
        client.consume(used);
        client.flush()?;
        if client.wants().is_none() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(!is_over)
    }
}

/// Some clients, from another OS thread.
fn clients(server: SocketAddr) {
    let mut buffer = [0; 100];
    for round in 0..3 {
        let mut one = TcpStream::connect(server).unwrap();
        let mut two = TcpStream::connect(server).unwrap();
        for part in ["he", "llo\n", "one\ntwo\n"] {
            one.write_all(part.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(3));
        }
        two.write_all(b"12345\n").unwrap();
        assert!(one.read(&mut buffer).unwrap() > 0);
        two.shutdown(Shutdown::Write).unwrap();
        assert!(two.read(&mut buffer).unwrap() > 0);
        if round == 2 {
            one.write_all(b"end\n").unwrap();
            let _ = one.read(&mut buffer);
        }
    }
}

const ANYWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// What a run ends with: the hash of its hooks, lines, ticks.
type End = (u64, u32, u32);

fn record(options: Options) -> (Vec<u8>, End) {
    let tape = Memory::default();
    let recording = options.record(tape.clone()).unwrap();
    let hash = Rc::default();
    let poller = Hashed::new(EpollPoller::new().unwrap(), &hash);
    let mut kpt: EventLoop<Echo, u32, _> = Builder::new().threads(16).build_on(poller).unwrap();
    let mut echo = Echo::new(Listener::bind(ANYWHERE).unwrap(), Change::None);
    echo.add_threads(kpt.threads());
    let address = echo.listener.local().ip().unwrap();
    let clients = std::thread::spawn(move || clients(address));
    assert_eq!(kpt.run(&mut echo).unwrap(), Exit::Stopped);
    assert!(!recording.is_over());
    recording.stop().unwrap();
    clients.join().unwrap();
    let bytes = tape.bytes();
    let end = *hash.borrow();
    (bytes, (end, echo.lines, echo.ticks))
}

#[derive(Clone, Copy, Debug)]
enum Tables {
    Small,
    Large,
}

/// Replays a tape in one of the loops: how it ended, how far it came, and its divergence.
fn replay(tape: &[u8], tables: Tables, change: Change) -> (Result<Exit, ReplayEnd>, End) {
    let replay = Replay::start(tape).unwrap();
    replay_on(&replay, tables, change)
}

fn replay_on(replay: &Replay, tables: Tables, change: Change) -> (Result<Exit, ReplayEnd>, End) {
    let hash = Rc::default();
    let poller: Hashed<ReplayPoller> = Hashed::new(replay.poller().unwrap(), &hash);
    let listener = match Listener::bind(ANYWHERE) {
        Ok(listener) => listener,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            return (Err(ReplayEnd::Tape), (0, 0, 0));
        }
    };
    let mut echo = Echo::new(listener, change);
    let result = match tables {
        Tables::Small => {
            let mut kpt = FixedLoop::<_, Echo, 16, u32>::new(poller);
            echo.add_threads(kpt.threads());
            kpt.run(&mut echo)
        }
        Tables::Large => {
            let mut kpt = Builder::new().threads(40).build_on(poller).unwrap();
            echo.add_threads(kpt.threads());
            kpt.run(&mut echo)
        }
    };
    let hash = *hash.borrow();
    (result, (hash, echo.lines, echo.ticks))
}

#[test]
fn a_recorded_run_is_replayed_on_either_loop_with_the_same_hooks() {
    let (tape, end) = record(Options::new());
    for tables in [Tables::Small, Tables::Large] {
        for _ in 0..3 {
            let (result, replayed) = replay(&tape, tables, Change::None);
            assert_eq!(result.unwrap(), Exit::Stopped, "{tables:?}");
            assert_eq!(replayed, end, "{tables:?}");
        }
    }
}

#[test]
fn a_changed_program_is_told_at_its_first_call_that_differs() {
    let (tape, _) = record(Options::new());
    for (change, taped, called) in [
        (Change::OtherAnswer, "write on", "write on"),
        (Change::OtherName, "hook client", "hook peer"),
        (Change::OtherPeriod, "", ""),
        (Change::ReadsTheClock, "", "clock is read"),
        (Change::ReadsOnce, "", "read on"),
    ] {
        for tables in [Tables::Small, Tables::Large] {
            let (result, _) = replay(&tape, tables, change);
            let Err(ReplayEnd::Diverged(divergence)) = result else {
                panic!("{change:?} {tables:?}: {result:?}")
            };
            let text = divergence.to_string();
            assert!(divergence.taped.starts_with(taped), "{change:?}: {text}");
            assert!(divergence.called.starts_with(called), "{change:?}: {text}");
            assert!(!divergence.thread.is_empty() || change == Change::OtherPeriod, "{text}");
        }
    }
}

#[test]
fn a_tape_that_is_cut_anywhere_ends_cleanly() {
    let (tape, end) = record(Options::new());
    let mut most = 0;
    for cut in 0..tape.len() {
        let Ok(replay) = Replay::start(&tape[..cut]) else {
            assert!(cut < 80, "cut at {cut}");
            continue;
        };
        let (result, (_, lines, _)) = replay_on(&replay, Tables::Small, Change::None);
        let divergence = replay.divergence();
        assert!(divergence.is_none(), "cut at {cut}: {}", divergence.unwrap());
        assert!(lines >= most && lines <= end.1, "cut at {cut}: {lines} of {}", end.1);
        most = lines;
        match result {
            Err(ReplayEnd::Tape) | Ok(Exit::Stopped) => {}
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
    assert_eq!(most, end.1);
}

#[test]
fn what_is_masked_is_not_on_the_tape() {
    let hide = |_, bytes: &mut [u8]| {
        bytes.iter_mut().filter(|byte| byte.is_ascii_digit()).for_each(|byte| *byte = b'0');
    };
    let (tape, end) = record(Options::new().mask(hide));
    assert!(!tape.windows(5).any(|bytes| bytes == b"12345"));
    assert!(tape.windows(5).any(|bytes| bytes == b"00000"));
    let replay = Replay::start(&tape).unwrap();
    replay.set_mask(hide);
    let (result, replayed) = replay_on(&replay, Tables::Small, Change::None);
    assert_eq!((result.unwrap(), replayed), (Exit::Stopped, end));
}
