//! Pollers that refuse a source in the midst of a step, or panic: whatever they do, the tables are in order, and nobody
//! runs before the next wait.
//!
//! A small loop's poller watches sources for the time of a wait only, so that hooks and `cancel` don't call it: what is
//! about such calls is for the large loop alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use kpt_std::{Exit, Readiness, Source, Stale, Thread, ThreadId, When};
use kpt_tests::loops::{AnyLoop, Shape, Trace, any_loop};
use kpt_tests::pollers::{Failed, Script, Scripted};

const SOURCE: Source = Source::new(7);

type Loop<'l> = dyn AnyLoop<Trace, (), Error = Failed> + 'l;

fn on(shape: Shape, test: impl Fn(&Script, &mut Loop<'_>)) {
    let script = Script::default();
    let mut kpt = any_loop(Scripted::new(&script), 4, shape);
    test(&script, &mut *kpt);
    kpt.threads().verify().unwrap();
}

/// For both kinds of loops.
fn each(test: impl Fn(&Script, &mut Loop<'_>)) {
    Shape::both().for_each(|shape| on(shape, &test));
}

fn large(test: impl Fn(&Script, &mut Loop<'_>)) {
    on(Shape::HOST, test);
}

fn ready(script: &Script) {
    script.ready.borrow_mut().push((SOURCE.number(), Readiness::READABLE));
}

/// A hook that does nothing else.
fn note(trace: &mut Trace, thread: Thread<Trace>) {
    trace.push(thread.name());
}

/// Runs something in which the next call of the poller panics.
fn with_panic(script: &Script, work: impl FnOnce()) {
    script.panics.set(true);
    catch_unwind(AssertUnwindSafe(work)).unwrap_err();
}

/// Reader and writer of a source that can't be watched add each other. A timer still gets its turn.
#[test]
fn hooks_of_a_refused_source_starve_nobody() {
    fn on_readable(trace: &mut Trace, mut thread: Thread<Trace>) {
        trace.push("read");
        assert!(trace.len() < 100, "the step does not end");
        thread.threads().add_write("writer", SOURCE, on_writable, ()).unwrap();
    }
    fn on_writable(trace: &mut Trace, mut thread: Thread<Trace>) {
        trace.push("write");
        assert!(trace.len() < 100, "the step does not end");
        thread.threads().add_read("reader", SOURCE, on_readable, ()).unwrap();
    }
    each(|script, kpt| {
        script.refused.borrow_mut().push(SOURCE.number());
        kpt.threads().add_read("reader", SOURCE, on_readable, ()).unwrap();
        kpt.threads().add_timer("timer", Duration::ZERO, note, ()).unwrap();
        let mut trace = Trace::new();
        for turn in 1..=4 {
            kpt.turn(&mut trace).unwrap();
            assert_eq!(trace.len(), turn + 1);
        }
        assert_eq!(trace, ["read", "timer", "write", "read", "write"]);
    });
}

/// One thread after the other for the same source, all in one hook.
#[test]
fn what_a_hook_adds_to_a_refused_source_waits() {
    each(|script, kpt| {
        script.refused.borrow_mut().push(SOURCE.number());
        let replace = |trace: &mut Trace, thread: Thread<Trace>| {
            trace.push(thread.name());
            let ((), mut threads) = thread.end();
            threads.add_read("reader", SOURCE, note, ()).unwrap();
            let writer: ThreadId = threads.add_write("writer", SOURCE, note, ()).unwrap();
            threads.cancel(writer).unwrap();
        };
        kpt.threads().add_read("first", SOURCE, replace, ()).unwrap();
        let mut trace = Trace::new();
        kpt.turn(&mut trace).unwrap();
        assert_eq!(trace, ["first"]);
        assert_eq!(kpt.run(&mut trace), Ok(Exit::Empty));
        assert_eq!(trace, ["first", "reader"]);
    });
}

#[test]
fn a_poller_that_panics_in_a_cancel() {
    large(|script, kpt| {
        let reader = kpt.threads().add_read("reader", SOURCE, note, ()).unwrap();
        let other = kpt.threads().add_execute("other", note, ()).unwrap();
        with_panic(script, || _ = kpt.threads().cancel(reader));
        kpt.threads().cancel(other).unwrap();
        assert_eq!(kpt.threads().cancel(reader), Err(Stale), "not once more");
        for name in ["one", "two", "three"] {
            kpt.threads().add_execute(name, note, ()).unwrap();
        }
        kpt.threads().verify().unwrap();
        let mut trace = Trace::new();
        assert_eq!(kpt.run(&mut trace), Ok(Exit::Empty));
        assert_eq!(trace, ["one", "two", "three"], "a slot each");
    });
}

#[test]
fn a_poller_that_panics_in_cancel_source() {
    large(|script, kpt| {
        let reader = kpt.threads().add_read("reader", SOURCE, note, ()).unwrap();
        let writer = kpt.threads().add_write("writer", SOURCE, note, ()).unwrap();
        with_panic(script, || _ = kpt.threads().cancel_source(SOURCE));
        for id in [reader, writer] {
            assert_eq!(kpt.threads().cancel(id), Err(Stale));
        }
        assert_eq!(kpt.threads().len(), 0);
    });
}

#[test]
fn a_poller_that_panics_before_a_wait_is_told_again() {
    each(|script, kpt| {
        kpt.threads().add_read("reader", SOURCE, note, ()).unwrap();
        with_panic(script, || drop(kpt.turn(&mut Trace::new())));
        ready(script);
        let mut trace = Trace::new();
        assert_eq!(kpt.run(&mut trace), Ok(Exit::Empty));
        assert_eq!(trace, ["reader"]);
    });
}

#[test]
fn a_poller_that_panics_in_again_when_ends_the_thread() {
    large(|script, kpt| {
        let leave = |_: &mut Trace, thread: Thread<Trace>| drop(thread.again_when(When::Now));
        kpt.threads().add_read("reader", SOURCE, leave, ()).unwrap();
        kpt.threads().add_timer("timer", Duration::from_micros(5), note, ()).unwrap();
        let mut trace = Trace::new();
        kpt.turn(&mut trace).unwrap();
        ready(script);
        with_panic(script, || drop(kpt.turn(&mut Trace::new())));
        assert_eq!(kpt.threads().len(), 1);
        assert_eq!(kpt.run(&mut trace), Ok(Exit::Empty));
        assert_eq!(trace, ["timer"]);
    });
}
