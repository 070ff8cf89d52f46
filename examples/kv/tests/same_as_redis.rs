//! Replies are those of Redis, byte by byte, for requests at random and for wrong ones.

mod support;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use support::{Connection, Dir, Server, has_program};

/// A Redis on a port of its own.
struct Redis {
    child: Child,
    address: SocketAddr,
}

impl Redis {
    fn start(dir: &Dir) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = Command::new("redis-server")
            .args([
                "--port",
                &address.port().to_string(),
                "--save",
                "",
                "--databases",
                "1",
                "--dir",
            ])
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("it is there");
        support::wait_until("redis listens", || std::net::TcpStream::connect(address).is_ok());
        Self { child, address }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % most
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// Returns a request, right or wrong. What depends on the time of day or on the order of keys is left out.
fn any_request(random: &mut Random) -> Vec<String> {
    const KEYS: &[&str] = &["a", "b", "c", "", "key with spaces"];
    const VALUES: &[&str] = &[
        "",
        "0",
        "1",
        "-1",
        "10",
        "007",
        "+1",
        " 1",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "text",
        "1.5",
        "a\r\nb",
    ];
    const LIVES: &[&str] = &["100000", "0", "-1", "x", "9223372036854775807", "1000000"];
    const COMMANDS: &[&str] = &[
        "GET k",
        "SET k v",
        "SET k v",
        "SET k v o",
        "SET k v o o",
        "SET k v EX l",
        "SET k v PX l",
        "SET k v EX l o",
        "SET k v o EX l",
        "SET k v PX l EX l",
        "SET k v EX",
        "APPEND k v",
        "INCR k",
        "DECR k",
        "INCRBY k v",
        "DECRBY k v",
        "DEL k",
        "DEL k k k",
        "EXISTS k k",
        "GETDEL k",
        "STRLEN k",
        "MGET k k k",
        "MSET k v k v",
        "MSET k v k",
        "EXPIRE k l",
        "PEXPIRE k l",
        "PERSIST k",
        "TTL k",
        "TYPE k",
        "DBSIZE",
        "ECHO v",
        "PING",
        "PING v",
        "PING v v",
        "SELECT 0",
        "SELECT v",
        "SELECT 99",
        "FLUSHALL",
        "FLUSHALL v",
        "FLUSHDB ASYNC",
        "SCAN x",
        "SCAN 0 COUNT x",
        "SCAN 0 COUNT 0",
        "SCAN 0 MATCH",
        "SCAN 0 v v",
        "NONSENSE",
        "NONSENSE k v",
        "GET",
        "GET k k",
        "SET k",
        "KEYS",
        "CLIENT",
        "CLIENT v",
        "CLIENT GETNAME",
        "CLIENT SETNAME x",
        "CLIENT KILL nobody",
        "CLIENT KILL ID v",
        "CLIENT KILL ID 999999",
        "CLIENT KILL o o",
        "CLIENT SETNAME",
        "CONFIG GET",
        "CONFIG v",
        "CONFIG GET nothing",
        "BGSAVE v",
        "SHUTDOWN v",
        "HELLO 4",
        "HELLO v",
        "LASTSAVE v",
        "COMMAND v",
    ];
    let template = random.pick(COMMANDS);
    let words = template.split(' ').enumerate().map(|(at, word)| match word {
        _ if at == 0 && random.below(4) == 0 => word.to_lowercase(),
        "k" => random.pick(KEYS).into(),
        "v" => random.pick(VALUES).into(),
        "l" => random.pick(LIVES).into(),
        "o" => random.pick(&["NX", "xx", "KEEPTTL", "GET", "WRONG"]).into(),
        word => word.into(),
    });
    words.collect()
}

#[test]
fn replies_are_those_of_redis() {
    if !has_program("redis-server") {
        return;
    }
    let (dir, redis_dir) = (Dir::new(), Dir::new());
    let (server, redis) = (Server::start(&dir, &[]), Redis::start(&redis_dir));
    let (mut ours, mut theirs) = (server.connect(), Connection::new(redis.address));
    let seed = match std::env::var("KV_SEED") {
        Ok(seed) => seed.parse().expect("KV_SEED is a number"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64,
    };
    println!("KV_SEED={seed}");
    let mut random = Random(seed);
    let rounds = if std::env::var_os("KPT_DEEP").is_some() { 200_000 } else { 20_000 };
    for round in 0..rounds {
        let words = any_request(&mut random);
        let (our, their) = (ours.ask(&words), theirs.ask(&words));
        assert_eq!(our, their, "{words:?}, round {round}, KV_SEED={seed}");
    }
}
