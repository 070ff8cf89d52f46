//! What strangers may send, and what they can't reach.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::time::Duration;

use kpt_tftp::folder::Writing;
use kpt_tftp::packet::Mode;
use kpt_tftp::server::Config;
use kpt_tftp::transfer::End;

use support::{LONGEST, Running, Temporary, by_hand, config, get, impatient, next, put};

/// The code of the error with which a file is refused.
fn refused(server: SocketAddr, name: &str) -> u16 {
    match get(server, name, None, Mode::Octet).0 {
        End::Refused(code, _) => code,
        end => panic!("{name}: {end:?}"),
    }
}

#[test]
fn nothing_beside_the_folder_can_be_read() {
    let outside = Temporary::new();
    outside.file("secret", 10);
    let folder = Temporary::new();
    folder.file("file", 10);
    folder.file(".hidden", 10);
    fs::create_dir(folder.path("sub")).expect("a folder");
    folder.file("sub/file", 10);
    symlink(outside.path("secret"), folder.path("link")).expect("a link");
    symlink(&outside.0, folder.path("way-out")).expect("a link");
    symlink("file", folder.path("inner-link")).expect("a link");
    let made = std::process::Command::new("mkfifo").arg(folder.path("pipe")).status();
    assert!(made.expect("mkfifo runs").success());
    let server = Running::start(&folder.0, Writing::Nothing, config());

    for name in ["file", "/file", "//sub///file", "sub/file"] {
        assert_eq!(get(server.address, name, None, Mode::Octet).0, End::Complete, "{name}");
    }
    let secret = outside.path("secret").to_string_lossy().into_owned();
    let climb = format!("../{}/secret", outside.0.file_name().expect("a name").to_string_lossy());
    for name in [
        &secret,
        &climb,
        "..",
        ".",
        "/",
        "",
        "../file",
        "sub/../file",
        "sub/./file",
        ".hidden",
        "sub/..",
        "link",
        "way-out/secret",
        "inner-link",
        "pipe",
        "sub",
        "sub/",
        "file/file",
        "missing",
        "a\\..\\b",
        &"x".repeat(300),
        &"a/".repeat(200),
    ] {
        let code = refused(server.address, name);
        assert!(code == 1 || code == 2, "{name}: {code}");
    }
}

#[test]
fn what_may_not_be_written_is_not() {
    let folder = Temporary::new();
    let bytes = folder.file("there", 600);
    symlink("there", folder.path("link")).expect("a link");
    let small = [7; 600];
    let code =
        |server: &Running, name: &str, bytes: &[u8]| match put(server.address, name, None, bytes) {
            End::Refused(code, _) => code,
            end => panic!("{name}: {end:?}"),
        };
    let server = Running::start(&folder.0, Writing::Nothing, config());
    assert_eq!(code(&server, "new", &small), 2);
    let server = Running::start(&folder.0, Writing::New, config());
    assert_eq!(code(&server, "there", &small), 6);
    assert_eq!(code(&server, "link", &small), 6);
    assert_eq!(code(&server, "../new", &small), 2);
    assert_eq!(code(&server, "missing/new", &small), 1);
    assert_eq!(code(&server, "long", &vec![7; LONGEST as usize + 1]), 3);
    let server = Running::start(&folder.0, Writing::Any, config());
    assert_eq!(code(&server, "link", &small), 2);
    assert_eq!(fs::read(folder.path("there")).expect("a file"), bytes);
    assert_eq!(put(server.address, "there", None, &small), End::Complete);
    assert_eq!(fs::read(folder.path("there")).expect("a file"), small);
    assert_eq!(folder.names(), ["link", "there"], "nothing else is left");
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let folder = Temporary::new();
    let server = Running::start(&folder.0, Writing::New, impatient());
    let socket = by_hand();
    socket.send_to(b"\0\x02half\0octet\0", server.address).expect("sent");
    let (ack, peer) = next(&socket);
    assert_eq!(ack, b"\0\x04\0\0");
    socket.send_to(&[&b"\0\x03\0\x01"[..], &[7; 512]].concat(), peer).expect("sent");
    assert_eq!(next(&socket).0, b"\0\x04\0\x01");
    assert_eq!(folder.names().len(), 1, "a draft");
    assert_eq!(server.ended().end, End::TimedOut);
    assert_eq!(folder.names().len(), 0);
}

#[test]
fn a_stranger_gets_an_error_and_the_transfer_goes_on() {
    let folder = Temporary::new();
    let bytes = folder.file("file", 1_000);
    let server = Running::start(&folder.0, Writing::Nothing, config());
    let (socket, stranger) = (by_hand(), by_hand());
    socket.send_to(b"\0\x01file\0octet\0", server.address).expect("sent");
    let (first, peer) = next(&socket);
    for packet in [&b"\0\x04\0\x01"[..], b"\0\x01file\0octet\0", b"\0\x03\0\x01x", b"\0\x06"] {
        stranger.send_to(packet, peer).expect("sent");
        assert_eq!(next(&stranger).0[..4], [0, 5, 0, 5]);
    }
    // Neither an error nor what is no packet is answered, by whoever it is.
    stranger.send_to(b"\0\x05\0\0stop\0", peer).expect("sent");
    for garbage in [&b""[..], b"\0", b"\0\x04", b"\xFF\xFF\xFF\xFF"] {
        stranger.send_to(garbage, peer).expect("sent");
        socket.send_to(garbage, peer).expect("sent");
    }
    socket.send_to(b"\0\x04\0\x01", peer).expect("sent");
    let last = loop {
        let (packet, _) = next(&socket);
        if packet[3] == 2 {
            break packet;
        }
    };
    socket.send_to(b"\0\x04\0\x02", peer).expect("sent");
    assert_eq!([&first[4..], &last[4..]].concat(), bytes);
    assert_eq!(server.ended().end, End::Complete);
    stranger.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    assert!(stranger.recv(&mut [0; 100]).is_err(), "an answer to no packet");
}

#[test]
fn a_request_that_comes_twice_begins_one_transfer() {
    let folder = Temporary::new();
    folder.file("file", 10);
    let server = Running::start(&folder.0, Writing::Nothing, config());
    let socket = by_hand();
    for _ in 0..3 {
        socket.send_to(b"\0\x01file\0octet\0", server.address).expect("sent");
    }
    let (_, peer) = next(&socket);
    socket.send_to(b"\0\x04\0\x01", peer).expect("sent");
    assert_eq!(server.ended().end, End::Complete);
    assert!(server.ended.recv_timeout(Duration::from_millis(100)).is_err(), "a second transfer");
}

/// The answer to a packet, which is sent again if it finds no room behind others.
fn ask(packet: &[u8], server: SocketAddr) -> Vec<u8> {
    let socket = by_hand();
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    let mut buffer = [0; 600];
    loop {
        socket.send_to(packet, server).expect("sent");
        if let Ok(count) = socket.recv(&mut buffer) {
            return buffer[..count].to_vec();
        }
    }
}

#[test]
fn garbage_at_the_well_known_port_harms_nobody() {
    let folder = Temporary::new();
    let bytes = folder.file("file", 2_000);
    let server = Running::start(&folder.0, Writing::New, config());
    let socket = by_hand();
    let mut dice = 1_u32;
    for round in 0..2_000_usize {
        let mut packet: Vec<u8> = (0..round % 600)
            .map(|_| {
                dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (dice >> 24) as u8
            })
            .collect();
        if let [high, low, ..] = &mut packet[..] {
            (*high, *low) = (0, (dice >> 16) as u8 % 8);
        }
        socket.send_to(&packet, server.address).expect("sent");
    }
    for packet in [&b"\0\x01file\0mail\0"[..], b"\0\x01file\0\0", b"\0\x01\0octet\0"] {
        assert_eq!(ask(packet, server.address)[..2], [0, 5], "{}", packet.escape_ascii());
    }
    assert_eq!(get(server.address, "file", Some(100), Mode::Octet), (End::Complete, bytes));
}

#[test]
fn there_are_so_many_transfers_and_no_more() {
    let folder = Temporary::new();
    folder.file("file", 5_000);
    let config = Config { most_sessions: 3, ..impatient() };
    let server = Running::start(&folder.0, Writing::Nothing, config);
    let sockets = [(); 4].map(|()| by_hand());
    let answers = sockets.each_ref().map(|socket| {
        socket.send_to(b"\0\x01file\0octet\0", server.address).expect("sent");
        next(socket).0[1]
    });
    assert_eq!(answers, [3, 3, 3, 5]);
    for _ in 0..3 {
        assert_eq!(server.ended().end, End::TimedOut);
    }
    assert_eq!(get(server.address, "file", None, Mode::Octet).0, End::Complete);
}
