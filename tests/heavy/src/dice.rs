//! How chance makes what is done: equal for equal seeds.

use std::time::Duration;

use kpt_core::{Interest, Kind, Readiness};
use kpt_tests::chance::Chance;
use kpt_tests::loops::Shape;

use crate::input::{Act, Case, Last, NAMED, Op, Plan, SOURCES, Spec, UNKNOWN, Want};

/// No delay and no step of a tame clock is longer, so that the clock's end stays away.
const LONGEST: u64 = 1 << 40;

/// As late as this, a tame clock's delay may well lie beyond its end.
pub const TAME_END: u64 = u64::MAX - 2 * LONGEST;

/// The one that ships, one that does not reach the clock's end, and those whose levels are few or small.
const WHEELS: [Shape; 3] = [Shape::HOST, Shape::Wheel(16, 8), Shape::Wheel(2, 3)];

pub struct Dice {
    chance: Chance,
    is_tame: bool,
    /// Every second thread is of that kind.
    fond_of: Option<Kind>,
}

impl Dice {
    pub fn new(seed: u64, is_tame: bool) -> Self {
        Self { chance: Chance::new(seed), is_tame, fond_of: None }
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.chance.below(u64::from(bound)) as u32
    }

    fn one_in(&mut self, chances: u32) -> bool {
        self.below(chances) == 0
    }

    fn of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len() as u32) as usize]
    }

    /// What a seed stands for.
    pub fn game(seed: u64) -> (Case, Vec<Op>) {
        let mut dice = Self::new(seed, false);
        let case = dice.case();
        let length = if dice.one_in(32) { 1_000 } else { 160 };
        let length = 1 + dice.below(length);
        let ops = (0..length).map(|_| dice.op()).collect();
        (case, ops)
    }

    fn case(&mut self) -> Case {
        let kinds = [Kind::Read, Kind::Write, Kind::Timer, Kind::Timer, Kind::Execute];
        self.fond_of = self.one_in(2).then(|| self.of(&kinds));
        self.is_tame = self.one_in(2);
        let before = u64::from(1 + self.below(2_000));
        let starts = [0, (1 << 32) - before, (1 << 63) - before, u64::MAX - before, u64::MAX];
        let starts = if self.is_tame { &starts[..3] } else { &starts };
        let interests = [Interest::BOTH, Interest::WRITABLE];
        Case {
            capacity: self.of(&[0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
            shape: self.of(&WHEELS),
            look_every: self.of(&[1, 1, 4, 128]),
            start: self.of(starts),
            refused: self.one_in(4).then(|| (self.source(), self.of(&interests))),
            lets_go: self.one_in(2),
            faults: self.one_in(3).then(|| self.chance.number()),
            is_tame: self.is_tame,
        }
    }

    fn op(&mut self) -> Op {
        match self.below(64) {
            0..=10 => Op::Turns(1),
            11..=14 => Op::Turns(self.of(&[2, 3, 40])),
            15..=16 => Op::Poll,
            17..=18 => Op::Push(self.source_or_unknown(), self.readiness()),
            19 => Op::Ask(self.source_or_unknown(), self.readiness()),
            20 => match self.below(8) {
                0..=3 => Op::FailWait,
                4..=5 => Op::PanicPoller,
                6 => Op::Restart,
                _ => Op::Do(Act::Dump),
            },
            _ => Op::Do(self.act()),
        }
    }

    fn act(&mut self) -> Act {
        match self.below(64) {
            0..=24 => Act::Add(self.spec()),
            25..=28 => {
                let reach = self.of(&[3, 8, 64]);
                Act::Reschedule(self.below(reach), self.want())
            }
            29..=34 => {
                let reach = self.of(&[3, 8, 64]);
                Act::Cancel(self.below(reach))
            }
            35 => Act::CancelOwn,
            36 => {
                let word = self.chance.number();
                Act::Forge(self.of(&[1, 1 << 24, (1 << 24) + 1, u64::MAX, word]))
            }
            37 => {
                let bits = self.of(&[1, 2, 1 << 23, 1 << 24, 1 << 25, 1 << 56, 1 << 63]);
                Act::ForgeFrom(self.below(8), bits)
            }
            38..=40 => Act::CancelSource(self.source_or_unknown()),
            41 => Act::Stop,
            42..=43 => Act::Now,
            44 => Act::Dump,
            50 if !self.is_tame => Act::StepBack(self.length()),
            45..=50 => Act::Advance(self.length()),
            51..=58 => Act::Set(self.source(), self.readiness()),
            59..=60 => Act::Clear(self.source(), self.readiness()),
            _ => Act::Later(self.length(), self.source(), self.readiness()),
        }
    }

    pub fn plan(&mut self) -> Plan {
        Plan {
            acts: [(); 2].map(|()| self.one_in(3).then(|| self.act())),
            gives_up: self.one_in(16).then(|| self.one_in(2).then(|| self.spec())),
            last: match self.below(32) {
                0..=6 => Last::Return,
                7..=11 => Last::Again,
                12..=17 => Last::TryAgain,
                18..=20 => Last::AgainAs(self.below(2) as u8),
                21..=27 => Last::AgainWhen(self.want()),
                28 => Last::End(None),
                _ => Last::End(Some(self.act())),
            },
            panics: self.one_in(20),
        }
    }

    fn spec(&mut self) -> Spec {
        Spec {
            want: self.want(),
            hook: self.below(2) as u8,
            name: self.of(&["a", "b", "c", ""]),
            script: match self.below(4) {
                0 => self.below(NAMED),
                _ => self.chance.number() as u32,
            },
        }
    }

    fn want(&mut self) -> Want {
        use Kind::{Execute, Paused, Read, ReadWrite, Timer, Write};
        let any = self.of(&[
            Read, Read, Write, Write, ReadWrite, ReadWrite, Paused, Timer, Timer, Timer, Timer,
            Execute,
        ]);
        match self.fond_of.filter(|_| self.one_in(2)).unwrap_or(any) {
            Read => Want::Read(self.source()),
            Write => Want::Write(self.source()),
            ReadWrite => {
                let interest = self.of(&[Interest::BOTH, Interest::BOTH, Interest::READABLE]);
                Want::Ready(self.source(), interest)
            }
            Paused => Want::Ready(self.source(), Interest::NONE),
            Timer => self.timer(),
            Execute => Want::Now,
        }
    }

    fn timer(&mut self) -> Want {
        let last = if self.is_tame { LONGEST } else { u64::MAX - 1 };
        match self.below(8) {
            0 => Want::Ahead(self.length()),
            1 => Want::Behind(self.length()),
            3 => Want::AfterDeadline(self.delay()),
            2 => Want::At(self.of(&[0, 1, 1 << 40, last, u64::MAX])),
            _ => Want::After(self.delay()),
        }
    }

    fn source_or_unknown(&mut self) -> u32 {
        if self.one_in(8) { UNKNOWN } else { self.source() }
    }

    /// The first ones more often than the others.
    fn source(&mut self) -> u32 {
        let bound = 1 + self.below(SOURCES);
        self.below(bound)
    }

    fn readiness(&mut self) -> Readiness {
        let (read, write) = (Readiness::READABLE, Readiness::WRITABLE);
        let all = [read, write, read | write, Readiness::HANGUP, Readiness::ERROR, Readiness::NONE];
        let any = self.of(&all) | self.of(&all);
        self.of(&[read, write, read | write, read | write, any])
    }

    fn delay(&mut self) -> Duration {
        match self.below(16) {
            0 => Duration::MAX,
            1 => Duration::from_nanos(1),
            2 => Duration::from_nanos(1_001),
            3 => Duration::from_secs(u64::from(self.below(100))),
            _ => Duration::from_micros(self.length()),
        }
    }

    /// Microseconds: mostly few, often about the size of a level, now and then huge.
    fn length(&mut self) -> u64 {
        let length = match self.below(32) {
            0..=5 => 0,
            6..=9 => 1,
            10..=19 => u64::from(self.below(20)),
            20..=28 => {
                let bits = [1, 1, 2, 3, 3, 4, 6, 8, 12, 16, 18, 24, 36, 40];
                let size = 1_u64 << self.of(&bits);
                size + u64::from(self.below(3)) - 1
            }
            29 => 3 * 8 + 1,
            30 => 3 * (1 << 36) + 1,
            _ => self.of(&[1 << 32, 1 << 50, 1 << 62, u64::MAX / 2, u64::MAX - 1, u64::MAX]),
        };
        if self.is_tame { length.min(LONGEST) } else { length }
    }
}
