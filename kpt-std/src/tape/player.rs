//! A tape as it is replayed: the next entry, the first call that differs, and which source is which.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::rc::Rc;

use kpt_core::poller::HookCall;
use kpt_core::tape::{Call, Entry, LONGEST_NAME, NoTape, Records, Seconds};
use kpt_core::{Instant, Kind, Readiness, Source};

use super::here;
use super::recording::Mask;
use super::step::Step;
use crate::Address;

/// The first call of a replay that differs from the tape.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Divergence {
    /// The number of the entry on the tape, from 0; entries that a replay does not need are not counted.
    pub entry: usize,
    /// The latest time on the tape up to that entry.
    pub time: Instant,
    /// The name and id of the thread whose hook the replay has called last; empty before the first one.
    pub thread: String,
    /// What the tape has there.
    pub taped: String,
    /// What is called in its place.
    pub called: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, time, thread, taped, called } = self;
        let thread = if thread.is_empty() { "before the first hook" } else { thread };
        write!(f, "entry {entry}, at {} s, {thread}: the tape has \"{taped}\", ", Seconds(*time))?;
        write!(f, "and this run \"{called}\"")
    }
}

/// Why a tape can't be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The bytes are not a tape, or one of another version.
    NoTape(NoTape),
    /// The tape does not have the beginning of its run: it is a ring that has overwritten that, or a recording that was
    /// started after its poller was made.
    NoBeginning,
    /// This OS thread records or replays already.
    Busy,
    /// The poller of the recording has this [`LOOK_AFTER_HOOKS`](kpt_core::poller::Poller::LOOK_AFTER_HOOKS), and not that
    /// of the replay's poller.
    LooksAfter(u32),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTape(error) => error.fmt(f),
            Self::NoBeginning => f.write_str(
                "the tape does not have the beginning of its run; start a recording before its poller is made",
            ),
            Self::Busy => f.write_str("this OS thread records or replays already"),
            Self::LooksAfter(hooks) => write!(
                f,
                "the poller of the recording looks for events after {hooks} hooks, and this one after another number; use \
                 Replay::poller_that_looks_after::<{hooks}>()"
            ),
        }
    }
}

impl std::error::Error for ReplayError {}

/// A tape, and how far it has been replayed.
pub(super) struct Player {
    steps: Vec<Step>,
    at: usize,
    pub look_after_hooks: u32,
    pub time: Instant,
    thread: String,
    pub divergence: Option<Box<Divergence>>,
    /// The source in this run for each on the tape, and the other way round. Those with the same number are left out.
    here: HashMap<Source, Source>,
    taped: HashMap<Source, Source>,
    /// The address of each socket of this run, or of its peer.
    pub addresses: HashMap<Source, Address>,
    /// The sources of the tape that the poller has refused to watch since the last wait.
    refused: Vec<Source>,
    pub mask: Option<Mask>,
    copy: Vec<u8>,
    pub hooks: u64,
    /// Of what has been called.
    pub digest: u64,
}

impl Player {
    pub fn new(tape: &[u8]) -> Result<Self, ReplayError> {
        let records = Records::new(tape).map_err(ReplayError::NoTape)?;
        let (mut steps, mut names, mut starts) = (Vec::new(), Vec::new(), None);
        for record in records {
            if let Entry::Starts { look_after_hooks } = record.entry {
                starts = starts.or(Some(look_after_hooks));
            } else if starts.is_none() && !matches!(record.entry, Entry::Called(_)) {
                return Err(ReplayError::NoBeginning);
            }
            steps.extend(Step::new(record, &mut names));
        }
        Ok(Self {
            steps,
            at: 0,
            look_after_hooks: starts.ok_or(ReplayError::NoBeginning)?,
            time: Instant::ZERO,
            thread: String::new(),
            divergence: None,
            here: HashMap::new(),
            taped: HashMap::new(),
            addresses: HashMap::new(),
            refused: Vec::new(),
            mask: None,
            copy: Vec::new(),
            hooks: 0,
            digest: 0,
        })
    }

    /// Returns how many entries are left.
    pub fn left(&self) -> usize {
        self.steps.len() - self.at
    }

    /// Takes the next entry, and returns what `fits` returns for it. If that is `None`, this call is the first that differs.
    /// Returns `None` also at the end of the tape, and after a difference.
    fn next<T>(
        &mut self,
        called: &dyn fmt::Display,
        fits: impl FnOnce(&Step) -> Option<T>,
    ) -> Option<T> {
        self.take_refused();
        if self.divergence.is_some() {
            return None;
        }
        let step = self.steps.get(self.at)?;
        let fitting = fits(step);
        if fitting.is_some() {
            self.digest = step.mix(self.digest);
            self.at += 1;
        } else {
            self.divergence = Some(Box::new(Divergence {
                entry: self.at,
                time: self.time,
                thread: self.thread.clone(),
                taped: step.entry().to_string(),
                called: called.to_string(),
            }));
        }
        fitting
    }

    /// Takes entries about refused sources. They are not compared in order, since another loop tells its poller of its
    /// sources at other times.
    fn take_refused(&mut self) {
        while let Some(Step::Refused(source)) = self.steps.get(self.at) {
            self.refused.push(*source);
            self.at += 1;
        }
    }

    /// Returns the source of this run that is `taped` on the tape.
    fn here(&self, taped: Source) -> Source {
        self.here.get(&taped).copied().unwrap_or(taped)
    }

    /// Notes that `taped` is another source in this run.
    pub fn is_here(&mut self, taped: Source, here: Source) {
        self.here.insert(taped, here);
        self.taped.insert(here, taped);
    }

    /// Returns the source on the tape that is `here` in this run.
    fn taped(&self, here: Source) -> Source {
        self.taped.get(&here).copied().unwrap_or(here)
    }
}

/// What the poller asks.
impl Player {
    pub fn now(&mut self) -> Instant {
        let fits = |step: &Step| if let Step::Now(now) = step { Some(*now) } else { None };
        let now = self.next(&"clock is read", fits);
        self.time = now.unwrap_or(self.time);
        self.time
    }

    pub fn is_refused(&mut self, source: Source) -> bool {
        self.take_refused();
        self.refused.iter().any(|refused| self.here(*refused) == source)
    }

    /// Returns the next thing that a wait finds, or its end.
    pub fn waits(&mut self) -> Option<Waits> {
        let fits = |step: &Step| match step {
            Step::Ready(source, readiness) => Some(Waits::Finds(*source, *readiness)),
            Step::Woke(now) => Some(Waits::Returns(*now)),
            Step::Failed => Some(Waits::Fails),
            _ => None,
        };
        match self.next(&"wait", fits)? {
            Waits::Finds(source, readiness) => Some(Waits::Finds(self.here(source), readiness)),
            Waits::Returns(now) => {
                self.refused.clear();
                self.time = now;
                Some(Waits::Returns(now))
            }
            Waits::Fails => {
                self.refused.clear();
                Some(Waits::Fails)
            }
        }
    }

    /// Returns the moment until which a host waits; `Some(None)` if it can't.
    pub fn prepares(&mut self) -> Option<Option<Instant>> {
        self.next(&"host waits", |step| match step {
            Step::Prepared(until) => Some(Some(*until)),
            Step::Failed => Some(None),
            _ => None,
        })
    }

    /// Compares the call of a hook. Ids are not compared, since they depend on the tables of the loop.
    pub fn hook(&mut self, call: &HookCall) {
        // A ring has read the clock more often, and knows a later time.
        let now = match self.steps.get(self.at) {
            Some(Step::Hook { time, .. }) => *time,
            _ => self.time,
        };
        let is_timer = call.kind == Kind::Timer;
        let delay = if is_timer { now.as_micros().saturating_sub(call.due.as_micros()) } else { 0 };
        let entry = Entry::Hook { name: call.name, kind: call.kind, id: call.id, late: delay };
        self.next(&entry, |step| match step {
            Step::Hook { name, kind, late, .. } => {
                let is_cut = call.name.len() > LONGEST_NAME && call.name.starts_with(&**name);
                let is_name = is_cut || call.name == &**name;
                (is_name && *kind == call.kind && *late == delay).then_some(())
            }
            _ => None,
        });
        self.hooks += 1;
        self.thread = format!("thread {} {}", call.name, call.id);
    }
}

/// What a wait on a tape does next.
pub(super) enum Waits {
    Finds(Source, Readiness),
    Returns(Instant),
    Fails,
}

/// What the application calls.
impl Player {
    /// Returns the number and the bytes that the tape has for this call, to which `parts` are passed.
    ///
    /// # Errors
    /// Returns the error that the call had; an error if this call is not the one on the tape; and `UnexpectedEof` if the
    /// tape is at its end.
    pub fn called(
        &mut self,
        call: Call,
        source: Option<Source>,
        parts: &[&[u8]],
    ) -> io::Result<(u32, Rc<[u8]>)> {
        let taped = source.map(|source| self.taped(source));
        let on = taped.unwrap_or(Source::new(0));
        let sent = if parts.is_empty() {
            0
        } else {
            here::digest(on, parts, self.mask.as_mut(), &mut self.copy)
        };
        let back = self.next(&Calls { call, on, parts, sent }, |step| match step {
            Step::Called { call: c, source: s, sent: d, result, bytes }
                if (*c, *s, *d) == (call, on, sent) =>
            {
                Some((*result, Rc::clone(bytes)))
            }
            _ => None,
        });
        let (result, bytes) = back.ok_or_else(|| self.over())?;
        Ok((result.map_err(io::Error::from_raw_os_error)?, bytes))
    }

    /// Returns the bytes of a value of the application's own. Its name is the same in each run.
    ///
    /// # Errors
    /// Fails as [`called`](Self::called) does.
    pub fn value(&mut self, name: Source) -> io::Result<Rc<[u8]>> {
        let called = Calls { call: Call::Value, on: name, parts: &[], sent: 0 };
        let back = self.next(&called, |step| match step {
            Step::Called { call: Call::Value, source, result, bytes, .. } if *source == name => {
                Some((*result, Rc::clone(bytes)))
            }
            _ => None,
        });
        let (result, bytes) = back.ok_or_else(|| self.over())?;
        result.map(|_| bytes).map_err(io::Error::from_raw_os_error)
    }

    /// Why there is nothing for a call.
    fn over(&self) -> io::Error {
        match &self.divergence {
            Some(divergence) => io::Error::other(divergence.to_string()),
            None => io::Error::new(io::ErrorKind::UnexpectedEof, "the tape is at its end"),
        }
    }
}

/// A call of this run, as [`Entry`] shows one.
struct Calls<'p> {
    call: Call,
    on: Source,
    parts: &'p [&'p [u8]],
    sent: u32,
}

impl fmt::Display for Calls<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.call, self.on.number())?;
        if self.parts.is_empty() {
            return Ok(());
        }
        let bytes = self.parts.concat();
        let start = &bytes[..bytes.len().min(40)];
        write!(f, ", digest {:08x}, {} bytes: \"{}\"", self.sent, bytes.len(), start.escape_ascii())
    }
}
