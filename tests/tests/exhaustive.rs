//! All sequences of up to six operations out of sixteen, on a table of two threads, against the model: 17.9 million for
//! small queues and as many for large ones with a wheel, in half a minute.

#[path = "model/mod.rs"]
mod machine;

use std::time::Duration;

use kpt_core::Readiness;
use machine::input::{Act, Case, Geometry, Op, Spec, Want, script};
use machine::real::{self, Outside};
use machine::twin::Twin;

const fn add(want: Want, script: u32) -> Op {
    Op::Do(Act::Add(Spec { want, hook: 0, name: "thread", script }))
}

const fn after(micros: u64) -> Want {
    Want::After(Duration::from_micros(micros))
}

/// One of each kind, each with a script that makes trouble for the others.
const ALPHABET: [Op; 16] = [
    Op::Turn,
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

/// Tries each operation after `before`, which both agree on and `twin` has done; returns how many sequences that is.
fn try_all(case: Case, before: &mut Vec<Op>, twin: &Twin, length: usize) -> u64 {
    let mut count = 0;
    for op in ALPHABET {
        let mut twin = twin.clone();
        twin.step(op);
        before.push(op);
        replay(case, before, &twin);
        count += 1;
        if before.len() < length {
            count += try_all(case, before, &twin, length);
        }
        before.pop();
    }
    count
}

/// The loop can't be cloned, so that each sequence begins anew; only its last step is compared.
fn replay(case: Case, ops: &[Op], twin: &Twin) {
    let outside = Outside::new(case);
    let mut real = real::boxed(case, &outside);
    for &op in ops {
        real.step(op);
    }
    if let Err(error) = machine::check(&mut *real, twin) {
        panic!("{ops:#?} on {case:?}: {error}");
    }
}

fn all_sequences(geometry: Geometry) {
    const LONGEST: usize = 6;
    let case = Case { capacity: 2, geometry, look_every: 1, start: 0 };
    let count = try_all(case, &mut Vec::new(), &Twin::new(case), LONGEST);
    let expected: u64 = (1..=LONGEST as u32).map(|length| 16_u64.pow(length)).sum();
    assert_eq!(count, expected);
}

#[test]
fn all_short_sequences_on_small_queues() {
    all_sequences(Geometry::Small);
}

#[test]
fn all_short_sequences_on_large_queues() {
    all_sequences(Geometry::Wheel2x3);
}
