//! What is on the disk: snapshots that are written, torn, given up and killed, and what the server does then.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use support::{Connection, Dir, Server, request, signal, wait_until};

/// Sets so many keys, named by their numbers.
fn fill(client: &mut Connection, keys: usize, value: &str) {
    for first in (0..keys).step_by(1000) {
        let end = keys.min(first + 1000);
        let set = |key: usize| request(&["SET", &format!("k{key}"), value]);
        client.send((first..end).flat_map(set).collect::<Vec<u8>>());
        (first..end).for_each(|_| assert_eq!(client.reply(), "+OK"));
    }
}

fn save_in_background(client: &mut Connection) {
    assert_eq!(client.line("BGSAVE"), "+Background saving started");
    wait_until("it is saved", || client.info("rdb_bgsave_in_progress") == "0");
}

/// Returns the number of the task that saves. It is the server's only child that runs this program; a guard may be beside it.
fn saving_process(dir: &Dir) -> u32 {
    let mut found = None;
    wait_until("there is a task that writes", || {
        found = dir.names().iter().find_map(|name| {
            name.strip_prefix("dump.kv.")?.strip_suffix(".tmp")?.parse::<u32>().ok()
        });
        found.is_some()
    });
    found.unwrap()
}

fn has_temporaries(dir: &Dir) -> bool {
    dir.names().iter().any(|name| name.ends_with(".tmp"))
}

#[test]
fn keys_are_there_after_a_restart_with_the_time_that_they_have_left() {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let mut client = server.connect();
    fill(&mut client, 10_000, "value");
    client.line("SET long v EX 1000");
    client.line("SET short v PX 300");
    save_in_background(&mut client);
    assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
    assert_eq!(client.info("rdb_changes_since_last_save"), "0");
    assert_eq!(client.line("SHUTDOWN NOSAVE"), "closed");
    assert!(server.wait().success());
    sleep(Duration::from_millis(400)); // Its time comes while no server runs.

    let server = Server::start(&dir, &[]);
    let mut client = server.connect();
    assert_eq!(client.line("DBSIZE"), ":10001");
    assert_eq!(client.line("GET k9999"), "\"value\"");
    assert_eq!(client.line("GET short"), "nil");
    let left: i64 = client.line("PTTL long")[1..].parse().unwrap();
    assert!((900_000..=999_600).contains(&left), "{left}");
}

#[test]
fn sigterm_saves_and_ends() {
    for name in ["TERM", "INT"] {
        let dir = Dir::new();
        let server = Server::start(&dir, &[]);
        assert_eq!(server.connect().line("SET k v"), "+OK");
        server.signal(name);
        assert!(server.wait().success());
        let server = Server::start(&dir, &[]);
        assert_eq!(server.connect().line("GET k"), "\"v\"", "{name}");
    }
}

#[test]
fn sighup_opens_the_log_anew() {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    fs::rename(dir.path().join("log"), dir.path().join("old log")).unwrap();
    server.signal("HUP");
    wait_until("there is a new one", || dir.log().contains("the log goes on, after SIGHUP"));
    assert_eq!(server.connect().line("PING"), "+PONG");
}

#[test]
fn what_is_torn_or_foreign_is_refused_with_what_is_wrong() {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let mut client = server.connect();
    fill(&mut client, 100, "value");
    assert_eq!(client.line("SAVE"), "+OK");
    drop(server);
    let whole = fs::read(dir.snapshot()).unwrap();
    let mut changed = whole.clone();
    let value = whole.windows(5).position(|bytes| bytes == b"value").unwrap();
    changed[value] ^= 1;
    for (bytes, expected) in [
        (&whole[..500], "torn: "),
        (&whole[..whole.len() - 1], "within the checksum"),
        (&changed, "expected the checksum"),
        (b"REDIS0011 and so on", "at byte 0: expected a snapshot"),
        (b"", "torn: it ends at byte 0, within the header"),
    ] {
        fs::write(dir.snapshot(), bytes).unwrap();
        let _ = fs::remove_file(dir.path().join("log"));
        assert!(!Server::try_start(&dir, &[]).err().expect("refused").success());
        assert!(dir.log().contains(expected), "{expected}: {}", dir.log());
        assert_eq!(fs::read(dir.snapshot()).unwrap(), bytes, "it is left as it is");
    }
}

/// Sets keys, and gives the task that saves them a stop, so that it is there for what the test does to it.
fn with_a_task_that_hangs(args: &[&str]) -> (Dir, Server, Connection, u32) {
    let dir = Dir::new();
    let server = Server::start(&dir, args);
    let mut client = server.connect();
    assert_eq!(client.line("SET old v"), "+OK");
    assert_eq!(client.line("SAVE"), "+OK");
    fill(&mut client, 200_000, &"v".repeat(100));
    assert_eq!(client.line("BGSAVE"), "+Background saving started");
    let task = saving_process(&dir);
    signal(task, "STOP");
    assert_eq!(client.info("rdb_bgsave_in_progress"), "1", "it was not fast enough");
    (dir, server, client, task)
}

/// Ends the server at once, and looks at what the next one has.
fn assert_old_snapshot_is_there(dir: &Dir, server: Server) {
    drop(server);
    let server = Server::start(dir, &[]);
    assert_eq!(server.connect().line("DBSIZE"), ":1");
    assert!(!has_temporaries(dir));
}

#[test]
fn a_task_that_is_killed_leaves_the_old_snapshot() {
    let (dir, server, mut client, task) = with_a_task_that_hangs(&[]);
    assert_eq!(client.line("SAVE"), "-ERR Background save already in progress");
    assert_eq!(client.line("BGSAVE"), "-ERR Background save already in progress");
    signal(task, "KILL");
    wait_until("it is told", || client.info("rdb_bgsave_in_progress") == "0");
    assert_eq!(client.info("rdb_last_bgsave_status"), "err");
    assert!(client.info("rdb_last_bgsave_error").contains("signal 9"));
    assert!(dir.log().contains("no snapshot, the old one stays"), "{}", dir.log());
    assert!(!has_temporaries(&dir));
    assert_old_snapshot_is_there(&dir, server);
}

#[test]
fn a_task_that_hangs_is_given_up() {
    let (dir, server, mut client, _) = with_a_task_that_hangs(&["--save-timeout", "1"]);
    let start = Instant::now();
    wait_until("it is given up", || client.info("rdb_bgsave_in_progress") == "0");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(client.info("rdb_last_bgsave_status"), "err");
    assert!(client.info("rdb_last_bgsave_error").contains("took too long"));
    assert!(!has_temporaries(&dir));
    // The next one is another.
    assert_eq!(client.line("DEL old"), ":1");
    save_in_background(&mut client);
    assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
    drop(server);
    let server = Server::start(&dir, &[]);
    assert_eq!(server.connect().line("DBSIZE"), ":200000");
}

#[test]
fn the_server_ends_while_a_task_hangs() {
    let (dir, server, _client, task) = with_a_task_that_hangs(&[]);
    server.signal("TERM");
    assert!(server.wait().success());
    wait_until("the task has gone", || !Path::new(&format!("/proc/{task}")).exists());
    let server = Server::start(&dir, &[]);
    assert_eq!(server.connect().line("DBSIZE"), ":200001");
    assert!(!has_temporaries(&dir));
}

/// A file system of a few kilobytes, where that is allowed.
#[test]
fn a_full_disk_leaves_the_old_snapshot() {
    let dir = Dir::new();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(dir.path())
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        eprintln!("\n*** NOT TESTED: a full disk, since tmpfs can't be mounted here ***\n");
        return;
    }
    let full = |client: &mut Connection| {
        fill(client, 2000, &"v".repeat(100));
        assert!(client.line("SAVE").contains("No space left"));
        assert_eq!(client.line("BGSAVE"), "+Background saving started");
        wait_until("it has failed", || client.info("rdb_bgsave_in_progress") == "0");
        assert_eq!(client.info("rdb_last_bgsave_status"), "err");
        assert!(client.info("rdb_last_bgsave_error").contains("No space left"));
    };
    let server = Server::start(&dir, &[]);
    let mut client = server.connect();
    client.line("SET old v");
    assert_eq!(client.line("SAVE"), "+OK");
    full(&mut client);
    // The keys are in no file, so the server does not end.
    server.signal("TERM");
    wait_until("it says so", || dir.log().contains("the server goes on"));
    assert!(client.line("SHUTDOWN").starts_with("-ERR Errors trying to SHUTDOWN"));
    assert!(!has_temporaries(&dir));
    assert_old_snapshot_is_there(&dir, server);
    let _ = Command::new("umount").arg(dir.path()).status();
}

/// Kills the server at any moment while it saves, again and again: what is loaded is one of the snapshots, whole. 10
/// rounds, or 100 with `KPT_DEEP`.
#[test]
fn a_server_that_is_killed_at_any_moment_has_a_whole_snapshot() {
    const KEYS: usize = 2000;
    let rounds = if std::env::var_os("KPT_DEEP").is_some() { 100 } else { 10 };
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut seed: u64 = match std::env::var("KV_SEED") {
        Ok(seed) => seed.parse().expect("KV_SEED is a number"),
        Err(_) => clock().as_nanos() as u64,
    };
    println!("KV_SEED={seed}");
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    let dir = Dir::new();
    let mut least = 0;
    for round in 1..=rounds {
        let server = Server::start(&dir, &[]);
        let mut client = server.connect();
        // All keys have the number of the snapshot in which they are.
        let loaded = client.line("GET k0").trim_matches('"').parse().unwrap_or(0);
        assert!(loaded >= least, "round {round}: {loaded} is older than {least}");
        for key in 0..if loaded == 0 { 0 } else { KEYS } {
            assert_eq!(client.line(&format!("GET k{key}")), format!("\"{loaded}\""));
        }
        fill(&mut client, KEYS, &(loaded + 1).to_string());
        save_in_background(&mut client);
        least = loaded + 1;
        fill(&mut client, KEYS, &(loaded + 2).to_string());
        client.send(request(&[["BGSAVE", "SAVE"][random(2) as usize]]));
        sleep(Duration::from_micros(random(8000)));
        drop(server); // By SIGKILL.
    }
}
