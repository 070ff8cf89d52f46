//! What has happened in a run, line by line.

use std::collections::VecDeque;
use std::fmt;

use kpt_core::poller::{HookCall, Poller, Ready, Unwatchable};
use kpt_core::{Instant, Interest, Source};

use super::Sim;

/// The number of lines that are kept; earlier ones are dropped.
const KEPT: usize = 10_000;

/// What has happened in a run, line by line: the time in seconds, the thread whose hook was running (`-` outside of
/// hooks), and what it was: `->` the beginning of a hook, `**` a deviation, `!!` a failure.
///
/// Of long runs, the last 10,000 lines are kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Trace {
    lines: VecDeque<String>,
    dropped: usize,
}

impl Trace {
    /// Returns the lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// Returns the number of earlier lines that were dropped.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    pub(super) fn push(&mut self, now: Instant, thread: &str, text: &str) {
        if self.lines.len() == KEPT {
            self.lines.pop_front();
            self.dropped += 1;
        }
        let micros = now.as_micros();
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        self.lines.push_back(format!("{seconds:>4}.{micros:06}  {thread:<12} {text}"));
    }

    /// Returns the first line that differs in another trace of the same schedule, as text for a failure.
    pub(super) fn difference(&self, other: &Self) -> String {
        let same = self.lines.iter().zip(&other.lines).take_while(|(one, other)| one == other);
        let at = same.count();
        let line =
            |trace: &Self| trace.lines.get(at).map_or("the end", |line| line.trim()).to_owned();
        format!(
            "\n(the test is not deterministic: in two runs of this schedule, line {at} of the trace is\
             \n  {}\nand\n  {})",
            line(self),
            line(other)
        )
    }

    /// Writes the last `count` lines, and how many there were before.
    pub(super) fn write_last(&self, count: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped = self.lines.len().saturating_sub(count);
        if skipped + self.dropped > 0 {
            writeln!(f, "  ... {} lines before", skipped + self.dropped)?;
        }
        self.lines.iter().skip(skipped).try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// The lines.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_last(KEPT, f)
    }
}

/// The lines, too.
impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The largest number of bytes of a text that a line of the trace shows.
pub(super) const SHOWN: usize = 60;

/// Bytes as text, cut to [`SHOWN`] bytes.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_at_checked(SHOWN) {
            Some((start, [_, ..])) => {
                write!(f, "\"{}\".. {} bytes", start.escape_ascii(), self.0.len())
            }
            _ => write!(f, "\"{}\"", self.0.escape_ascii()),
        }
    }
}

/// A poller around a poller of your own, which reports hooks and the time to a [`Sim`]: see [`Sim::observe`].
#[derive(Debug)]
pub struct Observed<P> {
    sim: Sim,
    inner: P,
}

impl<P> Observed<P> {
    pub(super) fn new(sim: Sim, inner: P) -> Self {
        Self { sim, inner }
    }

    /// Returns the inner poller.
    pub fn inner(&self) -> &P {
        &self.inner
    }
}

impl<P: Poller> Poller for Observed<P> {
    type Error = P::Error;

    const LOOK_AFTER_HOOKS: u32 = P::LOOK_AFTER_HOOKS;

    fn now(&mut self) -> Instant {
        let now = self.inner.now();
        self.sim.run().set_now(now);
        now
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        self.inner.modify(source, interest)
    }

    /// # Panics
    /// If the run has had as many turns as its limits say.
    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, P::Error> {
        assert!(self.sim.run().take_turn(), "a run of too many turns");
        let now = self.inner.wait(until, ready)?;
        self.sim.run().set_now(now);
        Ok(now)
    }

    fn prepare(&mut self, until: Instant) -> Result<Instant, P::Error> {
        self.inner.prepare(until)
    }

    fn before_hook(&mut self, call: HookCall) {
        self.sim.run().before_hook(&call);
        self.inner.before_hook(call);
    }

    fn after_hook(&mut self) {
        self.sim.run().after_hook();
        self.inner.after_hook();
    }
}
