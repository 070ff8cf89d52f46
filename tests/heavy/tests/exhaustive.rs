//! All sequences of five operations out of sixteen, on tables of two threads, in the large loop and in the small one:
//! a million for each wheel. `KPT_DEEP=1`: of six, 16.8 million.

use std::time::Duration;

use kpt_core::Readiness;
use kpt_tests::chance::is_deep;
use kpt_tests::loops::Shape;
use kpt_tests_heavy::input::{Act, Case, Op, Spec, Want, script};
use kpt_tests_heavy::pair;

const fn add(want: Want, script: u32) -> Op {
    Op::Do(Act::Add(Spec { want, hook: 0, name: "thread", script }))
}

const fn after(micros: u64) -> Want {
    Want::After(Duration::from_micros(micros))
}

/// One of each kind, each with a script that makes trouble for the others.
const ALPHABET: [Op; 16] = [
    Op::Turns(1),
    add(Want::Read(0), script::REPLACE_AND_AGAIN),
    add(Want::Read(0), script::AGAIN_WRITING),
    add(Want::Write(0), script::AGAIN),
    add(Want::Write(0), script::END_AND_ADD),
    add(Want::Now, script::AGAIN),
    add(Want::Now, script::STOP_AND_AGAIN),
    add(after(0), script::PANIC),
    add(after(1), script::AGAIN),
    add(after(4), script::CANCEL_AND_AGAIN),
    Op::Do(Act::Cancel(0)),
    Op::Do(Act::Cancel(1)),
    Op::Do(Act::CancelSource(0)),
    Op::Do(Act::Set(0, Readiness::READABLE)),
    Op::Do(Act::Advance(3)),
    Op::Push(0, Readiness::ERROR),
];

/// The sequence that a number stands for, one digit for each operation.
fn sequence(number: u32, length: u32) -> Vec<Op> {
    (0..length).map(|at| ALPHABET[(number >> (4 * at) & 15) as usize]).collect()
}

/// The loops can't be cloned, so that each sequence begins anew. Shorter ones are how longer ones begin.
fn all_sequences(shape: Shape) {
    let case = Case {
        capacity: 2,
        shape,
        look_every: 1,
        start: 0,
        refused: None,
        lets_go: false,
        faults: None,
        is_tame: true,
    };
    let length = if is_deep() { 6 } else { 5 };
    for number in 0..16_u32.pow(length) {
        let ops = sequence(number, length);
        if let Err(error) = pair::play(case, &ops) {
            panic!("{ops:#?} on {case:?}: {error}");
        }
    }
}

#[test]
fn all_short_sequences_on_a_small_wheel() {
    all_sequences(Shape::Wheel(2, 3));
}

#[test]
fn all_short_sequences_on_a_large_wheel() {
    all_sequences(Shape::Wheel(16, 8));
}
