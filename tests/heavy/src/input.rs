//! What is done to both loops from outside and by hooks, as data.

use std::time::Duration;

use kpt_core::{Instant, Interest, Readiness, Source, When};
use kpt_tests::loops::Shape;

use crate::dice::Dice;

/// Sources are numbered from 0; few, so that threads meet on them.
pub const SOURCES: u32 = 6;

/// A source that no thread ever waits for.
pub const UNKNOWN: u32 = 4_000_000_000;

/// Two loops to begin with, and how their pollers are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    pub capacity: usize,
    /// The large loop's.
    pub shape: Shape,
    /// The pollers' `LOOK_AFTER_HOOKS`: 1, 4 or 128.
    pub look_every: u32,
    /// What the clocks start at.
    pub start: u64,
    /// A source that the pollers can't watch for that. Only one: which of several such sources comes first is open.
    pub refused: Option<(u32, Interest)>,
    /// The pollers let go of a source on which they have found an error.
    pub lets_go: bool,
    /// The seed of `Faults` around the pollers, if they have it.
    pub faults: Option<u64>,
    /// Clocks go forward, and stay far from their end, so that the audit can judge.
    pub is_tame: bool,
}

/// What is done from outside.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Up to so many turns, while the loop goes on.
    Turns(u32),
    Poll,
    Do(Act),
    /// The poller's next wait pushes this in addition, whether it is so or not.
    Push(u32, Readiness),
    /// The poller's next wait asks for all threads, and finds this on the source.
    Ask(u32, Readiness),
    /// The poller's next wait fails.
    FailWait,
    /// The poller panics when it is next asked for the time, or to wait.
    PanicPoller,
    /// The loop is dropped, and another one begins.
    Restart,
}

/// What can be done from outside and by a hook.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Add(Spec),
    /// Cancel the id that was handed out so many ids before the last one.
    Cancel(u32),
    /// Cancel the own id of the thread that runs.
    CancelOwn,
    /// Cancel an id that is none.
    Forge(u64),
    /// Cancel what becomes of the id that was handed out so many ids before the last one if these bits are changed.
    ForgeFrom(u32, u64),
    CancelSource(u32),
    /// Have the thread with the id that was handed out so many ids before the last one wait for something else.
    Reschedule(u32, Want),
    Stop,
    Now,
    Dump,
    Advance(u64),
    StepBack(u64),
    Set(u32, Readiness),
    Clear(u32, Readiness),
    /// The source becomes ready so much later.
    Later(u64, u32, Readiness),
}

/// A thread to add.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub want: Want,
    pub hook: u8,
    pub name: &'static str,
    pub script: u32,
}

/// A `When` whose moment is as far from the present as it says.
#[derive(Clone, Copy, Debug)]
pub enum Want {
    Read(u32),
    Write(u32),
    Ready(u32, Interest),
    After(Duration),
    AfterDeadline(Duration),
    Ahead(u64),
    Behind(u64),
    At(u64),
    Now,
}

impl Want {
    pub fn when(self, now: Instant) -> When {
        let now = now.as_micros();
        match self {
            Self::Read(source) => When::Readable(Source::new(source)),
            Self::Write(source) => When::Writable(Source::new(source)),
            Self::Ready(source, interest) => When::Ready(Source::new(source), interest),
            Self::After(delay) => When::After(delay),
            Self::AfterDeadline(delay) => When::AfterDeadline(delay),
            Self::Ahead(micros) => When::At(Instant::from_micros(now.saturating_add(micros))),
            Self::Behind(micros) => When::At(Instant::from_micros(now.saturating_sub(micros))),
            Self::At(micros) => When::At(Instant::from_micros(micros)),
            Self::Now => When::Now,
        }
    }
}

/// What a hook does in one run, in this order.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub acts: [Option<Act>; 2],
    /// It cancels its own source, and perhaps adds a thread.
    pub gives_up: Option<Option<Spec>>,
    pub last: Last,
    pub panics: bool,
}

/// What a hook does with its thread.
#[derive(Clone, Copy, Debug)]
pub enum Last {
    Return,
    Again,
    TryAgain,
    AgainAs(u8),
    AgainWhen(Want),
    /// And this when the thread has ended.
    End(Option<Act>),
}

/// Scripts below this are the named ones.
pub const NAMED: u32 = 16;

/// Scripts whose every run is the same.
pub mod script {
    pub const RETURN: u32 = 0;
    pub const AGAIN: u32 = 1;
    /// Writes in place of reading: `again_when` the source 0 is writable.
    pub const AGAIN_WRITING: u32 = 2;
    /// Cancels the last thread that was added, perhaps itself, and goes on.
    pub const CANCEL_AND_AGAIN: u32 = 3;
    /// Stops the loop, and goes on.
    pub const STOP_AND_AGAIN: u32 = 4;
    /// Cancels its own source, adds a reader of source 0 in its place, and tries to go on.
    pub const REPLACE_AND_AGAIN: u32 = 5;
    /// Ends, and adds an execute thread in its place.
    pub const END_AND_ADD: u32 = 6;
    pub const PANIC: u32 = 7;
}

impl Plan {
    /// What a thread does in its nth run.
    pub fn of(script: u32, run: u32, is_tame: bool) -> Self {
        if script >= NAMED {
            return Dice::new(u64::from(script) << 32 | u64::from(run), is_tame).plan();
        }
        let nothing = Self { acts: [None; 2], gives_up: None, last: Last::Return, panics: false };
        let add = |want| Spec { want, hook: 0, name: "added", script: script::RETURN };
        let act = |act, last| Self { acts: [Some(act), None], last, ..nothing };
        match script {
            script::AGAIN => Self { last: Last::Again, ..nothing },
            script::AGAIN_WRITING => Self { last: Last::AgainWhen(Want::Write(0)), ..nothing },
            script::CANCEL_AND_AGAIN => act(Act::Cancel(0), Last::TryAgain),
            script::STOP_AND_AGAIN => act(Act::Stop, Last::TryAgain),
            script::REPLACE_AND_AGAIN => {
                Self { gives_up: Some(Some(add(Want::Read(0)))), last: Last::TryAgain, ..nothing }
            }
            script::END_AND_ADD => {
                Self { last: Last::End(Some(Act::Add(add(Want::Now)))), ..nothing }
            }
            script::PANIC => Self { panics: true, ..nothing },
            _ => nothing,
        }
    }
}
