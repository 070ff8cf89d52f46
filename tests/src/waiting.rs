//! Threads without a loop, as a poller sees them during a wait.

use kpt_core::{Interest, Readiness, Source, poller::Waiting};

/// A reader or a writer for each pair, and what was found, in order: pushed for any source, or answered for one of these.
pub struct Threads<'t> {
    threads: &'t [(Source, Interest)],
    /// What was found.
    pub found: Vec<(Source, Readiness)>,
}

impl<'t> Threads<'t> {
    /// These threads, for which nothing has been found.
    pub fn new(threads: &'t [(Source, Interest)]) -> Self {
        Self { threads, found: Vec::new() }
    }

    /// All that was found on that source.
    pub fn found_on(&self, source: Source) -> Readiness {
        let found = self.found.iter().filter(|&&(other, _)| other == source);
        found.fold(Readiness::NONE, |all, &(_, readiness)| all | readiness)
    }
}

impl Waiting for Threads<'_> {
    fn push(&mut self, source: Source, readiness: Readiness) {
        self.found.push((source, readiness));
    }

    fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        let before = self.found.len();
        for &(source, interest) in self.threads {
            let seen = answer(source, interest).seen_by(interest);
            self.found.extend((!seen.is_none()).then_some((source, seen)));
        }
        self.found.len() > before
    }
}
