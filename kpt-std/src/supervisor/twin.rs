//! A slow supervisor for tests: keeps nothing but a log of all events and orders, and derives each answer from it.

use std::time::Duration;

use kpt_core::Instant;

use super::spec::{ChildSpec, Restart};
use super::{Order, Strategy};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Ready(usize),
    Heartbeat(usize),
    Exit {
        child: usize,
        is_normal: bool,
    },
    StopAll,
    /// All that has come was reported, and the clock was read.
    Time,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Event(Event),
    Order(Order),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Instant,
    what: What,
    /// Of a ready or a heartbeat: whether it was one that is waited for. Of an exit: whether it was a failure.
    counts: bool,
}

pub struct Twin {
    pub strategy: Strategy,
    pub specs: Vec<ChildSpec>,
    /// The number of restarts, and the period.
    pub intensity: (usize, Duration),
    /// The first pause, and the longest.
    pub back_off: (Duration, Duration),
    log: Vec<Entry>,
}

impl Twin {
    pub fn new(
        strategy: Strategy,
        specs: &[ChildSpec],
        intensity: (usize, Duration),
        back_off: (Duration, Duration),
    ) -> Self {
        Self { strategy, specs: specs.to_vec(), intensity, back_off, log: Vec::new() }
    }

    pub fn happen(&mut self, at: Instant, event: Event) {
        let counts = match event {
            Event::Ready(child) => self.is_steady(child) && !self.is_ready(child),
            Event::Heartbeat(child) => self.is_steady(child) && self.is_ready(child),
            Event::Exit { child, is_normal } => {
                let is_failure = match self.specs[child].restart {
                    Restart::Permanent => true,
                    Restart::Transient => !is_normal,
                    Restart::Temporary => false,
                };
                self.runs(child) && !self.is_leaving(child) && is_failure
            }
            Event::StopAll | Event::Time => true,
        };
        self.log.push(Entry { at, what: What::Event(event), counts });
    }

    pub fn order(&mut self, at: Instant, order: Order) {
        self.log.push(Entry { at, what: What::Order(order), counts: true });
    }

    pub fn length(&self) -> usize {
        self.log.len()
    }

    pub fn truncate(&mut self, length: usize) {
        self.log.truncate(length);
    }
}

/// What is expected.
impl Twin {
    pub fn next(&self, now: Instant) -> Option<Order> {
        let mut all = 0..self.specs.len();
        let is_past = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let is_hung = |child| self.kill_at(child).is_some_and(|at| at <= self.looked_at());
        if let Some(child) = all.clone().find(|&child| is_hung(child)) {
            return Some(Order::Kill(child));
        }
        if let Some(child) = all.clone().rfind(|&child| self.is_leaving(child)) {
            let stop = Order::Stop { child, grace: self.specs[child].grace };
            return (!self.is_told(child) && !self.is_killed(child)).then_some(stop);
        }
        let may_start = |&child: &usize| is_past(self.start_at(child)) && self.is_turn_of(child);
        all.find(may_start).map(Order::Start)
    }

    pub fn deadline(&self) -> Option<Instant> {
        let all = 0..self.specs.len();
        let kills = all.clone().filter_map(|child| self.kill_at(child));
        let is_blocked = all.clone().any(|child| self.is_leaving(child));
        let starts = all
            .filter(|&child| !is_blocked && self.is_turn_of(child))
            .filter_map(|child| self.start_at(child));
        kills.chain(starts).min().filter(|&at| at < Instant::NEVER)
    }

    pub fn is_over(&self) -> bool {
        (0..self.specs.len()).all(|child| self.is_over_with(child))
    }

    /// The first failure before which there were as many others within the period as are allowed.
    pub fn given_up(&self) -> Option<usize> {
        let (most, period) = self.intensity;
        let failures: Vec<_> = self.failures().collect();
        let is_one_too_many = |&(at, (_, now, _)): &(usize, &(usize, Instant, usize))| {
            let before = failures[..at].iter().filter(|(_, time, _)| *time + period > *now);
            before.count() >= most
        };
        failures.iter().enumerate().find(is_one_too_many).map(|(_, &(_, _, child))| child)
    }

    /// Whether it runs, and became ready since it was started.
    pub fn is_ready(&self, child: usize) -> bool {
        let is_it = |entry: &Entry| {
            entry.counts && matches!(entry.what, What::Event(Event::Ready(it)) if it == child)
        };
        self.runs(child) && self.since_start(child).iter().any(is_it)
    }

    pub fn runs(&self, child: usize) -> bool {
        self.last_start(child) > self.last_exit(child)
    }

    pub fn is_told(&self, child: usize) -> bool {
        self.since_told(child).is_some()
    }

    pub fn is_killed(&self, child: usize) -> bool {
        let since = self.since_start(child).iter();
        self.runs(child)
            && since
                .clone()
                .any(|entry| matches!(entry.what, What::Order(Order::Kill(it)) if it == child))
    }
}

/// Returns when a period is over that begins with the first entry. If the first look at the clock after its end is late by
/// more than a quarter of it, the period begins once more with that look.
fn end_of(time: Duration, since: &[Entry]) -> Instant {
    let end = since[0].at + time;
    let is_time =
        |entry: &&Entry| matches!(entry.what, What::Event(Event::Time)) && entry.at >= end;
    let look = since.iter().find(is_time).filter(|look| look.at > end + time / 4);
    look.map_or(end, |look| look.at + time)
}

/// What the log says.
impl Twin {
    fn looked_at(&self) -> Instant {
        let is_time = |entry: &&Entry| matches!(entry.what, What::Event(Event::Time));
        self.log.iter().rfind(is_time).map_or(Instant::ZERO, |entry| entry.at)
    }

    fn last_start(&self, child: usize) -> Option<usize> {
        let is_it =
            |entry: &Entry| matches!(entry.what, What::Order(Order::Start(it)) if it == child);
        self.log.iter().rposition(is_it)
    }

    fn last_exit(&self, child: usize) -> Option<usize> {
        self.exits(child).last()
    }

    fn exits(&self, of: usize) -> impl Iterator<Item = usize> {
        let is_it =
            move |what| matches!(what, What::Event(Event::Exit { child, .. }) if child == of);
        (0..self.log.len()).filter(move |&at| is_it(self.log[at].what))
    }

    fn since_start(&self, child: usize) -> &[Entry] {
        self.last_start(child).map_or(&[], |start| &self.log[start..])
    }

    /// The log from when it was told to stop.
    fn since_told(&self, child: usize) -> Option<&[Entry]> {
        let is_it = |entry: &Entry| matches!(entry.what, What::Order(Order::Stop { child: it, .. }) if it == child);
        let since = self.since_start(child);
        let told = since.iter().position(is_it).filter(|_| self.runs(child))?;
        Some(&since[told..])
    }

    /// The failures: where in the log, when, and whose.
    fn failures(&self) -> impl Iterator<Item = (usize, Instant, usize)> + Clone {
        self.log.iter().enumerate().filter_map(|(place, entry)| match entry.what {
            What::Event(Event::Exit { child, .. }) if entry.counts => {
                Some((place, entry.at, child))
            }
            _ => None,
        })
    }

    fn is_ending(&self) -> bool {
        let is_stop = |entry: &Entry| matches!(entry.what, What::Event(Event::StopAll));
        self.given_up().is_some() || self.log.iter().any(is_stop)
    }

    /// Whether it runs and is to be stopped: since all are, or since a child has failed with which it is restarted.
    fn is_leaving(&self, child: usize) -> bool {
        let start = self.last_start(child);
        let is_joined = |&(place, _, failed): &(usize, Instant, usize)| {
            Some(place) > start && self.strategy.joins(failed, child)
        };
        self.runs(child) && (self.is_ending() || self.failures().any(|failure| is_joined(&failure)))
    }

    /// Whether it runs, and is neither to be stopped nor was killed.
    fn is_steady(&self, child: usize) -> bool {
        self.runs(child) && !self.is_leaving(child) && !self.is_killed(child)
    }

    fn kill_at(&self, child: usize) -> Option<Instant> {
        let spec = &self.specs[child];
        if let Some(since) = self.since_told(child) {
            return (!self.is_killed(child)).then_some(end_of(spec.grace, since));
        }
        if !self.is_steady(child) {
            return None;
        }
        let is_sign_of_life = |entry: &Entry| {
            let is_own = matches!(
                entry.what,
                What::Event(Event::Ready(it) | Event::Heartbeat(it)) if it == child
            );
            entry.counts && is_own
        };
        let since = self.since_start(child);
        match since.iter().rposition(is_sign_of_life) {
            Some(sign) => Some(end_of(spec.heartbeat, &since[sign..])),
            None => Some(end_of(spec.ready_within, since)),
        }
    }

    /// The failures in a row, up to the one at this place.
    fn row(&self, place: usize, child: usize) -> u32 {
        let (_, period) = self.intensity;
        let own = self.failures().filter(|&(_, _, failed)| failed == child);
        let before = own.map(|(place, ..)| place).filter(|&it| it < place).last();
        let first = before.map_or(0, |before| before + 1);
        let mut exits = self.exits(child).filter(|exit| (first..=place).contains(exit));
        let is_start =
            |entry: &Entry| matches!(entry.what, What::Order(Order::Start(it)) if it == child);
        let is_ready = |entry: &&Entry| {
            entry.counts && matches!(entry.what, What::Event(Event::Ready(it)) if it == child)
        };
        let is_end_of_row = |exit: usize| {
            let start = self.log[..exit].iter().rposition(is_start).unwrap_or(exit);
            let ready = self.log[start..exit].iter().find(is_ready);
            ready.is_some_and(|ready| ready.at + period <= self.log[exit].at)
        };
        match before {
            Some(before) if !exits.any(is_end_of_row) => 1 + self.row(before, child),
            _ => 1,
        }
    }

    fn pause(&self, failures: u32) -> Duration {
        let (first, most) = self.back_off;
        (first * 2_u32.pow(failures - 1)).min(most)
    }

    /// When it may be started, if it is to be.
    fn start_at(&self, child: usize) -> Option<Instant> {
        if self.runs(child) || self.is_ending() {
            return None;
        }
        let last_exit = self.last_exit(child);
        let joined = self.failures().filter(|&(.., failed)| self.strategy.joins(failed, child));
        let is_asked_for = match last_exit {
            None => true,
            Some(_) if self.specs[child].restart == Restart::Temporary => false,
            // Its exit was a failure, or another one has failed since it was started.
            Some(exit) => {
                let start = self.last_start(child);
                self.log[exit].counts || joined.clone().any(|(place, ..)| Some(place) > start)
            }
        };
        let own = self.failures().filter(|&(.., failed)| failed == child);
        let moments =
            own.chain(joined).map(|(place, at, failed)| at + self.pause(self.row(place, failed)));
        is_asked_for.then(|| moments.max().unwrap_or(Instant::ZERO))
    }

    fn is_over_with(&self, child: usize) -> bool {
        !self.runs(child) && self.start_at(child).is_none()
    }

    /// Whether none of those before it keeps it waiting.
    fn is_turn_of(&self, child: usize) -> bool {
        (0..child).all(|before| {
            let was_ever_ready = self.log.iter().any(|entry| {
                entry.counts && matches!(entry.what, What::Event(Event::Ready(it)) if it == before)
            });
            let is_ready = match self.strategy {
                Strategy::OneForOne => was_ever_ready,
                _ => self.is_ready(before) && self.is_steady(before),
            };
            is_ready || self.is_over_with(before)
        })
    }
}
