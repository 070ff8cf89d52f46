//! What the loop tells its poller, and when.
//!
//! The large loop tells it of changes only, and of removals at once. The small one tells it of all sources before each
//! wait, and after it that it should watch none; so what is about the number of calls is a test for each.

use std::time::Duration;

use kpt_core::large::{Body, EventLoop, Link, Parts, Storage};
use kpt_std::{Exit, HostTimers, Interest, Readiness, Source, Thread, ThreadId, When};
use kpt_tests::loops::{BoxedLoop, Shape, any_loop};
use kpt_tests::pollers::{Failed, Script, Scripted};

const SOURCE: Source = Source::new(7);

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;
const BOTH: Interest = Interest::BOTH;
const NONE: Interest = Interest::NONE;

/// Which thread the next hook acts on, and how often hooks ran.
#[derive(Default)]
struct State {
    other: Option<ThreadId>,
    runs: u32,
}

type Loop<'s> = BoxedLoop<'s, State, (), Failed>;

fn scripted(script: &Script, shape: Shape) -> Loop<'_> {
    any_loop(Scripted::new(script), 4, shape)
}

fn large(script: &Script) -> Loop<'_> {
    scripted(script, Shape::HOST)
}

fn ready(script: &Script, readiness: Readiness) {
    script.ready.borrow_mut().push((SOURCE.number(), readiness));
}

fn again(state: &mut State, thread: Thread<State>) {
    state.runs += 1;
    thread.again();
}

fn cancel_other(state: &mut State, mut thread: Thread<State>) {
    thread.threads().cancel(state.other.unwrap()).unwrap();
}

#[test]
fn a_thread_that_is_rearmed_costs_no_call() {
    let script = Script::default();
    let mut kpt = large(&script);
    let mut state = State::default();
    kpt.threads().add_read("reader", SOURCE, again, ()).unwrap();
    kpt.threads().add_write("writer", SOURCE, again, ()).unwrap();
    for _ in 0..10 {
        ready(&script, Readiness::READABLE | Readiness::WRITABLE);
        kpt.turn(&mut state).unwrap();
    }
    assert_eq!(state.runs, 20);
    assert_eq!(script.take_changes(), [(7, BOTH)], "one call, for both, before the first wait");
}

#[test]
fn a_small_loop_has_sources_watched_for_the_time_of_a_wait() {
    let script = Script::default();
    let mut kpt = scripted(&script, Shape::Small);
    let mut state = State::default();
    let reader = kpt.threads().add_read("reader", SOURCE, again, ()).unwrap();
    kpt.threads().add_write("writer", SOURCE, again, ()).unwrap();
    for turn in 1..=10 {
        ready(&script, Readiness::READABLE | Readiness::WRITABLE);
        kpt.turn(&mut state).unwrap();
        // For each of both threads.
        assert_eq!(script.take_changes(), [(7, BOTH), (7, BOTH), (7, NONE), (7, NONE)]);
        assert_eq!(state.runs, 2 * turn);
    }
    kpt.threads().cancel(reader).unwrap();
    kpt.threads().cancel_source(SOURCE);
    assert_eq!(script.take_changes(), [], "there is nothing to let go of");
}

/// Also if the wait fails, or finds an error.
#[test]
fn a_small_loop_has_nothing_watched_while_hooks_run() {
    let script = Script::default();
    let mut kpt = any_loop(Scripted::new(&script), 4, Shape::Small);
    let look = |script: &mut &Script, thread: Thread<&Script>| {
        assert_eq!(script.interest(SOURCE.number()), NONE);
        thread.again();
    };
    kpt.threads().add_read("reader", SOURCE, look, ()).unwrap();
    kpt.threads().add_write("writer", SOURCE, look, ()).unwrap();
    kpt.threads().add_timer("timer", Duration::ZERO, look, ()).unwrap();
    kpt.threads().add_execute("execute", look, ()).unwrap();
    for readiness in [Readiness::READABLE, Readiness::NONE, Readiness::ERROR, Readiness::HANGUP] {
        ready(&script, readiness);
        script.fails.set(readiness.is_none());
        assert_eq!(kpt.turn(&mut &script).is_err(), readiness.is_none());
        assert_eq!(script.interest(SOURCE.number()), NONE);
    }
}

#[test]
fn a_removal_reaches_the_poller_at_once() {
    let script = Script::default();
    let mut kpt = large(&script);
    let mut state = State::default();
    let reader = kpt.threads().add_read("reader", SOURCE, again, ()).unwrap();
    let writer = kpt.threads().add_write("writer", SOURCE, again, ()).unwrap();
    kpt.turn(&mut state).unwrap();
    kpt.threads().cancel(reader).unwrap();
    kpt.threads().cancel(writer).unwrap();
    assert_eq!(script.take_changes(), [(7, BOTH), (7, WRITE), (7, NONE)]);

    let ends = |_: &mut State, thread: Thread<State>| {
        let ((), _) = thread.end();
    };
    kpt.threads().add_read("reader", SOURCE, ends, ()).unwrap();
    kpt.threads().add_write("writer", SOURCE, again, ()).unwrap();
    ready(&script, Readiness::READABLE);
    kpt.turn(&mut state).unwrap();
    assert_eq!(script.take_changes(), [(7, BOTH), (7, WRITE)], "by end");
    kpt.threads().cancel_source(SOURCE);
    assert_eq!(script.take_changes(), [(7, NONE)], "by cancel_source");

    kpt.threads().add_read("reader", SOURCE, |_, _| {}, ()).unwrap();
    ready(&script, Readiness::READABLE);
    kpt.turn(&mut state).unwrap();
    assert_eq!(script.take_changes(), [(7, READ), (7, NONE)], "by returning");
}

/// Whatever the poller pushes, a thread sees its own bit, hang-up and error.
#[test]
fn two_threads_on_one_source_fire_on_their_own_bit() {
    for shape in Shape::both() {
        let cases = [
            (Readiness::READABLE, "reader readable"),
            (Readiness::WRITABLE, "writer writable"),
            (Readiness::READABLE | Readiness::WRITABLE, "writer writable, reader readable"),
            (Readiness::HANGUP, "writer hangup, reader hangup"),
            (Readiness::READABLE | Readiness::ERROR, "writer error, reader readable|error"),
            (Readiness::NONE, ""),
        ];
        for (readiness, expected) in cases {
            let script = Script::default();
            let mut kpt = any_loop(Scripted::new(&script), 2, shape);
            let record = |ran: &mut Vec<String>, thread: Thread<Vec<String>>| {
                ran.push(format!("{} {}", thread.name(), thread.readiness()));
            };
            kpt.threads().add_read("reader", SOURCE, record, ()).unwrap();
            kpt.threads().add_write("writer", SOURCE, record, ()).unwrap();
            ready(&script, readiness);
            let mut ran = Vec::new();
            kpt.turn(&mut ran).unwrap();
            assert_eq!(ran.join(", "), expected);
        }
    }
}

/// The writer's hook cancels: the reader, ready as well, does not run.
#[test]
fn a_writer_that_cancels_the_source_keeps_the_reader_from_running() {
    for shape in Shape::both() {
        let script = Script::default();
        let mut kpt = scripted(&script, shape);
        let cancel = |state: &mut State, mut thread: Thread<State>| {
            state.runs += 1;
            assert_eq!(thread.threads().cancel_source(SOURCE).reader, Some(()));
            assert_eq!(thread.threads().len(), 1, "itself, until its hook returns");
        };
        kpt.threads().add_read("reader", SOURCE, |_, _| panic!("cancelled"), ()).unwrap();
        kpt.threads().add_write("writer", SOURCE, cancel, ()).unwrap();
        ready(&script, Readiness::READABLE | Readiness::WRITABLE);
        let mut state = State::default();
        assert_eq!(kpt.run(&mut state), Ok(Exit::Empty));
        assert_eq!((state.runs, script.interest(7)), (1, NONE));
    }
}

/// The number may be another file by now.
#[test]
fn a_new_registration_always_reaches_the_poller() {
    let script = Script::default();
    let mut kpt = large(&script);
    let replace = |state: &mut State, thread: Thread<State>| {
        state.runs += 1;
        let ((), mut threads) = thread.end();
        threads.add_read("new", SOURCE, again, ()).unwrap();
    };
    kpt.threads().add_read("old", SOURCE, replace, ()).unwrap();
    ready(&script, Readiness::READABLE);
    let mut state = State::default();
    kpt.turn(&mut state).unwrap();
    kpt.turn(&mut state).unwrap();
    assert_eq!(state.runs, 1);
    assert_eq!(script.take_changes(), [(7, READ), (7, NONE), (7, READ)]);
}

/// Found by an adversary: re-armed after an error, the thread is new to the poller; a poller that has not let go of
/// the source would then watch it for ever.
#[test]
fn a_thread_rearmed_after_an_error_and_cancelled_is_not_watched() {
    for shape in Shape::both() {
        let script = Script::default();
        let mut kpt = scripted(&script, shape);
        let reader = kpt.threads().add_read("reader", SOURCE, again, ()).unwrap();
        kpt.threads().add_timer("cancel", Duration::ZERO, cancel_other, ()).unwrap();
        ready(&script, Readiness::ERROR);
        let mut state = State { other: Some(reader), runs: 0 };
        kpt.turn(&mut state).unwrap();
        assert_eq!((state.runs, kpt.threads().len()), (1, 0), "both ran in this turn");
        assert_eq!(script.interest(7), NONE);
    }
}

/// The same by way of `again_when`: from reading to writing, and then cancelled.
#[test]
fn a_thread_that_goes_from_reading_to_writing_and_is_cancelled_is_not_watched() {
    for shape in Shape::both() {
        let script = Script::default();
        let mut kpt = scripted(&script, shape);
        let turn_around = |_: &mut State, thread: Thread<State>| {
            thread.again_when(When::Writable(SOURCE)).unwrap();
        };
        let id = kpt.threads().add_read("reader", SOURCE, turn_around, ()).unwrap();
        kpt.threads().add_timer("cancel", Duration::ZERO, cancel_other, ()).unwrap();
        ready(&script, Readiness::READABLE);
        kpt.turn(&mut State { other: Some(id), runs: 0 }).unwrap();
        assert_eq!(kpt.threads().len(), 0);
        assert_eq!(script.interest(7), NONE);
    }
}

#[test]
fn a_thread_that_goes_from_reading_to_writing_costs_one_call() {
    let script = Script::default();
    let mut kpt = large(&script);
    let turn_around = |state: &mut State, thread: Thread<State>| {
        state.runs += 1;
        let when = if state.runs.is_multiple_of(2) {
            When::Readable(SOURCE)
        } else {
            When::Writable(SOURCE)
        };
        thread.again_when(when).unwrap();
    };
    kpt.threads().add_read("thread", SOURCE, turn_around, ()).unwrap();
    let mut state = State::default();
    for _ in 0..4 {
        ready(&script, Readiness::READABLE | Readiness::WRITABLE);
        kpt.turn(&mut state).unwrap();
    }
    kpt.turn(&mut state).unwrap();
    assert_eq!(state.runs, 4);
    assert_eq!(script.take_changes(), [(7, READ), (7, WRITE), (7, READ), (7, WRITE), (7, READ)]);
}

/// The poller can't go on with what is left of a source. Whoever it leaves unwatched must get to know.
#[test]
fn a_removal_that_fails_is_an_error_of_the_other_thread() {
    for shape in Shape::both() {
        // The other one waits, runs, or is ready.
        for readiness in [Readiness::READABLE, Readiness::WRITABLE, Readiness::HANGUP] {
            let script = Script::default();
            let mut kpt = scripted(&script, shape);
            let writer = |state: &mut State, thread: Thread<State>| {
                state.runs += u32::from(thread.readiness().is_error());
                thread.again();
            };
            let reader = |_: &mut State, _: Thread<State>| {};
            kpt.threads().add_read("reader", SOURCE, reader, ()).unwrap();
            kpt.threads().add_write("writer", SOURCE, writer, ()).unwrap();
            kpt.turn(&mut State::default()).unwrap();
            script.refused.borrow_mut().push(7);
            ready(&script, readiness);
            ready(&script, Readiness::READABLE);
            let mut state = State::default();
            for _ in 0..4 {
                kpt.turn(&mut state).unwrap();
            }
            assert!(state.runs > 0, "found {readiness}: the writer waits for ever");
        }
    }
}

#[test]
fn a_removal_that_fails_in_the_hook_of_the_other_thread() {
    for shape in Shape::both() {
        let script = Script::default();
        let mut kpt = scripted(&script, shape);
        let cancel_reader = |state: &mut State, mut thread: Thread<State>| {
            if let Some(reader) = state.other.take() {
                thread.threads().cancel(reader).unwrap();
            } else {
                assert!(thread.readiness().is_error());
                state.runs += 1;
            }
            thread.again();
        };
        let reader = kpt.threads().add_read("reader", SOURCE, again, ()).unwrap();
        kpt.threads().add_write("writer", SOURCE, cancel_reader, ()).unwrap();
        let mut state = State { other: Some(reader), runs: 0 };
        kpt.turn(&mut state).unwrap();
        script.refused.borrow_mut().push(7);
        ready(&script, Readiness::WRITABLE);
        for _ in 0..4 {
            kpt.turn(&mut state).unwrap();
        }
        assert!(state.runs > 0, "the writer waits for ever");
    }
}

#[test]
fn an_error_of_the_wait_leaves_all_registrations() {
    for shape in Shape::both() {
        let script = Script::default();
        let mut kpt = scripted(&script, shape);
        let mut state = State::default();
        kpt.threads().add_read("reader", SOURCE, again, ()).unwrap();
        kpt.threads().add_timer("timer", Duration::from_secs(1), again, ()).unwrap();
        script.fails.set(true);
        ready(&script, Readiness::READABLE);
        assert_eq!(kpt.turn(&mut state), Err(Failed));
        assert_eq!((state.runs, kpt.threads().len()), (0, 2));
        kpt.threads().verify().unwrap();
        kpt.turn(&mut state).unwrap();
        assert_eq!(state.runs, 1, "what had been found runs");
    }
}

/// Links and bodies of different lengths: the shorter one counts, everywhere.
#[test]
fn a_storage_with_more_links_than_bodies() {
    struct Uneven(usize, usize);
    impl Storage<State, ()> for Uneven {
        type Links = Vec<Link>;
        type Bodies = Vec<Body<State, ()>>;
        type Timers = HostTimers;

        fn into_parts(self) -> Parts<Vec<Link>, Vec<Body<State, ()>>, HostTimers> {
            let bodies = Vec::from_iter((0..self.1).map(|_| Body::VACANT));
            Parts { links: vec![Link::VACANT; self.0], bodies, timers: HostTimers::new() }
        }
    }
    for (links, bodies) in [(64, 4), (4, 64), (3, 3), (0, 2), (2, 0)] {
        let script = Script::default();
        let mut kpt = EventLoop::with_storage(Scripted::new(&script), Uneven(links, bodies));
        let room = links.min(bodies);
        assert_eq!(kpt.threads().capacity(), room);
        for number in 0..room as u32 {
            let source = Source::new(number * 1_000);
            kpt.threads().add_read("reader", source, |state, _| state.runs += 1, ()).unwrap();
            script.ready.borrow_mut().push((number * 1_000, Readiness::READABLE));
        }
        assert!(kpt.threads().add_read("one more", SOURCE, again, ()).is_err());
        kpt.threads().verify().unwrap();
        script.ready.borrow_mut().push((77, Readiness::READABLE));
        let mut state = State::default();
        assert_eq!(kpt.run(&mut state), Ok(Exit::Empty));
        assert_eq!(state.runs, room as u32, "{links} links and {bodies} bodies");
    }
}

#[test]
fn a_loop_without_room() {
    for shape in Shape::both() {
        let script = Script::default();
        let mut kpt = any_loop(Scripted::new(&script), 0, shape);
        assert!(kpt.threads().add_read("reader", SOURCE, again, ()).is_err());
        assert!(kpt.threads().add_timer("timer", Duration::ZERO, again, ()).is_err());
        assert_eq!(kpt.threads().cancel_source(SOURCE).reader, None);
        kpt.threads().verify().unwrap();
        assert_eq!(kpt.run(&mut State::default()), Ok(Exit::Empty));
    }
}

/// A thread that waits for reading and writing has the source to itself, in either loop.
#[test]
fn a_source_has_one_thread_for_each_interest() {
    let whens = [
        When::Readable(SOURCE),
        When::Writable(SOURCE),
        When::Ready(SOURCE, BOTH),
        When::Ready(SOURCE, NONE),
    ];
    for shape in [Shape::Small, Shape::HOST] {
        for first in whens {
            for second in whens {
                let script = Script::default();
                let mut kpt = scripted(&script, shape);
                let id = kpt.threads().add("first", first, again, ()).unwrap();
                let is_free = matches!(
                    (first, second),
                    (When::Readable(_), When::Writable(_)) | (When::Writable(_), When::Readable(_))
                );
                let added = kpt.threads().add("second", second, again, ());
                assert_eq!(added.is_ok(), is_free, "{first:?}, {second:?}");
                // Its own source is free for a thread, and another one's is not.
                for next in whens {
                    let is_free = !is_free || next == first;
                    let result = kpt.threads().reschedule(id, next);
                    assert_eq!(result.is_ok(), is_free, "{first:?}, {second:?}, {next:?}");
                    kpt.threads().reschedule(id, first).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_thread_for_both_is_called_for_either_once() {
    for shape in [Shape::Small, Shape::HOST] {
        let script = Script::default();
        let mut kpt = any_loop(Scripted::new(&script), 4, shape);
        let note = |seen: &mut Vec<Readiness>, thread: Thread<Vec<Readiness>>| {
            seen.push(thread.readiness());
            thread.again();
        };
        let mut seen = Vec::new();
        kpt.threads().add("client", When::Ready(SOURCE, BOTH), note, ()).unwrap();
        for readiness in [Readiness::READABLE, Readiness::WRITABLE, Readiness::HANGUP] {
            ready(&script, readiness);
            kpt.turn(&mut seen).unwrap();
        }
        ready(&script, Readiness::READABLE | Readiness::WRITABLE);
        kpt.turn(&mut seen).unwrap();
        let both = Readiness::READABLE | Readiness::WRITABLE;
        assert_eq!(seen, [Readiness::READABLE, Readiness::WRITABLE, Readiness::HANGUP, both]);
        let cancelled = kpt.threads().cancel_source(SOURCE);
        assert_eq!((cancelled.reader, cancelled.writer), (Some(()), None));
    }
}

/// Pausing it is a change that the poller is told of before the next wait, and so is having it go on.
#[test]
fn a_paused_thread_is_not_called_until_it_goes_on() {
    for shape in [Shape::Small, Shape::HOST] {
        let script = Script::default();
        let mut kpt = scripted(&script, shape);
        let mut state = State::default();
        let id = kpt.threads().add("client", When::Ready(SOURCE, BOTH), again, ()).unwrap();
        kpt.threads().reschedule(id, When::Ready(SOURCE, NONE)).unwrap();
        ready(&script, Readiness::READABLE | Readiness::ERROR);
        kpt.turn(&mut state).unwrap();
        assert_eq!((state.runs, script.interest(SOURCE.number())), (0, NONE));
        kpt.threads().reschedule(id, When::Ready(SOURCE, READ)).unwrap();
        ready(&script, Readiness::READABLE);
        kpt.turn(&mut state).unwrap();
        assert_eq!(state.runs, 1);
        assert_eq!(kpt.threads().cancel_source(SOURCE).reader, Some(()));
        assert!(kpt.threads().is_empty());
    }
}

#[test]
fn a_thread_that_waits_for_the_same_once_more_costs_no_call() {
    let script = Script::default();
    let mut kpt = large(&script);
    let mut state = State::default();
    let same = |state: &mut State, thread: Thread<State>| {
        state.runs += 1;
        let interest = if state.runs < 3 { BOTH } else { READ };
        thread.again_when(When::Ready(SOURCE, interest)).unwrap();
    };
    kpt.threads().add("client", When::Ready(SOURCE, BOTH), same, ()).unwrap();
    for _ in 0..5 {
        ready(&script, Readiness::READABLE);
        kpt.turn(&mut state).unwrap();
    }
    assert_eq!((state.runs, script.take_changes()), (5, vec![(7, BOTH), (7, READ)]));
}

/// From outside, as by another client's hook.
#[test]
fn rescheduling_for_the_same_costs_no_call() {
    let script = Script::default();
    let mut kpt = large(&script);
    let mut state = State::default();
    let id = kpt.threads().add("client", When::Ready(SOURCE, BOTH), again, ()).unwrap();
    for _ in 0..3 {
        kpt.threads().reschedule(id, When::Ready(SOURCE, BOTH)).unwrap();
        kpt.turn(&mut state).unwrap();
    }
    ready(&script, Readiness::READABLE);
    kpt.turn(&mut state).unwrap();
    kpt.threads().reschedule(id, When::Ready(SOURCE, READ)).unwrap();
    kpt.threads().reschedule(id, When::Ready(SOURCE, READ)).unwrap();
    kpt.turn(&mut state).unwrap();
    assert_eq!((state.runs, script.take_changes()), (1, vec![(7, BOTH), (7, READ)]));
}
