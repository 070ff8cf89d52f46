//! The application of either loop: hooks that do what their scripts say, and note what they see.

use std::panic::resume_unwind;
use std::time::Duration;

use kpt_core::{
    AddError, AgainError, CancelledSource, Hook, Instant, Interest, Source, Thread, ThreadId,
    Threads, When,
};

use crate::event::{Again, Event, Seen, Sources};
use crate::input::{Act, Last, Plan, Spec, Want};
use crate::outside::Outside;

/// The application: the ids that it was given.
pub struct Stage<'o> {
    pub outside: &'o Outside,
    /// By tag.
    ids: Vec<Option<ThreadId>>,
    granted: Vec<(u32, ThreadId)>,
}

pub struct Arg<'o> {
    tag: u32,
    run: u32,
    script: u32,
    outside: &'o Outside,
}

impl Drop for Arg<'_> {
    fn drop(&mut self) {
        self.outside.drop_arg(self.tag);
    }
}

/// What hooks and pollers panic with when they should.
pub struct Panic;

/// Two hooks, so that it can be seen which is called.
fn hook<'o>(number: u8) -> Hook<Stage<'o>, Arg<'o>> {
    match number {
        0 => |stage, thread| stage.run(thread, 0),
        _ => |stage, thread| stage.run(thread, 1),
    }
}

/// What can be done from outside as well.
impl<'o> Stage<'o> {
    pub fn new(outside: &'o Outside) -> Self {
        Self { outside, ids: Vec::new(), granted: Vec::new() }
    }

    /// The loop is another one.
    pub fn forget_ids(&mut self) {
        self.granted.clear();
        self.ids.fill(None);
    }

    pub fn act(&mut self, threads: &mut Threads<'_, Self, Arg<'o>>, act: Act, own: Option<u32>) {
        let world = &self.outside.world;
        match act {
            Act::Add(spec) => self.add(threads, spec),
            Act::Cancel(back) => {
                let meant = self.nth_last(back);
                self.cancel(threads, meant);
            }
            Act::CancelOwn => {
                let meant = own.and_then(|tag| Some((tag, (*self.ids.get(tag as usize)?)?)));
                self.cancel(threads, meant);
            }
            Act::Forge(word) => self.forge(threads, word),
            Act::ForgeFrom(back, bits) => {
                if let Some((_, id)) = self.nth_last(back) {
                    self.forge(threads, id.to_raw() ^ bits);
                }
            }
            Act::Reschedule(back, want) => {
                let meant = self.nth_last(back);
                self.reschedule(threads, meant, want);
            }
            Act::CancelSource(source) => self.cancel_source(threads, source, own),
            Act::Stop => threads.stop(),
            Act::Now => {
                let now = threads.now();
                self.outside.note(Event::Now(now));
            }
            Act::Dump => self.outside.note(Event::Dump(without_ids(&threads.dump().to_string()))),
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
                // Without room it does not happen, in either world.
                let _ = world.at(at, Source::new(source), readiness);
            }
        }
    }

    fn add(&mut self, threads: &mut Threads<'_, Self, Arg<'o>>, spec: Spec) {
        let outside = self.outside;
        let tag = self.ids.len() as u32;
        let when = spec.want.when(outside.world.now());
        outside.alive.set(outside.alive.get() + 1);
        let arg = Arg { tag, run: 0, script: spec.script, outside };
        self.ids.push(None);
        let event = match threads.add(spec.name, when, hook(spec.hook), arg) {
            Ok(id) => {
                assert!(self.granted.iter().all(|&(_, other)| other != id), "{id} is not new");
                self.granted.push((tag, id));
                self.ids[tag as usize] = Some(id);
                outside.rearm(tag, when.into());
                Event::Added(tag, when)
            }
            Err(AddError::Full(arg)) => Event::Full(arg.tag),
            Err(AddError::Taken(arg)) => Event::Taken(arg.tag),
            Err(error) => unreachable!("{error}"),
        };
        outside.note(event);
    }

    fn cancel(&mut self, threads: &mut Threads<'_, Self, Arg<'o>>, meant: Option<(u32, ThreadId)>) {
        let Some((tag, id)) = meant else { return };
        let arg = threads.cancel(id).ok();
        assert!(arg.as_ref().is_none_or(|arg| arg.tag == tag), "an id touches another thread");
        self.outside.note(Event::Cancelled(arg.map(|arg| arg.tag)));
    }

    fn reschedule(
        &mut self,
        threads: &mut Threads<'_, Self, Arg<'o>>,
        meant: Option<(u32, ThreadId)>,
        want: Want,
    ) {
        let Some((tag, id)) = meant else { return };
        let when = want.when(self.outside.world.now());
        let rescheduled = threads.reschedule(id, when);
        if rescheduled.is_ok() {
            self.outside.rearm(tag, when.into());
            self.outside.check_watched();
        }
        self.outside.note(Event::Rescheduled(tag, when, rescheduled));
    }

    /// Cancels an id that was not handed out.
    fn forge(&mut self, threads: &mut Threads<'_, Self, Arg<'o>>, word: u64) {
        let id = ThreadId::from_raw(word);
        let id = id.filter(|&id| self.granted.iter().all(|&(_, other)| other != id));
        let is_there = id.is_some_and(|id| {
            threads.reschedule(id, When::Now).is_ok() || threads.cancel(id).is_ok()
        });
        assert!(!is_there, "an id that was not handed out touches a thread");
    }

    fn cancel_source(
        &mut self,
        threads: &mut Threads<'_, Self, Arg<'o>>,
        source: u32,
        own: Option<u32>,
    ) {
        let CancelledSource { reader, writer } = threads.cancel_source(Source::new(source));
        let [reader, writer] = [reader, writer].map(|arg| Some(arg?.tag));
        self.outside.note(Event::SourceCancelled { reader, writer });
        let of_source = Sources::of(source, Interest::BOTH).and(Sources::paused(source));
        if let Some(own) = own.filter(|&own| !self.outside.holds(own).common(of_source).is_empty())
        {
            self.outside.rearm(own, Sources::default());
        }
        self.outside.check_watched();
    }

    /// The id that was handed out so many before the last one, round and round.
    fn nth_last(&self, back: u32) -> Option<(u32, ThreadId)> {
        let back = (back as usize).checked_rem(self.granted.len())?;
        self.granted.iter().rev().nth(back).copied()
    }
}

/// What only hooks do.
impl<'o> Stage<'o> {
    fn run(&mut self, mut thread: Thread<'_, Self, Arg<'o>>, hook: u8) {
        let outside = self.outside;
        let Arg { tag, run, script, .. } = thread.arg;
        thread.arg.run += 1;
        outside.count_hook();
        outside.check_watched();
        outside.check_told();
        let seen = self.look(&mut thread, hook, run);
        if seen.readiness.is_error() {
            outside.may_tell.set(outside.may_tell.get() + 1);
        }
        outside.note(Event::Called(seen));
        if outside.is_calm.get() {
            return;
        }
        let plan = Plan::of(script, run, outside.case.is_tame);
        for act in plan.acts.into_iter().flatten() {
            self.act(&mut thread.threads(), act, Some(tag));
        }
        if let Some(spec) = plan.gives_up {
            if let Some(source) = seen.source {
                self.act(&mut thread.threads(), Act::CancelSource(source), Some(tag));
            }
            if let Some(spec) = spec {
                self.act(&mut thread.threads(), Act::Add(spec), Some(tag));
            }
            let seen = self.look(&mut thread, hook, run);
            outside.note(Event::Looked(seen));
        }
        self.finish(thread, plan.last);
        if plan.panics {
            // Without the panic hook, and so without a word.
            resume_unwind(Box::new(Panic));
        }
    }

    fn look(&self, thread: &mut Thread<'_, Self, Arg<'o>>, hook: u8, run: u32) -> Seen {
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

    fn finish(&mut self, thread: Thread<'_, Self, Arg<'o>>, last: Last) {
        let tag = thread.arg.tag;
        match last {
            Last::Return => {}
            Last::Again => {
                self.outside.note(Event::Rearms(tag));
                thread.again();
            }
            Last::AgainAs(number) => {
                self.outside.note(Event::Rearms(tag));
                thread.again_as(hook(number));
            }
            Last::TryAgain => {
                let again = thread.try_again();
                self.note_again(tag, None, again);
            }
            Last::AgainWhen(want) => self.again_when(thread, want),
            Last::End(act) => {
                let (arg, mut threads) = thread.end();
                self.outside.note(Event::Ended(arg.tag));
                drop(arg);
                if let Some(act) = act {
                    self.act(&mut threads, act, Some(tag));
                }
            }
        }
    }

    fn again_when(&mut self, thread: Thread<'_, Self, Arg<'o>>, want: Want) {
        let tag = thread.arg.tag;
        let when = want.when(self.outside.world.now());
        let again = thread.again_when(when);
        if again.is_ok() {
            self.outside.rearm(tag, when.into());
            self.outside.check_watched();
        }
        self.note_again(tag, Some(when), again);
    }

    fn note_again(&self, tag: u32, when: Option<When>, again: Result<(), AgainError<Arg<'o>>>) {
        let event = match again {
            Ok(()) => Event::Again(tag, Again::Done(when)),
            Err(AgainError::SourceCancelled(arg)) => Event::Again(arg.tag, Again::Ended),
            Err(AgainError::NoPeriod(arg)) => Event::Again(arg.tag, Again::NoPeriod),
            Err(AgainError::Taken(arg)) => Event::Again(arg.tag, Again::Taken),
            Err(error) => unreachable!("{error}"),
        };
        self.outside.note(event);
    }
}

/// A dump's rows without their ids, sorted, and its last line.
fn without_ids(dump: &str) -> String {
    let mut lines: Vec<&str> = dump.lines().skip(1).collect();
    let last = lines.pop().unwrap_or_default();
    let mut rows: Vec<&str> = lines
        .iter()
        .map(|row| row.split_once(' ').map_or("", |(_, row)| row.trim_start()))
        .collect();
    rows.sort_unstable();
    rows.push(last);
    rows.join("\n")
}
