//! What a search costs. `KPT_DEEP=1 cargo test --release -p kpt-tests --test explore_cost -- --nocapture` prints the figures
//! of 200,000 schedules.

use std::fs;

use kpt_std::sim::{End, Limits, Report, Sim, TestResult, explore};
use kpt_std::{BufferedStream, Builder, Listener, Thread, When, source};
use kpt_tests::chance::{is_checked, is_deep};

/// Twenty decisions, and nothing else.
fn decides(sim: &Sim) -> TestResult {
    for who in 1..=4 {
        for site in ["accept", "read", "write", "read", "write"] {
            sim.choose(site, who, &["all", "one-byte", "not-yet", "reset"]);
        }
    }
    sim.always("true", true);
    sim.sometimes("true", true);
    Ok(())
}

type EchoThread<'t> = Thread<'t, Listener, Option<BufferedStream>>;

/// The server of the README of kpt-std.
fn on_connection(listener: &mut Listener, mut thread: EchoThread) {
    while let Ok(Some(stream)) = listener.accept() {
        let client = BufferedStream::new(stream, 4096, 8192);
        let when = When::Ready(source(&client), client.wants());
        let _ = thread.threads().add("client", when, on_client, Some(client));
    }
    let _ = thread.again_when(listener.when());
}

fn on_client(_: &mut Listener, mut thread: EchoThread) {
    let Some(client) = &mut thread.arg else { return };
    if let Ok(true) = echo(client) {
        let when = When::Ready(source(client), client.wants());
        let _ = thread.again_when(when);
    }
}

fn echo(client: &mut BufferedStream) -> std::io::Result<bool> {
    client.fill()?;
    let (input, output) = client.input_and_output();
    let count = input.len();
    output.queue(input)?;
    client.consume(count);
    client.flush()?;
    Ok(!client.wants().is_none())
}

/// Two clients, and more than twenty decisions.
fn echoes(sim: &Sim) -> TestResult {
    let clients = ["hello", "a longer text"]
        .map(|text| sim.client(7).send(text).expect(text).send("again").expect("again").hang_up());
    let mut listener = sim.listen(7)?;
    let mut kpt = Builder::new().threads(4).build_on(sim.poller())?;
    kpt.threads().add_read("accept", source(&listener), on_connection, None)?;
    assert_eq!(kpt.run(&mut listener), Err(End::Idle));
    let is_served = clients.iter().all(|client| client.is_done() || client.is_broken());
    sim.always("both are served, unless they break", is_served);
    Ok(())
}

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("it can be read");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second number") * 4
}

/// Searches twice, and has a look at the memory in between.
fn search(name: &str, schedules: u64, test: fn(&Sim) -> TestResult) -> Report {
    let run = |schedules| {
        let limits = Limits::new().deviations(3).schedules(schedules).walks(schedules, 8);
        let report = explore(limits, test);
        assert!(report.failure.is_none(), "{report}");
        report
    };
    run(1_000);
    let before = resident();
    let report = run(schedules);
    let after = resident();
    let decisions: u64 = report.sites.iter().map(|site| site.decisions).sum();
    println!(
        "{name}: {} schedules of {} decisions, {:.0} a second, {before} KiB before and {after} after",
        report.schedules,
        decisions / report.schedules,
        report.schedules as f64 / report.elapsed.as_secs_f64(),
    );
    if !is_checked() {
        assert!(after < before + 512, "{after} KiB, and before {before}");
    }
    report
}

/// Both in one test, so that the memory is that of one search.
#[test]
fn memory_does_not_grow_with_the_number_of_schedules() {
    let report = search("decisions alone", 200_000, decides);
    assert_eq!(report.by_deviations, [1, 60, 1_710, 30_780]);
    let schedules = if is_deep() { 200_000 } else { 5_000 };
    let report = search("echo", schedules, echoes);
    if is_deep() && !is_checked() && !cfg!(debug_assertions) {
        let rate = report.schedules as f64 / report.elapsed.as_secs_f64();
        assert!(rate > 20_000.0, "{rate:.0} schedules a second");
    }
}
