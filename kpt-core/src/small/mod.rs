//! The small loop: an array of slots that every operation scans. Firmware uses it, and it is kpt's specification: it
//! does in obvious code what the large loop does faster.

mod event_loop;
mod slot;
mod table;
mod view;

#[cfg(test)]
mod stamp_tests;

pub use event_loop::FixedLoop;
pub(crate) use view::View;
