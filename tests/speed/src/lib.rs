//! What the programs `speed` and `count` have in common.

pub mod random;
