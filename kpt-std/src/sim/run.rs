//! One run of a test: what its parts report to the search, and what they ask of it.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::rc::Rc;

use kpt_core::Instant;
use kpt_core::poller::HookCall;
use kpt_core::sim::Site;

use super::choice::{Decisions, Driver, Filter, Ways, mix};
use super::trace::Trace;

/// The number of turns after which a run ends, if a search says nothing else.
pub(super) const TURNS: u64 = 10_000;

/// The name of what happens outside of hooks.
const OUTSIDE: &str = "-";

/// One run, as the parts of a simulation share it. Nothing of it is borrowed while the application runs.
#[derive(Debug)]
pub(super) struct Run {
    now: Cell<Instant>,
    /// The hash of all that has happened so far.
    fingerprint: Cell<u64>,
    pub(super) decisions: RefCell<Decisions>,
    pub(super) marks: RefCell<Vec<Mark>>,
    pub(super) fault: RefCell<Option<Fault>>,
    pub(super) trace: RefCell<Option<Trace>>,
    thread: Cell<&'static str>,
    /// The thread whose hook was the last one to panic.
    panicked_in: Cell<Option<&'static str>>,
    turns: u64,
    turns_left: Cell<u64>,
    /// The time, and the number of turns that were left when it last changed.
    moved: Cell<(Instant, u64)>,
}

/// A property that need not hold at each moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) name: &'static str,
    pub(super) must: Must,
    pub(super) holds: bool,
}

/// Where a property must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Must {
    /// In one schedule at least.
    Sometimes,
    /// Once in each schedule.
    Eventually,
}

/// Why a run has failed.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) class: Class,
    pub(super) message: String,
}

/// What failures of the same cause have in common. It has no values that differ between schedules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Always(&'static str),
    Eventually(&'static str),
    Failed(&'static str),
    /// With file, line and column.
    Panicked(String),
    /// With the text of the error, but for its digits.
    Returned(String),
    NotDeterministic,
}

impl Run {
    pub(super) fn new(decisions: Decisions, turns: u64, trace: Option<Trace>) -> Self {
        Self {
            now: Cell::new(Instant::ZERO),
            fingerprint: Cell::new(0),
            decisions: RefCell::new(decisions),
            marks: RefCell::default(),
            fault: RefCell::default(),
            trace: RefCell::new(trace),
            thread: Cell::new(OUTSIDE),
            panicked_in: Cell::new(None),
            turns,
            turns_left: Cell::new(turns),
            moved: Cell::new((Instant::ZERO, turns)),
        }
    }

    /// Creates a run in which everything goes as usual.
    pub(super) fn usual() -> Self {
        let mut decisions = Decisions::new(Rc::new(Filter::default()));
        decisions.begin(Driver::Listed(Vec::new()));
        Self::new(decisions, TURNS, None)
    }

    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    pub(super) fn set_now(&self, now: Instant) {
        self.now.set(now);
    }

    /// Decides, and notes a deviation.
    pub(super) fn choose(&self, site: Site, ways: Ways) -> u32 {
        let took = self.decisions.borrow_mut().choose(site, ways, self.fingerprint.get());
        if took != 0 {
            self.note(|| format!("** {}/{}: {}", site.name, site.who, ways.name(took)));
        }
        took
    }

    /// Adds bytes to the fingerprint, and the time. They must be the same in equal runs, as addresses are not.
    pub(super) fn mix(&self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.mix_number(u64::from_le_bytes(*word)));
        let last = rest.iter().fold(rest.len() as u64, |last, byte| last << 8 | u64::from(*byte));
        self.mix_number(last);
    }

    /// Adds a number to the fingerprint, and the time.
    pub(super) fn mix_number(&self, number: u64) {
        let mixed = self.fingerprint.get() ^ self.now.get().as_micros().rotate_left(32) ^ number;
        self.fingerprint.set(mix(mixed));
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint.get()
    }

    /// Adds a line to the trace, if there is one.
    pub(super) fn note(&self, text: impl FnOnce() -> String) {
        if self.trace.borrow().is_none() {
            return;
        }
        let text = text(); // It may note something itself.
        if let Some(trace) = &mut *self.trace.borrow_mut() {
            trace.push(self.now.get(), self.thread.get(), &text);
        }
    }

    /// Notes that a hook begins.
    pub(super) fn before_hook(&self, call: &HookCall) {
        self.thread.set(call.name);
        self.panicked_in.set(None);
        self.mix(call.name.as_bytes());
        self.note(|| format!("-> {}", call.kind.as_str()));
    }

    pub(super) fn after_hook(&self) {
        let thread = self.thread.replace(OUTSIDE);
        if std::thread::panicking() {
            self.panicked_in.set(Some(thread));
        }
    }

    pub(super) fn panicked_in(&self) -> Option<&'static str> {
        self.panicked_in.get()
    }

    /// Returns the number of turns that a run may have.
    pub(super) fn turns(&self) -> u64 {
        self.turns
    }

    /// Takes one of the turns that a run may have. Returns `false` if there is none left: the run has failed then.
    pub(super) fn take_turn(&self) -> bool {
        let left = self.turns_left.get().saturating_sub(1);
        self.turns_left.set(left);
        if self.moved.get().0 != self.now.get() {
            self.moved.set((self.now.get(), left));
        }
        if left == 0 {
            let turns = self.moved.get().1;
            self.fail(
                "the loop goes on for ever",
                format_args!(
                    "{} turns, and the time has stood still in the last {turns}",
                    self.turns
                ),
            );
        }
        left > 0
    }

    /// Fails the run, unless it has failed before. `what` is the same for all failures of one cause.
    pub(super) fn fail(&self, what: &'static str, details: impl Display) {
        self.fail_as(Class::Failed(what), format!("{what}: {details}"));
    }

    pub(super) fn fail_as(&self, class: Class, message: String) {
        if self.has_failed() {
            return;
        }
        self.note(|| format!("!! {message}"));
        self.fault.replace(Some(Fault { class, message }));
    }

    pub(super) fn has_failed(&self) -> bool {
        self.fault.borrow().is_some()
    }

    pub(super) fn mark(&self, name: &'static str, must: Must, holds: bool) {
        let mut marks = self.marks.borrow_mut();
        match marks.iter_mut().find(|mark| mark.name == name && mark.must == must) {
            Some(mark) => mark.holds |= holds,
            None => marks.push(Mark { name, must, holds }),
        }
    }
}
