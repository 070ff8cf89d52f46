//! The same stories on datagrams of the system and on simulated ones: each step has the same result.

use std::fmt::Write as _;
use std::net::SocketAddr;

use kpt_std::{Address, Datagram, source};
use kpt_tests::place::{Kind, Place, compare, told};

#[test]
fn datagrams_are_as_those_of_the_system() {
    let mut differences = String::new();
    for kind in [Kind::Ip, Kind::Unix] {
        compare(kind, "datagrams", datagrams, &mut differences);
        compare(kind, "nobody receives", nobody_receives, &mut differences);
        compare(kind, "too many", too_many, &mut differences);
        compare(kind, "too many empty ones", |place| flood(place, 0), &mut differences);
        compare(kind, "too many long ones", |place| flood(place, 30_000), &mut differences);
        compare(kind, "one that closes", closes, &mut differences);
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
        send("too long", &[0; 212_961], &a.local());
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

fn flood(place: &mut Place, length: usize) -> String {
    let (a, b) = (place.datagram(), place.datagram());
    let bytes = vec![7; length];
    let sent = (0..2_000).take_while(|_| a.send_to(&bytes, &b.local()).is_ok()).count();
    place.settle();
    let mut log = format!("  ready: {}\n", place.readiness(source(&b)));
    let _ = writeln!(log, "  the sender: {}", place.readiness(source(&a)));
    let mut buffer = vec![0; length + 1];
    let mut count = 0_u32;
    while b.recv_from(&mut buffer).is_ok() {
        count += 1;
    }
    // How many that are differs a little between kernels, but not for Unix sockets.
    let about = if place.kind == Kind::Ip { 1 << count.ilog2() } else { count };
    let _ = writeln!(log, "  sent: {sent}, received about {about}");
    let _ = writeln!(log, "  the sender then: {}", place.readiness(source(&a)));
    for socket in [&a, &b] {
        place.remove(&socket.local());
    }
    log
}

/// What has come is lost with the socket, and another one at the same address has none of it.
fn closes(place: &mut Place) -> String {
    let (a, b) = (place.datagram(), place.datagram());
    let to = b.local();
    let mut log = String::new();
    let _ = writeln!(log, "  sent: {}", told(a.send_to(b"x", &to).map(|n| n.to_string())));
    place.settle();
    drop(b);
    place.remove(&to);
    let again = match (to.ip(), to.path()) {
        (Some(address), _) => Datagram::bind(address),
        (_, Some(path)) => Datagram::bind_unix(path),
        _ => unreachable!(),
    };
    let again = again.unwrap();
    let _ = writeln!(log, "  ready: {}", place.readiness(source(&again)));
    let _ = writeln!(log, "  received: {}", received(&again, 8, &[&a]));
    let _ = writeln!(log, "  sent: {}", told(a.send_to(b"", &to).map(|n| n.to_string())));
    place.settle();
    let _ = writeln!(log, "  ready: {}", place.readiness(source(&again)));
    let _ = writeln!(log, "  received: {}", received(&again, 0, &[&a]));
    for socket in [&a, &again] {
        place.remove(&socket.local());
    }
    log
}
