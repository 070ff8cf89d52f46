//! The memory of a large loop: the trait for its tables, and fixed tables for statics.

use core::cell::Cell;

use crate::large::link::Link;
use crate::large::timers::Timers;
use crate::large::wheel::Wheel;
use crate::threads::Hook;
use crate::time::Period;

/// The memory for the tables of a large loop.
///
/// The loop holds as many threads as the shorter of links and bodies, and at most 16,777,215 (65,535 on 16- and 32-bit
/// targets). Implementers MUST return vacant links and bodies.
pub trait Storage<S, A> {
    /// The links, one for each thread: the part that queues use.
    type Links: AsRef<[Link]> + AsMut<[Link]>;
    /// The bodies, one for each thread: its name, hook and argument.
    type Bodies: AsRef<[Body<S, A>]> + AsMut<[Body<S, A>]>;
    /// The timer structure: a [`Wheel`].
    type Timers: Timers;

    /// Returns the tables.
    fn into_parts(self) -> Parts<Self::Links, Self::Bodies, Self::Timers>;
}

/// The tables of a loop.
pub struct Parts<L, B, W> {
    /// The links, each [`Link::VACANT`] at the start.
    pub links: L,
    /// The bodies, each [`Body::VACANT`] at the start.
    pub bodies: B,
    /// The timer structure, new at the start.
    pub timers: W,
}

/// The part of a thread that depends on the application's types.
pub struct Body<S, A> {
    pub(crate) name: Option<&'static str>,
    /// `None` while the hook runs. The `Cell` hides the niches of `A`, so that `None` is all zero bytes for every `A`.
    pub(crate) call: Option<(Hook<S, A>, Cell<A>)>,
    pub(crate) period: Period,
}

impl<S, A> Body<S, A> {
    /// A body without a thread: all zero bytes, for every `S` and `A`.
    pub const VACANT: Self = Self { name: None, call: None, period: Period::NONE };
}

/// Memory for `N` threads in the value itself, for a `static` or the stack. It does not allocate, and is all zero bytes
/// when new.
///
/// `W` is the timer structure, a [`Wheel`].
pub struct FixedStorage<S, A, const N: usize, W = Wheel<16, 8>> {
    links: [Link; N],
    bodies: [Body<S, A>; N],
    timers: W,
}

impl<S, A, const N: usize, W> FixedStorage<S, A, N, W> {
    /// Creates vacant tables with this timer structure.
    pub const fn with_timers(timers: W) -> Self {
        Self { links: [Link::VACANT; N], bodies: [const { Body::VACANT }; N], timers }
    }
}

impl<S, A, const N: usize> FixedStorage<S, A, N> {
    /// Creates vacant tables with a wheel of 4-bit digits.
    pub const fn new() -> Self {
        Self::with_timers(Wheel::new())
    }
}

impl<S, A, const N: usize, W: Default> Default for FixedStorage<S, A, N, W> {
    fn default() -> Self {
        Self::with_timers(W::default())
    }
}

impl<S, A, const N: usize, W: Timers> Storage<S, A> for FixedStorage<S, A, N, W> {
    type Links = [Link; N];
    type Bodies = [Body<S, A>; N];
    type Timers = W;

    fn into_parts(self) -> Parts<Self::Links, Self::Bodies, W> {
        Parts { links: self.links, bodies: self.bodies, timers: self.timers }
    }
}
