//! What the loop asks of the structure that knows which threads wait for what, and in which order.

use crate::id::Index;
use crate::link::{Link, Place};
use crate::source::Source;
use crate::time::Instant;

/// Which threads wait for what, in order: [`SmallQueues`](crate::SmallQueues) for few threads,
/// [`LargeQueues`](crate::LargeQueues) for many.
///
/// Every slot is in one [`Place`]. The threads of a place stand in the order in which they came there, those in
/// [`Place::Timers`] by deadline, equal ones in the order in which they came. Implementers MUST
/// - keep a *position*: the latest moment that `advance` was told, 0 in the beginning; a deadline that is not after the
///   position counts as the position;
/// - be all zero bytes when new, and neither allocate nor panic.
pub trait Queues {
    /// Moves a thread behind all others in that place, or among the timers as its deadline says. A deadline or source
    /// does not change while a thread is in a place where it matters.
    fn move_to(&mut self, links: &mut [Link], thread: Index, to: Place);

    /// The first thread in `place`, which is a place to take from: not `Retired`, `GivenUp` or `Watched`. Vacant slots
    /// come in any order.
    fn first(&self, links: &[Link], place: Place) -> Option<Index>;

    /// The threads of a source, its reader and its writer, one after the other in any order; first the one after
    /// `None`.
    fn next_of(&self, links: &[Link], source: Source, after: Option<Index>) -> Option<Index>;

    /// The position.
    fn position(&self) -> Instant;

    /// When `advance` should be called next: the nearest deadline, or a moment before it at which the structure has
    /// work to do; [`Instant::NEVER`] if no deadline can be reached.
    fn next_deadline(&self, links: &[Link]) -> Instant;

    /// Moves the position to `now`, if that is after it, and all timers that are due then to [`Place::Due`], in order.
    /// A timer at [`Instant::NEVER`] is never due.
    fn advance(&mut self, links: &mut [Link], now: Instant);

    /// Walks everything, and says which invariant does not hold. For tests.
    ///
    /// Without debug assertions it MAY look at nothing, so that firmware does not carry it.
    fn verify(&self, links: &[Link]) -> Result<(), &'static str>;
}

/// The last moment that a position may take, so that a timer at [`Instant::NEVER`] is not due in the last microsecond.
pub(crate) const LAST: Instant = Instant::from_micros(u64::MAX - 1);
