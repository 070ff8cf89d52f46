//! The large loop and the small one side by side, each in a world of its own: what is done to both, what is seen of
//! both, and what must be equal.
//!
//! `tests/twin.rs` drives them at random, `tests/exhaustive.rs` through all short sequences.
#![allow(missing_docs)] // Fields and variants are called as what they note.

// What is done, and how chance makes it.
pub mod dice;
pub mod input;

// What happens.
pub mod event;
mod outside;
mod poller;
mod stage;

// What must hold: of one loop, of a log, of both.
mod audit;
pub mod pair;
pub mod shrink;
mod side;
