//! The large loop against the small one, which is its specification: driven alike at random, they do the same, event by
//! event. On the way, what is promised is read from their common log.
//!
//! A failure prints its seed, and the fewest operations found that fail. `KPT_SEED=` replays a seed, `KPT_CASES=` sets
//! how many there are in each of the two tests, and `KPT_DEEP=1` goes on for ten million hooks.

use std::cell::Cell;
use std::sync::Once;

use kpt_tests::chance::{Chance, is_deep};
use kpt_tests_heavy::dice::Dice;
use kpt_tests_heavy::{pair, shrink};

/// Seeds in each of the tests, unless `KPT_CASES` says another number.
const CASES: u64 = 20_000;

/// Hooks in each of the tests, if they go deep.
const DEEP: u64 = 5_000_000;

/// One half of the cases; the other half is for the other core.
fn agree(half: u64) {
    let (seed, cases) = (number("KPT_SEED"), number("KPT_CASES"));
    let first = seed.unwrap_or_else(|| any_seed() ^ half << 63);
    let cases = cases.or(seed.map(|_| 1));
    let (mut count, mut hooks) = (0, 0);
    while count < cases.unwrap_or(CASES) || cases.is_none() && is_deep() && hooks < DEEP {
        hooks += agree_on(first.wrapping_add(count), count);
        count += 1;
    }
    println!("{count} seeds from {first}, {hooks} hooks");
}

/// Plays one seed, and returns how many hooks it has called.
fn agree_on(seed: u64, count: u64) -> u64 {
    let (case, ops) = Dice::game(seed);
    quietly(|| pair::play(case, &ops)).unwrap_or_else(|_| {
        let (case, ops) = quietly(|| shrink::shrink(case, ops));
        let error = pair::play(case, &ops).expect_err("it fails as before");
        let ops: String = ops.iter().map(|op| format!("{op:?}\n")).collect();
        panic!("KPT_SEED={seed} shows it again, after {count} others.\n{case:?}\n{ops}{error}");
    })
}

#[test]
fn both_loops_do_the_same() {
    agree(0);
}

#[test]
fn both_loops_do_the_same_in_other_cases() {
    agree(1);
}

/// Has panics say nothing meanwhile: they are caught, and while a failure is made smaller, there are thousands.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    thread_local! {
        static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                loud(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let result = work();
    IS_QUIET.set(false);
    result
}

/// Another seed each time.
fn any_seed() -> u64 {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Chance::new(time.map_or(0, |time| time.as_nanos() as u64)).number()
}

/// What the environment says under that name, if it is a number.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?} and not a number")))
}
