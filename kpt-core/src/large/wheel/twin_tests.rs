//! Every timer structure against a twin that is slow and obviously right.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::BTreeMap;
use std::vec::Vec;

use super::tests::index;
use super::*;

/// What the test must know of a structure to say what it may answer.
trait Probe: Timers + Default {
    /// Slots of a level, and levels.
    const SHAPE: (u64, u32);
    /// Whether `next_deadline` must be exact.
    fn is_exact(&self, links: &[Link]) -> bool;
}

impl<const SLOTS: usize, const LEVELS: usize> Probe for Wheel<SLOTS, LEVELS>
where
    Slots<SLOTS>: Level,
{
    const SHAPE: (u64, u32) = (SLOTS as u64, LEVELS as u32);
    fn is_exact(&self, links: &[Link]) -> bool {
        let Some(stop) = self.next_stop() else { return true };
        self.list(stop.home).iter(links).count() <= 64
    }
}

/// Deadlines in order, equal ones in the order of insertion. A deadline that has passed counts as the position.
#[derive(Default)]
struct Twin {
    position: u64,
    sequence: u64,
    timers: BTreeMap<(u64, u64), Index>,
}

impl Twin {
    fn insert(&mut self, deadline: u64, timer: Index) -> (u64, u64) {
        let key = (deadline.max(self.position), self.sequence);
        self.sequence += 1;
        self.timers.insert(key, timer);
        key
    }

    fn next_deadline(&self) -> u64 {
        self.timers.first_key_value().map_or(u64::MAX, |(&(deadline, _), _)| deadline)
    }

    fn advance(&mut self, now: u64) {
        self.position = self.position.max(now.min(u64::MAX - 1));
    }

    fn pop(&mut self) -> Option<Index> {
        let (&key, &timer) = self.timers.first_key_value()?;
        (key.0 <= self.position).then(|| {
            self.timers.remove(&key);
            timer
        })
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// One less, the number, or one more.
    fn around(&mut self, number: u64) -> u64 {
        number.saturating_add(self.below(3)).saturating_sub(1)
    }
}

/// A structure and its twin.
struct Pair<W> {
    timers: W,
    links: Vec<Link>,
    twin: Twin,
    /// Of each link that is in there, its key in the twin.
    keys: Vec<Option<(u64, u64)>>,
    random: Random,
}

impl<W: Probe> Pair<W> {
    fn new(seed: u64, links: usize, start: u64) -> Self {
        let mut pair = Self {
            timers: W::default(),
            links: std::vec![Link::VACANT; links],
            twin: Twin::default(),
            keys: std::vec![None; links],
            random: Random(seed),
        };
        pair.advance(start);
        pair
    }

    fn insert(&mut self, deadline: u64) {
        let at = self.random.below(self.keys.len() as u64) as usize;
        if self.keys[at].is_some() {
            return self.remove(at);
        }
        self.links[at].set_deadline(Instant::from_micros(deadline));
        self.timers.insert(&mut self.links, index(at));
        self.keys[at] = Some(self.twin.insert(deadline, index(at)));
    }

    fn remove(&mut self, at: usize) {
        let Some(key) = self.keys[at].take() else { return };
        self.timers.remove(&mut self.links, index(at));
        self.twin.timers.remove(&key);
    }

    fn advance(&mut self, now: u64) {
        self.timers.advance(&mut self.links, Instant::from_micros(now));
        self.twin.advance(now);
    }

    fn take_due(&mut self) {
        let first = self.timers.take_due(&mut self.links);
        let mut at = first;
        while let Some(timer) = at {
            assert_eq!(Some(timer), self.twin.pop(), "taken at {}", self.twin.position);
            self.keys[timer.position()] = None;
            let next = self.links[timer.position()].next.unwrap();
            assert_eq!(self.links[next.position()].previous, Some(timer));
            at = Some(next).filter(|_| Some(next) != first);
        }
        assert_eq!(self.twin.pop(), None, "not taken at {}", self.twin.position);
    }

    fn check_next(&self) {
        let next = self.timers.next_deadline(&self.links).as_micros();
        let (due, position) = (self.twin.next_deadline(), self.twin.position);
        if due <= position {
            assert!(next <= position, "next is {next}, but {due} is due at {position}");
        } else if due == u64::MAX || self.timers.is_exact(&self.links) {
            assert_eq!(next, due);
        } else {
            assert!(position < next && next <= due, "{next} for {due} at {position}");
        }
    }

    fn verify(&self) {
        assert_eq!(self.timers.verify(&self.links), Ok(self.twin.timers.len()));
    }

    /// Some length that matters to this geometry.
    fn length(&mut self) -> u64 {
        let (slots, levels) = W::SHAPE;
        let level = self.random.below(u64::from(levels)) as u32;
        let span = slots.saturating_pow(levels);
        match self.random.below(16) {
            0 => 0,
            1 | 2 => 1,
            3..=7 => {
                let size = slots.saturating_pow(level);
                self.random.around(size)
            }
            8 => self.random.around(span),
            9 => span.saturating_mul(3).saturating_add(1),
            10 => 1 << self.random.below(64),
            _ => {
                // Within the first levels, so that deadlines meet.
                let bound = slots.saturating_pow(level.min(2) + 1);
                self.random.below(bound)
            }
        }
    }

    fn step(&mut self) {
        let now = self.twin.position;
        match self.random.below(100) {
            0..=44 => {
                let deadline = now.saturating_add(self.length());
                self.insert(deadline);
            }
            45..=48 => {
                let deadline = now.saturating_sub(self.length());
                self.insert(deadline);
            }
            49 => self.insert(u64::MAX),
            50..=64 => {
                let at = self.random.below(self.keys.len() as u64) as usize;
                self.remove(at);
            }
            65..=72 => {
                let step = self.length();
                // Huge steps are for the end of a run: nothing comes after them.
                let bound = if self.random.below(500) == 0 { u64::MAX } else { 1 << 20 };
                self.advance(now.saturating_add(step.min(bound)));
            }
            73..=80 => {
                let next = self.timers.next_deadline(&self.links);
                let next = if next == Instant::NEVER { now } else { next.as_micros() };
                let now = self.random.around(next);
                self.advance(now);
            }
            81..=82 => self.advance(now.saturating_sub(1)),
            83..=88 => self.advance(now.saturating_add(1)),
            _ => self.take_due(),
        }
    }
}

/// Steps of a run; after that a new structure starts, so that the clock's end is met often and left again.
const STEPS: u64 = 10_000;

/// Four starts of the clock, one run in four with `verify` after each step.
fn agrees<W: Probe>(links: usize, runs: u64) {
    for run in 0..runs {
        let before = 1 + Random(run).below(5_000);
        let start = [0, (1 << 32) - before, (1 << 63) - before, u64::MAX - before];
        let mut pair = Pair::<W>::new(run, links, start[(run % 4) as usize]);
        let is_verified = (run / 4) % 4 == 0;
        for step in 0..STEPS {
            pair.step();
            pair.check_next();
            if is_verified || step + 1 == STEPS {
                pair.verify();
            }
        }
    }
}

#[test]
fn wheels_of_one_level_and_of_64_agree_with_their_twins() {
    agrees::<Wheel<2, 1>>(8, 100);
    agrees::<Wheel<2, 1>>(150, 40);
    agrees::<Wheel<2, 64>>(24, 100);
    agrees::<Wheel<2, 64>>(300, 40);
}

#[test]
fn a_wheel_of_2_by_3_agrees_with_its_twin() {
    agrees::<Wheel<2, 3>>(8, 100);
    agrees::<Wheel<2, 3>>(150, 60);
}

#[test]
fn a_wheel_of_4_by_3_agrees_with_its_twin() {
    agrees::<Wheel<4, 3>>(24, 100);
    agrees::<Wheel<4, 3>>(300, 60);
}

#[test]
fn a_wheel_of_16_by_10_agrees_with_its_twin() {
    agrees::<Wheel<16, 10>>(64, 100);
    agrees::<Wheel<16, 10>>(1_000, 60);
}

#[test]
fn a_wheel_of_64_by_6_agrees_with_its_twin() {
    agrees::<Wheel<64, 6>>(64, 100);
    agrees::<Wheel<64, 6>>(2_000, 60);
}

#[test]
fn a_wheel_of_128_by_6_agrees_with_its_twin() {
    agrees::<Wheel<128, 6>>(64, 40);
    agrees::<Wheel<128, 6>>(3_000, 20);
}

#[test]
fn a_wheel_of_1024_by_4_agrees_with_its_twin() {
    agrees::<Wheel<1024, 4>>(64, 40);
    agrees::<Wheel<1024, 4>>(4_000, 20);
}

#[test]
fn a_wheel_of_256_by_5_agrees_with_its_twin() {
    agrees::<Wheel<256, 5>>(64, 40);
    agrees::<Wheel<256, 5>>(4_000, 20);
}

#[test]
fn a_wheel_of_16_by_16_agrees_with_its_twin() {
    agrees::<Wheel<16, 16>>(64, 100);
    agrees::<Wheel<16, 16>>(1_000, 60);
}
