//! The same stories on sockets of the system and on simulated ones: each step has the same result.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use kpt_core::poller::{Poller, Ready, Waiting};
use kpt_std::sim::Sim;
use kpt_std::{
    Address, Datagram, EpollPoller, Instant, Interest, Listener, Readiness, Source, Stream, source,
};

/// A kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ip,
    Unix,
}

/// Where a story takes place.
struct Place {
    sim: Option<Sim>,
    kind: Kind,
    paths: u32,
}

impl Place {
    fn new(kind: Kind, is_simulated: bool) -> Self {
        Self { sim: is_simulated.then(Sim::new), kind, paths: 0 }
    }

    /// Waits until all that was sent has arrived.
    fn settle(&self) {
        match &self.sim {
            Some(sim) => {
                let _ = look(sim.poller(), None);
                sim.advance(Duration::from_millis(10));
                let _ = look(sim.poller(), None);
                sim.advance(Duration::from_millis(10));
                let _ = look(sim.poller(), None);
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }

    fn readiness(&self, source: Source) -> Readiness {
        match &self.sim {
            Some(sim) => look(sim.poller(), Some(source)),
            None => look(EpollPoller::new().unwrap(), Some(source)),
        }
    }

    fn path(&mut self) -> PathBuf {
        self.paths += 1;
        let place = if self.sim.is_some() { "sim" } else { "real" };
        let name = format!("kpt-fidelity-{}-{place}-{}", std::process::id(), self.paths);
        std::env::temp_dir().join(name)
    }

    fn listener(&mut self) -> Listener {
        match self.kind {
            Kind::Ip => Listener::bind(([127, 0, 0, 1], 0)).unwrap(),
            Kind::Unix => Listener::bind_unix(self.path()).unwrap(),
        }
    }

    fn connect(&self, to: &Address) -> io::Result<Stream> {
        match self.kind {
            Kind::Ip => Stream::connect(to.ip().unwrap()),
            Kind::Unix => Stream::connect_unix(to.path().unwrap()),
        }
    }

    /// The two ends of a connection.
    fn pair(&mut self) -> [Option<Stream>; 2] {
        let mut listener = self.listener();
        let here = self.connect(&listener.local()).unwrap();
        self.settle();
        let there = listener.accept().unwrap().unwrap();
        self.remove(&listener.local());
        [Some(here), Some(there)]
    }

    fn datagram(&mut self) -> Datagram {
        match self.kind {
            Kind::Ip => Datagram::bind(([127, 0, 0, 1], 0)).unwrap(),
            Kind::Unix => Datagram::bind_unix(self.path()).unwrap(),
        }
    }

    fn remove(&self, address: &Address) {
        if let Some(path) = address.path() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What a poller finds.
#[derive(Default)]
struct Findings(Readiness);

impl Waiting for Findings {
    fn push(&mut self, _: Source, readiness: Readiness) {
        self.0 = self.0 | readiness;
    }

    fn ask(&mut self, _: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        false
    }
}

fn look<P: Poller>(mut poller: P, source: Option<Source>) -> Readiness {
    let mut findings = Findings::default();
    if let Some(source) = source {
        assert!(poller.modify(source, Interest::BOTH).is_ok());
    }
    let _ = poller.wait(Instant::ZERO, &mut Ready::new(&mut findings));
    if let Some(source) = source {
        let _ = poller.modify(source, Interest::NONE);
    }
    findings.0
}

fn told(result: io::Result<String>) -> String {
    result.unwrap_or_else(|error| match error.raw_os_error() {
        Some(number) => format!("{:?} ({number})", error.kind()),
        None => format!("{:?}", error.kind()),
    })
}

/// Does what a line says, `a.write hello`, and returns what came of it.
fn step(place: &Place, ends: &mut [Option<Stream>; 2], line: &str) -> String {
    let (who, what) = line.split_once('.').unwrap();
    let (what, with) = what.split_once(' ').unwrap_or((what, ""));
    let end = &mut ends[usize::from(who == "b")];
    let Some(stream) = end.as_mut() else { panic!("{line}: it is closed") };
    let shutdown = |how| stream.shutdown(how).map(|()| "ok".into());
    told(match what {
        "write" => stream.write(with.as_bytes()).map(|count| count.to_string()),
        "parts" => {
            let (one, two) = with.split_at(with.len() / 2);
            let parts = [io::IoSlice::new(one.as_bytes()), io::IoSlice::new(two.as_bytes())];
            stream.write_vectored(&parts).map(|count| count.to_string())
        }
        "read" => {
            let mut buffer = vec![0; with.parse().unwrap()];
            stream.read(&mut buffer).map(|count| {
                buffer.truncate(count);
                format!("{count} {}", buffer.escape_ascii())
            })
        }
        "read-parts" => {
            let mut buffer = vec![0; with.parse().unwrap()];
            let (one, two) = buffer.split_at_mut(1);
            let mut parts = [io::IoSliceMut::new(one), io::IoSliceMut::new(two)];
            stream
                .read_vectored(&mut parts)
                .map(|count| format!("{count} {}", buffer[..count].escape_ascii()))
        }
        // Until it takes no more.
        "fill" => {
            let mut count = 0;
            while stream.write(&[7; 4096]).is_ok() {
                count += 1;
            }
            Ok(if count > 1 { "full".into() } else { "not full".into() })
        }
        "drain" => {
            let mut all = vec![0; 1 << 20];
            while stream.read(&mut all).is_ok_and(|count| count > 0) {
                place.settle();
            }
            Ok("all read".into())
        }
        "ready" => Ok(place.readiness(source(&*stream)).to_string()),
        "error" => {
            stream.take_error().map(|error| error.map_or("none".into(), |error| told(Err(error))))
        }
        "connected" => stream.is_connected().map(|is| is.to_string()),
        "no-more" => shutdown(Shutdown::Write),
        "no-reads" => shutdown(Shutdown::Read),
        "neither" => shutdown(Shutdown::Both),
        "close" => {
            *end = None;
            Ok("ok".into())
        }
        other => panic!("{other}?"),
    })
}

fn story(place: &mut Place, ends: &mut [Option<Stream>; 2], lines: &str) -> String {
    let mut log = String::new();
    for line in lines.split(';').map(str::trim) {
        let _ = writeln!(log, "  {line}: {}", step(place, ends, line));
        place.settle();
    }
    log
}

/// Both ends of a connection are open at the beginning.
const STORIES: &[(&str, &str)] = &[
    (
        "bytes arrive",
        "a.ready; a.read 8; b.write hello; a.ready; a.read 2; a.read 8; a.read 8; a.ready; a.connected",
    ),
    ("in parts", "a.parts hello; b.read-parts 3; b.read-parts 8; b.read-parts 8"),
    (
        "empty ones",
        "a.read 0; a.write ; b.write x; a.read 0; a.read 4; b.close; a.read 0; a.write ; a.ready",
    ),
    ("empty ones after a reset", "a.write x; b.close; a.write ; a.read 0; a.read 0; a.ready"),
    ("empty ones after the end", "a.no-more; a.write ; b.read 0; b.read 1"),
    (
        "the other side has closed",
        "b.write x; b.close; a.ready; a.read 8; a.read 8; a.connected; a.write 1; a.ready; a.write 2; a.read 8; a.error; a.ready; a.connected",
    ),
    ("closed, and the error is taken", "b.close; a.write 1; a.error; a.read 8; a.write 2; a.ready"),
    (
        "closed, and the rest is read first",
        "b.write abc; b.close; a.write 1; a.ready; a.read 2; a.read 8; a.read 8; a.write 2",
    ),
    (
        "closed with unread bytes, read",
        "a.write unread; b.close; a.ready; a.read 8; a.read 8; a.ready; a.write 1; a.connected",
    ),
    (
        "closed with unread bytes, written",
        "a.write unread; b.close; a.write 1; a.ready; a.write 2; a.read 8; a.read 8; a.ready",
    ),
    (
        "closed with unread bytes, asked",
        "a.write unread; b.close; a.error; a.ready; a.connected; a.read 8; a.write 1",
    ),
    (
        "closed with unread bytes both ways",
        "b.write data; a.write unread; b.close; a.ready; a.read 2; a.read 8; a.read 8; a.read 8; a.ready",
    ),
    (
        "closed with unread bytes, not connected",
        "a.write unread; b.close; a.connected; a.connected",
    ),
    (
        "closed with unread bytes, shut down",
        "a.write unread; b.close; a.no-more; a.ready; a.read 8; a.ready",
    ),
    (
        "half closed",
        "b.no-more; a.ready; b.ready; a.read 8; a.write still; b.ready; b.read 8; b.write no; b.ready; b.connected; a.no-more; a.ready; b.ready; b.read 8; a.error; a.connected; b.connected; a.no-more; b.no-more",
    ),
    ("half closed twice", "b.no-more; b.no-more; a.read 8; a.read 8; b.ready"),
    (
        "half closed, then closed",
        "b.no-more; b.close; a.ready; a.write 1; a.ready; a.write 2; a.read 8; a.ready",
    ),
    (
        "half closed, then closed with unread bytes",
        "b.no-more; a.write unread; b.close; a.ready; a.write 1; a.read 8; a.ready",
    ),
    (
        "half closed on both sides, then closed",
        "a.no-more; b.no-more; a.ready; b.close; a.ready; a.read 8; a.write 1; a.error",
    ),
    (
        "half closed with bytes before",
        "b.write last; b.no-more; a.ready; a.read 8; a.ready; a.read 8",
    ),
    (
        "no reads",
        "a.no-reads; a.ready; b.ready; a.read 8; b.write x; b.ready; a.ready; a.read 8; a.read 8; a.write y; b.read 8; b.error",
    ),
    (
        "no reads, but some are there",
        "b.write x; a.no-reads; a.ready; a.read 8; a.read 8; b.write y; a.read 8",
    ),
    (
        "neither",
        "a.neither; a.ready; b.ready; a.read 8; a.write x; b.read 8; b.write y; b.ready; b.error; a.ready; a.read 8",
    ),
    ("full", "a.fill; a.ready; a.write x; b.ready; b.drain; a.ready; a.write x; b.read 8"),
    ("full, and closed", "a.fill; b.close; a.ready; a.error; a.write x; a.ready"),
    (
        "full, and then closed by who has filled it",
        "a.write abc; a.close; b.ready; b.read 2; b.read 8; b.read 8; b.ready",
    ),
    (
        "both write and close",
        "a.write abc; b.write abc; a.close; b.ready; b.read 8; b.read 8; b.ready; b.error",
    ),
];

/// Compares what a story comes to, on the system's sockets and on simulated ones.
fn compare(kind: Kind, name: &str, tell: impl Fn(&mut Place) -> String, differences: &mut String) {
    // One after the other: what is opened while there is a simulation is simulated.
    let real = tell(&mut Place::new(kind, false));
    let simulated = tell(&mut Place::new(kind, true));
    println!("{name} ({kind:?})\n{real}");
    if real != simulated {
        let _ = writeln!(differences, "{name} ({kind:?})");
        for (one, other) in real.lines().zip(simulated.lines()) {
            let is_same = if one == other { "" } else { "   <-- simulated: " };
            let other = if one == other { "" } else { other.split_once(": ").unwrap().1 };
            let _ = writeln!(differences, "{one}{is_same}{other}");
        }
    }
}

#[test]
fn connections_are_as_those_of_the_system() {
    let mut differences = String::new();
    for kind in [Kind::Ip, Kind::Unix] {
        for (name, lines) in STORIES {
            let tell = |place: &mut Place| {
                let mut ends = place.pair();
                story(place, &mut ends, lines)
            };
            compare(kind, name, tell, &mut differences);
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn connecting_is_as_with_the_system() {
    let mut differences = String::new();
    for kind in [Kind::Ip, Kind::Unix] {
        compare(kind, "nobody listens any more", refused, &mut differences);
        compare(kind, "nobody has ever listened", never_listened, &mut differences);
        compare(kind, "the listener closes", listener_closes, &mut differences);
        compare(kind, "sent before it is accepted", early, &mut differences);
        compare(kind, "gone before it is accepted", gone, &mut differences);
    }
    assert!(differences.is_empty(), "{differences}");
}

fn refused(place: &mut Place) -> String {
    let listener = place.listener();
    let address = listener.local();
    drop(listener);
    connected(place, &address)
}

fn never_listened(place: &mut Place) -> String {
    let address = match place.kind {
        Kind::Ip => SocketAddr::from(([127, 0, 0, 1], 9)).into(),
        Kind::Unix => {
            let socket = std::os::unix::net::SocketAddr::from_pathname(place.path());
            socket.unwrap().into()
        }
    };
    connected(place, &address)
}

fn connected(place: &mut Place, address: &Address) -> String {
    let result = place.connect(address);
    place.remove(address);
    match result {
        Err(error) => format!("  connect: {}\n", told(Err(error))),
        Ok(stream) => {
            place.settle();
            story(
                place,
                &mut [Some(stream), None],
                "a.ready; a.connected; a.read 8; a.write x; a.ready",
            )
        }
    }
}

fn listener_closes(place: &mut Place) -> String {
    let listener = place.listener();
    let address = listener.local();
    let client = place.connect(&address).unwrap();
    place.settle();
    let mut log = format!("  readiness: {}\n", place.readiness(source(&listener)));
    drop(listener);
    place.settle();
    place.remove(&address);
    log += &story(place, &mut [Some(client), None], "a.ready; a.read 8; a.write x; a.ready");
    log
}

fn early(place: &mut Place) -> String {
    let mut listener = place.listener();
    let mut log = format!("  readiness: {}\n", place.readiness(source(&listener)));
    let client = place.connect(&listener.local()).unwrap();
    place.settle();
    let mut ends = [Some(client), None];
    log += &story(place, &mut ends, "a.ready; a.connected; a.write hello; a.ready");
    let _ = writeln!(log, "  readiness: {}", place.readiness(source(&listener)));
    ends[1] = listener.accept().unwrap();
    let _ = writeln!(log, "  again: {}", listener.accept().unwrap().is_none());
    log += &story(place, &mut ends, "b.ready; b.read 8; b.connected; b.write x; a.read 8");
    place.remove(&listener.local());
    log
}

fn gone(place: &mut Place) -> String {
    let mut listener = place.listener();
    let mut client = place.connect(&listener.local()).unwrap();
    place.settle();
    let _ = client.write(b"hello");
    drop(client);
    place.settle();
    let mut ends = [None, listener.accept().unwrap()];
    place.remove(&listener.local());
    story(place, &mut ends, "b.ready; b.read 8; b.read 8; b.write x; b.ready; b.write y")
}

#[test]
fn datagrams_are_as_those_of_the_system() {
    let mut differences = String::new();
    for kind in [Kind::Ip, Kind::Unix] {
        compare(kind, "datagrams", datagrams, &mut differences);
        compare(kind, "nobody receives", nobody_receives, &mut differences);
        compare(kind, "too many", too_many, &mut differences);
    }
    assert!(differences.is_empty(), "{differences}");
}

fn received(from: &Datagram, room: usize, senders: &[&Datagram]) -> String {
    let mut buffer = vec![0; room];
    told(from.recv_from(&mut buffer).map(|(count, from)| {
        let is_it = |sender: &&Datagram| sender.local().to_string() == from.to_string();
        let sender = senders.iter().position(is_it);
        format!("{count} {} from {sender:?}", buffer[..count.min(8)].escape_ascii())
    }))
}

fn datagrams(place: &mut Place) -> String {
    let (a, b) = (place.datagram(), place.datagram());
    let mut log = String::new();
    let mut say = |what: &str, text: String| {
        let _ = writeln!(log, "  {what}: {text}");
    };
    let send = |from: &Datagram, bytes: &[u8], to: &Datagram| {
        let result = from.send_to(bytes, &to.local()).map(|count| count.to_string());
        place.settle();
        told(result)
    };
    say("ready", place.readiness(source(&a)).to_string());
    say("receive nothing", received(&a, 8, &[]));
    say("send", send(&a, b"hello", &b));
    say("send nothing", send(&a, b"", &b));
    say("send more", send(&a, b"truncated", &b));
    say("ready", place.readiness(source(&b)).to_string());
    say("receive", received(&b, 8, &[&a, &b]));
    say("receive", received(&b, 8, &[&a, &b]));
    say("receive", received(&b, 5, &[&a, &b]));
    say("receive", received(&b, 5, &[&a, &b]));
    say("to itself", send(&b, b"me", &b));
    say("receive", received(&b, 5, &[&a, &b]));
    say("error", told(b.take_error().map(|error| format!("{error:?}"))));
    for socket in [&a, &b] {
        place.remove(&socket.local());
    }
    log
}

fn nobody_receives(place: &mut Place) -> String {
    let (a, b) = (place.datagram(), place.datagram());
    let to = b.local();
    drop(b);
    let mut log = String::new();
    let mut send = |what: &str, bytes: &[u8], to: &Address| {
        let result = a.send_to(bytes, to).map(|count| count.to_string());
        place.settle();
        let _ = writeln!(log, "  {what}: {}", told(result));
        let _ = writeln!(log, "  ready: {}", place.readiness(source(&a)));
    };
    send("to who has gone", b"x", &to);
    place.remove(&to);
    let other_kind = match place.kind {
        Kind::Ip => std::os::unix::net::SocketAddr::from_pathname("/nowhere").unwrap().into(),
        Kind::Unix => SocketAddr::from(([127, 0, 0, 1], 9)).into(),
    };
    send("to another kind", b"x", &other_kind);
    if place.kind == Kind::Ip {
        send("too long", &[0; 65_508], &to);
        send("as long as it may be", &[0; 65_507], &to);
        send("to no port", b"x", &SocketAddr::from(([127, 0, 0, 1], 0)).into());
    } else {
        let never = std::os::unix::net::SocketAddr::from_pathname("/tmp/kpt-never").unwrap();
        send("to who never was", b"x", &never.into());
    }
    let _ = writeln!(log, "  receive: {}", received(&a, 8, &[]));
    place.remove(&a.local());
    log
}

fn too_many(place: &mut Place) -> String {
    let (a, b) = (place.datagram(), place.datagram());
    // One of a hundred gives the same on each machine only for Unix sockets, whose limit is a number of datagrams.
    let result = (0..100).map(|_| a.send_to(b"x", &b.local())).find(|result| result.is_err());
    place.settle();
    let mut log = match result {
        Some(result) => format!("  sent: {}\n", told(result.map(|_| String::new()))),
        None => "  sent all\n".to_owned(),
    };
    let mut count = 0;
    while b.recv_from(&mut [0; 8]).is_ok() {
        count += 1;
    }
    let _ = writeln!(log, "  received: {count}");
    for socket in [&a, &b] {
        place.remove(&socket.local());
    }
    log
}
