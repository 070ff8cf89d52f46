//! One of the two loops, what it is driven by, and what must hold of it alone.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use kpt_core::Threads;
use kpt_tests::loops::{AnyLoop, Shape, any_loop};

use crate::event::{Event, Failed, Turned};
use crate::input::Op;
use crate::outside::Outside;
use crate::poller::Noting;
use crate::stage::{Arg, Panic, Stage};

type Loop<'o> = Box<dyn AnyLoop<Stage<'o>, Arg<'o>, Error = Failed> + 'o>;

pub struct Side<'o> {
    pub outside: &'o Outside,
    shape: Shape,
    kpt: Loop<'o>,
    stage: Stage<'o>,
}

impl<'o> Side<'o> {
    pub fn new(outside: &'o Outside, shape: Shape) -> Self {
        Self { outside, shape, kpt: new_loop(outside, shape), stage: Stage::new(outside) }
    }

    pub fn step(&mut self, op: Op) -> Result<(), String> {
        let outside = self.outside;
        match op {
            Op::Turns(most) => {
                let _ = (0..most).find(|_| self.turn() != Turned::Turn(None));
            }
            Op::Poll => _ = self.run(|kpt, stage| kpt.poll(stage).map(Turned::Poll)),
            Op::Do(act) => {
                self.run(|kpt, stage| {
                    stage.act(&mut kpt.threads(), act, None);
                    Ok(Turned::Done)
                });
            }
            Op::Push(source, readiness) => outside.pushed.borrow_mut().push((source, readiness)),
            Op::Ask(source, readiness) => outside.asked.set(Some((source, readiness))),
            Op::FailWait => outside.fails.set(true),
            Op::PanicPoller => outside.panics.set(true),
            Op::Restart => self.restart(),
        }
        self.check()
    }

    /// What holds between any two operations.
    fn check(&mut self) -> Result<(), String> {
        let (length, alive) = (self.look(|threads| threads.len()), self.outside.alive.get());
        self.outside.note(Event::Length(length));
        if length != alive {
            return Err(format!("{:?}: {length} threads, {alive} arguments", self.shape));
        }
        self.outside.check_watched();
        self.outside.check_told();
        let fault = self.outside.fault.borrow();
        fault.as_ref().map_or(Ok(()), |fault| Err(format!("{:?}: {fault}", self.shape)))
    }

    /// Looks at the threads; for that, a new loop waits.
    pub fn look<T>(&mut self, look: fn(Threads<'_, Stage<'o>, Arg<'o>>) -> T) -> T {
        let panics = self.outside.panics.take();
        let seen = look(self.kpt.threads());
        self.outside.panics.set(panics);
        seen
    }

    fn turn(&mut self) -> Turned {
        self.run(|kpt, stage| kpt.turn(stage).map(Turned::Turn))
    }

    /// Notes and returns what the loop says.
    fn run(
        &mut self,
        run: impl FnOnce(&mut Loop<'o>, &mut Stage<'o>) -> Result<Turned, Failed>,
    ) -> Turned {
        let Self { kpt, stage, .. } = self;
        self.outside.hooks_of_turn.set(0);
        let turned = match catch_unwind(AssertUnwindSafe(|| run(kpt, stage))) {
            Ok(Ok(turned)) => turned,
            Ok(Err(failed)) => Turned::Failed(failed),
            Err(panic) if panic.is::<Panic>() => Turned::Panicked,
            Err(panic) => resume_unwind(panic),
        };
        self.outside.note(Event::Turned(turned));
        turned
    }

    /// Arguments are dropped in the order of slots, which means nothing.
    fn restart(&mut self) {
        let before = self.outside.log.borrow().len();
        self.kpt = new_loop(self.outside, self.shape);
        self.stage.forget_ids();
        self.outside.log.borrow_mut()[before..].sort_by_key(|entry| match entry.event {
            Event::Dropped(tag) => tag,
            _ => u32::MAX,
        });
    }

    /// Whether no thread is left, or the last turn found that nothing can ever happen.
    pub fn is_at_rest(&self) -> bool {
        let log = self.outside.log.borrow();
        let turned = log.iter().rev().find(|entry| matches!(entry.event, Event::Turned(_)));
        let is_idle = |event: &Event| *event == Event::Turned(Turned::Failed(Failed::Idle));
        self.outside.alive.get() == 0 || turned.is_some_and(|entry| is_idle(&entry.event))
    }
}

fn new_loop(outside: &Outside, shape: Shape) -> Loop<'_> {
    let capacity = outside.case.capacity;
    match outside.case.look_every {
        1 => any_loop(Noting::<1>::new(outside), capacity, shape),
        4 => any_loop(Noting::<4>::new(outside), capacity, shape),
        128 => any_loop(Noting::<128>::new(outside), capacity, shape),
        other => panic!("no poller is asked every {other} hooks"),
    }
}
