//! A run of the server with its clients, recorded, and replayed without them and without its files.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{Dir, Server, has_program, wait_until};

fn tape(dir: &Dir) -> PathBuf {
    dir.path().join("tape")
}

fn start(dir: &Dir, args: &[&str]) -> Server {
    Server::start(dir, &[&["--tape", tape(dir).to_str().unwrap()], args].concat())
}

/// Replays a tape in an empty directory, and returns whether it went well, what it printed, and what went wrong.
fn replay(tape: &Path, options: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kv"))
        .arg("--replay")
        .arg(tape)
        .args(options)
        .stdin(Stdio::null())
        .output()
        .expect("the server has been built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// Replays a tape so often on either loop: all come to its end, call the same, and have the keys of the recording. Returns
/// what they print.
fn replays_are_the_same(dir: Dir, times: usize) -> String {
    let log = dir.log();
    let digest = log.lines().find_map(|line| line.split("digest of the keys: ").nth(1));
    let digest = digest.unwrap_or_else(|| panic!("no digest in {log}")).to_owned();
    let other = Dir::new();
    let tape = other.path().join("tape");
    fs::copy(self::tape(&dir), &tape).unwrap();
    drop(dir); // With the snapshot and the log.
    let (is_well, first, errors) = replay(&tape, &[]);
    assert!(is_well, "{errors}");
    assert!(first.contains(&format!("digest of the keys: {digest}")), "{digest}: {first}");
    assert!(first.ends_with("0 entries left\n"), "{first}");
    for number in 0..times {
        for options in [&[][..], &["--small-loop"]] {
            let (is_well, printed, errors) = replay(&tape, options);
            assert!(is_well, "{number} {options:?}: {errors}");
            assert_eq!(printed, first, "{number} {options:?}");
        }
    }
    assert_eq!(other.names(), ["tape"], "a replay leaves the world alone");
    first
}

#[test]
fn a_run_is_replayed_with_its_files_signals_tasks_and_clocks() {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let mut client = server.connect();
    client.line("SET old 1");
    client.line("SET short 1 PX 50");
    client.line("SET long 1 EX 1000");
    server.signal("TERM");
    assert!(server.wait().success());

    let server = start(&dir, &["--save-timeout", "20"]);
    let (mut one, mut two) = (server.connect(), server.connect());
    assert_eq!(one.line("INCR old"), ":2");
    one.send("SET a hello PX 30\r\nGET a\r\nINCR n\r\nINC");
    two.line("SET b world EX 1000");
    one.send("R n\r\n");
    assert_eq!([(); 4].map(|()| one.reply()), ["+OK", "\"hello\"", ":1", ":2"]);
    for line in ["INFO", "CLIENT LIST", "CONFIG GET *", "PTTL b", "LASTSAVE", "SCAN 0"] {
        two.line(line);
    }
    assert_eq!(two.line("BGSAVE"), "+Background saving started");
    wait_until("it is saved", || two.info("rdb_bgsave_in_progress") == "0");
    server.signal("HUP");
    wait_until("the key has ended", || two.info("db0").contains("keys=4"));
    assert_eq!(two.line("SAVE"), "+OK");
    server.signal("TERM");
    assert!(server.wait().success());

    // Which is told if it is another one: a value that has been sent is another one than on the tape.
    let changed = dir.path().join("changed");
    let mut bytes = fs::read(tape(&dir)).unwrap();
    let at = bytes.windows(5).position(|bytes| bytes == b"hello").unwrap();
    bytes[at] = b'j';
    fs::write(&changed, bytes).unwrap();
    let (is_well, _, errors) = replay(&changed, &[]);
    assert!(!is_well && errors.contains("thread client"), "{errors}");
    assert!(errors.contains("and this run \"write on"), "{errors}");

    replays_are_the_same(dir, 5);
}

#[test]
fn a_tape_whose_server_was_killed_is_replayed_to_its_end() {
    let dir = Dir::new();
    let server = start(&dir, &[]);
    let mut client = server.connect();
    let value = "v".repeat(1_000);
    for key in 0..300 {
        assert_eq!(client.line(&format!("SET k{key} {value}")), "+OK");
    }
    server.signal("KILL");
    server.wait();
    for options in [&[][..], &["--small-loop"]] {
        let (is_well, printed, errors) = replay(&tape(&dir), options);
        assert!(is_well && printed.ends_with("the tape is at its end\n"), "{printed}{errors}");
    }
}

/// A hundred times, and with more requests, where `KPT_DEEP` is set.
#[test]
fn a_run_under_redis_benchmark_is_replayed() {
    if !has_program("redis-benchmark") {
        return;
    }
    let is_deep = std::env::var_os("KPT_DEEP").is_some();
    let (requests, times) = if is_deep { ("10000", 100) } else { ("500", 20) };
    let dir = Dir::new();
    let server = start(&dir, &[]);
    let status = Command::new("redis-benchmark")
        .args(["-p", &server.address.port().to_string(), "-n", requests, "-c", "20", "-r", "50"])
        .args(["-t", "ping,set,get,incr,mset", "-q"])
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("it is there").success());
    server.signal("TERM");
    assert!(server.wait().success());
    let length = fs::metadata(tape(&dir)).unwrap().len();
    let printed = replays_are_the_same(dir, times);
    println!("{requests} requests of each kind, {length} bytes: {printed}");
}

#[test]
fn what_is_no_tape_is_refused() {
    let dir = Dir::new();
    fs::write(tape(&dir), "nonsense").unwrap();
    let (is_well, _, errors) = replay(&tape(&dir), &[]);
    assert!(!is_well && errors.contains("neither a tape nor a ring"), "{errors}");
    assert!(!replay(&dir.path().join("none"), &[]).0);
    assert!(!replay(&tape(&dir), &["--port", "0"]).0);
}
