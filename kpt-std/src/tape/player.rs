//! A tape as it is replayed: the next entry, the first call that differs, and which source is which.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::rc::Rc;

use kpt_core::poller::HookCall;
use kpt_core::tape::{Call, Entry, NoTape, Records, Seconds};
use kpt_core::{Instant, Kind, Readiness, Source};

use super::here;
use super::recording::Mask;
use super::step::Step;
use crate::Address;

/// The first call of a replay that is not as on the tape.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Divergence {
    /// The number of the entry on the tape, from 0, of those that matter to a replay.
    pub entry: usize,
    /// The latest time on the tape up to there.
    pub time: Instant,
    /// The name and id of the thread whose hook was called last, of the replay; empty before the first one.
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

/// What can't be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// It is no tape of this version.
    NoTape(NoTape),
    /// It does not begin with the beginning of a recording: a ring that has overwritten it, or a recording that was
    /// started after its poller was made.
    NoBeginning,
    /// This OS thread records or replays already.
    Busy,
    /// The poller of the recording looks after another number of hooks
    /// ([`LOOK_AFTER_HOOKS`](kpt_core::poller::Poller::LOOK_AFTER_HOOKS)): this one.
    LooksAfter(u32),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTape(error) => error.fmt(f),
            Self::NoBeginning => f.write_str("the tape does not have the beginning of its run"),
            Self::Busy => f.write_str("this OS thread records or replays already"),
            Self::LooksAfter(hooks) => write!(
                f,
                "the poller of the recording looks after {hooks} hooks: replay with poller::<{hooks}>()"
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
    /// The sources of the tape that are other ones in this run, and the other way round.
    here: HashMap<Source, Source>,
    taped: HashMap<Source, Source>,
    /// Of the sockets of this run: where each is, or who is at its other end.
    pub addresses: HashMap<Source, Address>,
    /// Those that the poller has refused to watch since the last wait.
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

    /// Takes the next entry if `fits` makes something of it. Otherwise this call is the first that differs, unless the
    /// tape is at its end.
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

    /// A poller is told of its sources whenever its loop likes. So what it refused is not compared in its place.
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

    /// Ids are not compared: they depend on the tables.
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
                let is_name =
                    call.name == &**name || call.name.len() > 31 && call.name.starts_with(&**name);
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
    /// Returns the number and the bytes that the tape has for this call, which is passed `parts`.
    ///
    /// # Errors
    /// Returns an error if this call is another one than on the tape, or if the tape is at its end; and the error that
    /// the call had.
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
