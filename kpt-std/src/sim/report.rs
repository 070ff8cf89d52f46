//! What a search has found, for people and for tests.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::choice::Decisions;
use super::schedule::Schedule;
use super::trace::Trace;

/// The number of lines of a trace that a failure shows.
const SHOWN: usize = 40;

/// What a search has found. Its text is a summary.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The number of schedules that were tried.
    pub schedules: u64,
    /// Of them, the number of those with 0, 1, 2.. deviations, without the walks.
    pub by_deviations: Vec<u64>,
    /// Of them, the number of random walks.
    pub walks: u64,
    /// Whether all schedules with as many deviations as the limits say were tried.
    pub is_complete: bool,
    /// The number of schedules that have failed: at most 1 without [`Limits::count_failures`](super::Limits::count_failures).
    pub failing: u64,
    /// The first failure.
    pub failure: Option<Failure>,
    /// The properties that should have been true [`sometimes`](super::Sim::sometimes), and were true in no schedule.
    pub not_reached: Vec<&'static str>,
    /// The sites at which there were decisions, in the order of the first ones.
    pub sites: Vec<SiteReport>,
    /// The real time that the search took.
    pub elapsed: Duration,
}

/// What was decided at a site, in all schedules of a search together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteReport {
    /// The name of the site.
    pub name: &'static str,
    /// The number of decisions.
    pub decisions: u64,
    /// Each deviation that was possible, and how often it was taken. For [`Sim::pick`](super::Sim::pick), the inputs from 1
    /// to 63.
    pub ways: Vec<(Cow<'static, str>, u64)>,
}

/// A schedule that fails. Its text is the message, the end of the trace, and a command that runs it again.
#[derive(Clone)]
#[non_exhaustive]
pub struct Failure {
    /// What was wrong.
    pub message: String,
    /// The deviations that the failure needs.
    pub schedule: Schedule,
    /// The number of the first schedule that failed, in the order of the search, from 1.
    pub number: u64,
    /// The number of deviations of that schedule, before it was shrunk.
    pub shrunk_from: usize,
    /// What happened.
    pub trace: Trace,
}

impl Report {
    /// Returns a line about a search that is running.
    pub(super) fn progress(&self, level: usize, elapsed: Duration) -> String {
        let rate = self.schedules as f64 / elapsed.as_secs_f64();
        let kind = match self.walks {
            0 => format!("{level} deviations"),
            walks => format!("{walks} walks"),
        };
        format!("{} schedules, {kind}, {rate:.0} a second, {} fail", self.schedules, self.failing)
    }
}

impl Decisions {
    pub(super) fn report(&self) -> Vec<SiteReport> {
        let of = |site: &super::choice::KnownSite| SiteReport {
            name: site.name,
            decisions: site.decisions,
            ways: site.ways.iter().skip(1).cloned().collect(),
        };
        self.sites.iter().map(of).collect()
    }
}

impl Failure {
    /// Returns the command that runs this schedule again: in a test `KPT_SCHEDULE='..' cargo test NAME`, with the name of
    /// the OS thread, which the test harness sets; elsewhere the command line of this process.
    pub fn command(&self) -> String {
        let command = match std::thread::current().name() {
            Some("main") | None => std::env::args().collect::<Vec<_>>().join(" "),
            Some(test) => {
                let package = std::env::var("CARGO_PKG_NAME");
                let package = package.map_or(String::new(), |name| format!(" -p {name}"));
                format!("cargo test{package} {test} -- --exact --nocapture")
            }
        };
        format!("KPT_SCHEDULE='{}' {command}", self.schedule)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        write!(f, "schedule {} fails, with {}", self.number, deviations(self.shrunk_from))?;
        if self.shrunk_from > self.schedule.len() {
            write!(f, ", of which {} are enough", self.schedule.len())?;
        }
        writeln!(f)?;
        self.trace.write_last(SHOWN, f)?;
        writeln!(f, "to see it again:")?;
        write!(f, "{}", self.command())
    }
}

/// The text, so that `unwrap` shows it.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, count) in self.by_deviations.iter().enumerate() {
            writeln!(f, "{count:>9} schedules with {}", deviations(level))?;
        }
        if self.walks > 0 {
            writeln!(f, "{:>9} random walks", self.walks)?;
        }
        for site in &self.sites {
            write!(f, "{:>9} decisions at {}:", site.decisions, site.name)?;
            for (way, times) in &site.ways {
                write!(f, " {way} {times}")?;
            }
            writeln!(f)?;
        }
        for name in &self.not_reached {
            writeln!(f, "    never true: {name}")?;
        }
        let rate = self.schedules as f64 / self.elapsed.as_secs_f64();
        let is_all = if self.is_complete { "" } else { " (not all that the limits allow)" };
        write!(f, "{} of {}{is_all} fail; {rate:.0} a second", self.failing, self.schedules)?;
        match &self.failure {
            Some(failure) => write!(f, "\n{failure}"),
            None => Ok(()),
        }
    }
}

fn deviations(count: usize) -> String {
    format!("{count} deviation{}", if count == 1 { "" } else { "s" })
}
