//! `Debug` for types that hold hooks, tables or another poller, and show few fields or none.

use core::fmt;

/// Implements `Debug` with the name of the type and the given fields.
macro_rules! debug {
    ($([$($generics:tt)*] $type:ty: $name:literal $(, $field:literal $value:expr)*;)*) => {
        $(impl<$($generics)*> fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name)$(.field($field, &$value(self)))*.finish_non_exhaustive()
            }
        })*
    };
}

debug! {
    [S, A] crate::Thread<'_, S, A>: "Thread", "id" Self::id, "name" Self::name;
    [S, A] crate::Threads<'_, S, A>: "Threads", "len" Self::len, "capacity" Self::capacity;
    [S, A, F] crate::DumpWith<'_, S, A, F>: "DumpWith";
    [P, S, const N: usize, A] crate::FixedLoop<P, S, N, A>: "FixedLoop";
    [] crate::poller::Ready<'_>: "Ready";
    [F] crate::poller::Filtered<'_, '_, F>: "Filtered";
    [P: fmt::Debug, C] crate::sim::Faults<P, C>: "Faults", "inner" Self::inner;
    [const N: usize] crate::sim::SimPoller<'_, N>: "SimPoller";
    [const N: usize] crate::sim::World<N>: "World", "now" Self::now;
}

#[cfg(feature = "large")]
debug! {
    [P, S, A, T: crate::large::Storage<S, A>] crate::large::EventLoop<P, S, A, T>: "EventLoop";
    [S, A, const N: usize, W] crate::large::FixedStorage<S, A, N, W>: "FixedStorage";
    [L, B, W] crate::large::Parts<L, B, W>: "Parts";
    [S, A] crate::large::Body<S, A>: "Body";
    [] crate::large::Link: "Link";
}
