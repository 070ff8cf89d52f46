//! The server under all that a network, a system and slow clients may do to it, with few deviations from what usually
//! happens. Each of ten faults that such a server may have is found by the same tests.

use std::time::Duration;

use kpt_std::sim::{Client, End, Limits, Sim, TestResult, check, explore};
use kpt_std::{Builder, EventLoop, Listener, Signals, Spawner};

use crate::config::Config;
use crate::logging::LogFile;
use crate::planted::{self, Fault};
use crate::saves::Saves;
use crate::server::{Parts, Server};
use crate::store::Store;

const PORT: u16 = 6379;

type Loop = EventLoop<Server, u32, kpt_std::sim::SimPoller>;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A server in a simulated world, with what `main` makes of its arguments, but for signals.
fn server(sim: &Sim, args: &[&str]) -> Result<(Server, Loop), Box<dyn std::error::Error>> {
    let mut kpt: Loop = Builder::new().threads(64).build_on(sim.poller())?;
    let config = Config::parse(args.iter().map(|&arg| arg.to_owned()))?;
    let parts = Parts {
        listener: Listener::bind((config.bind, config.port))?,
        config,
        store: Store::default(),
        saves: Saves::new(Spawner::new()),
        log_file: LogFile::none(),
        signals: Signals::new(&[])?,
    };
    let mut threads = kpt.threads();
    let server = Server::new(parts, threads.now());
    threads.add("accept", server.listener.when(), Server::on_connection, 0)?;
    Ok((server, kpt))
}

/// Runs the server until nothing can happen any more, and checks it after each turn.
fn run(sim: &Sim, server: &mut Server, kpt: &mut Loop) -> TestResult {
    loop {
        match kpt.turn(server) {
            Ok(None) => {}
            Ok(Some(_)) | Err(End::Idle) => break,
            Err(end) => return Err(end.into()),
        }
        let clients = server.clients.iter().count();
        sim.always("a number is given back once", clients == server.clients.len());
        let is_bounded = |unsent| unsent <= server.config.output_limit;
        sim.always(
            "no client leaves more replies than it may",
            server.clients.iter().all(|client| is_bounded(client.unsent_bytes())),
        );
        // Those of clients, keys and a snapshot, one that accepts, and one that removes keys.
        let saves = if server.saves.running().is_some() { 2 } else { 0 };
        let most = 2 * clients + server.store.expiring() + saves + 2;
        sim.always("each thread is of something", kpt.threads().len() <= most);
    }
    sim.always(
        "the memory of clients is counted",
        server.clients.len() > 0 || server.client_bytes == 0,
    );
    Ok(())
}

/// No client waits for ever, and none is dropped without a reason.
fn all_is_well(sim: &Sim, clients: &[&Client]) {
    for client in clients {
        sim.always(
            "a client is served, or its connection broke",
            client.is_done() || client.is_broken(),
        );
        sim.sometimes("a client is served", client.is_done());
    }
}

/// A client that does not take its replies for a while, and then says that it sends no more before it has them.
fn slow(sim: &Sim) -> TestResult {
    let value = "v".repeat(20);
    let slow = sim
        .client(PORT)
        .room(16)
        .send(format!("SET k {value}\r\n"))
        .expect("+OK\r\n")
        .pause_reading()
        .send("GET k\r\nPING\r\nGET k\r\n")
        .wait(ms(5))
        .send("ECHO more\r\n")
        .wait(ms(50))
        .resume_reading()
        .send("ECHO last\r\n")
        .shut_down()
        .expect(format!(
            "$20\r\n{value}\r\n+PONG\r\n$20\r\n{value}\r\n$4\r\nmore\r\n$4\r\nlast\r\n"
        ))
        .expect_end()
        .hang_up();
    let (mut server, mut kpt) = server(sim, &[])?;
    run(sim, &mut server, &mut kpt)?;
    all_is_well(sim, &[&slow]);
    sim.always("nobody is left", server.clients.len() == 0);
    Ok(())
}

/// Clients that come and go, with a limit of their idle time, which one of them does not reach.
fn come_and_go(sim: &Sim) -> TestResult {
    // What is late several times is not as late as a client is idle.
    sim.latency(Duration::from_micros(100), ms(10));
    let first = sim.client(PORT).send("PING\r\n").expect("+PONG\r\n").hang_up();
    let busy = sim
        .client(PORT)
        .wait(ms(10))
        .send("PING\r\n")
        .expect("+PONG\r\n")
        .wait(ms(600))
        .send("PING\r\n")
        .expect("+PONG\r\n")
        .wait(ms(600))
        .send("PING\r\n")
        .expect("+PONG\r\n")
        .hang_up();
    let last = sim.client(PORT).wait(ms(20)).send("SET a 1\r\n").expect("+OK\r\n");
    let last = last.send("GET a\r\n").expect("$1\r\n1\r\n").hang_up();
    let idle = sim.client(PORT).wait(ms(30)).send("PING\r\n").expect("+PONG\r\n").expect_end();
    let idle = idle.hang_up();
    let (mut server, mut kpt) = server(sim, &["--timeout", "1"])?;
    run(sim, &mut server, &mut kpt)?;
    all_is_well(sim, &[&first, &busy, &last, &idle]);
    sim.always("one that is idle is dropped", idle.is_closed());
    sim.always("nobody is left", server.clients.len() == 0);
    Ok(())
}

/// Keys that end some time, and keys that end before it.
fn keys(sim: &Sim) -> TestResult {
    sim.latency(Duration::from_micros(100), ms(3));
    let mut client = sim.client(PORT);
    for key in ["a", "b", "c", "d"] {
        client = client.send(format!("SET {key} 1 PX 300\r\n")).expect("+OK\r\n");
    }
    let client = client
        .send("DEL a b c\r\nPERSIST d\r\nSET e 1 PX 200\r\n")
        .expect(":3\r\n:1\r\n+OK\r\n")
        .wait(ms(250))
        .send("EXISTS a\r\nEXISTS d\r\nEXISTS e\r\nSET a 2\r\n")
        .expect(":0\r\n:1\r\n:0\r\n+OK\r\n")
        .wait(ms(100))
        .send("GET a\r\nGET d\r\n")
        .expect("$1\r\n2\r\n$1\r\n1\r\n")
        .hang_up();
    let (mut server, mut kpt) = server(sim, &[])?;
    run(sim, &mut server, &mut kpt)?;
    all_is_well(sim, &[&client]);
    Ok(())
}

/// One that does not take its replies at all, beside one that does.
fn greedy(sim: &Sim) -> TestResult {
    let greedy = sim.client(PORT).room(64).pause_reading();
    let greedy = greedy.send(format!("SET k {}\r\n", "v".repeat(400)));
    let greedy = greedy.send("GET k\r\n".repeat(6)).wait(ms(500)).hang_up();
    let polite = sim.client(PORT).wait(ms(1)).send("PING\r\n").expect("+PONG\r\n").hang_up();
    let (mut server, mut kpt) = server(sim, &["--client-output-buffer-limit", "1024"])?;
    run(sim, &mut server, &mut kpt)?;
    all_is_well(sim, &[&polite]);
    sim.sometimes("the greedy one is dropped", server.counts.dropped == 1);
    sim.always("nobody is left", server.clients.len() == 0);
    drop(greedy);
    Ok(())
}

/// A snapshot in the background, whose task may do what it wants.
fn save(sim: &Sim) -> TestResult {
    let dir =
        std::env::temp_dir().join(format!("kpt-kv-explored-{:?}", std::thread::current().id()));
    std::fs::create_dir_all(&dir)?;
    let path = dir.display().to_string();
    let saves = sim.client(PORT).send("SET a 1\r\nBGSAVE\r\n").wait(ms(3_000));
    let saves = saves.send("BGSAVE\r\nPING\r\n").wait(ms(3_000)).hang_up();
    let (mut server, mut kpt) = server(sim, &["--dir", &path, "--save-timeout", "1"])?;
    run(sim, &mut server, &mut kpt)?;
    all_is_well(sim, &[&saves]);
    sim.always("no snapshot takes for ever", server.saves.running().is_none());
    sim.sometimes("a snapshot is complete", server.saves.saved_changes == 1);
    sim.sometimes("a snapshot fails", server.saves.last_error.is_some());
    let left = std::fs::read_dir(&dir)?
        .filter(|file| file.as_ref().is_ok_and(|file| file.file_name() != "dump.kv"));
    sim.always("nothing is left of a snapshot that failed", left.count() == 0);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

type Test = fn(&Sim) -> TestResult;

const TESTS: [(&str, Test); 5] = [
    ("slow", slow),
    ("come and go", come_and_go),
    ("keys", keys),
    ("greedy", greedy),
    ("save", save),
];

/// One deviation in each test, or with `KPT_DEEP` up to three: more than 100,000 schedules.
#[test]
fn the_server_is_right_in_all_schedules() {
    let is_deep = std::env::var_os("KPT_DEEP").is_some();
    let mut tried = 0;
    for (name, test) in TESTS {
        let limits = if is_deep {
            Limits::new().deviations(3).schedules(20_000).walks(10_000, 8)
        } else {
            Limits::new().deviations(1).walks(100, 8)
        };
        let report = check(limits, test);
        tried += report.schedules;
        println!(
            "{name}: {} schedules, by deviations {:?}",
            report.schedules, report.by_deviations
        );
    }
    assert!(tried >= if is_deep { 100_000 } else { 700 }, "{tried}");
}

#[test]
fn each_planted_fault_is_found() {
    let mut as_usual = Vec::new();
    for fault in [
        Fault::LostWakeUp,
        Fault::DoubleClose,
        Fault::TimerKept,
        Fault::Reordered,
        Fault::IdleNotPutOff,
        Fault::OutputUnbounded,
        Fault::DescriptorsFatal,
        Fault::StaleId,
        Fault::HalfCloseIsEnd,
        Fault::HungSave,
    ] {
        let mut tried = 0;
        let found = TESTS.iter().find_map(|(name, test)| {
            let report = planted::with(Some(fault), || explore(Limits::new().deviations(1), test));
            tried += report.schedules;
            report.failure.map(|failure| (name, failure))
        });
        let Some((name, failure)) = found else { panic!("{fault:?} is not found") };
        println!(
            "{fault:?}: schedule {tried}, in '{name}', by '{}': {}",
            failure.schedule, failure.message
        );
        if failure.schedule.is_empty() {
            as_usual.push(fault);
        }
    }
    // Those would be found by any test. The others need something that goes otherwise.
    assert_eq!(as_usual, [Fault::TimerKept, Fault::OutputUnbounded]);
}
