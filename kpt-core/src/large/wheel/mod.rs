//! A hierarchical timer wheel: insert and remove in O(1), however many timers there are.
//!
//! The moment a timer is due and the *position* of the wheel are numbers of as many digits as the wheel has levels.
//! A timer lies at the level of the highest digit in which the two differ, in the slot of its deadline's digit there.
//! So every timer of a level comes before every timer of a higher one, a level's slots come in order, and none lies
//! before the position's own digit: the first occupied slot of the lowest occupied level is the next one, and two
//! bitmaps find it in a few instructions. When the position enters a slot, its timers are spread over the levels below.
//!
//! One rule keeps equal deadlines first-in-first-out: a slot is emptied when the position enters it, and not later.
//! Timers added before lie in that slot in their order, and go down in it; timers added after go behind them.
//!
//! Timers that differ from the position above the highest level wait in one far list, so there is no horizon.
//!
//! The scheme is that of G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 7;
//! bitmaps of occupied slots in place of ticking come from W. Ahern's timeout.c.

use core::fmt;

use crate::id::Index;
use crate::large::link::{Link, Links, Place};
use crate::large::timers::Timers;
use crate::time::Instant;
use crate::time::LAST;

mod digits;
mod occupancy;
mod open_list;

use digits::{digit, level_of_difference, slot_start, span};
use occupancy::{Bitmap, Level, Slots};
use open_list::OpenList;

/// A slot with more timers than this is not searched for its nearest deadline; the loop wakes at the slot's start.
const SEARCHED: usize = 64;

/// A wheel of `LEVELS` levels with `SLOTS` slots each; `SLOTS` is a power of two from 2 to 1,024.
///
/// It spans `SLOTS` to the power of `LEVELS` microseconds. Later timers are in a list that is scanned once in each span
/// in which one of them is due.
///
/// `insert` and `remove` are O(1). `advance` moves each timer down at most `LEVELS` times. `take_due` returns all due
/// timers at once. `next_deadline` looks at up to 64 timers. It is exact unless the next slot holds more; then it may
/// return the start of that slot, which is earlier. After that wake-up the timers have moved down a level, so this
/// happens at most once for each level. Far timers add one such wake-up when the nearest of them has been removed.
///
/// Its size is 8 bytes for each slot (4 on 16- and 32-bit targets); for each level 8 bytes, and another 8 for each 64
/// slots if it has more than 64; and 40 (32) bytes.
pub struct Wheel<const SLOTS: usize, const LEVELS: usize>
where
    Slots<SLOTS>: Level,
{
    position: u64,
    /// The non-empty slots of each level.
    occupied: [<Slots<SLOTS> as Level>::Bitmap; LEVELS],
    /// The non-empty levels.
    levels: u64,
    slots: [[OpenList; SLOTS]; LEVELS],
    far: OpenList,
    /// No far timer is due before this. Has no meaning while there is none.
    far_from: u64,
    due: OpenList,
}

/// The list to which a deadline belongs, as seen from a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Due,
    Slot(Cell),
    Far,
}

/// One slot of one level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    level: u32,
    digit: u32,
}

/// The next list that the position meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stop {
    at: u64,
    home: Home,
}

impl<const SLOTS: usize, const LEVELS: usize> Wheel<SLOTS, LEVELS>
where
    Slots<SLOTS>: Level,
{
    /// The number of bits of a digit.
    const BITS: u32 = {
        assert!(LEVELS >= 1 && LEVELS <= 64, "1 to 64 levels");
        SLOTS.trailing_zeros()
    };

    /// Returns a wheel without timers, at the start of the clock.
    pub const fn new() -> Self {
        Self {
            position: 0,
            occupied: [<Slots<SLOTS> as Level>::Bitmap::EMPTY; LEVELS],
            levels: 0,
            slots: [[OpenList::EMPTY; SLOTS]; LEVELS],
            far: OpenList::EMPTY,
            far_from: 0,
            due: OpenList::EMPTY,
        }
    }

    #[inline]
    fn home(&self, deadline: u64) -> Home {
        if deadline <= self.position {
            return Home::Due;
        }
        let level = level_of_difference(deadline, self.position, Self::BITS);
        if level as usize >= LEVELS {
            return Home::Far;
        }
        Home::Slot(Cell { level, digit: digit(deadline, level, Self::BITS) })
    }

    #[inline]
    fn list_mut(&mut self, home: Home) -> &mut OpenList {
        match home {
            Home::Due => &mut self.due,
            Home::Far => &mut self.far,
            Home::Slot(cell) => self
                .slots
                .get_mut(cell.level as usize)
                .and_then(|level| level.get_mut(cell.digit as usize))
                .unwrap_or(&mut self.far),
        }
    }

    fn list(&self, home: Home) -> OpenList {
        match home {
            Home::Due => self.due,
            Home::Far => self.far,
            Home::Slot(cell) => self
                .slots
                .get(cell.level as usize)
                .and_then(|level| level.get(cell.digit as usize))
                .copied()
                .unwrap_or(OpenList::EMPTY),
        }
    }

    /// Notes that the slot is no longer empty.
    #[inline(never)]
    fn mark_occupied(&mut self, cell: Cell) {
        if let Some(slots) = self.occupied.get_mut(cell.level as usize) {
            slots.insert(cell.digit);
            self.levels |= bit(cell.level);
        }
    }

    /// Notes that the slot is empty.
    fn mark_empty(&mut self, cell: Cell) {
        let Some(slots) = self.occupied.get_mut(cell.level as usize) else { return };
        slots.remove(cell.digit);
        if slots.is_empty() {
            self.levels &= !bit(cell.level);
        }
    }

    /// Returns where the next timers are, and the first moment that belongs there. For the far list, that is the span
    /// of its nearest timer.
    fn next_stop(&self) -> Option<Stop> {
        if self.levels != 0 {
            let level = self.levels.trailing_zeros();
            let digit = self.occupied.get(level as usize)?.first();
            let at = slot_start(self.position, level, digit, Self::BITS);
            return Some(Stop { at, home: Home::Slot(Cell { level, digit }) });
        }
        self.far.first()?;
        let span = span(Self::BITS.wrapping_mul(LEVELS as u32));
        Some(Stop { at: self.far_from & span, home: Home::Far })
    }

    /// Returns whether there is no timer but those that are due.
    #[inline]
    fn is_empty(&self) -> bool {
        self.levels == 0 && self.far.is_empty()
    }

    /// Moves the position to each stop up to `now`, one after the other.
    #[inline]
    fn enter_until(&mut self, links: &mut [Link], now: u64) {
        while let Some(stop) = self.next_stop().filter(|stop| stop.at <= now) {
            self.enter(links, stop);
        }
    }

    /// Moves the position to a stop, and spreads its timers over the levels below.
    fn enter(&mut self, links: &mut [Link], stop: Stop) {
        self.position = stop.at;
        let list = core::mem::replace(self.list_mut(stop.home), OpenList::EMPTY);
        if let Home::Slot(cell) = stop.home {
            self.mark_empty(cell);
            if cell.level == 0 {
                mark_due(links, list.first());
                return self.due.append(links, list);
            }
        }
        if cfg!(target_pointer_width = "64") {
            list.look_ahead(links);
        }
        // Walked and not emptied one by one: the gap that a timer leaves need not be closed.
        let mut at = list.first();
        let last = self.due.last();
        while let Some(timer) = at {
            at = links.at(timer).next;
            self.insert(links, timer);
        }
        // The timers that are due at this moment.
        if self.due.last() != last {
            mark_due(links, last.map_or(self.due.first(), |last| links.at(last).next));
        }
    }

    /// Does `next_deadline` for a wheel with timers.
    #[inline(never)]
    fn nearest_deadline(&self, links: &[Link]) -> Instant {
        if !self.due.is_empty() {
            // Not the position: if the clock has gone back, a wait must not last until it gets there again.
            return Instant::ZERO;
        }
        let Some(stop) = self.next_stop() else { return Instant::NEVER };
        if matches!(stop.home, Home::Slot(Cell { level: 0, .. })) {
            return Instant::from_micros(stop.at);
        }
        let list = self.list(stop.home);
        let mut nearest = u64::MAX;
        let mut left = SEARCHED;
        for timer in list.iter(links) {
            if left == 0 {
                return Instant::from_micros(if stop.home == Home::Far {
                    self.far_from
                } else {
                    stop.at
                });
            }
            left = left.wrapping_sub(1);
            nearest = nearest.min(links.at(timer).deadline().as_micros());
        }
        Instant::from_micros(nearest)
    }

    /// Does `insert` for a timer that is due already, or far.
    #[inline(never)]
    fn insert_in_no_slot(&mut self, links: &mut [Link], timer: Index, home: Home) {
        let deadline = links.at(timer).deadline().as_micros();
        if home == Home::Far {
            let is_nearest = self.far.is_empty() || deadline < self.far_from;
            self.far_from = if is_nearest { deadline } else { self.far_from };
        }
        self.list_mut(home).push_back(links, timer);
    }

    /// Does `remove` for the first or the last one of a list.
    #[inline(never)]
    fn remove_end(&mut self, links: &mut [Link], timer: Index) {
        let home = self.home(links.at(timer).deadline().as_micros());
        let list = self.list_mut(home);
        list.remove_end(links, timer);
        if list.is_empty()
            && let Home::Slot(cell) = home
        {
            self.mark_empty(cell);
        }
    }
}

impl<const SLOTS: usize, const LEVELS: usize> fmt::Debug for Wheel<SLOTS, LEVELS>
where
    Slots<SLOTS>: Level,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").field("position", &self.position).finish_non_exhaustive()
    }
}

impl<const SLOTS: usize, const LEVELS: usize> Default for Wheel<SLOTS, LEVELS>
where
    Slots<SLOTS>: Level,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<const SLOTS: usize, const LEVELS: usize> Timers for Wheel<SLOTS, LEVELS>
where
    Slots<SLOTS>: Level,
{
    #[inline]
    fn insert(&mut self, links: &mut [Link], timer: Index) {
        let home = self.home(links.at(timer).deadline().as_micros());
        let Home::Slot(cell) = home else { return self.insert_in_no_slot(links, timer, home) };
        let is_first = self.list_mut(home).push_back(links, timer);
        // Last, so that no value needs to be saved across the call.
        if is_first {
            self.mark_occupied(cell);
        }
    }

    #[inline]
    fn remove(&mut self, links: &mut [Link], timer: Index) {
        let link = links.at(timer);
        let (Some(next), Some(previous)) = (link.next, link.previous) else {
            return self.remove_end(links, timer);
        };
        // In the middle of a list. The slot is not needed: it has other timers, so it stays occupied.
        links.edit(next, |link| link.previous = Some(previous));
        links.edit(previous, |link| link.next = Some(next));
    }

    fn position(&self) -> Instant {
        Instant::from_micros(self.position)
    }

    #[inline]
    fn next_deadline(&self, links: &[Link]) -> Instant {
        // As in `advance`: a wait without timers needs no call.
        if self.is_empty() && self.due.is_empty() {
            return Instant::NEVER;
        }
        self.nearest_deadline(links)
    }

    #[inline]
    fn advance(&mut self, links: &mut [Link], now: Instant) {
        let now = now.min(LAST).as_micros();
        mark_due(links, self.due.first());
        // For an empty wheel, preparing this call would be most of the instructions of a wait.
        if !self.is_empty() {
            self.enter_until(links, now);
        }
        self.position = self.position.max(now);
    }

    fn take_due(&mut self, links: &mut [Link]) -> Option<Index> {
        self.due.take_as_circle(links)
    }

    fn verify(&self, links: &[Link]) -> Result<usize, &'static str> {
        if !cfg!(debug_assertions) {
            return Ok(0);
        }
        let mut count =
            self.verify_list(links, Home::Due)?.saturating_add(self.verify_list(links, Home::Far)?);
        for level in 0..LEVELS as u32 {
            let occupied = self.occupied.get(level as usize).ok_or("a level is missing")?;
            if occupied.is_empty() != (self.levels & bit(level) == 0) {
                return Err("a level's bit is out of step with its slots");
            }
            for digit in 0..SLOTS as u32 {
                let home = Home::Slot(Cell { level, digit });
                if self.list(home).is_empty() == occupied.contains(digit) {
                    return Err("an occupancy bit is out of step with its slot");
                }
                count = count.saturating_add(self.verify_list(links, home)?);
            }
        }
        Ok(count)
    }
}

impl<const SLOTS: usize, const LEVELS: usize> Wheel<SLOTS, LEVELS>
where
    Slots<SLOTS>: Level,
{
    fn verify_list(&self, links: &[Link], home: Home) -> Result<usize, &'static str> {
        let list = self.list(home);
        if list.iter(links).any(|timer| self.home(links.at(timer).deadline().as_micros()) != home) {
            return Err("a timer lies in a slot that is not its own");
        }
        list.verify(links)
    }
}

/// Marks these timers, and all behind them in their list, as due. Their links are in the cache now, and would not be if
/// this were done for all at the end: a sixth less time for a million timers that are added and fire.
#[inline]
fn mark_due(links: &mut [Link], first: Option<Index>) {
    let mut at = first;
    while let Some(timer) = at {
        links.edit(timer, |link| {
            link.place = Place::Due;
            at = link.next;
        });
    }
}

/// Returns the bit of a level.
#[inline]
fn bit(number: u32) -> u64 {
    1_u64.wrapping_shl(number)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin_tests;
