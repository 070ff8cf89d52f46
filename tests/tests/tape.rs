//! Runs that are recorded on real sockets and replayed without, and flight recorders.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use kpt_core::FixedLoop;
use kpt_core::poller::{HookCall, Poller, Ready, Unwatchable};
use kpt_std::tape::{
    Entry, Options, Recorder, Recording, Records, Replay, ReplayEnd, ReplayPoller, Ring, RingFile,
    ThisThread,
};
use kpt_std::{
    BufferedStream, Builder, Datagram, EpollPoller, EventLoop, Exit, Instant, Interest, Kind,
    Listener, Source, Stream, Thread, Threads, When, source,
};
use kpt_tests::wrapper;

/// A tape in memory.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

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
    let poller = Recorder::new(EpollPoller::new().unwrap(), ThisThread);
    let mut kpt: EventLoop<Echo, u32, _> =
        Builder::new().threads(16).build_on(Hashed::new(poller, &hash)).unwrap();
    let mut echo = Echo::new(Listener::bind(ANYWHERE).unwrap(), Change::None);
    echo.add_threads(kpt.threads());
    let address = echo.listener.local().ip().unwrap();
    let clients = std::thread::spawn(move || clients(address));
    assert_eq!(kpt.run(&mut echo).unwrap(), Exit::Stopped);
    assert!(!recording.is_over());
    recording.stop().unwrap();
    clients.join().unwrap();
    let bytes = tape.0.borrow().clone();
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

/// A disk with room for so many bytes.
struct Disk(usize);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tick(ticks: &mut u32, thread: Thread<u32>) {
    *ticks += 1;
    if *ticks < 100 {
        thread.again();
    }
}

fn run_ticks() -> u32 {
    let poller = Recorder::new(EpollPoller::new().unwrap(), ThisThread);
    let mut kpt: EventLoop<u32, (), _> = Builder::new().build_on(poller).unwrap();
    kpt.threads().add_timer("tick", Duration::from_micros(10), tick, ()).unwrap();
    let mut ticks = 0;
    kpt.run(&mut ticks).unwrap();
    ticks
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_loop() {
    let recording = Options::new().buffer(100).record(Disk(500)).unwrap();
    assert_eq!(run_ticks(), 100);
    assert!(recording.is_over());
    assert_eq!(recording.stop().unwrap_err().kind(), ErrorKind::StorageFull);
    assert!(Recording::start(Disk(0)).is_err());
}

#[test]
fn a_tape_is_not_longer_than_its_limit() {
    for limit in [200, 300, 301, 302, 303, 304, 305] {
        let tape = Memory::default();
        let recording = Options::new().limit(limit).record(tape.clone()).unwrap();
        assert_eq!(run_ticks(), 100);
        recording.stop().unwrap();
        let length = tape.0.borrow().len();
        assert!((limit as usize - 20..=limit as usize).contains(&length), "{length} of {limit}");
    }
}

#[test]
fn an_os_thread_records_or_replays_once_at_a_time() {
    let recording = Recording::start(io::sink()).unwrap();
    assert!(Recording::start(io::sink()).is_err());
    drop(recording);
    Recording::start(io::sink()).unwrap().stop().unwrap();
}

/// Datagrams and outgoing connections, also such as fail.
fn story() -> Vec<String> {
    let mut said = Vec::new();
    let one = Datagram::bind(ANYWHERE).unwrap();
    let two = Datagram::bind(ANYWHERE).unwrap();
    said.push(format!("{:?}", one.send_to(b"hello", &two.local()).unwrap()));
    let mut buffer = [0; 20];
    let (count, from) = two.recv_from(&mut buffer).unwrap();
    said.push(format!("{} from {from}", buffer[..count].escape_ascii()));
    said.push(format!("{:?}", two.recv_from(&mut buffer).unwrap_err().kind()));
    said.push(format!("{:?}", one.take_error().unwrap().is_none()));
    let mut listener = Listener::bind(ANYWHERE).unwrap();
    let mut client = Stream::connect(listener.local().ip().unwrap()).unwrap();
    let server = loop {
        if let Some(stream) = listener.accept().unwrap() {
            break stream;
        }
    };
    said.push(format!("{} {} {:?}", client.peer(), server.peer(), client.is_connected().unwrap()));
    client.set_nodelay(true).unwrap();
    said.push(format!("{:?}", client.read(&mut buffer).unwrap_err().kind()));
    said.push(format!("{:?}", client.write(b"bytes").unwrap()));
    client.shutdown(Shutdown::Write).unwrap();
    said.push(format!("{:?}", client.write(b"bytes").unwrap_err().kind()));
    said.push(format!("{:?}", Stream::connect_unix("/no/such/socket").unwrap_err().kind()));
    said.push(format!("{}", kpt_std::tape::value(3, || u64::from(std::process::id()) << 32)));
    said
}

#[test]
fn sockets_say_in_a_replay_what_they_have_said() {
    let tape = Memory::default();
    let recording = Recording::start(tape.clone()).unwrap();
    let _poller = Recorder::new(EpollPoller::new().unwrap(), ThisThread);
    let said = story();
    recording.stop().unwrap();
    let replay = Replay::start(&tape.0.borrow()).unwrap();
    assert_eq!(story(), said);
    assert_eq!((replay.left(), replay.divergence().is_none()), (0, true));
}

#[test]
fn a_recorder_forwards_everything() {
    wrapper::check(|inner| Recorder::new(inner, ThisThread));
    let recording = Recording::start(io::sink()).unwrap();
    wrapper::check(|inner| Recorder::new(inner, ThisThread));
    drop(recording);
}

#[test]
fn a_recorder_with_a_ring_forwards_everything() {
    let memory: Vec<AtomicU32> = (0..100).map(AtomicU32::new).collect();
    wrapper::check(|inner| Recorder::new(inner, Ring::new(&memory[..])));
}

/// Tells the process that is killed where its ring is.
const RING: &str = "KPT_TESTS_RING";

/// Runs hooks until it is killed, and counts their calls in what is not in the ring.
fn run_until_killed(path: &str) {
    let ring = Ring::new(RingFile::create(path, 16 * 1024).unwrap());
    let poller = Recorder::new(EpollPoller::new().unwrap(), ring);
    let mut kpt: EventLoop<u32, (), _> = Builder::new().build_on(poller).unwrap();
    let again = |count: &mut u32, thread: Thread<u32>| {
        *count += 1;
        thread.again();
    };
    kpt.threads().add_timer("tick", Duration::from_micros(30), again, ()).unwrap();
    kpt.threads().add_execute("work", again, ()).unwrap();
    kpt.run(&mut 0).unwrap();
}

#[test]
fn a_ring_is_valid_whenever_its_process_is_killed() {
    const NAME: &str = "a_ring_is_valid_whenever_its_process_is_killed";
    if let Ok(path) = std::env::var(RING) {
        return run_until_killed(&path);
    }
    let path = std::env::temp_dir().join(format!("kpt-tests-ring-{}", std::process::id()));
    let rounds = if kpt_tests::chance::is_deep() { 500 } else { 25 };
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env(RING, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(20_000 + round * 7_919 % 30_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let records: Vec<_> = Records::new(&bytes).unwrap().collect();
        assert!(records.len() > 1_000, "round {round}: {} entries", records.len());
        let mut before = Instant::ZERO;
        for record in &records {
            // A time that a wait returns may be that of an earlier look.
            let is_in_order = record.time + Duration::from_millis(50) >= before;
            assert!(is_in_order, "round {round}: {record} after {before:?}");
            before = before.max(record.time);
            if let Entry::Hook { name, kind, id, .. } = record.entry {
                let expected = [("tick", Kind::Timer, "0.1"), ("work", Kind::Execute, "1.1")];
                assert!(expected.contains(&(name, kind, &*id.to_string())), "{record}");
            }
        }
    }
    // What was there before is kept once.
    assert!(Records::new(&std::fs::read(format!("{}.old", path.display())).unwrap()).is_ok());
    std::fs::remove_file(format!("{}.old", path.display())).unwrap();
    std::fs::remove_file(path).unwrap();
}

/// A ping-pong on a pair of sockets: the time of a round, in nanoseconds, on this poller.
fn ping_pong<P: Poller<Error = io::Error>>(poller: P) -> f64 {
    const ROUNDS: u32 = 100_000;
    let (one, two) = std::os::unix::net::UnixStream::pair().unwrap();
    let (one, two) = (Stream::try_from(one).unwrap(), Stream::try_from(two).unwrap());
    let pass_on = |left: &mut u32, mut thread: Thread<u32, Stream>| {
        let mut byte = [0];
        if thread.arg.read(&mut byte).is_ok() {
            *left -= 1;
            thread.arg.write_all(&byte).unwrap();
        }
        if *left == 0 {
            return thread.threads().stop();
        }
        thread.again();
    };
    (&one).write_all(b"x").unwrap();
    let mut kpt: EventLoop<u32, Stream, P> = Builder::new().build_on(poller).unwrap();
    kpt.threads().add_read("one", source(&one), pass_on, one).unwrap();
    kpt.threads().add_read("two", source(&two), pass_on, two).unwrap();
    let start = std::time::Instant::now();
    kpt.run(&mut { ROUNDS }).unwrap();
    start.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
}

#[test]
#[ignore = "measures: needs an idle machine"]
fn recording_costs_at_most_a_third_of_a_ping_pong() {
    let epoll = || EpollPoller::new().unwrap();
    let path = std::env::temp_dir().join(format!("kpt-tests-tape-{}", std::process::id()));
    let (mut plain, mut tape, mut ring) = (f64::MAX, f64::MAX, f64::MAX);
    let mut bytes = 0;
    for _ in 0..15 {
        plain = plain.min(ping_pong(epoll()));
        let recording = Recording::start(std::fs::File::create(&path).unwrap()).unwrap();
        tape = tape.min(ping_pong(Recorder::new(epoll(), ThisThread)));
        bytes = recording.bytes();
        recording.stop().unwrap();
        let memory: Vec<AtomicU32> = (0..16_384).map(AtomicU32::new).collect();
        ring = ring.min(ping_pong(Recorder::new(epoll(), Ring::new(memory))));
    }
    std::fs::remove_file(path).unwrap();
    println!(
        "plain {plain:.0} ns, tape {:.2}, ring {:.2}, {} bytes a hook",
        tape / plain,
        ring / plain,
        bytes / 100_000
    );
    assert!(tape <= 1.3 * plain && ring <= 1.3 * plain);
}
