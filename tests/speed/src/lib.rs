//! What the programs `speed`, `count` and `compare` have in common.

pub mod contestants;
pub mod in_c;
pub mod random;
pub mod stats;
