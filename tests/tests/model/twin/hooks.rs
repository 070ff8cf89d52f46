//! Hooks, and what they do.

use kpt_core::{Instant, Kind, Readiness};

use super::{Panicked, State, Twin, nth_last};
use crate::machine::event::{Event, Seen};
use crate::machine::input::{Act, Finish, Last, Plan};

impl Twin {
    pub(super) fn call(&mut self, tag: u32) -> Result<(), Panicked> {
        let Some(at) = self.find(tag) else { return Ok(()) };
        self.hooks_since_look += 1;
        self.running = Some(tag);
        let thread = &mut self.threads[at];
        thread.state = State::Running;
        let run = thread.run;
        thread.run += 1;
        let thread = *thread;
        let seen = Seen {
            tag,
            run,
            hook: thread.spec.hook,
            name: thread.spec.name,
            kind: thread.kind,
            source: thread.source,
            readiness: thread.readiness,
            deadline: (thread.kind == Kind::Timer).then(|| Instant::from_micros(thread.deadline)),
            has_its_id: true,
            length: self.threads.len(),
        };
        self.log.push(Event::Seen(seen));
        let plan = Plan::of(thread.spec.script, run);
        for act in plan.acts.into_iter().flatten() {
            self.act(act, Some(tag));
        }
        self.finish(plan.finish, seen)?;
        self.settle();
        Ok(())
    }

    fn finish(&mut self, finish: Finish, seen: Seen) -> Result<(), Panicked> {
        let tag = seen.tag;
        match finish {
            Finish::Return => {}
            Finish::Again => self.finish_last(Last::Again, tag),
            Finish::AgainWhen(want) => self.finish_last(Last::AgainWhen(want), tag),
            Finish::End(act) => {
                self.finish_last(Last::End, tag);
                if let Some(act) = act {
                    self.act(act, Some(tag));
                }
            }
            Finish::Panic => return Err(Panicked),
            Finish::AgainAndPanic => {
                self.finish_last(Last::Again, tag);
                return Err(Panicked);
            }
            Finish::DropSource(spec, last) => {
                if let Some(source) = seen.source {
                    self.act(Act::CancelSource(source), Some(tag));
                }
                if let Some(spec) = spec {
                    self.act(Act::Add(spec), Some(tag));
                }
                let length = self.threads.len();
                self.log.push(Event::Seen(Seen { readiness: Readiness::NONE, length, ..seen }));
                self.finish_last(last, tag);
            }
        }
        Ok(())
    }

    fn finish_last(&mut self, last: Last, tag: u32) {
        match last {
            Last::Return => {}
            Last::Again => {
                let again = self.again(tag);
                self.log.push(Event::Again(tag, again));
            }
            Last::AgainWhen(want) => {
                let again = self.again_when(tag, want);
                self.log.push(Event::Again(tag, again));
            }
            Last::End => {
                self.settle();
                self.log.push(Event::Ended(tag));
            }
        }
    }

    pub(super) fn act(&mut self, act: Act, own: Option<u32>) {
        match act {
            Act::Add(spec) => {
                let event = self.add(spec);
                self.log.push(event);
            }
            Act::Cancel(back) => {
                let Some(tag) = nth_last(&self.granted, back) else { return };
                let at = self.find(tag).filter(|_| self.running != Some(tag));
                let cancelled = at.map(|at| self.drop_thread(at));
                self.log.push(Event::Cancelled(cancelled));
            }
            Act::CancelOwn if own.is_none() => {}
            Act::CancelOwn | Act::Forge(_) => self.log.push(Event::Cancelled(None)),
            Act::CancelSource(source) => {
                let event = self.cancel_source(source);
                self.log.push(event);
            }
            Act::Stop => self.is_stopping = true,
            Act::Now => {
                let now = self.now();
                self.log.push(Event::Now(Instant::from_micros(now)));
            }
            Act::Advance(micros) => self.world.now = self.world.now.saturating_add(micros),
            Act::StepBack(micros) => self.world.now = self.world.now.saturating_sub(micros),
            Act::Set(source, readiness) => self.world.set(source, readiness),
            Act::Clear(source, readiness) => self.world.clear(source, readiness),
            Act::Later(micros, source, readiness) => {
                let at = self.world.now.saturating_add(micros);
                self.world.later(at, source, readiness);
            }
            Act::Refuse(source, is_refused) => self.world.refuse(source, is_refused),
        }
    }
}
