//! What a test calls: a search that panics on failure, the replay of one schedule, and the schedule of a fuzzer.

use std::env::{self, VarError};

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

/// Searches as [`explore`] does, for a test. Returns the report if nothing has failed.
///
/// If the environment has `KPT_SCHEDULE`, runs that schedule alone, prints its trace, and panics if it fails. The text of a
/// failure has the command for that.
///
/// # Panics
/// If a schedule fails; if a property that should be true [`sometimes`](Sim::sometimes) was true in no schedule; if there
/// was no decision, and so nothing to try; if no decision matches an entry of [`Limits::only`]; if `KPT_SCHEDULE` is no
/// schedule.
pub fn check(limits: Limits, test: impl Fn(&Sim) -> TestResult) -> Report {
    match env::var(VARIABLE) {
        Ok(schedule) => return check_again(&schedule, &limits, &test),
        Err(VarError::NotUnicode(_)) => panic!("{VARIABLE} is not text"),
        Err(VarError::NotPresent) => {}
    }
    let expects_decisions = limits.expects_decisions();
    let report = explore(limits.clone(), test);
    let unknown = limits.unknown(&report);
    if let Some(failure) = &report.failure {
        panic!("{failure}");
    }
    assert!(
        report.not_reached.is_empty(),
        "not sometimes, in {} schedules: {}",
        report.schedules,
        report.not_reached.join(", ")
    );
    if let Some(entry) = unknown {
        panic!("no decision matches {entry:?} of `Limits::only`. The decisions were:\n{report}");
    }
    assert!(
        report.sites.iter().any(|site| site.decisions > 0) || !expects_decisions,
        "there was nothing to try: the simulation had nothing to decide. Does the loop run on `sim.poller()`, and does a \
         client or peer send to it?"
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
        println!("no such decision: {}", replay.unasked);
    }
    if let Some(failure) = replay.failure {
        panic!("{failure}");
    }
    println!("does not fail");
    Report { schedules: 1, ..Report::default() }
}

/// The result of [`replay`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replay {
    /// What was wrong, if the schedule fails.
    pub failure: Option<Failure>,
    /// What happened.
    pub trace: Trace,
    /// The deviations of the schedule whose decisions were never made, as after a change of the test or the application.
    pub unasked: Schedule,
}

/// Runs one schedule: deviations with spaces between them. With `""`, everything goes as usual.
///
/// # Errors
/// Returns a [`ScheduleError`] with the place at which the text is not a schedule.
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

/// Runs the schedule that the bytes of a fuzzer encode. All bytes are a schedule, and one byte is one deviation, or one
/// input of [`Sim::pick`]: a fuzzer that minimises its input removes deviations.
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
