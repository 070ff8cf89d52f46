//! The memory of a large loop: of what its tables are made, and a fixed one for statics.

use core::cell::Cell;

use crate::large::link::Link;
use crate::large::timers::Timers;
use crate::large::wheel::Wheel;
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
    /// The timers, in order.
    type Timers: Timers;

    /// The tables.
    fn into_parts(self) -> Parts<Self::Links, Self::Bodies, Self::Timers>;
}

/// The tables of a loop.
pub struct Parts<L, B, W> {
    /// [`Link::VACANT`] to begin with.
    pub links: L,
    /// [`Body::VACANT`] to begin with.
    pub bodies: B,
    /// New to begin with.
    pub timers: W,
}

/// The part of a thread that depends on the application's types.
pub struct Body<S, A> {
    pub(crate) name: Option<&'static str>,
    /// `None` while the hook runs. The cell hides spare values of `A`, so that `None` is zero bytes for every `A`.
    pub(crate) call: Option<(Hook<S, A>, Cell<A>)>,
    pub(crate) period: Period,
}

impl<S, A> Body<S, A> {
    /// No thread: all zero bytes, for every `S` and `A`.
    pub const VACANT: Self = Self { name: None, call: None, period: Period::NONE };
}

/// Memory for `N` threads in the value itself, for a `static` or the stack: no allocation, all zero bytes when new.
///
/// `W` keeps the timers in order.
pub struct FixedStorage<S, A, const N: usize, W = Wheel<16, 8>> {
    links: [Link; N],
    bodies: [Body<S, A>; N],
    timers: W,
}

impl<S, A, const N: usize, W> FixedStorage<S, A, N, W> {
    /// Vacant tables around `timers`.
    pub const fn with_timers(timers: W) -> Self {
        Self { links: [Link::VACANT; N], bodies: [const { Body::VACANT }; N], timers }
    }
}

impl<S, A, const N: usize> FixedStorage<S, A, N> {
    /// Vacant tables around a wheel of 4-bit digits.
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
