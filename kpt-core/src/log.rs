//! Logging to `log`, to `defmt`, to both or to neither, depending on the features.
//!
//! Faults are logged as errors, and the steps of every thread as traces. The target of `log` is `kpt`, also in kpt-std.

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

/// A function that writes an argument for log lines.
#[cfg(feature = "log")]
pub(crate) type Show<A> = fn(&A, &mut fmt::Formatter<'_>) -> fmt::Result;

/// How the logs of a loop show arguments. They don't, unless the feature `log` is on and the application has passed a
/// function.
pub(crate) struct ShowArgs<A> {
    #[cfg(feature = "log")]
    show: Option<Show<A>>,
    #[cfg(not(feature = "log"))]
    types: core::marker::PhantomData<fn(&A)>,
}

impl<A> ShowArgs<A> {
    /// Arguments are not shown.
    #[cfg(feature = "log")]
    pub(crate) const NOT: Self = Self { show: None };
    /// Arguments are not shown.
    #[cfg(not(feature = "log"))]
    pub(crate) const NOT: Self = Self { types: core::marker::PhantomData };

    #[cfg(feature = "log")]
    pub(crate) fn with(show: Show<A>) -> Self {
        Self { show: Some(show) }
    }

    /// Returns the argument as it appears in a log line behind the thread's id: ` (client 7)`, or nothing.
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
