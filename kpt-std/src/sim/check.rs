//! What a test calls: a search that panics, one schedule again, and the schedule of a fuzzer.

use std::env;

use kpt_core::sim::ScheduleError;

use super::choice::Driver;
use super::explore::{Limits, explore};
use super::report::{Failure, Report};
use super::runner::{Outcome, Runner};
use super::schedule::{Schedule, Step};
use super::trace::Trace;
use super::{Sim, TestResult};

/// The variable that has a schedule to be run again.
const VARIABLE: &str = "KPT_SCHEDULE";

/// Searches as [`explore`] does, for a test. Returns what it has seen, if nothing has failed.
///
/// If the environment has `KPT_SCHEDULE`, runs that schedule alone, prints its trace, and panics if it fails. A failure
/// prints the line to do so.
///
/// # Panics
/// If a schedule fails; if a property that should be true [`sometimes`](Sim::sometimes) was so in no schedule; if
/// nothing was decided in any, so that there was nothing to try; if an entry of [`Limits::only`] is no decision; if `KPT_SCHEDULE` is no schedule.
pub fn check(limits: Limits, test: impl Fn(&Sim) -> TestResult) -> Report {
    if let Ok(schedule) = env::var(VARIABLE) {
        return check_again(&schedule, &limits, &test);
    }
    let expects_decisions = limits.expects_decisions();
    let report = explore(limits.clone(), test);
    let unknown = limits.unknown(&report);
    if let Some(failure) = &report.failure {
        panic!("{failure}");
    }
    assert!(
        report.not_reached.is_empty(),
        "in none of {} schedules was this true, which should be so sometimes: {}",
        report.schedules,
        report.not_reached.join(", ")
    );
    if let Some(entry) = unknown {
        panic!(
            "`Limits::only({entry:?})`: nothing was decided that is called so. What was:\n{report}"
        );
    }
    assert!(
        report.sites.iter().any(|site| site.decisions > 0) || !expects_decisions,
        "there was nothing to try: the simulation had nothing to decide. Does the loop run on `sim.poller()`, and is there \
         somebody who sends to it?"
    );
    report
}

fn check_again(schedule: &str, limits: &Limits, test: &dyn Fn(&Sim) -> TestResult) -> Report {
    let schedule = match schedule.parse() {
        Ok(schedule) => schedule,
        Err(error) => panic!("{VARIABLE}: {error}"),
    };
    let replay = run_again(&schedule, limits, test);
    print!("{}", replay.trace);
    if !replay.unasked.is_empty() {
        println!("never asked for: {}", replay.unasked);
    }
    if let Some(failure) = replay.failure {
        panic!("{failure}");
    }
    println!("does not fail");
    Report { schedules: 1, ..Report::default() }
}

/// One schedule that was run again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replay {
    /// What was wrong, if the schedule fails.
    pub failure: Option<Failure>,
    /// What happened.
    pub trace: Trace,
    /// The deviations of the schedule that nothing has asked for. There are some if the test or the application has
    /// changed.
    pub unasked: Schedule,
}

/// Runs one schedule: deviations with spaces between them, and none for everything as usual.
///
/// # Errors
/// Returns where the text is not a schedule.
pub fn replay(schedule: &str, test: impl Fn(&Sim) -> TestResult) -> Result<Replay, ScheduleError> {
    Ok(run_again(&schedule.parse()?, &Limits::new(), &test))
}

fn run_again(schedule: &Schedule, limits: &Limits, test: &dyn Fn(&Sim) -> TestResult) -> Replay {
    let mut runner = limits.runner(test);
    let outcome = runner.trace(&schedule.0);
    let taken = runner.taken(&outcome);
    let is_unasked = |step: &&Step| !taken.contains(step);
    let unasked = Schedule(schedule.0.iter().filter(is_unasked).cloned().collect());
    let trace = outcome.trace.clone();
    Replay { failure: failure_of(&runner, outcome), trace, unasked }
}

/// Runs the schedule that the bytes stand for, and any bytes stand for one. A fuzzer that minimises them removes
/// deviations: one byte is one deviation, or one input of [`Sim::pick`].
///
/// With cargo-fuzz: `fuzz_target!(|bytes: &[u8]| fuzz(bytes, test).unwrap());`
///
/// # Errors
/// Returns the failure, whose text has the trace and the schedule.
pub fn fuzz(bytes: &[u8], test: impl Fn(&Sim) -> TestResult) -> Result<(), Failure> {
    let limits = Limits::new();
    let mut runner = limits.runner(&test);
    let bytes = Vec::from(bytes).into_iter();
    let driver = Driver::Bytes { bytes, gap: None };
    let outcome = runner.run(driver);
    if outcome.fault.is_none() {
        return Ok(());
    }
    let traced = runner.trace(&runner.taken(&outcome));
    let outcome = if traced.fault.is_some() { traced } else { outcome };
    failure_of(&runner, outcome).map_or(Ok(()), Err)
}

fn failure_of(runner: &Runner<'_>, outcome: Outcome) -> Option<Failure> {
    let steps = runner.taken(&outcome);
    Some(Failure {
        message: outcome.fault?.message,
        shrunk_from: steps.len(),
        schedule: Schedule(steps),
        number: 1,
        trace: outcome.trace,
    })
}
