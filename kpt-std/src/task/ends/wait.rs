//! The waits of a loop: what the poller around another poller does with all channels. `modify` tells the inner poller
//! what to watch.

use kpt_core::{
    Instant, Interest, Source,
    poller::{Ready, Unwatchable},
};

use super::Ends;
use crate::clock;
use crate::task::watch::Modify;

impl Ends {
    /// Makes waits leave the channels alone until `begin` is called.
    pub fn wait_to_begin(&mut self) {
        self.waits_to_begin = true;
    }

    /// Lets waits drive the channels.
    pub fn begin(&mut self) {
        self.waits_to_begin = false;
    }

    /// Returns whether a wait has nothing to do: there are no channels, and nothing that the poller has to be told.
    pub fn is_idle(&self) -> bool {
        self.waits_to_begin || self.by_number.is_empty() && !self.net.is_watching()
    }

    /// Sets the interest of the threads in a channel.
    pub fn set_interest(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        match self.by_number.get_mut(&source.number()) {
            Some(entry) => entry.interest = interest,
            None if interest.is_none() => {}
            None => return Err(Unwatchable),
        }
        self.touch(source.number());
        Ok(())
    }

    /// Returns whether a descriptor is one of a channel, which no other code may have watched.
    pub fn owns(&self, source: Source) -> bool {
        let number = self.by_descriptor.get(source.number() as usize).copied().unwrap_or(0);
        let entry = self.by_number.get(&number);
        entry.is_some_and(|entry| entry.end.numbers().any(|it| it as u32 == source.number()))
    }

    /// Prepares all channels for a wait. Returns the moment until which it may last, on the monotonic clock, which need
    /// not be the poller's.
    pub fn before_wait(&mut self, modify: &mut Modify) -> Option<Instant> {
        let mut has_news = false;
        for number in std::mem::take(&mut self.touched) {
            has_news |= self.settle(number, modify);
        }
        self.settle_net(modify);
        if has_news {
            return Some(Instant::ZERO);
        }
        let net = self.net.deadline();
        self.timed
            .iter()
            .filter_map(|number| self.by_number.get(number)?.end.deadline())
            .chain(net)
            .min()
    }

    fn settle_net(&mut self, modify: &mut Modify) {
        self.tell_new_guard();
        if self.by_number.is_empty() {
            self.net.unwatch();
        } else {
            self.net.watch();
        }
        self.net.settle(modify);
    }

    /// Updates the poller and the tables after a change of a channel. Returns whether the channel has an event.
    fn settle(&mut self, number: u32, modify: &mut Modify) -> bool {
        let Some(entry) = self.by_number.get_mut(&number) else { return false };
        entry.is_touched = false;
        entry.end.settle(&mut self.scratch, modify);
        if entry.becomes_timed() {
            self.timed.push(number);
        }
        if entry.is_over() {
            self.by_number.remove(&number);
            return false;
        }
        let has_news = entry.has_news();
        if has_news {
            self.touch(number);
        }
        has_news
    }

    /// Does the work that is due, and pushes the readiness that threads wait for. Returns whether there is an event
    /// that ends the wait.
    pub fn after_wait(&mut self, ready: &mut Ready<'_>, modify: &mut Modify) -> bool {
        let now = clock::now_or_earlier();
        self.on_time(now);
        let mut has_news = false;
        for &number in &self.touched {
            let Some(entry) = self.by_number.get_mut(&number) else { continue };
            entry.end.stop_if_broken(now);
            entry.end.watches().for_each(|watch| watch.release(modify));
            has_news |= entry.has_news();
            let seen = entry.end.readiness().seen_by(entry.interest);
            if !seen.is_none() {
                ready.push(Source::new(number), seen);
            }
        }
        has_news
    }

    /// Notes that the inner poller has been dropped.
    pub fn forget_poller(&mut self) {
        for entry in self.by_number.values_mut() {
            entry.interest = Interest::NONE;
            entry.end.watches().for_each(|watch| watch.forget_poller());
        }
        self.net.forget_poller();
    }
}
