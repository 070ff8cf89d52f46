//! What is done to a loop from outside and by hooks, as data, and how chance makes it.

use std::time::Duration;

use kpt_core::{Instant, Readiness, Source, When};

use super::chance::Chance;

/// Sources are numbered from 0; few, so that threads meet on them.
pub const SOURCES: u32 = 6;

/// A source that no thread ever asks for.
pub const UNKNOWN: u32 = 4_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Geometry {
    Small,
    Wheel2x3,
    Wheel16x10,
    Wheel64x6,
}

/// A loop to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub capacity: usize,
    pub geometry: Geometry,
    /// The poller's `LOOK_EVERY`: 1 or 4.
    pub look_every: u32,
    /// What the clock starts at.
    pub start: u64,
}

/// What is done from outside.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Turn,
    Do(Act),
    /// The poller's next wait finds this in addition, whether it is so or not.
    Push(u32, Readiness),
    /// The poller's next wait fails.
    FailWait,
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
    CancelSource(u32),
    Stop,
    Now,
    Advance(u64),
    StepBack(u64),
    Set(u32, Readiness),
    Clear(u32, Readiness),
    /// The source becomes ready so much later.
    Later(u64, u32, Readiness),
    /// The poller can't watch the source, or can again.
    Refuse(u32, bool),
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
    After(Duration),
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
            Self::After(delay) => When::After(delay),
            Self::Ahead(micros) => When::At(Instant::from_micros(now.saturating_add(micros))),
            Self::Behind(micros) => When::At(Instant::from_micros(now.saturating_sub(micros))),
            Self::At(micros) => When::At(Instant::from_micros(micros)),
            Self::Now => When::Now,
        }
    }
}

/// What a hook does in one run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub acts: [Option<Act>; 2],
    pub finish: Finish,
}

/// What a hook does last.
#[derive(Clone, Copy, Debug)]
pub enum Finish {
    Return,
    Again,
    AgainWhen(Want),
    End(Option<Act>),
    Panic,
    AgainAndPanic,
    /// Cancels its own source, perhaps adds a thread, looks at itself, and then does this.
    DropSource(Option<Spec>, Last),
}

#[derive(Clone, Copy, Debug)]
pub enum Last {
    Return,
    Again,
    AgainWhen(Want),
    End,
}

/// Scripts below this are the named ones.
const NAMED: u32 = 16;

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
    /// The plan of a thread's nth run.
    pub fn of(script: u32, run: u32) -> Self {
        if script >= NAMED {
            return Self::by(&mut Chance(u64::from(script) << 32 | u64::from(run)));
        }
        let add = |want, script| Spec { want, hook: 0, name: "added", script };
        let (act, finish) = match script {
            script::AGAIN => (None, Finish::Again),
            script::AGAIN_WRITING => (None, Finish::AgainWhen(Want::Write(0))),
            script::CANCEL_AND_AGAIN => (Some(Act::Cancel(0)), Finish::Again),
            script::STOP_AND_AGAIN => (Some(Act::Stop), Finish::Again),
            script::REPLACE_AND_AGAIN => {
                let spec = add(Want::Read(0), script::RETURN);
                (None, Finish::DropSource(Some(spec), Last::Again))
            }
            script::END_AND_ADD => {
                let spec = add(Want::Now, script::RETURN);
                (None, Finish::End(Some(Act::Add(spec))))
            }
            script::PANIC => (None, Finish::Panic),
            _ => (None, Finish::Return),
        };
        Self { acts: [act, None], finish }
    }

    fn by(chance: &mut Chance) -> Self {
        let acts = [(); 2].map(|()| chance.one_in(3).then(|| Act::by(chance)));
        let finish = match chance.below(32) {
            0..=9 => Finish::Return,
            10..=18 => Finish::Again,
            19..=23 => Finish::AgainWhen(Want::by(chance)),
            24..=25 => Finish::End(None),
            26..=27 => Finish::End(Some(Act::by(chance))),
            28 => Finish::Panic,
            29 => Finish::AgainAndPanic,
            _ => {
                let spec = chance.one_in(2).then(|| Spec::by(chance));
                Finish::DropSource(spec, Last::by(chance))
            }
        };
        Self { acts, finish }
    }
}

impl Last {
    fn by(chance: &mut Chance) -> Self {
        match chance.below(4) {
            0 => Self::Return,
            1 => Self::Again,
            2 => Self::AgainWhen(Want::by(chance)),
            _ => Self::End,
        }
    }
}

impl Case {
    pub fn by(chance: &mut Chance) -> Self {
        let before = u64::from(1 + chance.below(2_000));
        Self {
            capacity: chance.of(&[1, 2, 3, 3, 8, 8, 64]),
            geometry: chance.of(&[
                Geometry::Small,
                Geometry::Wheel2x3,
                Geometry::Wheel16x10,
                Geometry::Wheel64x6,
            ]),
            look_every: chance.of(&[1, 4]),
            start: chance.of(&[
                0,
                0,
                (1 << 32) - before,
                (1 << 63) - before,
                u64::MAX - before,
                u64::MAX,
            ]),
        }
    }
}

impl Op {
    pub fn by(chance: &mut Chance) -> Self {
        match chance.below(64) {
            0..=21 => Self::Turn,
            22..=23 => Self::Push(source(chance, true), readiness(chance)),
            24 if chance.one_in(4) => Self::FailWait,
            25 if chance.one_in(8) => Self::Restart,
            _ => Self::Do(Act::by(chance)),
        }
    }
}

impl Act {
    pub fn by(chance: &mut Chance) -> Self {
        match chance.below(64) {
            0..=27 => Self::Add(Spec::by(chance)),
            28..=35 => {
                let reach = chance.of(&[3, 8, 64]);
                Self::Cancel(chance.below(reach))
            }
            36 => Self::CancelOwn,
            37 => {
                let word = chance.next();
                Self::Forge(chance.of(&[1, 1 << 24, (1 << 24) + 1, u64::MAX, word]))
            }
            38..=40 => Self::CancelSource(source(chance, true)),
            41 => Self::Stop,
            42..=44 => Self::Now,
            45..=49 => Self::Advance(length(chance)),
            50 => Self::StepBack(length(chance)),
            51..=56 => Self::Set(source(chance, false), readiness(chance)),
            57..=60 => Self::Clear(source(chance, false), readiness(chance)),
            61..=62 => Self::Later(length(chance), source(chance, false), readiness(chance)),
            _ => Self::Refuse(source(chance, false), chance.one_in(3)),
        }
    }
}

impl Spec {
    pub fn by(chance: &mut Chance) -> Self {
        Self {
            want: Want::by(chance),
            hook: chance.below(2) as u8,
            name: chance.of(&["a", "b", "c", ""]),
            script: match chance.below(4) {
                0 => chance.below(NAMED),
                _ => chance.next() as u32,
            },
        }
    }
}

impl Want {
    pub fn by(chance: &mut Chance) -> Self {
        match chance.below(16) {
            0..=3 => Self::Read(source(chance, false)),
            4..=7 => Self::Write(source(chance, false)),
            8..=10 => Self::After(delay(chance)),
            11 => Self::Ahead(length(chance)),
            12 => Self::Behind(length(chance)),
            13 => Self::At(chance.of(&[0, 1, 1 << 40, u64::MAX - 1, u64::MAX])),
            _ => Self::Now,
        }
    }
}

fn source(chance: &mut Chance, may_be_unknown: bool) -> u32 {
    if may_be_unknown && chance.one_in(8) {
        return UNKNOWN;
    }
    // The first ones more often than the others.
    let bound = 1 + chance.below(SOURCES);
    chance.below(bound)
}

fn readiness(chance: &mut Chance) -> Readiness {
    let bits = [
        Readiness::READABLE,
        Readiness::WRITABLE,
        Readiness::READABLE | Readiness::WRITABLE,
        Readiness::HANGUP,
        Readiness::ERROR,
        Readiness::NONE,
    ];
    let any = chance.of(&bits) | chance.of(&bits);
    chance.of(&[bits[0], bits[1], bits[2], bits[2], any])
}

fn delay(chance: &mut Chance) -> Duration {
    match chance.below(16) {
        0 => Duration::MAX,
        1 => Duration::from_nanos(1),
        2 => Duration::from_nanos(1_001),
        3 => Duration::from_secs(u64::from(chance.below(100))),
        _ => Duration::from_micros(length(chance)),
    }
}

/// Microseconds: mostly few, often about the size of a level, now and then huge.
fn length(chance: &mut Chance) -> u64 {
    match chance.below(32) {
        0..=5 => 0,
        6..=9 => 1,
        10..=19 => u64::from(chance.below(20)),
        20..=28 => {
            let size = 1_u64 << chance.of(&[1, 1, 2, 3, 3, 4, 6, 8, 12, 16, 18, 24, 36, 40]);
            size.saturating_add(u64::from(chance.below(3))).saturating_sub(1)
        }
        29 => 3 * 8 + 1,
        30 => 3 * (1 << 36) + 1,
        _ => chance.of(&[1 << 32, 1 << 50, 1 << 62, u64::MAX / 2, u64::MAX - 1, u64::MAX]),
    }
}
