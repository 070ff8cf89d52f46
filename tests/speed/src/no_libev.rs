//! Where there is no libev: the same functions as in `libev.rs`, and no contestants.

use std::time::Duration;

use crate::contestants::Contestant;

/// Why there is none.
pub fn about() -> Result<String, &'static str> {
    Err(env!("KPT_LIBEV_MISSING"))
}

/// None.
pub fn cancel_add(_pending: usize) -> Option<Box<dyn Contestant>> {
    None
}

/// None.
pub fn fire(_count: usize, _slack: Duration) -> Option<Box<dyn Contestant>> {
    None
}

/// None.
pub fn periodic(_count: usize, _slack: Duration) -> Option<Box<dyn Contestant>> {
    None
}

/// None.
pub fn feed(_width: usize) -> Option<Box<dyn Contestant>> {
    None
}
