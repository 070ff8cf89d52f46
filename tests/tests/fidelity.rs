//! The same stories on connections of the system and on simulated ones: each step has the same result.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use kpt_std::{Address, Stream, source};
use kpt_tests::place::{Kind, Place, compare, told};

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
        "neither, after the end of the other",
        "b.no-more; a.ready; a.neither; a.ready; b.ready; b.write x; b.ready; b.read 8; a.read 8; a.neither; b.neither; b.ready; b.close; a.ready; a.error",
    ),
    (
        "no more, then no reads",
        "a.no-more; a.no-reads; a.ready; b.write x; a.read 8; b.ready; b.read 8; b.write y; a.read 8; a.ready; b.error",
    ),
    (
        "no reads on both sides",
        "a.no-reads; b.no-reads; a.write x; b.read 8; b.ready; a.ready; a.write y; b.write z; a.read 8; a.close; b.ready; b.read 8; b.write 1; b.write 2",
    ),
    (
        "neither on both sides",
        "a.neither; b.neither; a.ready; b.ready; a.read 0; b.read 8; a.write x; b.connected; a.close; b.ready; b.read 8",
    ),
    (
        "closed with the end unread",
        "b.write x; b.no-more; a.close; b.ready; b.read 8; b.write y; b.ready; b.error",
    ),
    (
        "closed after an end that was read",
        "b.no-more; a.read 8; a.write x; a.close; b.ready; b.read 8; b.read 8; b.no-more; b.error",
    ),
    (
        "full, and half closed",
        "a.fill; a.no-more; a.ready; b.ready; b.drain; b.read 8; b.ready; a.ready; b.write x; a.read 8; b.close; a.ready; a.read 8",
    ),
    (
        "full, and no reads there",
        "a.fill; b.no-reads; a.ready; a.write x; b.ready; b.drain; a.ready; a.write x; b.read 8",
    ),
    (
        "both write and close",
        "a.write abc; b.write abc; a.close; b.ready; b.read 8; b.read 8; b.ready; b.error",
    ),
];

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
        compare(kind, "many wait as the listener closes", many_wait, &mut differences);
        compare(kind, "half closed before it is accepted", half_closed, &mut differences);
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

fn many_wait(place: &mut Place) -> String {
    let listener = place.listener();
    let address = listener.local();
    let mut clients = [(); 4].map(|()| place.connect(&address).unwrap());
    place.settle();
    let _ = clients[1].write(b"hello");
    let _ = clients[2].shutdown(Shutdown::Write);
    let _ = clients[3].shutdown(Shutdown::Both);
    place.settle();
    drop(listener);
    place.settle();
    place.remove(&address);
    let steps = "a.ready; a.connected; a.read 8; a.read 8; a.write x; a.no-more; a.ready; a.error";
    clients.map(|client| story(place, &mut [Some(client), None], steps)).concat()
}

fn half_closed(place: &mut Place) -> String {
    let mut listener = place.listener();
    let mut client = place.connect(&listener.local()).unwrap();
    place.settle();
    let _ = client.write(b"hello");
    let _ = client.shutdown(Shutdown::Write);
    place.settle();
    let mut ends = [Some(client), listener.accept().unwrap()];
    place.remove(&listener.local());
    let steps = "b.ready; b.read 8; b.read 8; b.write x; b.no-more; a.ready; a.read 8; a.read 8";
    story(place, &mut ends, steps)
}
