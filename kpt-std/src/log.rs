//! Log macros for tasks: they write to the crate `log` with the target `kpt`, as the core does, and compile to nothing
//! without the feature `log`.

macro_rules! error {
    ($($arg:expr),+) => {{
        #[cfg(feature = "log")]
        log::error!(target: "kpt", $($arg),+);
        #[cfg(not(feature = "log"))]
        if false {
            let _ = ($(&$arg),+);
        }
    }};
}

macro_rules! trace {
    ($($arg:expr),+) => {{
        #[cfg(feature = "log")]
        log::trace!(target: "kpt", $($arg),+);
        #[cfg(not(feature = "log"))]
        if false {
            let _ = ($(&$arg),+);
        }
    }};
}

pub(crate) use {error, trace};
