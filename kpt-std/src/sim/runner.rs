//! Runs a test once, under one schedule.

use std::mem;
use std::rc::Rc;

use super::choice::{Decisions, Driver, Filter, Met};
use super::panics::{self, Caught};
use super::run::{Class, Fault, Mark, Must, Run};
use super::schedule::Step;
use super::trace::Trace;
use super::{Sim, TestResult};

/// A test, and what is kept from run to run.
pub(super) struct Runner<'t> {
    test: &'t dyn Fn(&Sim) -> TestResult,
    filter: Rc<Filter>,
    turns: u64,
    pub(super) decisions: Decisions,
}

/// The state of a run.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) met: Vec<Met>,
    pub(super) fingerprint: u64,
    pub(super) fault: Option<Fault>,
    pub(super) marks: Vec<Mark>,
    pub(super) trace: Trace,
}

impl<'t> Runner<'t> {
    pub(super) fn new(
        test: &'t dyn Fn(&Sim) -> TestResult,
        filter: Rc<Filter>,
        turns: u64,
    ) -> Self {
        let decisions = Decisions::new(Rc::clone(&filter));
        Self { test, filter, turns, decisions }
    }

    pub(super) fn run(&mut self, driver: Driver) -> Outcome {
        self.run_with(driver, None)
    }

    /// Runs a schedule with a trace.
    pub(super) fn trace(&mut self, steps: &[Step]) -> Outcome {
        self.run_with(Driver::Listed(steps.to_vec()), Some(Trace::default()))
    }

    fn run_with(&mut self, driver: Driver, trace: Option<Trace>) -> Outcome {
        let nothing = Decisions::new(Rc::clone(&self.filter));
        let mut decisions = mem::replace(&mut self.decisions, nothing);
        decisions.begin(driver);
        let sim = Sim::of(Run::new(decisions, self.turns, trace));
        let result = panics::catch(|| (self.test)(&sim));
        let run = sim.run();
        run.end(result);
        if run.has_failed() {
            sim.world().note_standing(run);
        }
        if let Err(caught) = panics::catch(|| sim.end()) {
            run.end(Err(caught));
        }
        let nothing = Decisions::new(Rc::clone(&self.filter));
        self.decisions = run.decisions.replace(nothing);
        Outcome {
            met: mem::take(&mut self.decisions.met),
            fingerprint: run.fingerprint(),
            fault: run.fault.take(),
            marks: run.marks.take(),
            trace: run.trace.take().unwrap_or_default(),
        }
    }

    /// Returns what is taken in the run, which is a schedule.
    pub(super) fn taken(&self, outcome: &Outcome) -> Vec<Step> {
        self.decisions.taken(&outcome.met)
    }

    /// Returns where two runs differ before the decision of that number, if they do.
    pub(super) fn difference(&self, one: &Outcome, other: &Outcome, end: usize) -> Option<String> {
        let pairs = one.met.iter().zip(&other.met).take(end);
        let same = pairs.take_while(|(one, other)| one.is_same_as(other)).count();
        if same == end {
            return None;
        }
        let name = |outcome: &Outcome| {
            outcome
                .met
                .get(same)
                .map_or_else(|| "no more".to_owned(), |met| self.decisions.name(met))
        };
        Some(format!("decision {same} is {} in one run and {} in another", name(one), name(other)))
    }
}

impl Run {
    /// Decides whether the run has failed, when the test has returned.
    fn end(&self, result: Result<TestResult, Caught>) {
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let text = error.to_string();
                let class = text.chars().filter(|c| !c.is_ascii_digit()).collect();
                self.fail_as(Class::Returned(class), text);
            }
            Err(Caught { message, place }) => {
                let of = match self.panicked_in() {
                    Some(thread) => format!("the hook of {thread:?} panicked"),
                    None => "panicked".to_owned(),
                };
                let at = if place.is_empty() { String::new() } else { format!(" at {place}") };
                self.fail_as(Class::Panicked(place), format!("{of}{at}: {message}"));
            }
        }
        let is_missed = |mark: &&Mark| mark.must == Must::Eventually && !mark.holds;
        let missed = self.marks.borrow().iter().find(is_missed).map(|mark| mark.name);
        if let Some(name) = missed {
            self.fail_as(Class::Eventually(name), format!("not eventually: {name}"));
        }
    }
}
