//! Logging of tasks to `log`, if the feature says so, with the target of the core.

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
