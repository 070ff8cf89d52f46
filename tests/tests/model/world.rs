//! The twin of the simulated world and of the poller on it: plain vectors, gone through from end to end.

use kpt_core::{Interest, Readiness};

use super::event::Turned;

/// As many changes to come as the simulator's world has room for.
const SCRIPT: usize = 32;

#[derive(Clone, Debug, Default)]
pub struct World {
    pub now: u64,
    levels: Vec<(u32, Readiness)>,
    script: Vec<(u64, u32, Readiness)>,
    watched: Vec<(u32, Interest)>,
    refused: Vec<u32>,
    pub pushed: Vec<(u32, Readiness)>,
    pub fails: bool,
}

impl World {
    pub fn starting_at(now: u64) -> Self {
        Self { now, ..Self::default() }
    }

    pub fn set(&mut self, source: u32, readiness: Readiness) {
        let level = self.level(source) | readiness;
        self.levels.retain(|&(other, _)| other != source);
        self.levels.push((source, level));
    }

    pub fn clear(&mut self, source: u32, readiness: Readiness) {
        let level = self.level(source).without(readiness);
        self.levels.retain(|&(other, _)| other != source);
        self.levels.push((source, level));
    }

    pub fn later(&mut self, at: u64, source: u32, readiness: Readiness) {
        if self.script.len() < SCRIPT {
            self.script.push((at, source, readiness));
        }
    }

    pub fn refuse(&mut self, source: u32, is_refused: bool) {
        self.refused.retain(|&other| other != source);
        if is_refused {
            self.refused.push(source);
        }
    }

    /// Nobody watches anything any more.
    pub fn forget(&mut self) {
        self.watched.clear();
    }

    /// Whether the source can be watched.
    pub fn modify(&mut self, source: u32, interest: Interest) -> bool {
        self.watched.retain(|&(other, _)| other != source);
        if interest.is_none() {
            return true;
        }
        if self.refused.contains(&source) {
            return false;
        }
        self.watched.push((source, interest));
        true
    }

    /// The time, and what was found on the way there.
    pub fn wait(
        &mut self,
        until: Option<u64>,
        found: &mut Vec<(u32, Readiness)>,
    ) -> Result<u64, Turned> {
        found.append(&mut self.pushed);
        if std::mem::take(&mut self.fails) {
            return Err(Turned::Broken);
        }
        let until = if found.is_empty() { until } else { Some(0) };
        loop {
            self.play();
            let before = found.len();
            self.look(found);
            if found.len() > before || until.is_some_and(|until| until <= self.now) {
                return Ok(self.now);
            }
            let event = self.script.iter().map(|&(at, ..)| at).min();
            self.now = until.into_iter().chain(event).min().ok_or(Turned::Idle)?;
        }
    }

    fn level(&self, source: u32) -> Readiness {
        let level = self.levels.iter().find(|&&(other, _)| other == source);
        level.map_or(Readiness::NONE, |&(_, level)| level)
    }

    /// What the script has for this moment and for those before it.
    fn play(&mut self) {
        let (past, future) = self.script.iter().partition(|&&(at, ..)| at <= self.now);
        self.script = future;
        let past: Vec<(u64, u32, Readiness)> = past;
        for (_, source, readiness) in past {
            self.set(source, readiness);
        }
    }

    fn look(&mut self, found: &mut Vec<(u32, Readiness)>) {
        self.watched.sort_by_key(|&(source, _)| source);
        for &(source, interest) in &self.watched {
            let readiness = self.level(source).seen_by(interest);
            if !readiness.is_none() {
                found.push((source, readiness));
            }
        }
    }
}
