//! Makes a failure small: leaves out operations, and what is special about the case, as long as it still fails.

use crate::input::{Act, Case, Op, Spec, script};
use crate::pair::play;

/// Returns a smaller case and fewer operations that fail as well, in whatever way.
pub fn shrink(mut case: Case, mut ops: Vec<Op>) -> (Case, Vec<Op>) {
    loop {
        let length = ops.len();
        ops = shorten_scripts(case, leave_out(case, ops));
        let simpler = simplify(case, &ops);
        if ops.len() == length && simpler == case {
            return (case, ops);
        }
        case = simpler;
    }
}

/// Leaves out halves, quarters, and so on to single operations.
fn leave_out(case: Case, mut ops: Vec<Op>) -> Vec<Op> {
    let mut size = ops.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < ops.len() {
            let end = (at + size).min(ops.len());
            let fewer = [&ops[..at], &ops[end..]].concat();
            if play(case, &fewer).is_err() {
                ops = fewer;
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    ops
}

fn shorten_scripts(case: Case, mut ops: Vec<Op>) -> Vec<Op> {
    for at in 0..ops.len() {
        let Op::Do(Act::Add(spec)) = ops[at] else { continue };
        for script in [script::RETURN, script::AGAIN] {
            let mut simpler = ops.clone();
            simpler[at] = Op::Do(Act::Add(Spec { script, ..spec }));
            if play(case, &simpler).is_err() {
                ops = simpler;
                break;
            }
        }
    }
    ops
}

fn simplify(mut case: Case, ops: &[Op]) -> Case {
    for change in [
        |case: Case| Case { faults: None, ..case },
        |case: Case| Case { refused: None, ..case },
        |case: Case| Case { lets_go: false, ..case },
        |case: Case| Case { look_every: 1, ..case },
        |case: Case| Case { start: 0, ..case },
        |case: Case| Case { capacity: case.capacity.saturating_sub(1), ..case },
        |case: Case| Case { capacity: case.capacity / 2, ..case },
    ] {
        if play(change(case), ops).is_err() {
            case = change(case);
        }
    }
    case
}
