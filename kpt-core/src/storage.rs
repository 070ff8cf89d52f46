//! The memory of a loop: of what its tables are made, and a fixed one for statics.

use crate::link::Link;
use crate::queues::Queues;
use crate::small_queues::SmallQueues;
use crate::threads::Hook;
use crate::time::Period;

/// What a loop's tables are made of.
///
/// The loop holds as many threads as the shorter of links and bodies, and at most 16,777,215 (65,535 on 16- and 32-bit
/// targets). Implementers MUST give vacant ones.
pub trait Storage<S, A> {
    /// What queues touch, for each thread.
    type Links: AsRef<[Link]> + AsMut<[Link]>;
    /// Name, hook and argument of each thread.
    type Bodies: AsRef<[Body<S, A>]> + AsMut<[Body<S, A>]>;
    /// Which threads wait for what, in order.
    type Queues: Queues;

    /// The tables.
    fn into_parts(self) -> Parts<Self::Links, Self::Bodies, Self::Queues>;
}

/// A storage that is made for a number of threads when the program runs.
pub trait Allocate {
    /// Room for `threads` threads; allocates now and never again.
    fn with_capacity(threads: usize) -> Self;
}

/// The tables of a loop.
pub struct Parts<L, B, Q> {
    /// [`Link::VACANT`] to begin with.
    pub links: L,
    /// [`Body::VACANT`] to begin with.
    pub bodies: B,
    /// New to begin with.
    pub queues: Q,
}

/// What of a thread depends on the application's types.
pub struct Body<S, A> {
    pub(crate) name: Option<&'static str>,
    /// `None` while the hook runs.
    pub(crate) call: Option<(Hook<S, A>, A)>,
    pub(crate) period: Period,
}

impl<S, A> Body<S, A> {
    /// No thread.
    pub const VACANT: Self = Self { name: None, call: None, period: Period::NONE };
}

/// Memory for `N` threads in the value itself, for a `static` or the stack: no allocation, all zero bytes when new.
///
/// `Q` is how threads are kept in order: [`SmallQueues`] for up to some tens of threads,
/// [`LargeQueues`](crate::LargeQueues) for more.
pub struct FixedStorage<S, A, const N: usize, Q = SmallQueues> {
    links: [Link; N],
    bodies: [Body<S, A>; N],
    queues: Q,
}

impl<S, A, const N: usize, Q> FixedStorage<S, A, N, Q> {
    /// Vacant tables, with `queues` to keep them in order.
    pub const fn with_queues(queues: Q) -> Self {
        Self { links: [Link::VACANT; N], bodies: [const { Body::VACANT }; N], queues }
    }
}

impl<S, A, const N: usize> FixedStorage<S, A, N> {
    /// Vacant tables for few threads.
    pub const fn new() -> Self {
        Self::with_queues(SmallQueues::new())
    }
}

impl<S, A, const N: usize, Q: Default> Default for FixedStorage<S, A, N, Q> {
    fn default() -> Self {
        Self::with_queues(Q::default())
    }
}

impl<S, A, const N: usize, Q: Queues> Storage<S, A> for FixedStorage<S, A, N, Q> {
    type Links = [Link; N];
    type Bodies = [Body<S, A>; N];
    type Queues = Q;

    fn into_parts(self) -> Parts<Self::Links, Self::Bodies, Q> {
        Parts { links: self.links, bodies: self.bodies, queues: self.queues }
    }
}
