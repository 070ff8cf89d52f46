//! What is on a tape of calls besides the loop: sockets, signals, wake-ups, values; and where a tape ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use kpt_core::FixedLoop;
use kpt_std::tape::{self, Options, Recording, Replay, Taped};
use kpt_std::{
    Datagram, EpollPoller, EventLoop, Listener, Receiver, Signal, Signals, Stream, Thread, Wakeups,
    channel, source, waker,
};
use kpt_tests::process::in_own_process;
use kpt_tests::tape::Memory;
use kpt_tests::wrapper;

const ANYWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

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
    let mut kpt = EventLoop::new().unwrap();
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
        let length = tape.bytes().len();
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
    said
}

#[test]
fn sockets_say_in_a_replay_what_they_have_said() {
    let tape = Memory::default();
    let recording = Recording::start(tape.clone()).unwrap();
    let _poller = Taped::new(EpollPoller::new().unwrap());
    let said = story();
    recording.stop().unwrap();
    let replay = Replay::start(&tape.bytes()).unwrap();
    assert_eq!(story(), said);
    assert_eq!((replay.left(), replay.divergence().is_none()), (0, true));
}

/// What is no socket and no task.
struct Outside {
    signals: Signals,
    wakeups: Wakeups,
    lines: Receiver<String>,
    file: std::fs::File,
    said: Vec<String>,
}

const PROCESS: u32 = 1;
const NO_FILE: u32 = 2;
const LINES: u32 = 3;

impl Outside {
    fn on_signal(&mut self, thread: Thread<Self>) {
        while let Some(signal) = self.signals.take() {
            self.said.push(signal.to_string());
        }
        self.goes_on(thread);
    }

    fn on_wake(&mut self, thread: Thread<Self>) {
        self.said.push(format!("woken {}", self.wakeups.take()));
        self.goes_on(thread);
    }

    fn on_line(&mut self, thread: Thread<Self>) {
        let lines = &self.lines;
        let next = || lines.try_recv().map(String::into_bytes).map_err(io::Error::other);
        while let Ok(line) = tape::bytes(LINES, next) {
            self.said.push(String::from_utf8(line).unwrap());
        }
        self.goes_on(thread);
    }

    fn on_file(&mut self, thread: Thread<Self>) {
        self.said.push("ready".into());
        self.goes_on(thread);
    }

    fn goes_on(&self, mut thread: Thread<Self>) {
        if self.said.len() < 7 { thread.again() } else { thread.threads().stop() }
    }
}

/// Runs it with a signal and what another OS thread sends, which a replay does not have.
fn outside<P: kpt_core::poller::Poller>(poller: P, is_replay: bool) -> Vec<String> {
    let (waker, wakeups) = waker().unwrap();
    let (sender, lines) = channel(4).unwrap();
    let signals = Signals::new(&[Signal::USR1, Signal::USR2]).unwrap();
    let (file, mut other) = io::pipe().unwrap();
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(file));
    tape::opened(&file);
    let mut state = Outside { signals, wakeups, lines, file, said: Vec::new() };
    let mut kpt = FixedLoop::<_, Outside, 8>::new(poller);
    let mut threads = kpt.threads();
    threads.add_read("signals", source(&state.signals), Outside::on_signal, ()).unwrap();
    threads.add_read("wake", source(&state.wakeups), Outside::on_wake, ()).unwrap();
    threads.add_read("lines", source(&state.lines), Outside::on_line, ()).unwrap();
    threads.add_read("file", source(&state.file), Outside::on_file, ()).unwrap();
    let process = tape::value(PROCESS, || std::process::id().into());
    let file = tape::bytes(NO_FILE, || std::fs::read("/no/such/file")).unwrap_err();
    state.said.push(format!("{process} {file}"));
    if !is_replay {
        kpt_tests::sys::raise(Signal::USR1.number());
        kpt_tests::sys::raise(Signal::USR2.number());
        let send = move || {
            waker.wake();
            for line in ["one", "two"] {
                sender.try_send(line.into()).unwrap();
            }
            other.write_all(b"x").unwrap();
            sender
        };
        drop(std::thread::spawn(send).join());
    }
    assert!(kpt.run(&mut state).is_ok());
    state.said
}

#[test]
fn signals_wake_ups_and_values_are_those_of_the_tape() {
    in_own_process("signals_wake_ups_and_values_are_those_of_the_tape", || {
        let tape = Memory::default();
        let recording = Recording::start(tape.clone()).unwrap();
        let said = outside(Taped::new(EpollPoller::new().unwrap()), false);
        recording.stop().unwrap();
        for word in ["SIGUSR1", "SIGUSR2", "woken true", "one", "two", "ready"] {
            assert!(said.iter().any(|line| line == word), "{word}: {said:?}");
        }
        for _ in 0..2 {
            let replay = Replay::start(&tape.bytes()).unwrap();
            assert_eq!(outside(replay.poller().unwrap(), true), said);
            assert_eq!((replay.left(), replay.divergence().is_none()), (0, true));
        }
    });
}

#[test]
fn another_value_is_told_and_a_tape_that_ends_has_none() {
    let tape = Memory::default();
    let recording = Recording::start(tape.clone()).unwrap();
    let _poller = Taped::new(EpollPoller::new().unwrap());
    assert_eq!([tape::value(1, || 7), tape::value(1, || u64::MAX)], [7, u64::MAX]);
    recording.stop().unwrap();
    let replay = Replay::start(&tape.bytes()).unwrap();
    assert_eq!(tape::value(1, || unreachable!()), 7);
    assert_eq!(tape::value(2, || unreachable!()), 0);
    let text = replay.divergence().unwrap().to_string();
    assert!(text.contains("value on 1") && text.contains("value on 2"), "{text}");
    drop(replay);
    let replay = Replay::start(&tape.bytes()).unwrap();
    assert_eq!([1, 1, 1].map(|name| tape::value(name, || unreachable!())), [7, u64::MAX, 0]);
    let error = tape::bytes(1, || unreachable!()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(replay.divergence().is_none());
}

#[test]
fn bytes_are_masked_and_numbers_are_not() {
    let tape = Memory::default();
    let hide = |_, bytes: &mut [u8]| bytes.fill(b'x');
    let recording = Options::new().mask(hide).record(tape.clone()).unwrap();
    let _poller = Taped::new(EpollPoller::new().unwrap());
    tape::value(1, || 0x3132);
    assert_eq!(tape::bytes(2, || Ok(b"secret".to_vec())).unwrap(), b"secret");
    recording.stop().unwrap();
    let _replay = Replay::start(&tape.bytes()).unwrap();
    assert_eq!(tape::value(1, || unreachable!()), 0x3132);
    assert_eq!(tape::bytes(2, || unreachable!()).unwrap(), b"xxxxxx");
}

#[test]
fn what_a_value_is_made_of_is_not_on_the_tape() {
    let read = |value: u32| {
        let (one, mut two) = std::os::unix::net::UnixStream::pair().unwrap();
        two.write_all(&[b'x'; 7]).unwrap();
        let get = || Stream::try_from(one).unwrap().read(&mut [0; 10]).unwrap() as u64;
        tape::value(value, get)
    };
    let tape = Memory::default();
    let recording = Recording::start(tape.clone()).unwrap();
    let _poller = Taped::new(EpollPoller::new().unwrap());
    assert_eq!(read(1), 7);
    recording.stop().unwrap();
    let replay = Replay::start(&tape.bytes()).unwrap();
    assert_eq!((read(1), replay.left()), (7, 0));
}

#[test]
fn a_poller_that_is_taped_forwards_everything() {
    wrapper::check(Taped::new);
    let recording = Recording::start(io::sink()).unwrap();
    wrapper::check(Taped::new);
    drop(recording);
}

#[test]
fn a_poller_that_is_taped_twice_is_on_the_tape_once() {
    let run = |poller| {
        let tape = Memory::default();
        let recording = Recording::start(tape.clone()).unwrap();
        run_ticks_on(poller);
        recording.stop().unwrap();
        tape::Records::new(&tape.bytes())
            .unwrap()
            .filter(|record| matches!(record.entry, tape::Entry::Hook { .. }))
            .count()
    };
    fn run_ticks_on(is_twice: bool) {
        let poller = EpollPoller::new().unwrap();
        let ticks = &mut 0;
        if is_twice {
            let mut kpt: EventLoop<u32, (), _> =
                kpt_std::Builder::new().build_on(Taped::new(poller)).unwrap();
            kpt.threads().add_timer("tick", Duration::from_micros(10), tick, ()).unwrap();
            kpt.run(ticks).unwrap();
        } else {
            assert_eq!(run_ticks(), 100);
        }
    }
    assert_eq!((run(false), run(true)), (100, 100));
}
