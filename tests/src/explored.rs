//! What a search through schedules says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kpt_std::sim::{Limits, Sim, TestResult, check};

/// Returns the text with which `check` panics.
///
/// # Panics
/// If it does not.
pub fn failure_of(limits: Limits, test: impl Fn(&Sim) -> TestResult) -> String {
    let result = catch_unwind(AssertUnwindSafe(|| check(limits, test)));
    let payload = result.expect_err("it fails");
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref().cloned()).expect("a panic has a text")
}
