//! Flight recorders: the last moments of a process, however it has ended; and what recording costs.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use kpt_core::FixedLoop;
use kpt_core::poller::Poller;
use kpt_std::tape::{Entry, Recorder, Recording, Records, Replay, ReplayError, Ring, RingFile};
use kpt_std::{Builder, EpollPoller, EventLoop, Exit, Instant, Kind, Stream, Thread, source};
use kpt_tests::wrapper;

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

/// What has no sockets is replayed from a ring, as far as that goes, if it has the beginning.
#[test]
fn a_ring_that_has_the_beginning_is_replayed_and_any_other_is_refused() {
    let path = std::env::temp_dir().join(format!("kpt-tests-ring-begin-{}", std::process::id()));
    let tick = |left: &mut u32, thread: Thread<u32>| {
        *left -= 1;
        if *left > 0 {
            thread.again();
        }
    };
    for (ticks, has_beginning) in [(20, true), (2_000, false)] {
        let ring = Ring::new(RingFile::create(&path, 8 * 1024).unwrap());
        let poller = Recorder::new(EpollPoller::new().unwrap(), ring);
        let mut kpt: EventLoop<u32, (), _> = Builder::new().build_on(poller).unwrap();
        kpt.threads().add_timer("tick", Duration::from_micros(30), tick, ()).unwrap();
        kpt.run(&mut { ticks }).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        match Replay::start(&bytes) {
            Ok(replay) => {
                assert!(has_beginning);
                let mut kpt = FixedLoop::<_, u32, 4>::new(replay.poller().unwrap());
                kpt.threads().add_timer("tick", Duration::from_micros(30), tick, ()).unwrap();
                assert_eq!(kpt.run(&mut { ticks }).unwrap(), Exit::Empty);
                assert_eq!((replay.hooks(), replay.left()), (ticks.into(), 0));
            }
            Err(error) => assert_eq!((error, has_beginning), (ReplayError::NoBeginning, false)),
        }
    }
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
        tape = tape.min(ping_pong(epoll()));
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
