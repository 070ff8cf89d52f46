//! Whether the tables agree with each other: for tests, and for nobody else.

use crate::link::{Links, Place};
use crate::sources;
use crate::tables::Tables;

impl Tables<'_> {
    /// Walks all tables and checks that they agree.
    pub(crate) fn verify(&self) -> Result<(), &'static str> {
        self.head.slots.verify(self.links)?;
        let mut places = [0_usize; 10];
        let mut with_source = 0_usize;
        for index in self.head.slots.touched() {
            let link = self.links.at(index);
            if let Some(count) = places.get_mut(link.place as usize) {
                *count = count.saturating_add(1);
            }
            if link.place != Place::Vacant && self.source_of(index).is_some() {
                with_source = with_source.saturating_add(1);
            }
        }
        let [_, _, _, timers, new, changed, rest @ ..] = places;
        if cfg!(debug_assertions) && timers != self.timers.verify(self.links)? {
            return Err("the timers are not those of the timer structure");
        }
        if with_source != sources::verify(self.links)? {
            return Err("a reader or writer is in no source's chain");
        }
        let head = &*self.head;
        if head.changes.verify(self.links)? != new.saturating_add(changed) {
            return Err(
                "the list for the poller does not hold the threads that say they are in it",
            );
        }
        let lists = [head.ready_to_write, head.ready_to_read, head.due, head.pending];
        for (list, count) in lists.iter().zip(rest) {
            if list.verify(self.links)? != count {
                return Err("a list does not hold the threads that say they are in it");
            }
        }
        Ok(())
    }
}
