//! All schedules with few deviations, and random ones.

use std::rc::Rc;
use std::time::Instant;

use super::choice::{Driver, Filter};
use super::progress::Progress;
use super::report::{Failure, Report};
use super::run::{Class, Fault, Must, TURNS};
use super::runner::{Outcome, Runner};
use super::schedule::{Schedule, Step};
use super::shrink::shrink;
use super::{Sim, TestResult};

/// One in this number of walks is run twice.
const REPEATED: u64 = 64;

/// How far a search goes.
///
/// ```
/// use kpt_std::sim::Limits;
///
/// // Up to two deviations, then 2,000 random walks in which one decision in 8 deviates; no connection is reset.
/// let limits = Limits::new().deviations(2).walks(2_000, 8).without(&["read=reset", "write=reset"]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Limits {
    deviations: usize,
    schedules: u64,
    turns: u64,
    walks: u64,
    one_in: u32,
    seed: u64,
    filter: Filter,
    counts_failures: bool,
}

impl Limits {
    /// Creates the usual limits: all schedules with up to one deviation, but at most a million, with at most 10,000 turns
    /// each; no walks.
    pub fn new() -> Self {
        Self {
            deviations: 1,
            schedules: 1_000_000,
            turns: TURNS,
            walks: 0,
            one_in: 16,
            seed: 0,
            filter: Filter::default(),
            counts_failures: false,
        }
    }

    /// Sets the number of deviations up to which all schedules are tried: 1 by default. Each further one multiplies the
    /// number of schedules by about the number of deviations that a run can have.
    pub fn deviations(self, most: usize) -> Self {
        Self { deviations: most, ..self }
    }

    /// Sets the number of schedules after which the search does not try further ones, and goes on with walks: a million by
    /// default. Of those with the same number of deviations, the ones that deviate early come first.
    pub fn schedules(self, most: u64) -> Self {
        Self { schedules: most, ..self }
    }

    /// Sets the number of random schedules that are tried after all others: none by default. One decision in `one_in`
    /// deviates, or fewer where the site says so. They reach what happens late in a long run, and a failure is shrunk.
    pub fn walks(self, count: u64, one_in: u32) -> Self {
        Self { walks: count, one_in, ..self }
    }

    /// Sets the seed of the first walk: 0 by default. Each further walk has the next number.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets the number of turns after which a run fails, since it seems to have no end: 10,000 by default.
    pub fn turns(self, most: u64) -> Self {
        Self { turns: most, ..self }
    }

    /// Leaves out these deviations: `"read"` is all of that site, `"read=reset"` is one.
    pub fn without(mut self, deviations: &[&str]) -> Self {
        self.filter.without.extend(deviations.iter().map(ToString::to_string));
        self
    }

    /// Leaves out all deviations except these, written as for [`without`](Self::without). [`check`](super::check) fails if
    /// the search meets no decision for one of them.
    pub fn only(mut self, deviations: &[&str]) -> Self {
        self.filter.only.extend(deviations.iter().map(ToString::to_string));
        self
    }

    /// Goes on after the first failure, and counts all: see [`Report::failing`].
    pub fn count_failures(self) -> Self {
        Self { counts_failures: true, ..self }
    }

    pub(super) fn runner<'t>(&self, test: &'t dyn Fn(&Sim) -> TestResult) -> Runner<'t> {
        Runner::new(test, Rc::new(self.filter.clone()), self.turns)
    }

    /// Returns the first entry of [`only`](Self::only) that names no decision of this search.
    pub(super) fn unknown(&self, report: &Report) -> Option<&str> {
        let is_known = |entry: &&String| {
            let (name, way) = entry.split_once('=').unwrap_or((entry, ""));
            report.sites.iter().any(|site| {
                site.name == name
                    && (way.is_empty() || site.ways.iter().any(|(known, _)| known == way))
            })
        };
        self.filter.only.iter().find(|entry| !is_known(entry)).map(String::as_str)
    }

    pub(super) fn expects_decisions(&self) -> bool {
        self.deviations > 0 || self.walks > 0
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs the test under all schedules with as few deviations as the limits say, fewest first, and then under random ones.
/// Stops at the first failure, shrinks it, and runs it once more for its trace.
///
/// The test gets a new [`Sim`] each time, and must do the same under the same schedule. The search checks that: a test that
/// depends on the real time, on addresses or on the order of a `HashMap` fails.
///
/// Memory does not grow with the number of schedules. Panics of the test are caught, and not printed.
#[must_use]
pub fn explore(limits: Limits, test: impl Fn(&Sim) -> TestResult) -> Report {
    Search::new(&limits, &test).report()
}

struct Search<'t> {
    limits: &'t Limits,
    runner: Runner<'t>,
    /// The number of deviations of the schedules that are counted now.
    level: usize,
    report: Report,
    found: Option<Found>,
    sometimes: Vec<(&'static str, bool)>,
    progress: Progress,
    begun: Instant,
}

/// The first failure.
struct Found {
    fault: Fault,
    steps: Vec<Step>,
    /// The number of the schedule in the search, from 1.
    number: u64,
}

/// Why the search does not go on.
enum Stop {
    Failed,
    /// There have been as many schedules as the limits say.
    Enough,
}

impl<'t> Search<'t> {
    fn new(limits: &'t Limits, test: &'t dyn Fn(&Sim) -> TestResult) -> Self {
        Self {
            limits,
            runner: limits.runner(test),
            level: 0,
            report: Report::default(),
            found: None,
            sometimes: Vec::new(),
            progress: Progress::new(),
            begun: Instant::now(),
        }
    }

    fn report(mut self) -> Report {
        let end = self.all();
        self.report.is_complete = end.is_ok();
        if !matches!(end, Err(Stop::Failed)) {
            // A failure of a walk ends the walks, and is in `found`.
            let _ = self.walks();
        }
        self.report.failure = self.found.take().map(|found| self.failure(found));
        let missed = self.sometimes.iter().filter(|(_, holds)| !holds).map(|(name, _)| *name);
        self.report.not_reached = missed.collect();
        self.report.sites = self.runner.decisions.report();
        self.report.elapsed = self.begun.elapsed();
        self.report
    }

    /// All schedules, fewest deviations first. Those with fewer are run again on the way to those with more: that is a
    /// small part of them, and no schedule has to be kept.
    fn all(&mut self) -> Result<(), Stop> {
        let usual = || Driver::Listed(Vec::new());
        let one = self.runner.run(usual());
        self.repeat(&one, usual())?;
        for level in 0..=self.limits.deviations {
            self.level = level;
            let before = self.report.schedules;
            self.subtree(&mut Vec::new(), level, None)?;
            if self.report.schedules == before {
                break; // No run has as many decisions.
            }
        }
        Ok(())
    }

    /// All schedules that begin with `steps` and have `left` further deviations. The last step is at the decision of
    /// that number in the run of the others.
    fn subtree(
        &mut self,
        steps: &mut Vec<Step>,
        left: usize,
        parent: Option<(&Outcome, usize)>,
    ) -> Result<(), Stop> {
        let outcome = self.runner.run(Driver::Listed(steps.clone()));
        let begin = parent.map_or(0, |(_, at)| at + 1);
        if let Some((parent, _)) = parent {
            self.compare(parent, &outcome, begin, steps)?;
        }
        if left == 0 {
            self.count(&outcome)?;
        }
        for at in begin..outcome.met.len() {
            let met = outcome.met[at];
            let left = if met.is_free() { Some(left) } else { left.checked_sub(1) };
            let Some(left) = left else { continue };
            for way in 1..met.ways.len() {
                if self.runner.decisions.allows(&met, way) {
                    steps.push(self.runner.decisions.step(&met, way));
                    let result = self.subtree(steps, left, Some((&outcome, at)));
                    steps.pop();
                    result?;
                }
            }
        }
        Ok(())
    }

    fn walks(&mut self) -> Result<(), Stop> {
        for number in 0..self.limits.walks {
            let seed = self.limits.seed.wrapping_add(number);
            let driver = || Driver::Walk { seed, one_in: self.limits.one_in };
            let outcome = self.runner.run(driver());
            if number.is_multiple_of(REPEATED) {
                self.repeat(&outcome, driver())?;
            }
            self.report.walks += 1;
            self.add(&outcome)?;
        }
        Ok(())
    }

    /// Counts a schedule of the current level.
    fn count(&mut self, outcome: &Outcome) -> Result<(), Stop> {
        self.report.by_deviations.resize(self.level + 1, 0);
        self.report.by_deviations[self.level] += 1;
        self.add(outcome)?;
        if self.report.schedules < self.limits.schedules { Ok(()) } else { Err(Stop::Enough) }
    }

    /// Adds what was seen in a run to the report.
    fn add(&mut self, outcome: &Outcome) -> Result<(), Stop> {
        self.report.schedules += 1;
        self.runner.decisions.count(&outcome.met);
        for mark in outcome.marks.iter().filter(|mark| mark.must == Must::Sometimes) {
            match self.sometimes.iter_mut().find(|(name, _)| *name == mark.name) {
                Some((_, holds)) => *holds |= mark.holds,
                None => self.sometimes.push((mark.name, mark.holds)),
            }
        }
        let Self { progress, report, begun, level, .. } = self;
        progress.tell(|| report.progress(*level, begun.elapsed()));
        match &outcome.fault {
            Some(fault) => self.fail(fault.clone(), self.runner.taken(outcome)),
            None => Ok(()),
        }
    }

    fn fail(&mut self, fault: Fault, steps: Vec<Step>) -> Result<(), Stop> {
        let is_countable = fault.class != Class::NotDeterministic;
        self.report.failing += 1;
        let number = self.report.schedules;
        self.found.get_or_insert(Found { fault, steps, number });
        if self.limits.counts_failures && is_countable { Ok(()) } else { Err(Stop::Failed) }
    }

    /// Fails by a schedule that has not been counted. The search can't go on after it.
    fn fail_uncounted(&mut self, difference: &str, steps: Vec<Step>) -> Result<(), Stop> {
        self.report.schedules += 1;
        self.fail(not_deterministic(difference), steps)
    }

    /// Fails if two runs differ before decision number `end`, up to which their schedules are the same.
    fn compare(
        &mut self,
        one: &Outcome,
        other: &Outcome,
        end: usize,
        steps: &[Step],
    ) -> Result<(), Stop> {
        match self.runner.difference(one, other, end) {
            Some(difference) => self.fail_uncounted(&difference, steps.to_vec()),
            None => Ok(()),
        }
    }

    /// Runs the same schedule again, and fails if the run differs.
    fn repeat(&mut self, one: &Outcome, driver: Driver) -> Result<(), Stop> {
        let other = self.runner.run(driver);
        self.compare(one, &other, one.met.len().max(other.met.len()), &self.runner.taken(one))?;
        if one.fingerprint == other.fingerprint {
            return Ok(());
        }
        let difference = "what is read, written or called after the last decision differs";
        self.fail_uncounted(difference, self.runner.taken(one))
    }

    /// Shrinks a failure, and runs it twice more for its trace.
    fn failure(&mut self, found: Found) -> Failure {
        let Found { mut fault, steps, number } = found;
        let shrunk_from = steps.len();
        let runner = &mut self.runner;
        let steps = shrink(steps, |steps| {
            let outcome = runner.run(Driver::Listed(steps.to_vec()));
            let is_same = outcome.fault.as_ref().is_some_and(|it| it.class == fault.class);
            is_same.then(|| runner.taken(&outcome))
        });
        let (one, other) = (runner.trace(&steps), runner.trace(&steps));
        let again = one.fault.as_ref().filter(|it| it.class == fault.class);
        if let Some(again) = again {
            fault.message.clone_from(&again.message);
        }
        if one.trace != other.trace {
            fault.message += &one.trace.difference(&other.trace);
        } else if again.is_none() && fault.class != Class::NotDeterministic {
            fault.message += "\n(run again, this schedule does not fail, so the test is not deterministic: it depends on a \
                              variable that outlives the run, or on whether there is a trace)";
        }
        Failure {
            message: fault.message,
            schedule: Schedule(steps),
            number,
            shrunk_from,
            trace: one.trace,
        }
    }
}

fn not_deterministic(difference: &str) -> Fault {
    let message = format!(
        "not deterministic: {difference}, under the same schedule. The test depends on the order of a HashMap, an address, \
         the real time, a random number, or a variable that outlives the run"
    );
    Fault { class: Class::NotDeterministic, message }
}
