//! Server and client over loopback, with and without a network that loses packets.

mod support;

use std::fs;

use kpt_tftp::folder::Writing;
use kpt_tftp::packet::Mode;
use kpt_tftp::transfer::End;

use support::{Lossy, Running, Temporary, config, get, put};

#[test]
fn files_of_all_lengths_come_over() {
    let folder = Temporary::new();
    let server = Running::start(&folder.0, Writing::New, config());
    for length in [0, 1, 511, 512, 513, 1024, 100_000] {
        for block_size in [None, Some(8), Some(1428), Some(65_464)] {
            if length / usize::from(block_size.unwrap_or(512)) > 2_000 {
                continue;
            }
            let name = format!("{length}-{block_size:?}");
            let bytes = folder.file(&name, length);
            assert_eq!(
                get(server.address, &name, block_size, Mode::Octet),
                (End::Complete, bytes.clone())
            );
            let ended = server.ended();
            assert_eq!(
                (ended.end, ended.bytes, ended.is_write),
                (End::Complete, length as u64, false)
            );

            let copy = format!("copy-{name}");
            assert_eq!(put(server.address, &copy, block_size, &bytes), End::Complete);
            assert_eq!(fs::read(folder.path(&copy)).expect("it is there at once"), bytes);
            assert_eq!(server.ended().end, End::Complete);
        }
    }
}

#[test]
fn more_blocks_than_a_packet_can_count() {
    let folder = Temporary::new();
    let server = Running::start(&folder.0, Writing::Nothing, config());
    let bytes = folder.file("long", 8 * 66_000 + 3);
    assert!(get(server.address, "long", Some(8), Mode::Octet) == (End::Complete, bytes));
}

#[test]
fn text_has_the_lines_of_each_side() {
    let folder = Temporary::new();
    let server = Running::start(&folder.0, Writing::Nothing, config());
    let text = "one\r\ntwo\n\rthree\r".repeat(200);
    fs::write(folder.path("text"), &text).expect("a file");
    let (end, bytes) = get(server.address, "text", None, Mode::Netascii);
    assert_eq!((end, bytes), (End::Complete, text.clone().into_bytes()));
    assert!(server.ended().bytes > text.len() as u64, "on its way it is longer");
}

#[test]
fn a_network_that_loses_packets_takes_nothing_away() {
    let folder = Temporary::new();
    let server = Running::start(&folder.0, Writing::New, config());
    let bytes = folder.file("file", 12_000);
    for seed in 0..5 {
        let net = Lossy::start(server.address, seed);
        let (end, got) = get(net.address, "file", None, Mode::Octet);
        assert!(
            (&end, &got) == (&End::Complete, &bytes),
            "seed {seed}: {end:?}, {} bytes",
            got.len()
        );
        let copy = format!("copy {seed}");
        assert_eq!(put(net.address, &copy, None, &bytes), End::Complete, "seed {seed}");
        assert!(fs::read(folder.path(&copy)).expect("it is there") == bytes, "seed {seed}");
    }
}

#[test]
fn two_that_write_the_same_name_do_not_mix() {
    let folder = Temporary::new();
    let server = Running::start(&folder.0, Writing::New, config());
    let writers: Vec<_> = [b'a', b'b']
        .map(|letter| {
            let address = server.address;
            std::thread::spawn(move || put(address, "same", Some(8), &vec![letter; 8 * 500]))
        })
        .into_iter()
        .map(|writer| writer.join().expect("it ends"))
        .collect();
    assert!(writers.contains(&End::Complete), "{writers:?}");
    let _ = (server.ended(), server.ended());
    let bytes = fs::read(folder.path("same")).expect("a file");
    assert!(bytes.len() == 4_000 && bytes.iter().all(|byte| *byte == bytes[0]));
    assert_eq!(folder.names(), ["same"], "nothing else is left");
}
