//! The two loops, driven alike and compared.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kpt_core::{Readiness, Source};
use kpt_tests::loops::Shape;

use crate::audit;
use crate::event::Entry;
use crate::input::{Case, Op, SOURCES};
use crate::outside::Outside;
use crate::side::Side;

/// The tables are verified after every nth operation: that costs as much as all else.
const VERIFY_EVERY: usize = 8;

/// How many events before and after a difference are shown.
const SHOWN: usize = 12;

/// Does the same to both loops, and returns how many hooks each has called.
///
/// # Errors
/// The first difference, or what else does not hold, and what happened before.
pub fn play(case: Case, ops: &[Op]) -> Result<u64, String> {
    let outsides = [Outside::new(case, false), Outside::new(case, true)];
    let result = catch_unwind(AssertUnwindSafe(|| Pair::new(&outsides).play(ops)));
    let what = match result {
        Ok(Ok(())) => return Ok(outsides[0].hooks.get()),
        Ok(Err(what)) => what,
        Err(panic) => match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => panic.downcast_ref::<&str>().unwrap_or(&"a panic").to_string(),
        },
    };
    Err(format!("{what}\n{}", around_difference(&outsides)))
}

/// Both logs around the first difference, or at their end.
fn around_difference([small, large]: &[Outside; 2]) -> String {
    let (small, large) = (small.log.borrow(), large.log.borrow());
    let at = small.iter().zip(&*large).take_while(|(small, large)| small == large).count();
    let lines = |log: &[Entry]| {
        let shown = log.iter().enumerate().skip(at.saturating_sub(SHOWN)).take(2 * SHOWN);
        let lines = shown.map(|(number, Entry { at: time, event })| {
            let mark = if number == at { '>' } else { ' ' };
            format!("{mark} {number} at {}: {event:?}\n", time.as_micros())
        });
        lines.collect::<String>()
    };
    format!("the small loop:\n{}the large loop:\n{}", lines(&small), lines(&large))
}

struct Pair<'o> {
    small: Side<'o>,
    large: Side<'o>,
    /// So many events have been found equal.
    compared: usize,
    steps: usize,
}

impl<'o> Pair<'o> {
    fn new([small, large]: &'o [Outside; 2]) -> Self {
        let shape = large.case.shape;
        let (small, large) = (Side::new(small, Shape::Small), Side::new(large, shape));
        Self { small, large, compared: 0, steps: 0 }
    }

    fn play(mut self, ops: &[Op]) -> Result<(), String> {
        for &op in ops {
            self.step(op)?;
        }
        let outside = self.small.outside;
        if outside.case.is_tame {
            self.come_to_rest()?;
            audit::judge(&outside.log.borrow())?;
        }
        self.verify()?;
        self.step(Op::Restart)
    }

    fn step(&mut self, op: Op) -> Result<(), String> {
        self.small.step(op)?;
        self.large.step(op)?;
        let (small, large) = (self.small.outside.log.borrow(), self.large.outside.log.borrow());
        if small[self.compared..] != large[self.compared..] {
            return Err(format!("a difference, in {op:?}"));
        }
        self.compared = small.len();
        drop((small, large));
        self.steps += 1;
        if self.steps.is_multiple_of(VERIFY_EVERY) { self.verify() } else { Ok(()) }
    }

    fn verify(&mut self) -> Result<(), String> {
        self.small.look(|threads| threads.verify())?;
        self.large.look(|threads| threads.verify())?;
        Ok(())
    }

    /// Lets everything happen that can, with hooks that do nothing.
    fn come_to_rest(&mut self) -> Result<(), String> {
        for outside in [self.small.outside, self.large.outside] {
            outside.is_calm.set(true);
            for source in 0..SOURCES {
                let both = Readiness::READABLE | Readiness::WRITABLE;
                outside.world.set(Source::new(source), both).expect("room for all sources");
            }
        }
        for _ in 0..20_000 {
            self.step(Op::Turns(1))?;
            if self.small.is_at_rest() {
                return Ok(());
            }
        }
        Err("does not come to rest".into())
    }
}
