//! The whole loop against a naive model of it (`model/twin.rs`), on the simulator: everything that can be seen, in
//! order, after each of up to 200 operations.
//!
//! A failure is printed with its seed. `KPT_SEED=` replays it, and `KPT_CASES=` sets how many sequences a run has.

#[path = "model/mod.rs"]
mod machine;

use std::cell::Cell;
use std::sync::Once;

use machine::chance::{self, Chance};
use machine::input::{Case, Op};
use machine::real::{self, Outside, Real};
use machine::twin::Twin;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

/// The model, to proptest.
struct Reference;

impl ReferenceStateMachine for Reference {
    type State = Twin;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Twin> {
        let case = any::<u64>().prop_map(|seed| Case::by(&mut Chance(seed)));
        case.prop_map(Twin::new).no_shrink().boxed()
    }

    // Operations are left out to make a failure small, and not changed: that is quick, and reads well enough.
    fn transitions(_: &Twin) -> BoxedStrategy<Op> {
        any::<u64>().prop_map(|seed| Op::by(&mut Chance(seed))).no_shrink().boxed()
    }

    fn apply(mut twin: Twin, op: &Op) -> Twin {
        twin.step(*op);
        twin
    }
}

struct Machine;

impl StateMachineTest for Machine {
    type SystemUnderTest = Box<dyn Real>;
    type Reference = Reference;

    fn init_test(twin: &Twin) -> Box<dyn Real> {
        // The loop borrows the world; a kilobyte for each case is not worth more lines.
        real::boxed(twin.case(), Box::leak(Box::new(Outside::new(twin.case()))))
    }

    fn apply(mut real: Box<dyn Real>, twin: &Twin, op: Op) -> Box<dyn Real> {
        real.step(op);
        if let Err(error) = machine::check(&mut *real, twin) {
            panic!("{op:?}: {error}");
        }
        real
    }
}

thread_local! {
    /// While proptest looks for the shortest failure, it has thousands of them.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

fn keep_quiet(is_quiet: bool) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                loud(panic);
            }
        }));
    });
    IS_QUIET.set(is_quiet);
}

fn cases() -> u64 {
    chance::number("KPT_CASES").unwrap_or(20_000)
}

/// Half of the cases; the other half is for the other core.
fn agree(half: u64) {
    let seed = chance::seed();
    let config = Config {
        cases: cases().div_ceil(2) as u32,
        failure_persistence: None,
        max_shrink_iters: 10_000,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(seed.wrapping_add(half)),
        ..Config::default()
    };
    keep_quiet(true);
    let sequences = Reference::sequential_strategy(1..=200);
    let result = TestRunner::new(config.clone()).run(&sequences, |(twin, ops, seen)| {
        Machine::test_sequential(config.clone(), twin, ops, seen);
        Ok(())
    });
    keep_quiet(false);
    if let Err(error) = result {
        panic!("KPT_SEED={seed} shows it again: {error}");
    }
}

#[test]
fn the_loop_agrees_with_its_model() {
    agree(0);
}

#[test]
fn the_loop_agrees_with_its_model_in_other_cases() {
    agree(1);
}

/// Says how to see a panic again.
struct Replay {
    seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("KPT_SEED={} shows it again, in the first sequence", self.seed);
        }
    }
}

/// On a poller that does what pollers may do, there is no telling what happens when; but whatever it does, no timer is
/// early, no registration is called twice, equal deadlines keep their order, and all are called in the end.
#[test]
fn what_is_promised_holds_with_faults() {
    let seed = chance::seed();
    for number in 0..cases() / 4 {
        let seed = seed.wrapping_add(number);
        let mut chance = Chance(seed);
        // The audit needs a clock that does not end.
        let case =
            Case { start: chance.of(&[0, (1 << 32) - 9, (1 << 63) - 9]), ..Case::by(&mut chance) };
        let outside = Outside::new(case);
        let mut real = real::boxed_with_faults(case, &outside);
        let length = 1 + chance.below(200);
        let _replay = Replay { seed };
        for _ in 0..length {
            match Op::by(&mut chance) {
                Op::Restart => {}
                op => real.step(op),
            }
            real.verify().unwrap_or_else(|error| panic!("{error}"));
        }
        real.come_to_rest();
    }
}
