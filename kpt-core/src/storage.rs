//! The memory of a loop: who lends it, and a fixed one for statics.

use crate::link::Link;
use crate::sorted::SortedList;
use crate::threads::Hook;
use crate::time::Period;
use crate::timers::Timers;

/// Lends a loop its tables.
///
/// The loop holds as many threads as the shorter of `links` and `bodies`, and at most 16,777,215 (65,535 on 16- and
/// 32-bit targets). Implementers MUST lend the same tables each time, vacant in the beginning.
pub trait Storage<S, A> {
    /// The tables.
    fn lend(&mut self) -> Parts<'_, S, A>;
}

/// A storage that is made for a number of threads when the program runs.
pub trait Allocate {
    /// Room for `threads` threads; allocates now and never again.
    fn with_capacity(threads: usize) -> Self;
}

/// The tables of a loop.
pub struct Parts<'t, S, A> {
    /// What lists, timers and sources touch, for each thread: in [`Link::VACANT`] to begin with.
    pub links: &'t mut [Link],
    /// Name, hook and argument of each thread: in [`Body::VACANT`] to begin with.
    pub bodies: &'t mut [Body<S, A>],
    /// The timers.
    pub timers: &'t mut dyn Timers,
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
/// `W` is the timer structure: a [`SortedList`] for up to some tens of threads, a [`Wheel`](crate::Wheel) for more.
pub struct FixedStorage<S, A, const N: usize, W = SortedList> {
    links: [Link; N],
    bodies: [Body<S, A>; N],
    timers: W,
}

impl<S, A, const N: usize, W> FixedStorage<S, A, N, W> {
    /// Vacant tables, with `timers` to order timers by.
    pub const fn with_timers(timers: W) -> Self {
        Self { links: [Link::VACANT; N], bodies: [const { Body::VACANT }; N], timers }
    }
}

impl<S, A, const N: usize> FixedStorage<S, A, N> {
    /// Vacant tables with a sorted list of timers.
    pub const fn new() -> Self {
        Self::with_timers(SortedList::new())
    }
}

impl<S, A, const N: usize, W: Default> Default for FixedStorage<S, A, N, W> {
    fn default() -> Self {
        Self::with_timers(W::default())
    }
}

impl<S, A, const N: usize, W: Timers> Storage<S, A> for FixedStorage<S, A, N, W> {
    fn lend(&mut self) -> Parts<'_, S, A> {
        Parts { links: &mut self.links, bodies: &mut self.bodies, timers: &mut self.timers }
    }
}
