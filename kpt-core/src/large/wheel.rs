//! A hierarchical timer wheel: insert and remove in O(1), however many timers there are.
//!
//! The moment a timer is due and the *position* of the wheel are numbers of as many digits as the wheel has levels.
//! A timer lies at the level of the highest digit in which the two differ, in the slot of its deadline's digit there.
//! So every timer of a level comes before every timer of a higher one, a level's slots come in order, and none lies
//! before the position's own digit: the first occupied slot of the lowest occupied level is the next one, and two
//! bitmaps find it in two instructions. When the position enters a slot, its timers are spread over the levels below.
//!
//! One rule keeps equal deadlines first-in-first-out: a slot is emptied when the position enters it, and not later.
//! Timers added before lie in that slot in their order, and go down in it; timers added after go behind them.
//!
//! What differs from the position above the highest level waits in one far list, so there is no horizon.
//!
//! The scheme is that of G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 7;
//! bitmaps of occupied slots in place of ticking come from W. Ahern's timeout.c.

use crate::id::Index;
use crate::large::link::{Link, Links};
use crate::large::list::List;
use crate::large::timers::Timers;
use crate::time::Instant;
use crate::time::LAST;

/// A slot with more timers than this is not searched for its nearest deadline; the loop wakes at the slot's start.
const SEARCHED: usize = 64;

/// A wheel of `LEVELS` levels with `SLOTS` slots each; `SLOTS` is a power of two from 2 to 64.
///
/// It spans `SLOTS` to the power of `LEVELS` microseconds; timers beyond that are in a list that is gone through once
/// in each span in which one of them is due.
///
/// `insert`, `remove` and `pop` are O(1). `advance` moves each timer down at most `LEVELS` times in its life.
/// `next_deadline` looks at up to 64 timers, and is exact while the next slot holds no more; with more, it may say the
/// start of that slot, which is earlier. The timers have then moved down a level, so this happens at most once for each
/// level, and far timers add one such wake-up when the nearest of them has been removed.
///
/// Its size is 4 bytes for each slot (2 on 16- and 32-bit targets), 8 for each level and 32 more.
pub struct Wheel<const SLOTS: usize, const LEVELS: usize> {
    position: u64,
    /// Of each level, the slots that are not empty.
    occupied: [u64; LEVELS],
    /// The levels that are not empty.
    levels: u64,
    slots: [[List; SLOTS]; LEVELS],
    far: List,
    /// No far timer is due before this. Means nothing while there is none.
    far_from: u64,
    due: List,
}

/// Where a deadline belongs, as seen from a position.
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

/// What the position meets next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stop {
    at: u64,
    home: Home,
}

impl<const SLOTS: usize, const LEVELS: usize> Wheel<SLOTS, LEVELS> {
    /// Bits of a digit.
    const BITS: u32 = {
        assert!(
            SLOTS.is_power_of_two() && SLOTS >= 2 && SLOTS <= 64,
            "2 to 64 slots, a power of two"
        );
        assert!(LEVELS >= 1 && LEVELS <= 64, "1 to 64 levels");
        SLOTS.trailing_zeros()
    };

    /// No timers, at the start of the clock.
    pub const fn new() -> Self {
        Self {
            position: 0,
            occupied: [0; LEVELS],
            levels: 0,
            slots: [[List::EMPTY; SLOTS]; LEVELS],
            far: List::EMPTY,
            far_from: 0,
            due: List::EMPTY,
        }
    }

    fn home(&self, deadline: u64) -> Home {
        if deadline <= self.position {
            return Home::Due;
        }
        let highest_bit = 63_u32.wrapping_sub((deadline ^ self.position).leading_zeros());
        let level = highest_bit.checked_div(Self::BITS).unwrap_or(0);
        if level as usize >= LEVELS {
            return Home::Far;
        }
        Home::Slot(Cell { level, digit: digit(deadline, level, Self::BITS) })
    }

    fn list_mut(&mut self, home: Home) -> &mut List {
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

    fn list(&self, home: Home) -> List {
        match home {
            Home::Due => self.due,
            Home::Far => self.far,
            Home::Slot(cell) => self
                .slots
                .get(cell.level as usize)
                .and_then(|level| level.get(cell.digit as usize))
                .copied()
                .unwrap_or(List::EMPTY),
        }
    }

    fn mark(&mut self, cell: Cell, is_occupied: bool) {
        let Some(slots) = self.occupied.get_mut(cell.level as usize) else { return };
        if is_occupied {
            *slots |= bit(cell.digit);
            self.levels |= bit(cell.level);
        } else {
            *slots &= !bit(cell.digit);
            if *slots == 0 {
                self.levels &= !bit(cell.level);
            }
        }
    }

    /// Where the next timers are, and the first moment that belongs there. For the far list, that is the span of its
    /// nearest timer.
    fn next_stop(&self) -> Option<Stop> {
        if self.levels != 0 {
            let level = self.levels.trailing_zeros();
            let digit = self.occupied.get(level as usize)?.trailing_zeros();
            let at = slot_start(self.position, Cell { level, digit }, Self::BITS);
            return Some(Stop { at, home: Home::Slot(Cell { level, digit }) });
        }
        self.far.first()?;
        let span = shift_left(u64::MAX, Self::BITS.wrapping_mul(LEVELS as u32));
        Some(Stop { at: self.far_from & span, home: Home::Far })
    }

    /// Moves the position to where it meets timers, and spreads them.
    fn enter(&mut self, links: &mut [Link], stop: Stop) {
        self.position = stop.at;
        let mut list = core::mem::replace(self.list_mut(stop.home), List::EMPTY);
        if let Home::Slot(cell) = stop.home {
            self.mark(cell, false);
            if cell.level == 0 {
                return self.due.append(links, list);
            }
        }
        while let Some(timer) = list.pop_front(links) {
            self.insert(links, timer);
        }
    }
}

impl<const SLOTS: usize, const LEVELS: usize> Default for Wheel<SLOTS, LEVELS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const SLOTS: usize, const LEVELS: usize> Timers for Wheel<SLOTS, LEVELS> {
    #[inline]
    fn insert(&mut self, links: &mut [Link], timer: Index) {
        let deadline = links.at(timer).deadline().as_micros();
        let home = self.home(deadline);
        let list = self.list_mut(home);
        let was_empty = list.is_empty();
        list.push_back(links, timer);
        match home {
            Home::Slot(cell) if was_empty => self.mark(cell, true),
            Home::Far if was_empty => self.far_from = deadline,
            Home::Far => self.far_from = self.far_from.min(deadline),
            Home::Slot(_) | Home::Due => {}
        }
    }

    #[inline]
    fn remove(&mut self, links: &mut [Link], timer: Index) {
        let home = self.home(links.at(timer).deadline().as_micros());
        let list = self.list_mut(home);
        list.remove(links, timer);
        if list.is_empty()
            && let Home::Slot(cell) = home
        {
            self.mark(cell, false);
        }
    }

    fn position(&self) -> Instant {
        Instant::from_micros(self.position)
    }

    fn next_deadline(&self, links: &[Link]) -> Instant {
        if !self.due.is_empty() {
            // Not the position: if the clock has gone back, nobody should wait for it to get there again.
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

    fn advance(&mut self, links: &mut [Link], now: Instant) {
        let now = now.min(LAST).as_micros();
        while let Some(stop) = self.next_stop().filter(|stop| stop.at <= now) {
            self.enter(links, stop);
        }
        self.position = self.position.max(now);
    }

    fn pop(&mut self, links: &mut [Link]) -> Option<Index> {
        self.due.pop_front(links)
    }

    fn verify(&self, links: &[Link]) -> Result<usize, &'static str> {
        if !cfg!(debug_assertions) {
            return Ok(0);
        }
        let mut count =
            self.verify_list(links, Home::Due)?.saturating_add(self.verify_list(links, Home::Far)?);
        for level in 0..LEVELS as u32 {
            let occupied = self.occupied.get(level as usize).copied().unwrap_or(0);
            if (occupied != 0) != (self.levels & bit(level) != 0) {
                return Err("a level's bit is out of step with its slots");
            }
            for digit in 0..SLOTS as u32 {
                let home = Home::Slot(Cell { level, digit });
                if self.list(home).is_empty() != (occupied & bit(digit) == 0) {
                    return Err("an occupancy bit is out of step with its slot");
                }
                count = count.saturating_add(self.verify_list(links, home)?);
            }
        }
        Ok(count)
    }
}

impl<const SLOTS: usize, const LEVELS: usize> Wheel<SLOTS, LEVELS> {
    fn verify_list(&self, links: &[Link], home: Home) -> Result<usize, &'static str> {
        let list = self.list(home);
        if list.iter(links).any(|timer| self.home(links.at(timer).deadline().as_micros()) != home) {
            return Err("a timer lies in a slot that is not its own");
        }
        list.verify(links)
    }
}

/// The digit of `value` at `level`.
fn digit(value: u64, level: u32, bits: u32) -> u32 {
    let mask = shift_left(1, bits).wrapping_sub(1);
    (value.wrapping_shr(level.wrapping_mul(bits)) & mask) as u32
}

/// The first moment of a slot that lies ahead of `position`: the digits above are the position's, those below are 0.
fn slot_start(position: u64, cell: Cell, bits: u32) -> u64 {
    let below = cell.level.wrapping_mul(bits);
    let above = shift_left(u64::MAX, below.wrapping_add(bits));
    (position & above) | shift_left(u64::from(cell.digit), below)
}

/// `value << by`, and 0 when all bits leave.
fn shift_left(value: u64, by: u32) -> u64 {
    value.checked_shl(by).unwrap_or(0)
}

fn bit(number: u32) -> u64 {
    shift_left(1, number)
}

#[cfg(test)]
#[path = "wheel_tests.rs"]
mod tests;
#[cfg(test)]
#[path = "wheel_twin_tests.rs"]
mod twin_tests;
