//! The vacant slots: the one that was freed last, blocks of neighbours, and those that were never used.
//!
//! Slots are freed in any order. A stack would return them in the reverse order, scattered over memory that is not in a
//! cache. Here the slot that was freed last, whose links are in the cache, is given out first. After that, blocks of
//! neighbouring slots are given out one by one.
//!
//! The record has no memory of its own. Each link stores one word of it: the first links one word per block, with a bit
//! for each slot, and the links behind them a stack of the blocks with vacant slots. That takes two words per block,
//! and a block has at least two links, unless it has a single slot, which is then the one that was freed last.

use crate::id::Index;
use crate::large::link::{Link, Place, VacantWord};

/// The number of slots in a block.
const BLOCK: usize = VacantWord::BITS as usize;

/// The record of vacant slots. All zero bytes when new. All operations except `verify` are O(1).
pub(super) struct Vacant {
    /// The slot that was freed last, unless it has been given out.
    last_freed: Option<Index>,
    /// The height of the stack of blocks.
    blocks: u32,
    /// The position of the first slot that has never had a thread. Nothing has been written to it and those behind it.
    unused: u32,
}

impl Vacant {
    /// A record in which all slots are vacant and unused.
    pub(super) const ALL: Self = Self { last_freed: None, blocks: 0, unused: 0 };

    /// Returns how many slots, from the first, have had a thread at any time.
    pub(super) fn slots_used(&self) -> usize {
        self.unused as usize
    }

    /// Returns the slot that is given out next.
    #[inline]
    pub(super) fn first(&self, links: &[Link]) -> Option<Index> {
        if self.last_freed.is_some() {
            return self.last_freed;
        }
        if self.blocks > 0 {
            return self.first_in_block(links);
        }
        links.get(self.slots_used()).filter(|link| link.place == Place::Vacant)?;
        Index::new(self.slots_used())
    }

    /// Gives out the first slot.
    #[inline]
    pub(super) fn take(&mut self, links: &mut [Link]) {
        if self.last_freed.take().is_some() {
            return;
        }
        if self.blocks > 0 {
            self.take_from_block(links);
        } else {
            self.unused = self.unused.saturating_add(1);
        }
    }

    /// Takes back a slot that was given out. It is the next one to be given out.
    #[inline]
    pub(super) fn give_back(&mut self, links: &mut [Link], slot: Index) {
        if let Some(before) = self.last_freed.replace(slot) {
            self.put_into_block(links, before);
        }
    }

    fn first_in_block(&self, links: &[Link]) -> Option<Index> {
        let block = links.get(self.top(links))?.vacant as usize;
        let slots = links.get(block)?.vacant;
        Index::new(block.wrapping_mul(BLOCK).wrapping_add(slots.trailing_zeros() as usize))
    }

    #[inline(never)]
    fn take_from_block(&mut self, links: &mut [Link]) {
        let block = links.get(self.top(links)).map_or(0, |link| link.vacant as usize);
        let Some(link) = links.get_mut(block) else { return };
        link.vacant &= link.vacant.wrapping_sub(1);
        if link.vacant == 0 {
            self.blocks = self.blocks.wrapping_sub(1);
        }
    }

    #[inline(never)]
    fn put_into_block(&mut self, links: &mut [Link], slot: Index) {
        let block = slot.position() / BLOCK;
        let Some(link) = links.get_mut(block) else { return };
        let was_full = link.vacant == 0;
        link.vacant |= bit(slot);
        if was_full {
            self.blocks = self.blocks.wrapping_add(1);
            let top = self.top(links);
            if let Some(link) = links.get_mut(top) {
                link.vacant = block as VacantWord;
            }
        }
    }

    /// Returns the position of the link that lodges the topmost entry of the stack.
    #[inline]
    fn top(&self, links: &[Link]) -> usize {
        links.len().div_ceil(BLOCK).wrapping_add(self.blocks as usize).wrapping_sub(1)
    }

    /// Counts the vacant slots that have had a thread, and passes each to `check`.
    pub(super) fn verify(
        &self,
        links: &[Link],
        check: impl Fn(Index) -> bool,
    ) -> Result<usize, &'static str> {
        let blocks = links.get(..links.len().div_ceil(BLOCK)).unwrap_or_default();
        let is_vacant = |slot: &Index| {
            blocks.get(slot.position() / BLOCK).is_some_and(|link| link.vacant & bit(*slot) != 0)
        };
        if self.last_freed.is_some_and(|slot| is_vacant(&slot)) {
            return Err("the slot that was freed last is in a block as well");
        }
        let entries = links.get(blocks.len()..).and_then(|links| links.get(..self.blocks as usize));
        for entry in entries.ok_or("too many blocks have vacant slots")? {
            if blocks.get(entry.vacant as usize).is_none_or(|link| link.vacant == 0) {
                return Err("a block without vacant slots is on the stack");
            }
        }
        if blocks.iter().filter(|link| link.vacant != 0).count() != self.blocks as usize {
            return Err("a block with vacant slots is not on the stack");
        }
        let mut count = 0_usize;
        for slot in (0..links.len()).filter_map(Index::new).filter(is_vacant).chain(self.last_freed)
        {
            if !check(slot) {
                return Err("a freed slot has a thread");
            }
            count = count.saturating_add(1);
        }
        Ok(count)
    }
}

/// Returns the slot's bit in its block.
#[inline]
fn bit(slot: Index) -> VacantWord {
    (1 as VacantWord).wrapping_shl((slot.position() % BLOCK) as u32)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::BTreeSet;
    use std::vec;
    use std::vec::Vec;

    use super::*;

    /// With each number of slots up to a few blocks: no slot is given out twice, and none is lost.
    #[test]
    fn each_vacant_slot_is_given_out_once() {
        for slots in 1..=2 * BLOCK + 2 {
            let (mut links, mut vacant) = (vec![Link::VACANT; slots], Vacant::ALL);
            let (mut given, mut random) = (BTreeSet::new(), slots as u64);
            for step in 0..1_000 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let choice = (random >> 33) as usize;
                // Mostly full in one hundred steps, mostly empty in the next.
                let takes = choice % 4 < if step / 100 % 2 == 0 { 3 } else { 1 };
                if takes && given.len() < slots {
                    let slot = vacant.first(&links).unwrap();
                    assert!(slot.position() < slots && given.insert(slot), "{slot:?} of {slots}");
                    vacant.take(&mut links);
                } else if !given.is_empty() {
                    let slot = *given.iter().nth(choice / 4 % given.len()).unwrap();
                    given.remove(&slot);
                    vacant.give_back(&mut links, slot);
                }
                let count = vacant.verify(&links, |slot| !given.contains(&slot));
                assert_eq!(count, Ok(vacant.slots_used() - given.len()), "{slots} slots");
            }
        }
    }

    #[test]
    fn slots_freed_in_any_order_are_given_out_as_neighbours() {
        const SLOTS: usize = 100 * BLOCK;
        let (mut links, mut vacant) = (vec![Link::VACANT; SLOTS], Vacant::ALL);
        for _ in 0..SLOTS {
            vacant.take(&mut links);
        }
        for step in 0..SLOTS {
            // Coprime to the number of slots, so that each is reached once.
            let slot = Index::new(step * 1_234_567 % SLOTS).unwrap();
            vacant.give_back(&mut links, slot);
        }
        let given: Vec<_> = (0..SLOTS)
            .map(|_| {
                let slot = vacant.first(&links).unwrap();
                vacant.take(&mut links);
                slot.position()
            })
            .collect();
        let neighbours = given.windows(2).filter(|pair| pair[0] + 1 == pair[1]).count();
        assert!(neighbours > SLOTS - SLOTS / BLOCK - 4, "{neighbours} of {SLOTS}");
        assert_eq!(given.into_iter().collect::<BTreeSet<_>>().len(), SLOTS);
    }
}
