//! Slots of the tables, and the ids that identify one of the successive threads of a slot.

use core::fmt;
use core::num::NonZeroU64;

/// The bits of a generation beyond its lowest 32.
#[cfg(all(feature = "large", target_pointer_width = "64"))]
pub(crate) type GenerationHigh = u8;
#[cfg(all(feature = "large", not(target_pointer_width = "64")))]
pub(crate) type GenerationHigh = ();

/// The integer behind an index: 24 of 32 bits are used on 64-bit targets, and all 16 bits elsewhere.
#[cfg(target_pointer_width = "64")]
type Raw = u32;
#[cfg(not(target_pointer_width = "64"))]
type Raw = u16;

#[cfg(target_pointer_width = "64")]
const INDEX_BITS: u32 = 24;
#[cfg(not(target_pointer_width = "64"))]
const INDEX_BITS: u32 = 16;

/// The largest number of threads that tables can hold.
pub(crate) const MAX_CAPACITY: usize = ((1_u32 << INDEX_BITS) - 1) as usize;

/// A slot of the tables. Stored as position + 1, so that `None` is all zero bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(core::num::NonZero<Raw>);

impl Index {
    /// Returns the slot at `position`, counted from 0; `None` if no tables are that large.
    #[inline]
    pub fn new(position: usize) -> Option<Self> {
        if position >= MAX_CAPACITY {
            return None;
        }
        core::num::NonZero::new((position as Raw).wrapping_add(1)).map(Self)
    }

    /// Returns the position of the slot, counted from 0.
    #[inline]
    pub fn position(self) -> usize {
        (self.0.get() as usize).wrapping_sub(1)
    }

    #[cfg(feature = "large")]
    #[allow(clippy::unnecessary_cast)] // Necessary where indices have 16 bits.
    #[inline]
    pub(crate) fn to_word(index: Option<Self>) -> u32 {
        index.map_or(0, |index| index.0.get() as u32)
    }

    #[inline]
    pub(crate) fn from_word(word: u32) -> Option<Self> {
        core::num::NonZero::new(word as Raw).map(Self)
    }
}

/// The number of times that a slot has been given out, 0 for a slot that never was: 40 bits on 64-bit targets, 32
/// elsewhere. All zero bytes when 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg(target_pointer_width = "64")]
pub(crate) struct Generation {
    low: u32,
    high: u8,
}

#[cfg(target_pointer_width = "64")]
impl Generation {
    pub(crate) const NONE: Self = Self { low: 0, high: 0 };
    /// The last generation. A slot that has had it is retired.
    pub(crate) const LAST: Self = Self { low: u32::MAX, high: u8::MAX };

    #[inline]
    pub(crate) const fn number(self) -> u64 {
        (self.high as u64) << 32 | self.low as u64
    }

    /// Returns the next generation. `self` is not the last one.
    #[inline]
    pub(crate) const fn next(self) -> Self {
        let (low, is_over) = self.low.overflowing_add(1);
        Self { low, high: self.high.wrapping_add(is_over as u8) }
    }

    /// What it consists of, for a table in which both have their neighbours: by itself, it is padded to eight bytes.
    #[cfg(feature = "large")]
    #[inline]
    pub(crate) const fn to_parts(self) -> (u32, u8) {
        (self.low, self.high)
    }

    /// The one that consists of these.
    #[cfg(feature = "large")]
    #[inline]
    pub(crate) const fn from_parts(low: u32, high: u8) -> Self {
        Self { low, high }
    }
}

#[cfg(test)]
impl Generation {
    pub(crate) const fn before_last(left: u32) -> Self {
        Self { low: u32::MAX - left, ..Self::LAST }
    }
}

/// The same on targets with words of up to 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg(not(target_pointer_width = "64"))]
pub(crate) struct Generation(u32);

#[cfg(not(target_pointer_width = "64"))]
impl Generation {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const LAST: Self = Self(u32::MAX);

    pub(crate) const fn number(self) -> u64 {
        self.0 as u64
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    #[cfg(feature = "large")]
    pub(crate) const fn to_parts(self) -> (u32, ()) {
        (self.0, ())
    }

    #[cfg(feature = "large")]
    pub(crate) const fn from_parts(low: u32, (): ()) -> Self {
        Self(low)
    }
}

/// The id of a thread, for [`Threads::cancel`](crate::Threads::cancel) and
/// [`Threads::reschedule`](crate::Threads::reschedule) at any time. Once the thread has ended, its id is stale and
/// never refers to another thread.
///
/// An id is valid only in the loop that returned it; another loop may have a thread with an equal id.
///
/// An id is one word: the slot of the tables (24 bits on 64-bit targets, 16 elsewhere) and the number of times that the
/// slot has been given out (40 bits and 32). A slot that has been given out 2^40 - 1 (2^32 - 1) times is retired, which
/// reduces the loop's capacity by one, so that no id occurs twice. At a million threads added and ended per second,
/// this takes 12 days for each slot, and 35 years for the 1,024 slots of a usual table; on a small machine, at a
/// thousand per second, 49 days for each slot. [`again`](crate::Thread::again) keeps the id and does not count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId(NonZeroU64);

impl ThreadId {
    /// The id of no thread: slot 0 before it was first given out.
    pub(crate) const NONE: Self = Self(NonZeroU64::MIN);

    #[inline]
    pub(crate) fn new(index: Index, generation: Generation) -> Self {
        Self(NonZeroU64::from(index.0) | generation.number() << INDEX_BITS)
    }

    /// Returns the id as a number, for storage that holds only numbers.
    pub const fn to_raw(self) -> u64 {
        self.0.get()
    }

    /// Returns the id for a number from [`to_raw`](Self::to_raw); `None` for 0. The number is not checked: one from
    /// elsewhere may refer to any thread, including a later one.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        match NonZeroU64::new(raw) {
            Some(word) => Some(Self(word)),
            None => None,
        }
    }

    /// The id of a slot's thread, from a tape; `None` if no machine has such an id.
    pub(crate) fn from_parts(position: u64, generation: u64) -> Option<Self> {
        let slot = position.checked_add(1).filter(|&slot| slot < 1 << INDEX_BITS)?;
        let high = generation.checked_mul(1 << INDEX_BITS)?;
        NonZeroU64::new(slot | high).map(Self)
    }

    #[inline]
    pub(crate) fn index(self) -> Option<Index> {
        let word = self.0.get() & ((1 << INDEX_BITS) - 1);
        Index::from_word(word as u32)
    }

    #[inline]
    pub(crate) fn generation(self) -> u64 {
        self.0.get() >> INDEX_BITS
    }

    /// Returns the position of the slot, counted from 0, which `dump` prints before the dot.
    #[inline]
    pub(crate) fn position(self) -> usize {
        self.index().map_or(0, Index::position)
    }
}

/// `SLOT.GENERATION`: `7.1` is the first thread of slot 7.
impl fmt::Display for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::decimal::Decimal;
        f.write_str(Decimal::new(self.position() as u64).as_str())?;
        f.write_str(".")?;
        f.write_str(Decimal::new(self.generation()).as_str())
    }
}

impl fmt::Debug for ThreadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for ThreadId {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=usize}.{=u64}", self.position(), self.generation());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_its_position() {
        for position in [0, 1, 2, 255, 65_534] {
            assert_eq!(Index::new(position).unwrap().position(), position);
        }
        assert_eq!(Index::new(MAX_CAPACITY - 1).unwrap().position(), MAX_CAPACITY - 1);
        assert_eq!(Index::new(MAX_CAPACITY), None);
    }

    #[test]
    fn generations_count_up_to_the_last() {
        assert_eq!(Generation::NONE.number(), 0);
        let mut last = Generation { low: u32::MAX, high: 0 };
        last = last.next();
        assert_eq!(last, Generation { low: 0, high: 1 });
        last = Generation { low: u32::MAX - 1, high: u8::MAX }.next();
        assert_eq!(last, Generation::LAST);
        assert_eq!(last.number(), (1 << 40) - 1);
    }

    #[test]
    fn an_id_holds_index_and_generation() {
        let index = Index::new(MAX_CAPACITY - 1).unwrap();
        let id = ThreadId::new(index, Generation::LAST);
        assert_eq!(id.index(), Some(index));
        assert_eq!(id.generation(), Generation::LAST.number());
        assert_eq!(ThreadId::from_raw(id.to_raw()), Some(id));
        assert_eq!(ThreadId::from_raw(0), None);
    }
}
