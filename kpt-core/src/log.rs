//! Logging to `log`, to `defmt`, to both or to neither, as the features say.
//!
//! What is wrong is an error, the steps of every thread are traced. The target of `log` is `kpt`, also from kpt-std.

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
