//! The small loop: an array of slots, and scans. It is what firmware carries, and it is kpt's specification: what the
//! large loop does faster, this one does in obvious code.

mod event_loop;
mod slot;
mod table;
mod view;

#[cfg(test)]
mod stamp_tests;

pub use event_loop::FixedLoop;
pub(crate) use view::View;
