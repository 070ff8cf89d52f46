//! What a search costs. `cargo test --release -p kpt-tests --test explore_cost -- --nocapture` prints the figures.

use std::fs;

use kpt_std::sim::{Limits, Sim, TestResult, explore};
use kpt_tests::chance::{is_checked, is_deep};

/// Twenty decisions about four connections, as in a short conversation.
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

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("it can be read");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second number") * 4
}

#[test]
fn memory_does_not_grow_with_the_number_of_schedules() {
    let run = |schedules: u64| {
        let limits = Limits::new().deviations(3).schedules(schedules).walks(schedules, 4);
        let report = explore(limits, decides);
        println!("{report}, {} KiB", resident());
        assert!(report.failure.is_none());
        report
    };
    run(1_000);
    let before = resident();
    let report = run(200_000);
    assert!(report.schedules > 230_000, "{report}");
    if !is_checked() {
        assert!(resident() < before + 512, "{} KiB, and before {before}", resident());
    }
    if is_deep() {
        let rate = report.schedules as f64 / report.elapsed.as_secs_f64();
        assert!(rate > 20_000.0, "{rate:.0} schedules a second");
    }
}
