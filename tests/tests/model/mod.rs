//! The loop and a model of it, side by side: what is done to both, what both say, and the two of them.
//!
//! `model.rs` drives them at random, `exhaustive.rs` through all short sequences; each uses a part of this.
#![allow(dead_code)]

pub mod audit;
pub mod chance;
pub mod event;
pub mod input;
pub mod real;
pub mod twin;
pub mod world;

use event::Event;
use real::Real;
use twin::Twin;

/// Whether both said the same in the last step, and the loop's tables are in order.
pub fn check(real: &mut dyn Real, twin: &Twin) -> Result<(), String> {
    same(&real.outside().log.borrow(), &twin.log)?;
    real.verify()?;
    let (kept, expected) = (real.kept_args(), twin.len());
    if kept != expected {
        return Err(format!("{kept} arguments are alive, should be {expected}"));
    }
    Ok(())
}

fn same(real: &[Event], twin: &[Event]) -> Result<(), String> {
    if real == twin {
        return Ok(());
    }
    let at = real.iter().zip(twin).take_while(|(real, twin)| real == twin).count();
    let (is, should) = (real.get(at), twin.get(at));
    Err(format!(
        "event {at} is\n{is:?}, should be\n{should:?}; the loop: {real:?}\nthe model: {twin:?}"
    ))
}
