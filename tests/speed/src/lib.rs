//! What the contestants have in common.

pub mod gaps;
pub mod random;
