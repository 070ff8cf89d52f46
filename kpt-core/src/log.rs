//! Logging to `log`, to `defmt`, to both or to neither, as the features say.
//!
//! What is wrong is an error, the steps of every thread are traced. The target of `log` is `kpt`, also from kpt-std.

#[cfg(feature = "log")]
use core::fmt;

/// Whether a logging feature is on.
pub(crate) const IS_ON: bool = cfg!(any(feature = "log", feature = "defmt"));

macro_rules! error {
    ($($arg:expr),+) => {{
        #[cfg(feature = "log")]
        log::error!(target: "kpt", $($arg),+);
        #[cfg(feature = "defmt")]
        defmt::error!($($arg),+);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        if false {
            let _ = ($(&$arg),+);
        }
    }};
}

macro_rules! trace {
    ($($arg:expr),+) => {{
        #[cfg(feature = "log")]
        log::trace!(target: "kpt", $($arg),+);
        #[cfg(feature = "defmt")]
        defmt::trace!($($arg),+);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        if false {
            let _ = ($(&$arg),+);
        }
    }};
}

pub(crate) use {error, trace};

/// Writes an argument, as the application wants to see it.
#[cfg(feature = "log")]
pub(crate) type Show<A> = fn(&A, &mut fmt::Formatter<'_>) -> fmt::Result;

/// How a loop's logs show arguments: not at all, unless the feature `log` is on and the application says how.
pub(crate) struct ShowArgs<A> {
    #[cfg(feature = "log")]
    show: Option<Show<A>>,
    #[cfg(not(feature = "log"))]
    types: core::marker::PhantomData<fn(&A)>,
}

impl<A> ShowArgs<A> {
    /// Not at all.
    #[cfg(feature = "log")]
    pub(crate) const NOT: Self = Self { show: None };
    /// Not at all.
    #[cfg(not(feature = "log"))]
    pub(crate) const NOT: Self = Self { types: core::marker::PhantomData };

    #[cfg(feature = "log")]
    pub(crate) fn with(show: Show<A>) -> Self {
        Self { show: Some(show) }
    }

    /// The argument as a log line has it, behind the thread's id: ` (client 7)`, or nothing.
    pub(crate) fn shown<'a>(&self, arg: Option<&'a A>) -> Shown<'a, A> {
        Shown { arg, how: *self }
    }
}

impl<A> Clone for ShowArgs<A> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for ShowArgs<A> {}

/// An argument in a log line.
pub(crate) struct Shown<'a, A> {
    #[cfg_attr(not(feature = "log"), allow(dead_code))]
    arg: Option<&'a A>,
    #[cfg_attr(not(feature = "log"), allow(dead_code))]
    how: ShowArgs<A>,
}

#[cfg(feature = "log")]
impl<A> fmt::Display for Shown<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(arg), Some(show)) = (self.arg, self.how.show) else { return Ok(()) };
        f.write_str(" (")?;
        show(arg, f)?;
        f.write_str(")")
    }
}

#[cfg(feature = "defmt")]
impl<A> defmt::Format for Shown<'_, A> {
    fn format(&self, _: defmt::Formatter<'_>) {}
}
