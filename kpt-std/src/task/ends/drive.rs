//! Waits without a loop, and the end of all tasks.

use std::io;
use std::time::Duration;

use kpt_core::{Instant, Source};

use super::{Ends, Entry};
use crate::ask::ask;
use crate::clock;

/// The time for which dropping the last owner waits for the tasks that it has killed.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The period of looking at them.
const LOOK_PERIOD: Duration = Duration::from_millis(5);

impl Ends {
    /// Drives all channels until there is an event, at the latest until `until`. Blocks.
    pub fn drive(&mut self, until: Option<Instant>) -> io::Result<()> {
        let mut questions = Vec::new();
        let mut next = until;
        let now = clock::now_or_later();
        for (&number, entry) in &mut self.by_number {
            entry.end.prepare(now, &mut self.scratch);
            if entry.becomes_timed() {
                self.timed.push(number);
            }
            questions.extend(entry.end.questions());
            // Events of tasks wait until they are received.
            let has_news = !entry.end.readiness().seen_by(entry.end.own_interest()).is_none();
            let news = has_news.then_some(Instant::ZERO);
            next = [next, entry.end.deadline(), news].into_iter().flatten().min();
        }
        self.tell_new_guard();
        self.net.drop_closed();
        self.net.watch();
        questions.extend(self.net.question());
        let next = [next, self.net.deadline()].into_iter().flatten().min();
        ask(&mut questions, next.map(clock::remaining))?;
        for question in questions.iter().filter(|question| !question.found.is_none()) {
            self.found(Source::new(question.descriptor as u32), question.found);
        }
        for number in self.by_number.keys().copied().collect::<Vec<_>>() {
            self.touch(number);
        }
        self.on_time(clock::now_or_earlier());
        self.remove_over();
        Ok(())
    }

    /// Removes the channels that are over.
    fn remove_over(&mut self) {
        let count = self.by_number.len();
        self.by_number.retain(|_, entry| !entry.is_over() || entry.is_retiring());
        if self.by_number.len() < count {
            // Without a poller, there is no wait in which they are taken from here.
            self.touched.retain(|number| self.by_number.contains_key(number));
        }
    }
}

impl Entry {
    /// Returns whether the poller of a loop has to be told of a descriptor before it is closed.
    pub(super) fn is_retiring(&mut self) -> bool {
        self.end.watches().any(|watch| watch.is_retiring())
    }
}

/// Kills the remaining tasks, and waits for them for at most a second, when the last owner is dropped.
impl Drop for Ends {
    fn drop(&mut self) {
        let tasks = self.by_number.values_mut().filter_map(|entry| entry.end.task());
        let mut own: Vec<_> = tasks.filter(|task| task.process().is_own()).collect();
        let now = clock::now_or_later();
        own.iter_mut().for_each(|task| task.give_up(now));
        let late = now + LONGEST_WAIT;
        loop {
            own.retain_mut(|task| !task.has_ended());
            let left = clock::remaining(late);
            if own.is_empty() {
                return;
            }
            if left.is_zero() {
                return self.net.leave_tasks();
            }
            let mut questions: Vec<_> =
                own.iter().filter_map(|task| task.process().question()).collect();
            // Not all processes have a descriptor, or one that tells.
            let _ = ask(&mut questions, Some(left.min(LOOK_PERIOD)));
        }
    }
}
