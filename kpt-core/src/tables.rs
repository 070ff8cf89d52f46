//! The tables behind [`Threads`](crate::Threads): those of a small loop, or those of a loop of either kind.
//!
//! Without the feature `large`, all loops are small, and hooks reach their tables directly.

#[cfg(not(feature = "large"))]
pub(crate) use crate::small::View as Tables;
#[cfg(feature = "large")]
pub(crate) use either::Tables;

#[cfg(feature = "large")]
mod either {
    use crate::error::{AddError, AgainError, RescheduleError, Stale};
    use crate::id::{Index, ThreadId};
    use crate::row::Row;
    use crate::source::Source;
    use crate::threads::{CancelledSource, Hook};
    use crate::time::Instant;
    use crate::when::Request;
    use crate::{large, small};

    /// The tables of a loop of either kind.
    pub(crate) enum Tables<'t, S, A> {
        Small(small::View<'t, S, A>),
        Large(large::View<'t, S, A>),
    }

    /// Evaluates `$answer` on the view that `$tables` holds.
    macro_rules! ask {
        ($tables:expr, $view:ident => $answer:expr) => {
            match $tables {
                Tables::Small($view) => $answer,
                Tables::Large($view) => $answer,
            }
        };
    }

    impl<S, A> Tables<'_, S, A> {
        pub(crate) fn reborrow(&mut self) -> Tables<'_, S, A> {
            ask!(self, view => view.reborrow().into())
        }

        #[inline]
        pub(crate) fn add(
            &mut self,
            name: &'static str,
            request: Request,
            value: u64,
            hook: Hook<S, A>,
            arg: A,
        ) -> Result<ThreadId, AddError<A>> {
            ask!(self, view => view.add(name, request, value, hook, arg))
        }

        #[inline]
        pub(crate) fn cancel(&mut self, id: ThreadId) -> Result<A, Stale> {
            ask!(self, view => view.cancel(id))
        }

        pub(crate) fn reschedule(
            &mut self,
            id: ThreadId,
            request: Request,
            value: u64,
        ) -> Result<(), RescheduleError> {
            ask!(self, view => view.reschedule(id, request, value))
        }

        pub(crate) fn cancel_source(&mut self, source: Source) -> CancelledSource<A> {
            ask!(self, view => view.cancel_source(source))
        }

        #[inline]
        pub(crate) fn again(
            &mut self,
            index: Index,
            hook: Hook<S, A>,
            arg: A,
        ) -> Result<(), AgainError<A>> {
            ask!(self, view => view.again(index, hook, arg))
        }

        pub(crate) fn again_when(
            &mut self,
            index: Index,
            request: Request,
            value: u64,
            hook: Hook<S, A>,
            arg: A,
        ) -> Result<(), AgainError<A>> {
            ask!(self, view => view.again_when(index, request, value, hook, arg))
        }

        pub(crate) fn set_period(&mut self, index: Index, micros: u64) {
            ask!(self, view => view.set_period(index, micros));
        }

        #[inline]
        pub(crate) fn end(&mut self, index: Index) {
            ask!(self, view => view.end(index));
        }

        pub(crate) fn stop(&mut self) {
            ask!(self, view => view.stop());
        }

        pub(crate) fn is_stopping(&self) -> bool {
            ask!(self, view => view.is_stopping())
        }

        pub(crate) fn now(&mut self) -> Instant {
            ask!(self, view => view.now())
        }

        pub(crate) fn turn_time(&self) -> Instant {
            ask!(self, view => view.turn_time())
        }

        pub(crate) fn len(&self) -> usize {
            ask!(self, view => view.len())
        }

        pub(crate) fn most_used(&self) -> u32 {
            ask!(self, view => view.most_used())
        }

        pub(crate) fn strays(&self) -> u32 {
            ask!(self, view => view.strays())
        }

        pub(crate) fn capacity(&self) -> usize {
            ask!(self, view => view.capacity())
        }

        pub(crate) fn slots(&self) -> usize {
            ask!(self, view => view.slots())
        }

        pub(crate) fn row(&self, index: Index) -> Option<Row> {
            ask!(self, view => view.row(index))
        }

        pub(crate) fn name(&self, index: Index) -> &'static str {
            ask!(self, view => view.name(index))
        }

        pub(crate) fn arg(&mut self, index: Index) -> Option<&A> {
            ask!(self, view => view.arg(index))
        }

        pub(crate) fn verify(&self) -> Result<(), &'static str> {
            ask!(self, view => view.verify())
        }

        /// Takes the tables, and leaves those of an empty loop in their place.
        pub(crate) fn take(&mut self) -> Self {
            core::mem::replace(self, Self::Large(large::View::of_nothing()))
        }
    }

    impl<'t, S, A> From<small::View<'t, S, A>> for Tables<'t, S, A> {
        fn from(view: small::View<'t, S, A>) -> Self {
            Self::Small(view)
        }
    }

    impl<'t, S, A> From<large::View<'t, S, A>> for Tables<'t, S, A> {
        fn from(view: large::View<'t, S, A>) -> Self {
            Self::Large(view)
        }
    }
}
