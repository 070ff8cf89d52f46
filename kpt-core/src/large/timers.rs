//! What the loop asks of a timer structure.

use crate::id::Index;
use crate::large::link::Link;
use crate::time::Instant;

/// A structure that orders timers by deadline, for a large loop: a [`Wheel`](crate::large::Wheel). It
/// orders links and knows no hooks.
///
/// Implementers MUST
/// - keep a *position*: the latest moment that `advance` was told, 0 in the beginning;
/// - take a deadline that is not after the position as one that is due now, behind those that are due already;
/// - hand timers out by deadline, equal ones in the order of `insert`;
/// - never hand out one with the deadline [`Instant::NEVER`];
/// - be all zero bytes when new, and neither allocate nor panic, whatever the deadlines. Only timers that are in here
///   are removed.
pub trait Timers {
    /// Takes in a timer that is not in here. Its deadline is in its link and does not change while it is in here.
    fn insert(&mut self, links: &mut [Link], timer: Index);

    /// Gives up a timer that is in here.
    fn remove(&mut self, links: &mut [Link], timer: Index);

    /// The position.
    fn position(&self) -> Instant;

    /// When `advance` should be called next: the nearest deadline, or a moment before it at which the structure has
    /// work to do; [`Instant::NEVER`] if no deadline can be reached.
    fn next_deadline(&self, links: &[Link]) -> Instant;

    /// Moves the position to `now`; does nothing if it is there or beyond.
    fn advance(&mut self, links: &mut [Link], now: Instant);

    /// Takes out all timers that are due at the position, and returns the first. They are linked in a circle, in order.
    fn take_due(&mut self, links: &mut [Link]) -> Option<Index>;

    /// Walks everything, and returns how many timers are in here, or which invariant does not hold. For tests.
    ///
    /// Without debug assertions it MAY look at nothing and return 0, so that firmware does not carry it.
    fn verify(&self, links: &[Link]) -> Result<usize, &'static str>;
}
