//! The server as its clients see it: requests in any pieces, limits, deadlines, and clients that behave badly.

mod support;

use std::io::Read;
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::{Connection, Dir, Server, has_program, request, wait_until};

#[test]
fn requests_in_one_piece_or_in_many_are_answered_in_their_order() {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let mut client = server.connect();
    let mut batch = Vec::new();
    for number in 0..10_000 {
        batch.extend(request(&["SET", &format!("k{number}"), &number.to_string()]));
        batch.extend(request(&["GET", &format!("k{number}")]));
    }
    // Nobody reads meanwhile, which the server's bound allows.
    client.send(&batch);
    for number in 0..10_000 {
        assert_eq!(client.reply(), "+OK");
        assert_eq!(client.reply(), format!("\"{number}\""));
    }
    for piece in b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\nPING\r\n".chunks(1) {
        client.send(piece);
        sleep(Duration::from_millis(1));
    }
    assert_eq!((client.reply(), client.reply()), ("\"hello\"".into(), "+PONG".into()));
}

#[test]
fn a_large_value_comes_back_as_it_was() {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let mut client = server.connect();
    let value = "0123456789abcdef".repeat(1 << 20); // 16 MiB
    assert_eq!(client.ask(&["SET", "large", &value]), "+OK");
    assert_eq!(client.ask(&["GET", "large"]), format!("\"{value}\""));
    assert_eq!(client.line("STRLEN large"), format!(":{}", value.len()));
    assert_eq!(client.line("DEL large"), ":1");
    let memory: usize = client.info("used_memory").parse().unwrap();
    assert!(memory < 1 << 20, "{memory}");
}

#[test]
fn what_is_not_the_protocol_ends_the_connection_and_harms_no_other_client() {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let mut other = server.connect();
    for (bytes, expected) in [
        (&b"*1\r\n$536870913\r\n"[..], "-ERR Protocol error: invalid bulk length"),
        (b"*1048577\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'"),
        (b"SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request"),
        (&[b'x'; 70_000], "-ERR Protocol error: too big inline request"),
    ] {
        let mut client = server.connect();
        client.send(request(&["PING"]));
        client.send(bytes);
        assert_eq!(client.reply(), "+PONG");
        assert_eq!(client.reply(), expected);
        assert_eq!(client.reply(), "closed");
        assert_eq!(other.line("PING"), "+PONG");
    }
    // Half a request, and away.
    for _ in 0..100 {
        server.connect().send(b"*3\r\n$3\r\nSET\r\n$1000000\r\nabc");
    }
    wait_until("they have left", || other.info("connected_clients") == "1");
}

#[test]
fn a_client_that_never_reads_costs_its_bound_and_is_dropped() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--client-output-buffer-limit", "1mb"]);
    let mut other = server.connect();
    assert_eq!(other.ask(&["SET", "k", &"v".repeat(100_000)]), "+OK");
    let mut client = server.connect();
    let gets = request(&["GET", "k"]).repeat(100);
    let mut most = 0;
    for _ in 0..100 {
        if client.try_send(&gets).is_err() {
            break;
        }
        most = most.max(other.info("used_memory").parse().unwrap());
    }
    wait_until("it has been dropped", || other.info("connected_clients") == "1");
    assert!(most < 3 << 20, "{most} bytes");
    assert_eq!(other.info("client_output_buffer_limit_disconnections"), "1");
    assert!(dir.log().contains("bytes of replies; dropped"), "{}", dir.log());
    // A reply that is larger than the bound is none.
    assert_eq!(other.ask(&["SET", "k", &"v".repeat(2 << 20)]), "+OK");
    assert_eq!(other.line("GET k"), "closed");
}

#[test]
fn there_are_as_many_clients_as_the_limit_says() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--maxclients", "3"]);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.line("PING"), "+PONG");
    }
    let mut one_more = server.connect();
    assert_eq!(one_more.reply(), "-ERR max number of clients reached");
    assert_eq!(one_more.reply(), "closed");
    clients.pop();
    let is_admitted = || server.connect().line("PING") == "+PONG";
    wait_until("there is a place again", is_admitted);
}

#[test]
fn memory_is_as_the_limit_says() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--maxmemory", "1mb"]);
    let mut client = server.connect();
    let value = "v".repeat(100_000);
    let refused = "-OOM command not allowed when used memory > 'maxmemory'.";
    let replies: Vec<_> =
        (0..12).map(|key| client.ask(&["SET", &key.to_string(), &value])).collect();
    assert!(replies.iter().any(|reply| reply == "+OK"));
    assert_eq!(replies.last().map(String::as_str), Some(refused));
    assert_eq!(client.ask(&["APPEND", "0", &value]), refused);
    assert!(client.info("used_memory").parse::<usize>().unwrap() <= 1 << 20);
    assert_eq!(client.line("FLUSHALL"), "+OK");
    assert_eq!(client.ask(&["SET", "0", &value]), "+OK");
}

#[test]
fn a_client_that_says_nothing_leaves_and_one_that_speaks_stays() {
    let dir = Dir::new();
    let server = Server::start(&dir, &["--timeout", "1"]);
    let (mut idle, mut busy) = (server.connect(), server.connect());
    let start = Instant::now();
    assert_eq!(idle.line("PING"), "+PONG");
    while start.elapsed() < Duration::from_millis(2500) {
        assert_eq!(busy.line("PING"), "+PONG");
        sleep(Duration::from_millis(100));
    }
    assert_eq!(idle.reply(), "closed");
    assert!(dir.log().contains("idle, dropped"), "{}", dir.log());
}

#[test]
fn clients_see_and_end_each_other() {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let (mut one, mut two) = (server.connect(), server.connect());
    assert_eq!(one.line("CLIENT SETNAME one"), "+OK");
    assert_eq!(two.line("CLIENT SETNAME two"), "+OK");
    assert_eq!(one.line("CLIENT GETNAME"), "\"one\"");
    let list = one.line("CLIENT LIST");
    assert!(list.contains("name=one") && list.contains("name=two"), "{list}");
    let id = two.line("CLIENT ID");
    assert_eq!(one.ask(&["CLIENT", "KILL", "ID", &id[1..]]), ":1");
    assert_eq!(two.reply(), "closed");
    let address = one.stream().local_addr().unwrap().to_string();
    assert_eq!(one.ask(&["CLIENT", "KILL", &address]), "+OK");
    assert_eq!(one.reply(), "closed");
}

#[test]
fn a_key_is_gone_for_a_reader_at_its_deadline_and_not_before() {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let mut client = server.connect();
    for life in [1_u64, 5, 20, 50] {
        let start = Instant::now();
        assert_eq!(client.ask(&["SET", "k", "v", "PX", &life.to_string()]), "+OK");
        let is_set = Instant::now();
        loop {
            let asked = Instant::now();
            let reply = client.line("GET k");
            let life = Duration::from_millis(life);
            if reply == "nil" {
                assert!(start.elapsed() >= life);
                break;
            }
            // The request was sent when its time had come already.
            assert!(asked < is_set + life, "{life:?}");
        }
    }
    assert_eq!(client.info("expired_keys"), "4");
}

/// The timers of keys delay no client: neither when keys end one after the other, nor when all end at the same moment.
#[test]
fn a_hundred_thousand_keys_that_end_within_a_second_delay_no_client() {
    for ends_within in [1000, 1] {
        // Other programs may take the machine for longer than that; the server itself would be late each time.
        let mut longest = Duration::MAX;
        for _ in 0..5 {
            longest = longest.min(longest_wait_while_keys_end(100_000, ends_within));
            if longest < Duration::from_millis(10) {
                break;
            }
        }
        println!("keys that end within {ends_within} ms: the longest request took {longest:?}");
        assert!(longest < Duration::from_millis(10), "{ends_within} ms: {longest:?}");
    }
}

/// Sets keys that all end in a time of so many milliseconds. Returns how long the longest of the requests took that
/// another client sent, one after the other, from before that time until all keys had gone.
fn longest_wait_while_keys_end(keys: usize, ends_within: usize) -> Duration {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let mut setter = server.connect();
    let first_end = Instant::now() + Duration::from_millis(1500);
    for first in (0..keys).step_by(1000) {
        let left = first_end.saturating_duration_since(Instant::now()).as_millis() as usize;
        let set = |key: usize| {
            let life = (left + key % ends_within).max(1);
            request(&["SET", &format!("key:{key}"), "v", "PX", &life.to_string()])
        };
        setter.send((first..first + 1000).flat_map(set).collect::<Vec<u8>>());
        (0..1000).for_each(|_| assert_eq!(setter.reply(), "+OK"));
    }
    let mut client = server.connect();
    let mut longest = Duration::ZERO;
    let is_late = || first_end.elapsed() > Duration::from_secs(10);
    loop {
        let asked = Instant::now();
        let size = client.line("DBSIZE");
        longest = longest.max(asked.elapsed());
        if size == ":0" {
            break;
        }
        assert!(!is_late(), "{size} are left");
    }
    assert_eq!(client.info("expired_keys"), keys.to_string());
    longest
}

#[test]
fn scan_finds_each_key_once_whatever_is_added_and_removed() {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let mut client = server.connect();
    for number in 0..500 {
        client.ask(&["SET", &format!("stays:{number}"), "v"]);
        client.ask(&["SET", &format!("goes:{number}"), "v"]);
    }
    let (mut cursor, mut found, mut round) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let reply = client.ask(&["SCAN", &cursor, "MATCH", "stays:*", "COUNT", "7"]);
        let words: Vec<_> = reply.trim_matches(['[', ']']).split([' ', '[']).collect();
        let words = words.iter().map(|word| word.trim_matches('"')).filter(|w| !w.is_empty());
        let mut words = words.map(str::to_owned);
        cursor = words.next().unwrap();
        found.extend(words);
        client.ask(&["DEL", &format!("goes:{round}")]);
        client.ask(&["SET", &format!("comes:{round}"), "v"]);
        round += 1;
        if cursor == "0" {
            break;
        }
    }
    found.sort();
    let mut expected: Vec<_> = (0..500).map(|number| format!("stays:{number}")).collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn redis_cli_works() {
    if !has_program("redis-cli") {
        return;
    }
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let cli = |args: &[&str]| {
        let port = server.address.port().to_string();
        let all = [&["-p", &port], args].concat();
        let output = std::process::Command::new("redis-cli").args(all).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(cli(&["SET", "a", "1"]), "OK");
    assert_eq!(cli(&["INCR", "a"]), "2");
    assert_eq!(cli(&["-3", "GET", "a"]).lines().last(), Some("2"));
    assert_eq!(cli(&["--scan"]), "a");
    assert!(cli(&["INFO", "keyspace"]).contains("db0:keys=1"));
    assert!(cli(&["--bigkeys"]).contains("Biggest string"));
}

#[test]
fn the_last_bytes_before_quit_arrive() {
    let dir = Dir::new();
    let server = Server::start(&dir, &[]);
    let mut client = server.connect();
    let value = "v".repeat(10 << 20);
    client.ask(&["SET", "k", &value]);
    client.send([request(&["GET", "k"]), request(&["QUIT"]), request(&["PING"])].concat());
    sleep(Duration::from_millis(100));
    assert_eq!(client.reply(), format!("\"{value}\""));
    assert_eq!(client.reply(), "+OK");
    assert_eq!(client.reply(), "closed");
    let mut rest = Vec::new();
    let mut last: Connection = server.connect();
    last.send(b"quit\r\n");
    let _ = last.stream().read_to_end(&mut rest);
    assert_eq!(rest, b"+OK\r\n");
}
