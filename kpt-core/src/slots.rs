//! Which slots of the tables have a thread: given out, taken back, and retired when their generation is spent.

use crate::id::{Index, MAX_CAPACITY};
use crate::link::{Link, Links, Place};

/// Slots that never had a thread are above a watermark, those that were freed are on a stack. Both operations are
/// O(1), the slot that was freed last is given out first, and nothing is written to a slot before it is used.
pub(crate) struct Slots {
    freed: Option<Index>,
    /// Slots below this position have had a thread.
    watermark: u32,
    used: u32,
    retired: u32,
}

impl Slots {
    pub(crate) const NEW: Self = Self { freed: None, watermark: 0, used: 0, retired: 0 };

    /// How many slots have a thread.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.used as usize
    }

    /// The largest that `used` has been: a slot that never had a thread is only taken when no other is free.
    pub(crate) fn most_used(&self) -> usize {
        self.watermark as usize
    }

    /// How many threads there can be: the length of the tables less the slots whose generation is spent.
    pub(crate) fn capacity(&self, links: &[Link]) -> usize {
        links.len().min(MAX_CAPACITY).saturating_sub(self.retired as usize)
    }

    /// A slot for a new thread, under a generation that it never had; `None` if all are taken.
    #[inline]
    pub(crate) fn take(&mut self, links: &mut [Link]) -> Option<Index> {
        let index = match self.freed {
            Some(index) => index,
            None => self.take_unused(links)?,
        };
        links.edit(index, |link| {
            self.freed = link.next;
            link.count_tenant();
        });
        self.used = self.used.wrapping_add(1);
        Some(index)
    }

    fn take_unused(&mut self, links: &[Link]) -> Option<Index> {
        let position = self.watermark as usize;
        let index = Index::new(position).filter(|_| position < links.len())?;
        self.watermark = self.watermark.saturating_add(1);
        Some(index)
    }

    /// Takes back a slot that is in no list.
    #[inline]
    pub(crate) fn free(&mut self, links: &mut [Link], index: Index) {
        links.edit(index, |link| {
            link.place = Place::Vacant;
            link.next = None;
            if link.is_spent() {
                self.retired = self.retired.wrapping_add(1);
            } else {
                link.next = self.freed.replace(index);
            }
        });
        self.used = self.used.wrapping_sub(1);
    }

    /// Positions that have or had a thread.
    pub(crate) fn touched(&self) -> impl Iterator<Item = Index> + use<> {
        (0..self.watermark as usize).filter_map(Index::new)
    }

    /// Counts the free ones and checks the sum. For `verify`.
    pub(crate) fn verify(&self, links: &[Link]) -> Result<(), &'static str> {
        let mut vacant = 0_u32;
        let mut at = self.freed;
        while let Some(index) = at {
            vacant = vacant.saturating_add(1);
            if links.at(index).place != Place::Vacant {
                return Err("a freed slot has a thread");
            }
            if vacant > self.watermark {
                return Err("the stack of freed slots does not end");
            }
            at = links.at(index).next;
        }
        let sum = vacant.saturating_add(self.used).saturating_add(self.retired);
        if sum == self.watermark { Ok(()) } else { Err("slots are missing") }
    }
}
