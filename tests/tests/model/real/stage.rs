//! The application of the loop under test: hooks that do what their scripts say, and note what they see.

use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use kpt_core::{
    AddError, AgainError, Hook, Instant, Readiness, Source, Thread, ThreadId, Threads, When,
};

use super::Outside;
use crate::machine::audit::{self, Audit};
use crate::machine::event::{Again, Event, Seen};
use crate::machine::input::{Act, Finish, Last, Plan, Spec, Want};
use crate::machine::twin::nth_last;

/// The application: the ids that it was given.
pub struct Stage<'o> {
    pub outside: &'o Outside,
    /// By tag.
    pub ids: Vec<Option<ThreadId>>,
    pub granted: Vec<ThreadId>,
    /// How many arguments are alive: its other owners.
    pub anchor: Rc<()>,
    /// For a loop without a twin.
    pub audit: Option<Audit>,
}

pub struct Arg {
    tag: u32,
    run: u32,
    script: u32,
    _anchor: Rc<()>,
}

/// What a hook panics with when it should.
pub struct Scripted;

impl<'o> Stage<'o> {
    fn add(&mut self, threads: &mut Threads<'_, Self, Arg>, spec: Spec) -> Event {
        let tag = self.ids.len() as u32;
        let hook: Hook<Self, Arg> = match spec.hook {
            0 => |stage, thread| stage.run(thread, 0),
            _ => |stage, thread| stage.run(thread, 1),
        };
        let arg = Arg { tag, run: 0, script: spec.script, _anchor: Rc::clone(&self.anchor) };
        let when = self.when(spec.want);
        let (id, event) = match threads.add(spec.name, when, hook, arg) {
            Ok(id) => (Some(id), Event::Added(tag)),
            Err(AddError::Full(arg)) => (None, Event::Full(arg.tag)),
            Err(AddError::Taken(arg)) => (None, Event::Taken(arg.tag)),
        };
        if let Some(id) = id {
            assert!(!self.granted.contains(&id), "id {id} was handed out twice");
            self.granted.push(id);
            self.audit_registration(tag, when);
        }
        self.ids.push(id);
        event
    }

    fn when(&self, want: Want) -> When {
        let now = self.outside.world.now();
        let when = want.when(now);
        if self.audit.is_some() { audit::tame_when(when, now) } else { when }
    }

    fn audit_registration(&mut self, tag: u32, when: When) {
        if let Some(audit) = &mut self.audit {
            audit.registered(tag, when, self.outside.world.now());
        }
    }

    fn audit_end(&mut self, arg: Arg) -> u32 {
        if let Some(audit) = &mut self.audit {
            audit.ended(arg.tag);
        }
        arg.tag
    }

    pub fn act(&mut self, threads: &mut Threads<'_, Self, Arg>, act: Act, own: Option<u32>) {
        let Some(act) = (if self.audit.is_some() { audit::tame(act) } else { Some(act) }) else {
            return;
        };
        let Outside { world, refused, .. } = self.outside;
        match act {
            Act::Add(spec) => {
                let event = self.add(threads, spec);
                self.outside.note(event);
            }
            Act::Cancel(back) => self.cancel(threads, nth_last(&self.granted, back)),
            Act::CancelOwn => {
                let id = own.and_then(|tag| *self.ids.get(tag as usize)?);
                self.cancel(threads, id);
            }
            Act::Forge(word) => {
                let id = ThreadId::from_raw(word).filter(|id| !self.granted.contains(id));
                let cancelled = id.and_then(|id| threads.cancel(id).ok());
                let cancelled = cancelled.map(|arg| self.audit_end(arg));
                self.outside.note(Event::Cancelled(cancelled));
            }
            Act::CancelSource(source) => {
                let cancelled = threads.cancel_source(Source::new(source));
                let [reader, writer] =
                    [cancelled.reader, cancelled.writer].map(|arg| Some(self.audit_end(arg?)));
                self.outside.note(Event::SourceCancelled { reader, writer });
            }
            Act::Stop => threads.stop(),
            Act::Now => {
                let now = threads.now();
                self.outside.note(Event::Now(now));
            }
            Act::Advance(micros) => world.advance(Duration::from_micros(micros)),
            Act::StepBack(micros) => {
                let now = world.now().as_micros().saturating_sub(micros);
                world.set_now(Instant::from_micros(now));
            }
            Act::Set(source, readiness) => {
                world.set(Source::new(source), readiness).expect("room for all sources");
            }
            Act::Clear(source, readiness) => world.clear(Source::new(source), readiness),
            Act::Later(micros, source, readiness) => {
                let at = world.now() + Duration::from_micros(micros);
                // Without room it does not happen, in the twin neither.
                let _ = world.at(at, Source::new(source), readiness);
            }
            Act::Refuse(source, is_refused) => {
                refused.borrow_mut().retain(|&other| other != source);
                if is_refused {
                    refused.borrow_mut().push(source);
                }
            }
        }
    }

    fn cancel(&mut self, threads: &mut Threads<'_, Self, Arg>, id: Option<ThreadId>) {
        let Some(id) = id else { return };
        let cancelled = threads.cancel(id).ok().map(|arg| self.audit_end(arg));
        self.outside.note(Event::Cancelled(cancelled));
    }

    /// The hook of all threads.
    fn run(&mut self, mut thread: Thread<'_, Self, Arg>, hook: u8) {
        let Arg { tag, run, script, .. } = thread.arg;
        thread.arg.run += 1;
        let seen = self.look(&mut thread, hook, run);
        self.outside.note(Event::Seen(seen));
        let mut period = None;
        if let Some(audit) = &mut self.audit {
            period = audit.calls(tag, seen.deadline, self.outside.world.now());
            if audit.is_calm {
                return;
            }
        }
        let plan = Plan::of(script, run);
        for act in plan.acts.into_iter().flatten() {
            self.act(&mut thread.threads(), act, Some(tag));
        }
        match plan.finish {
            Finish::Return => {}
            Finish::Again => self.finish(thread, period, Last::Again),
            Finish::AgainWhen(want) => self.finish(thread, period, Last::AgainWhen(want)),
            Finish::End(act) => {
                let (arg, mut threads) = thread.end();
                self.outside.note(Event::Ended(arg.tag));
                drop(arg);
                if let Some(act) = act {
                    self.act(&mut threads, act, Some(tag));
                }
            }
            // Without the panic hook, and so without a word.
            Finish::Panic => resume_unwind(Box::new(Scripted)),
            Finish::AgainAndPanic => {
                self.finish(thread, period, Last::Again);
                resume_unwind(Box::new(Scripted));
            }
            Finish::DropSource(spec, last) => {
                if let Some(source) = seen.source {
                    self.act(&mut thread.threads(), Act::CancelSource(source), Some(tag));
                }
                if let Some(spec) = spec {
                    self.act(&mut thread.threads(), Act::Add(spec), Some(tag));
                }
                let seen = self.look(&mut thread, hook, run);
                self.outside.note(Event::Seen(Seen { readiness: Readiness::NONE, ..seen }));
                self.finish(thread, period, last);
            }
        }
    }

    fn look(&self, thread: &mut Thread<'_, Self, Arg>, hook: u8, run: u32) -> Seen {
        let tag = thread.arg.tag;
        Seen {
            tag,
            run,
            hook,
            name: thread.name(),
            kind: thread.kind(),
            source: thread.source().map(Source::number),
            readiness: thread.readiness(),
            deadline: thread.deadline(),
            has_its_id: self.ids.get(tag as usize) == Some(&Some(thread.id())),
            length: thread.threads().len(),
        }
    }

    fn finish(&mut self, thread: Thread<'_, Self, Arg>, period: Option<u64>, last: Last) {
        let (tag, deadline) = (thread.arg.tag, thread.deadline());
        let error = match last {
            Last::Return => return,
            Last::End => {
                let (arg, _) = thread.end();
                return self.outside.note(Event::Ended(arg.tag));
            }
            Last::Again => {
                let error = thread.try_again().err();
                if let Some(audit) = self.audit.as_mut().filter(|_| error.is_none()) {
                    audit.registered_again(tag, deadline, period);
                }
                error
            }
            Last::AgainWhen(want) => {
                let when = self.when(want);
                let error = thread.again_when(when).err();
                if error.is_none() {
                    self.audit_registration(tag, when);
                }
                error
            }
        };
        self.outside.note(match error {
            None => Event::Again(tag, Again::Done),
            Some(AgainError::Ended(arg)) => Event::Again(arg.tag, Again::Ended),
            Some(AgainError::NoPeriod(arg)) => Event::Again(arg.tag, Again::NoPeriod),
            Some(AgainError::Taken(arg)) => Event::Again(arg.tag, Again::Taken),
        });
    }
}
