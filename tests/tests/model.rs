//! The whole loop against a naive model of it.

#[path = "model/mod.rs"]
mod machine;

use machine::chance::{self, Chance};
use machine::input::{Case, Op};

#[test]
fn random() {
    let seed = chance::seed();
    let cases = chance::number("KPT_CASES").unwrap_or(1000);
    for number in 0..cases {
        let mut chance = Chance(seed.wrapping_add(number));
        let case = Case::by(&mut chance);
        let length = 1 + chance.below(200);
        let ops: Vec<Op> = (0..length).map(|_| Op::by(&mut chance)).collect();
        if let Err(error) = machine::compare(case, ops) {
            panic!("KPT_SEED={} {case:?}: {error}", seed.wrapping_add(number));
        }
    }
}
