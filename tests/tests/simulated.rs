//! The simulated world: descriptors, peers, and each deviation that it knows.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use kpt_std::sim::{End, Limits, Sim, SimPoller, TestResult, check, explore, replay};
use kpt_std::{
    BufferedStream, Builder, Datagram, EventLoop, Instant, Listener, Readiness, Stream, Thread,
    When, source,
};
use kpt_tests::chance::{is_checked, is_deep};
use kpt_tests::time::millis;

/// A server that sends back what it receives.
struct Echo {
    listener: Listener,
    errors: u32,
}

type EchoThread<'t> = Thread<'t, Echo, Option<BufferedStream>>;
type Loop<S, A = ()> = EventLoop<S, A, SimPoller>;

impl Echo {
    fn on_connection(&mut self, mut thread: EchoThread) {
        loop {
            match self.listener.accept() {
                Ok(Some(stream)) => {
                    let client = BufferedStream::new(stream, 64, 64);
                    let when = when(&client);
                    let _ = thread.threads().add("client", when, Self::on_client, Some(client));
                }
                Ok(None) => break,
                Err(_) => self.errors += 1,
            }
        }
        let _ = thread.again_when(self.listener.when());
    }

    fn on_client(&mut self, mut thread: EchoThread) {
        let Some(client) = &mut thread.arg else { return };
        if let Ok(true) = serve(client) {
            let when = when(client);
            let _ = thread.again_when(when);
        }
    }
}

fn when(client: &BufferedStream) -> When {
    When::Ready(source(client), client.wants())
}

fn serve(client: &mut BufferedStream) -> std::io::Result<bool> {
    client.fill()?;
    loop {
        let (input, output) = client.input_and_output();
        let count = input.len().min(output.room());
        let queued = output.queue(&input[..count]);
        client.consume(count);
        if !client.flush()? || count == 0 || queued.is_err() {
            return Ok(!client.wants().is_none());
        }
    }
}

/// Runs an echo server until nothing can happen any more.
fn run_echo(sim: &Sim, listener: Listener) -> Result<Echo, Box<dyn std::error::Error>> {
    let mut echo = Echo { listener, errors: 0 };
    let mut kpt: Loop<Echo, Option<BufferedStream>> =
        Builder::new().threads(8).build_on(sim.poller())?;
    kpt.threads().add("accept", echo.listener.when(), Echo::on_connection, None)?;
    match kpt.run(&mut echo) {
        Err(End::Idle) => {}
        other => return Err(format!("{other:?}").into()),
    }
    assert_eq!(kpt.threads().len(), 1, "only the listener's thread is left");
    Ok(echo)
}

/// Two clients, one of which stops reading for a while.
fn echo(sim: &Sim) -> TestResult {
    let text = "a text that is longer than the room of its client";
    let slow = sim.client(7).room(8).send("hello").pause_reading().wait(millis(5)).send(text);
    let slow = slow.wait(millis(50)).resume_reading().expect("hello").expect(text).hang_up();
    let other = sim.client(7).send("a").expect("a").shut_down().expect_end();
    let echo = run_echo(sim, sim.listen(7)?)?;
    for client in [&slow, &other] {
        sim.always(
            "all comes back, or the connection broke",
            client.is_done() || client.is_broken(),
        );
    }
    sim.sometimes("accepting fails", echo.errors > 0);
    Ok(())
}

#[test]
fn an_echo_server_is_right_with_two_deviations() {
    let report = check(Limits::new().deviations(2), echo);
    println!("{} schedules, by deviations {:?}", report.schedules, report.by_deviations);
    for site in ["read", "write", "accept", "arrives", "ready", "wake"] {
        let is_met = report.sites.iter().any(|met| met.name == site && met.decisions > 0);
        assert!(is_met, "{site} was never decided");
    }
}

/// One client, about 20 decisions.
fn small_echo(sim: &Sim) -> TestResult {
    let client =
        sim.client(7).send("hello").expect("hello").send("world").expect("world").hang_up();
    run_echo(sim, sim.listen(7)?)?;
    sim.always("all comes back, or the connection broke", client.is_done() || client.is_broken());
    Ok(())
}

#[test]
fn memory_stays_the_same_over_many_schedules() {
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
    };
    let explored = |walks| {
        let report = explore(Limits::new().deviations(0).walks(walks, 16), small_echo);
        assert!(report.failure.is_none(), "{report}");
        report
    };
    explored(1_000);
    let before = resident();
    let report = explored(if is_deep() { 200_000 } else { 10_000 });
    println!("{report}, {before} KiB and then {} KiB", resident());
    // Other tests run in this process, too.
    if !is_checked() {
        assert!(resident() < before + 8 * 1024, "{} KiB, and before {before}", resident());
    }
}

#[test]
fn each_deviation_of_a_connection_is_seen_in_the_trace() {
    for (schedule, line) in [
        ("read/1#0=one-byte", r#"reads from 1: "h""#),
        ("read/1#0=not-yet", "read/1: not-yet"),
        ("read/1#0=reset", "closes 1"),
        ("write/1#0=one-byte", r#"writes to 1: "h""#),
        ("write/1#0=not-yet", "write/1: not-yet"),
        ("write/1#0=reset", "closes 1"),
        ("accept/7#0=EMFILE", "accept/7: EMFILE"),
        ("accept/7#0=aborted", "accept/7: aborted"),
        ("arrives/1#0=late", "arrives/1: late"),
        ("wake/0#0=late", "wake/0: late"),
    ] {
        let replay = replay(schedule, echo).unwrap();
        assert!(replay.failure.is_none(), "{schedule}: {:?}", replay.failure);
        assert!(replay.unasked.to_string().is_empty(), "{schedule}: {}", replay.trace);
        assert!(replay.trace.lines().any(|it| it.contains(line)), "{schedule}: {}", replay.trace);
    }
}

#[test]
fn a_peer_may_be_a_loop_of_its_own() {
    struct Peer {
        stream: Stream,
        received: Rc<RefCell<Vec<u8>>>,
    }

    impl Peer {
        fn on_ready(&mut self, thread: Thread<Self>) {
            let mut buffer = [0; 16];
            match self.stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => self.received.borrow_mut().extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            thread.again();
        }

        fn on_connected(&mut self, mut thread: Thread<Self>) {
            assert!(self.stream.is_connected().unwrap());
            assert_eq!(self.stream.peer().to_string(), "10.0.0.1:7");
            self.stream.write_all(b"from a loop").unwrap();
            self.stream.shutdown(std::net::Shutdown::Write).unwrap();
            let stream = source(&self.stream);
            thread.threads().add_read("peer reads", stream, Self::on_ready, ()).unwrap();
        }
    }

    let sim = Sim::new();
    let received = Rc::new(RefCell::new(Vec::new()));
    let listener = sim.listen(7).unwrap();
    let stream = Stream::connect(sim.address(7)).unwrap();
    let peer = Peer { stream, received: received.clone() };
    sim.add_loop(4, peer, |peer, mut threads| {
        let stream = source(&peer.stream);
        threads.add_write("peer connects", stream, Peer::on_connected, ()).unwrap();
    });
    run_echo(&sim, listener).unwrap();
    assert_eq!(&*received.borrow(), b"from a loop");
}

#[test]
fn a_connection_may_be_refused_or_not_be_answered() {
    let connect = |sim: &Sim| {
        let _listener = sim.listen(7)?;
        let stream = Stream::connect(sim.address(7))?;
        let mut kpt: Loop<Option<String>, Stream> =
            Builder::new().threads(2).build_on(sim.poller())?;
        let hook = |result: &mut Option<String>, thread: Thread<Option<String>, Stream>| {
            let connected = thread.arg.is_connected();
            *result = Some(connected.map_or_else(|error| error.to_string(), |is| is.to_string()));
        };
        kpt.threads().add_write("connect", source(&stream), hook, stream).map_err(|_| "no room")?;
        let mut result = None;
        kpt.run(&mut result)?;
        let now = sim.now();
        sim.note(|| format!("{} at {}", result.unwrap_or_default(), now.as_micros()));
        Ok(())
    };
    let says = |error| std::io::Error::from_raw_os_error(error).to_string();
    for (schedule, result, at) in [
        ("", "true".to_owned(), 200),
        ("connect/1001#0=refused", says(libc::ECONNREFUSED), 100),
        ("connect/1001#0=unanswered", says(libc::ETIMEDOUT), 127_000_000),
    ] {
        let replay = replay(schedule, connect).unwrap();
        let last = replay.trace.lines().last().unwrap();
        assert!(last.ends_with(&format!("{result} at {at}")), "{schedule}: {}", replay.trace);
    }
}

#[test]
fn packets_are_lost_come_twice_or_late() {
    let send = |sim: &Sim| {
        let (here, there) = (sim.datagram(1)?, Datagram::bind(sim.address(2))?);
        for text in ["one", "two"] {
            here.send_to(text.as_bytes(), &there.local())?;
        }
        let mut kpt: Loop<(Datagram, Vec<String>)> =
            Builder::new().threads(2).build_on(sim.poller())?;
        let hook = |state: &mut (Datagram, Vec<String>),
                    thread: Thread<(Datagram, Vec<String>)>| {
            let mut buffer = [0; 100];
            while let Ok((count, from)) = state.0.recv_from(&mut buffer) {
                assert_eq!(from.to_string(), "10.0.0.1:1");
                state.1.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
            }
            thread.again();
        };
        kpt.threads().add_read("packets", source(&there), hook, ())?;
        let mut state = (there, Vec::new());
        assert_eq!(kpt.run(&mut state), Err(End::Idle));
        sim.note(|| state.1.join(" "));
        Ok(())
    };
    for (schedule, end) in [
        ("", " one two"),
        ("packet/1#0=lost", " two"),
        ("packet/1#0=twice", " one two one"),
        ("packet/1#0=late", " two one"),
        ("packet/1#0=lost packet/1#1=lost", " "),
    ] {
        let replay = replay(schedule, send).unwrap();
        assert!(replay.failure.is_none(), "{schedule}: {:?}", replay.failure);
        let last = replay.trace.lines().last().unwrap();
        assert!(last.ends_with(&format!("-           {end}")), "{schedule}: {last:?}");
    }
}

#[test]
fn numbers_of_closed_streams_are_given_again_and_what_is_closed_is_an_error() {
    let sim = Sim::new();
    let (peer, stream) = sim.streams();
    let (_other_peer, other) = sim.streams();
    let number = source(&stream);
    let mut kpt: Loop<Vec<Readiness>> = Builder::new().threads(2).build_on(sim.poller()).unwrap();
    let hook =
        |found: &mut Vec<Readiness>, thread: Thread<Vec<Readiness>>| found.push(thread.readiness());
    kpt.threads().add_read("closed", number, hook, ()).unwrap();
    drop(stream);
    let mut found = Vec::new();
    kpt.run(&mut found).unwrap();
    assert_eq!(found, [Readiness::ERROR]);
    assert_ne!(source(&other), number);
    let (new_peer, new) = sim.streams();
    assert_eq!(source(&new_peer), number, "the lowest number that is free");
    drop((peer, new_peer, new));
}

#[test]
fn what_outlives_its_simulation_is_of_no_use_and_does_no_harm() {
    let sim = Sim::new();
    let (mut peer, mut stream) = sim.streams();
    let listener = sim.listen(7).unwrap();
    drop(sim);
    assert!(stream.write(b"x").is_err());
    assert!(peer.read(&mut [0; 8]).is_err());
    assert_eq!(stream.peer().to_string(), "unknown");
    assert_eq!(listener.local().to_string(), "unknown");
    let moved = std::thread::spawn(move || drop((stream, listener)));
    moved.join().unwrap();
    // What is opened now is one of the system.
    let real = Listener::bind(([127, 0, 0, 1], 0)).unwrap();
    assert!(real.local().to_string().starts_with("127.0.0.1:"));
}

#[test]
fn a_run_ends_at_a_moment_and_goes_on() {
    let sim = Sim::new();
    let mut kpt: Loop<u32> = Builder::new().threads(2).build_on(sim.poller()).unwrap();
    let hook = |count: &mut u32, thread: Thread<u32>| {
        *count += 1;
        thread.again();
    };
    kpt.threads().add_timer("tick", millis(10), hook, ()).unwrap();
    let called = Rc::new(RefCell::new(Vec::new()));
    for (delay, text) in [(25, "second"), (15, "first"), (25, "third")] {
        let called = called.clone();
        sim.after(millis(delay), move |sim| called.borrow_mut().push((text, sim.now())));
    }
    let mut count = 0;
    let mut run_to = |micros, count: &mut u32| {
        let at = Instant::from_micros(micros);
        sim.run_until(at, || kpt.run(count).map(drop)).unwrap();
        assert_eq!(sim.now(), at);
    };
    run_to(19_999, &mut count);
    assert_eq!((count, called.borrow().len()), (1, 1));
    run_to(20_001, &mut count);
    run_to(Duration::from_secs(1).as_micros() as u64 + 1, &mut count);
    assert_eq!(count, 100);
    let at = |millis: u64| Instant::from_micros(millis * 1_000);
    assert_eq!(*called.borrow(), [("first", at(15)), ("second", at(25)), ("third", at(25))]);
}
