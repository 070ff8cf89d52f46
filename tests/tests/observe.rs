//! What one sees of a loop from outside: dump, counts, and how the small types read.

use std::error::Error;
use std::time::Duration;

use kpt_core::poller::Unwatchable;
use kpt_core::sim::{Idle, World, WorldFull};
use kpt_std::{
    AddError, AgainError, Exit, Instant, Interest, Kind, Readiness, Source, Stale, Thread,
    ThreadId, When, source,
};
use kpt_tests::loops::{Shape, any_loop, sim_loop};
use kpt_tests::time::millis;

#[test]
fn dump_has_a_line_for_each_thread() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<String, ()>(&world, 8, shape);
        let mut threads = kpt.threads();
        threads.add_timer("tick", millis(2_000), |_, _| {}, ()).unwrap();
        let gone = threads.add_execute("gone", |_, _| {}, ()).unwrap();
        threads.cancel(gone).unwrap();
        threads.add_read("client", Source::new(5), |_, _| {}, ()).unwrap();
        threads.add_write("client", Source::new(u32::MAX), |_, _| {}, ()).unwrap();
        threads.add_execute("a very long name indeed", |_, _| {}, ()).unwrap();
        threads.add_timer("", Duration::MAX, |_, _| {}, ()).unwrap();
        threads.add("überfällig", When::At(Instant::ZERO), |_, _| {}, ()).unwrap();
        world.advance(Duration::from_micros(127));
        let expected = "\
id          kind     name             source  state    due in
0.1         timer    tick             -       waiting  1.999873 s
1.2         read     client           5       waiting  -
2.1         write    client           4294967295 waiting  -
3.1         execute  a very long name indeed -       ready    -
4.1         timer                     -       waiting  never
5.1         timer    überfällig       -       waiting  late 0.000127 s
6 of 8 threads, at most 6 so far";
        assert_eq!(threads.dump().to_string(), expected);
    }
}

/// As the hook that runs sees it, and those that are ready behind it.
#[test]
fn dump_tells_what_runs_and_what_is_ready() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<String, ()>(&world, 8, shape);
        let dump = |text: &mut String, mut thread: Thread<String>| {
            *text = thread.threads().dump().to_string();
        };
        let source = Source::new(1);
        world.set(source, Readiness::READABLE | Readiness::WRITABLE).unwrap();
        kpt.threads().add_read("reader", source, |_, _| {}, ()).unwrap();
        kpt.threads().add_write("writer", source, dump, ()).unwrap();
        kpt.threads().add_timer("due", Duration::ZERO, |_, _| {}, ()).unwrap();
        kpt.threads().add_timer("later", millis(123_456), |_, _| {}, ()).unwrap();
        let mut text = String::new();
        kpt.turn(&mut text).unwrap();
        let expected = "\
id          kind     name             source  state    due in
0.1         read     reader           1       ready    -
1.1         write    writer           1       running  -
2.1         timer    due              -       ready    0.000000 s
3.1         timer    later            -       waiting  123.456000 s
4 of 8 threads, at most 4 so far";
        assert_eq!(text, expected);
    }
}

#[test]
fn dump_counts_strays_and_the_most_threads() {
    for shape in Shape::both() {
        struct Stray;
        impl kpt_core::poller::Poller for Stray {
            type Error = std::convert::Infallible;
            fn now(&mut self) -> Instant {
                Instant::ZERO
            }
            fn modify(&mut self, _: Source, _: Interest) -> Result<(), Unwatchable> {
                Ok(())
            }
            fn wait(
                &mut self,
                _: Instant,
                ready: &mut kpt_core::poller::Ready<'_>,
            ) -> Result<Instant, Self::Error> {
                ready.push(Source::new(4), Readiness::READABLE);
                ready.push(Source::new(5), Readiness::READABLE);
                Ok(Instant::ZERO)
            }
        }
        let mut kpt = any_loop(Stray, 4, shape);
        let on_read = |runs: &mut u32, thread: Thread<u32>| {
            *runs += 1;
            thread.again();
        };
        kpt.threads().add_read("reader", Source::new(5), on_read, ()).unwrap();
        for _ in 0..3 {
            kpt.threads().add_execute("other", |_, _| {}, ()).unwrap();
        }
        let mut runs = 0;
        kpt.turn(&mut runs).unwrap();
        kpt.turn(&mut runs).unwrap();
        assert_eq!(runs, 2);
        let text = kpt.threads().dump().to_string();
        // Two of them when the loop's time began.
        let last = "1 of 4 threads, at most 4 so far; 4 events for sources without threads";
        assert_eq!(text.lines().last(), Some(last));
    }
}

/// What the hook is told of its thread, for each kind; and nothing of what its slot or itself was before.
#[test]
fn a_hook_sees_its_thread() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<Vec<String>, u8>(&world, 1, shape);
        let see = |seen: &mut Vec<String>, thread: Thread<Vec<String>, u8>| {
            let deadline = thread.deadline().map(Instant::as_micros);
            seen.push(format!(
                "{} {} {} {:?} {} {deadline:?} {}",
                thread.id(),
                thread.name(),
                thread.kind().as_str(),
                thread.source().map(Source::number),
                thread.readiness(),
                thread.arg
            ));
            let next = match seen.len() {
                2 => When::After(millis(1)),
                3 => When::Now,
                _ => return,
            };
            thread.again_when(next).unwrap();
        };
        let on = Source::new(6);
        world.set(on, Readiness::READABLE | Readiness::WRITABLE | Readiness::HANGUP).unwrap();
        let mut seen = Vec::new();
        for (arg, when) in [
            (1, When::Readable(on)),
            (2, When::Writable(on)),
            (3, When::At(Instant::from_micros(7))),
            (4, When::Now),
        ] {
            kpt.threads().add("thread", when, see, arg).unwrap();
            assert_eq!(kpt.run_verified(&mut seen), Ok(Exit::Empty));
        }
        let expected = [
            "0.1 thread read Some(6) readable|hangup None 1",
            "0.2 thread write Some(6) writable|hangup None 2",
            "0.2 thread timer None - Some(1000) 2",
            "0.2 thread execute None - None 2",
            "0.3 thread timer None - Some(7) 3",
            "0.4 thread execute None - None 4",
        ];
        assert_eq!(seen, expected);
    }
}

#[test]
fn ids_are_words() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<(), ()>(&world, 4, shape);
        let ids = [(); 3].map(|()| kpt.threads().add_execute("t", |_, _| {}, ()).unwrap());
        assert_eq!(ids.map(|id| id.to_string()), ["0.1", "1.1", "2.1"]);
        assert_eq!(format!("{:?}", ids[1]), "1.1");
        for id in ids {
            assert_eq!(ThreadId::from_raw(id.to_raw()), Some(id));
        }
        assert_eq!(ThreadId::from_raw(0), None);
        assert_eq!(size_of::<Option<ThreadId>>(), 8, "one word, with room for none");
        kpt.threads().cancel(ids[1]).unwrap();
        let next = kpt.threads().add_execute("t", |_, _| {}, ()).unwrap();
        assert_eq!(next.to_string(), "1.2", "the same place, the next tenant");
        // Not an id that any loop gives out; still a word that reads as something.
        assert_eq!(ThreadId::from_raw(1).unwrap().to_string(), "0.0");
        assert!(!ThreadId::from_raw(u64::MAX).unwrap().to_string().is_empty());
    }
}

#[test]
fn small_types_read_well() {
    let all = Readiness::READABLE | Readiness::WRITABLE | Readiness::HANGUP | Readiness::ERROR;
    assert_eq!(all.to_string(), "readable|writable|hangup|error");
    assert_eq!(Readiness::NONE.to_string(), "-");
    assert_eq!(all.without(Readiness::READABLE | Readiness::ERROR).to_string(), "writable|hangup");
    assert_eq!(all.seen_by(Interest::NONE), Readiness::NONE);
    assert_eq!(all.seen_by(Interest::READABLE).to_string(), "readable|hangup|error");
    assert_eq!(Interest::READABLE | Interest::WRITABLE, Interest::BOTH);
    let kinds = [Kind::Read, Kind::Write, Kind::Timer, Kind::Execute].map(Kind::as_str);
    assert_eq!(kinds, ["read", "write", "timer", "execute"]);
    assert_eq!([Exit::Empty, Exit::Stopped].map(Exit::as_str), ["empty", "stopped"]);
    assert_eq!(source(&std::io::stderr()), Source::new(2));
}

/// Errors can be printed and passed on whatever their argument is.
#[test]
fn errors_read_well_and_give_arguments_back() {
    const TAKEN: &str = "another thread waits for the same of this source; cancel that one first";
    struct Opaque(u8);
    let errors: [(Box<dyn Error>, &str); 8] = [
        (
            Box::new(AddError::Full(Opaque(1))),
            "no slot is left for the thread; end another one, or make the loop larger",
        ),
        (Box::new(AddError::Taken(Opaque(1))), TAKEN),
        (Box::new(AgainError::Taken(Opaque(1))), TAKEN),
        (
            Box::new(AgainError::NoPeriod(Opaque(1))),
            "the timer has no period; re-arm it with again_when",
        ),
        (
            Box::new(AgainError::SourceCancelled(Opaque(1))),
            "the hook has cancelled the thread's own source; add a new thread",
        ),
        (Box::new(Stale), "the thread has ended, or it is the running thread"),
        (
            Box::new(Idle),
            "nothing can happen any more: no deadline, no ready source, no change in the script; \
             end the simulation with a timer that calls stop",
        ),
        (
            Box::new(WorldFull),
            "the world has no room for another source or change; give it a larger N",
        ),
    ];
    for (error, text) in errors {
        assert_eq!(error.to_string(), text);
    }
    let full: AddError<Opaque> = AddError::Full(Opaque(7));
    assert_eq!((format!("{full:?}").as_str(), full.into_arg().0), ("Full", 7));
    let no_period: AgainError<Opaque> = AgainError::NoPeriod(Opaque(8));
    assert_eq!((format!("{no_period:?}").as_str(), no_period.into_arg().0), ("NoPeriod", 8));
}

#[test]
fn moments_saturate() {
    let now = Instant::from_micros(5);
    assert_eq!(now + Duration::from_nanos(1), Instant::from_micros(6), "rounded up");
    assert_eq!(now.saturating_add(Duration::MAX), Instant::NEVER);
    assert_eq!(now.saturating_duration_since(Instant::from_micros(9)), Duration::ZERO);
    let later = Instant::from_micros(9);
    assert_eq!(later.saturating_duration_since(now), Duration::from_micros(4));
}

/// Arguments come at the end of the lines, as the application writes them; the one that runs has its own.
#[test]
fn dump_with_shows_arguments() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<String, u32>(&world, 3, shape);
        let dump = |text: &mut String, mut thread: Thread<String, u32>| {
            *text = thread.threads().dump_with(|arg, f| write!(f, "client {arg}")).to_string();
        };
        kpt.threads().add_execute("runs", dump, 1).unwrap();
        kpt.threads().add_timer("idle", Duration::from_secs(2), |_, _| {}, 7).unwrap();
        let mut text = String::new();
        kpt.turn(&mut text).unwrap();
        let expected = [
            "id          kind     name             source  state    due in",
            "0.1         execute  runs             -       running  -",
            "1.1         timer    idle             -       waiting  2.000000 s  client 7",
            "2 of 3 threads, at most 2 so far",
        ];
        assert_eq!(Vec::from_iter(text.lines()), expected);
    }
}
