//! The interface of the loop to its timer structure.

use core::ops::DerefMut;

use crate::id::Index;
use crate::large::link::Link;
use crate::time::Instant;

/// A structure that orders the timers of a large loop by deadline, such as a [`Wheel`](crate::large::Wheel). It works
/// on links, and knows no hooks.
///
/// Implementers MUST
/// - keep a *position*: the latest moment that was passed to `advance`, 0 at the start;
/// - treat a deadline that is not after the position as due now, behind the timers that are due already;
/// - return timers in the order of their deadlines, equal ones in the order of `insert`;
/// - never return a timer with the deadline [`Instant::NEVER`];
/// - be all zero bytes when new, and neither allocate nor panic, whatever the deadlines. Only timers that have been
///   inserted are removed.
pub trait Timers {
    /// Inserts a timer that is not in the structure. Its deadline is in its link, and does not change while the timer
    /// is in the structure.
    fn insert(&mut self, links: &mut [Link], timer: Index);

    /// Removes a timer that is in the structure.
    fn remove(&mut self, links: &mut [Link], timer: Index);

    /// Returns the position.
    fn position(&self) -> Instant;

    /// Returns when `advance` should be called next: the nearest deadline, or a moment before it at which the structure
    /// has work to do; [`Instant::NEVER`] if no deadline can be reached.
    fn next_deadline(&self, links: &[Link]) -> Instant;

    /// Moves the position to `now`, unless it is there already or beyond, and notes in the links of all timers that are due
    /// then that they are: `take_due` follows.
    fn advance(&mut self, links: &mut [Link], now: Instant);

    /// Removes all timers that are due at the position, and returns the first. They are linked in a circle, in order.
    fn take_due(&mut self, links: &mut [Link]) -> Option<Index>;

    /// Checks the structure, and returns the number of its timers, or the condition that does not hold. For tests.
    ///
    /// Without debug assertions it MAY check nothing and return 0, so that firmware does not contain this code.
    fn verify(&self, links: &[Link]) -> Result<usize, &'static str>;
}

/// Timers in memory outside of the loop.
impl<T> Timers for T
where
    T: DerefMut<Target: Timers>,
{
    #[inline]
    fn insert(&mut self, links: &mut [Link], timer: Index) {
        (**self).insert(links, timer);
    }

    #[inline]
    fn remove(&mut self, links: &mut [Link], timer: Index) {
        (**self).remove(links, timer);
    }

    #[inline]
    fn position(&self) -> Instant {
        (**self).position()
    }

    #[inline]
    fn next_deadline(&self, links: &[Link]) -> Instant {
        (**self).next_deadline(links)
    }

    #[inline]
    fn advance(&mut self, links: &mut [Link], now: Instant) {
        (**self).advance(links, now);
    }

    #[inline]
    fn take_due(&mut self, links: &mut [Link]) -> Option<Index> {
        (**self).take_due(links)
    }

    #[inline]
    fn verify(&self, links: &[Link]) -> Result<usize, &'static str> {
        (**self).verify(links)
    }
}
