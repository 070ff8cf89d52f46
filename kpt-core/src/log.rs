//! Logging to `log`, to `defmt`, to both or to nobody, as the features say.
//!
//! Levels are the original's: what is critical or wrong is an error; what is traced are the steps of every thread.

macro_rules! error {
    ($($arg:expr),+) => {{
        #[cfg(feature = "log")]
        log::error!($($arg),+);
        #[cfg(feature = "defmt")]
        defmt::error!($($arg),+);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        { let _ = ($(&$arg),+); }
    }};
}

macro_rules! trace {
    ($($arg:expr),+) => {{
        #[cfg(feature = "log")]
        log::trace!($($arg),+);
        #[cfg(feature = "defmt")]
        defmt::trace!($($arg),+);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        { let _ = ($(&$arg),+); }
    }};
}

pub(crate) use {error, trace};
