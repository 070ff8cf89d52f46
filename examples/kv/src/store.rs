//! The keys and their values, in memory. It knows neither clients nor the loop.
//!
//! A key lies in a slot as long as it lives, so that a slot's number stands for the key: the hash table holds numbers,
//! SCAN's cursor is one, and so is the argument of the timer that removes the key when its time has come.
//!
//! Whoever reads or writes a key says what time it is, and a key whose deadline has come is not there for him. So the
//! timers give back memory and make DBSIZE right; what a client sees does not depend on them.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::ops::Range;

use hashbrown::HashTable;
use kpt_std::Instant;

/// What a key takes besides its bytes and its value's: its slot, its place in the table, and the allocator's part of
/// both.
const KEY_OVERHEAD: usize = size_of::<Slot>() + 2 * size_of::<Position>() + 2 * 16;

/// All keys.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub struct Store {
    table: HashTable<Position>,
    /// SipHash with a random seed: a client can't choose keys that all fall into one bucket. foldhash needs 5 to 8 % less CPU for
    /// pipelined GET and SET, and does not promise that.
    hasher: RandomState,
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    bytes: usize,
    expiring: usize,
    /// The slots whose deadline has changed since `take_changed`, some more than once.
    changed: Vec<u32>,
    pub counts: Counts,
}

/// What INFO says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Changes of keys, as seen by a snapshot.
    pub changes: u64,
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
}

/// An element of the hash table. The hash is there so that the table can grow without a look at the keys.
#[derive(Clone, Copy, Debug)]
struct Position {
    hash: u32,
    slot: u32,
}

impl Position {
    /// The table wants the hash's high bits for one thing and its low bits for another.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum Slot {
    Vacant,
    Taken(Item),
}

/// A key, its value, and when it ends.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Item {
    pub key: Box<[u8]>,
    pub value: Vec<u8>,
    /// [`Instant::NEVER`]: it does not end.
    pub deadline: Instant,
    hash: u32,
}

impl Item {
    fn bytes(&self) -> usize {
        KEY_OVERHEAD + self.key.len() + self.value.capacity()
    }

    pub fn is_expiring(&self) -> bool {
        self.deadline != Instant::NEVER
    }
}

impl Store {
    /// Returns a key that is there at `now`, for reading, and counts a hit or a miss.
    pub fn get(&mut self, key: &[u8], now: Instant) -> Option<&Item> {
        let slot = self.live(key, now);
        match slot {
            Some(_) => self.counts.hits += 1,
            None => self.counts.misses += 1,
        }
        self.item(slot?)
    }

    /// Returns a key that is there at `now`, without counting.
    pub fn peek(&mut self, key: &[u8], now: Instant) -> Option<&Item> {
        let slot = self.live(key, now)?;
        self.item(slot)
    }

    /// Sets a key to a value, which ends at `deadline`. A value that is there lends its memory.
    pub fn set(&mut self, key: &[u8], value: &[u8], deadline: Instant, now: Instant) {
        let slot = match self.live(key, now) {
            Some(slot) => slot,
            None => self.insert(key),
        };
        self.change(slot, |item| {
            // Where most of the memory would lie idle, it is given back.
            if item.value.capacity() > 2 * value.len() + 64 {
                item.value = value.to_vec();
            } else {
                item.value.clear();
                item.value.extend_from_slice(value);
            }
        });
        self.set_slot_deadline(slot, deadline);
    }

    /// Changes the value of a key, which begins as an empty one without a deadline if it is not there.
    pub fn update<R>(
        &mut self,
        key: &[u8],
        now: Instant,
        change: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> R {
        let slot = match self.live(key, now) {
            Some(slot) => slot,
            None => self.insert(key),
        };
        self.change(slot, |item| change(&mut item.value))
    }

    /// Removes a key, and returns it if it was there at `now`.
    pub fn remove(&mut self, key: &[u8], now: Instant) -> Option<Item> {
        let slot = self.live(key, now)?;
        self.remove_slot(slot)
    }

    /// Has a key end at `deadline`, or not at all with [`Instant::NEVER`]. Returns false if it is not there.
    pub fn set_deadline(&mut self, key: &[u8], deadline: Instant, now: Instant) -> bool {
        let Some(slot) = self.live(key, now) else { return false };
        self.counts.changes += 1;
        self.set_slot_deadline(slot, deadline);
        true
    }

    /// Removes what is in a slot, if its time has come.
    pub fn expire(&mut self, slot: u32, now: Instant) {
        if self.item(slot).is_some_and(|item| item.deadline <= now) {
            self.counts.expired += 1;
            self.remove_slot(slot);
        }
    }

    /// Removes all keys.
    pub fn clear(&mut self) {
        for slot in 0..self.slots.len() as u32 {
            self.remove_slot(slot);
        }
    }

    /// Returns the keys that are in these slots; numbers that are no slots have none.
    pub fn items(&self, slots: Range<usize>) -> impl Iterator<Item = &Item> {
        let end = slots.end.min(self.slots.len());
        self.slots[slots.start.min(end)..end].iter().filter_map(|slot| match slot {
            Slot::Taken(item) => Some(item),
            Slot::Vacant => None,
        })
    }

    /// Returns one more than the highest number of a slot.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns how many keys have a deadline.
    pub fn expiring(&self) -> usize {
        self.expiring
    }

    /// Returns the memory that the keys use, in bytes; about, as only the allocator knows what it adds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns a hash of all keys, their values and deadlines. It does not depend on the seed of the table.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for item in self.items(0..usize::MAX) {
            (&item.key, &item.value, item.deadline.as_micros()).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Returns the slots whose deadline has changed, for those who have timers to set, and forgets them.
    pub fn take_changed(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.changed)
    }

    /// Returns when the time of what is in a slot has come: [`Instant::NEVER`] if nothing is in it.
    pub fn deadline(&self, slot: u32) -> Instant {
        self.item(slot).map_or(Instant::NEVER, |item| item.deadline)
    }
}

impl Store {
    /// Returns the slot of a key that is there at `now`. One whose time has come is removed.
    fn live(&mut self, key: &[u8], now: Instant) -> Option<u32> {
        let hash = self.hash(key);
        let slot = self.table.find(Position::spread(hash), is_key(&self.slots, key, hash))?.slot;
        if self.deadline(slot) > now {
            return Some(slot);
        }
        self.expire(slot, now);
        None
    }

    fn hash(&self, key: &[u8]) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    fn item(&self, slot: u32) -> Option<&Item> {
        match self.slots.get(slot as usize) {
            Some(Slot::Taken(item)) => Some(item),
            _ => None,
        }
    }

    /// Adds a key that is not there, with an empty value.
    fn insert(&mut self, key: &[u8]) -> u32 {
        let hash = self.hash(key);
        let item = Item { key: key.into(), value: Vec::new(), deadline: Instant::NEVER, hash };
        self.bytes += item.bytes();
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Vacant);
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Slot::Taken(item);
        let rehash = |position: &Position| Position::spread(position.hash);
        self.table.insert_unique(Position::spread(hash), Position { hash, slot }, rehash);
        slot
    }

    fn change<R>(&mut self, slot: u32, change: impl FnOnce(&mut Item) -> R) -> R {
        let Some(Slot::Taken(item)) = self.slots.get_mut(slot as usize) else {
            unreachable!("the slot of a key that was found");
        };
        self.bytes -= item.bytes();
        let result = change(item);
        self.bytes += item.bytes();
        self.counts.changes += 1;
        result
    }

    fn set_slot_deadline(&mut self, slot: u32, deadline: Instant) {
        let Some(Slot::Taken(item)) = self.slots.get_mut(slot as usize) else { return };
        if item.deadline != deadline {
            self.expiring -= usize::from(item.is_expiring());
            item.deadline = deadline;
            self.expiring += usize::from(item.is_expiring());
            self.changed.push(slot);
        }
    }

    fn remove_slot(&mut self, slot: u32) -> Option<Item> {
        self.set_slot_deadline(slot, Instant::NEVER);
        let taken = std::mem::replace(self.slots.get_mut(slot as usize)?, Slot::Vacant);
        let Slot::Taken(item) = taken else { return None };
        let is_it = |position: &Position| position.slot == slot;
        if let Ok(found) = self.table.find_entry(Position::spread(item.hash), is_it) {
            found.remove();
        }
        self.vacant.push(slot);
        self.bytes -= item.bytes();
        self.counts.changes += 1;
        Some(item)
    }
}

fn is_key<'s>(slots: &'s [Slot], key: &'s [u8], hash: u32) -> impl Fn(&Position) -> bool + 's {
    move |position| {
        position.hash == hash
            && matches!(&slots[position.slot as usize], Slot::Taken(item) if *item.key == *key)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
