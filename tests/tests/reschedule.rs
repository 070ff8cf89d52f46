//! `reschedule`, and what else lets a thread wait for something new under the same id.

use std::time::Duration;

use kpt_core::sim::{SimPoller, World};
use kpt_std::{AddError, Exit, Instant, Readiness, RescheduleError, Source, Thread, When};
use kpt_tests::loops::{Shape, any_loop, sim_loop};
use kpt_tests::pollers::{Calls, Counting};
use kpt_tests::time::{micros, millis};

/// When which thread ran.
type Runs = Vec<(&'static str, u64)>;

struct App<'w> {
    world: &'w World,
    runs: Runs,
}

impl<'w> App<'w> {
    fn new(world: &'w World) -> Self {
        Self { world, runs: Vec::new() }
    }

    fn note(&mut self, thread: Thread<Self>) {
        self.runs.push((thread.name(), self.world.now().as_micros()));
    }
}

const SOURCE: Source = Source::new(3);
const OTHER: Source = Source::new(4);

#[test]
fn a_timer_that_waits_is_put_off_under_its_id() {
    for shape in Shape::all() {
        let world = World::new();
        let mut kpt = sim_loop::<App, ()>(&world, 2, shape);
        let id = kpt.threads().add_timer("idle", micros(100), App::note, ()).unwrap();
        kpt.threads().add_timer("other", micros(150), App::note, ()).unwrap();
        // Although the loop is full.
        assert_eq!(kpt.threads().reschedule(id, When::After(micros(200))), Ok(()));
        let mut app = App::new(&world);
        assert_eq!(kpt.run_verified(&mut app), Ok(Exit::Empty));
        assert_eq!(app.runs, [("other", 150), ("idle", 200)]);
        assert_eq!(kpt.threads().reschedule(id, When::Now), Err(RescheduleError::Stale));
        assert_eq!(kpt.threads().len(), 0);
    }
}

/// Whatever a thread waits for, it can wait for anything else.
#[test]
fn each_kind_becomes_each_other_kind() {
    let kinds = [
        When::Readable(SOURCE),
        When::Writable(SOURCE),
        When::After(micros(50)),
        When::At(Instant::from_micros(70)),
        When::Now,
    ];
    for shape in Shape::all() {
        for (from, to) in kinds.iter().flat_map(|&from| kinds.map(|to| (from, to))) {
            let world = World::new();
            world.at(Instant::from_micros(60), SOURCE, Readiness::READABLE).unwrap();
            world.at(Instant::from_micros(60), SOURCE, Readiness::WRITABLE).unwrap();
            let mut kpt = sim_loop::<App, ()>(&world, 1, shape);
            let id = kpt.threads().add("thread", from, App::note, ()).unwrap();
            kpt.threads().reschedule(id, to).unwrap();
            kpt.threads().verify().unwrap();
            let mut app = App::new(&world);
            assert_eq!(kpt.run_verified(&mut app), Ok(Exit::Empty));
            let at = match to {
                When::Readable(_) | When::Writable(_) => 60,
                When::After(_) => 50,
                When::At(_) => 70,
                _ => 0,
            };
            assert_eq!(app.runs, [("thread", at)], "{from:?} to {to:?}");
        }
    }
}

/// What was found ready or due, and has not run yet, does not run for that.
#[test]
fn what_was_found_ready_or_due_waits_anew() {
    for shape in Shape::all() {
        let world = World::new();
        world.set(SOURCE, Readiness::READABLE | Readiness::WRITABLE).unwrap();
        let mut kpt = sim_loop::<Found, ()>(&world, 8, shape);
        let mut found = Found { ids: Vec::new(), runs: Vec::new() };
        // Ends the turn after the first of those that were found in its wait.
        kpt.threads()
            .add_write("first", SOURCE, |_, mut thread| thread.threads().stop(), ())
            .unwrap();
        let hook = |found: &mut Found, thread: Thread<Found>| found.runs.push(thread.name());
        for (name, when) in [
            ("ready", When::Readable(SOURCE)),
            ("due", When::After(Duration::ZERO)),
            ("due too", When::At(Instant::ZERO)),
        ] {
            found.ids.push(kpt.threads().add(name, when, hook, ()).unwrap());
        }
        assert_eq!(kpt.turn(&mut found), Ok(Some(Exit::Stopped)));
        kpt.threads().add_execute("pending", hook, ()).map(|id| found.ids.push(id)).unwrap();
        for (id, delay) in found.ids.clone().into_iter().zip([40, 30, 20, 10]) {
            kpt.threads().reschedule(id, When::After(micros(delay))).unwrap();
            kpt.threads().verify().unwrap();
        }
        assert_eq!(kpt.run_verified(&mut found), Ok(Exit::Empty));
        assert_eq!(found.runs, ["pending", "due too", "due", "ready"]);
        assert_eq!(world.now(), Instant::from_micros(40));
    }
}

struct Found {
    ids: Vec<kpt_std::ThreadId>,
    runs: Vec<&'static str>,
}

#[test]
fn the_thread_that_runs_is_stale_to_reschedule() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<u32, ()>(&world, 1, shape);
        let hook = |runs: &mut u32, mut thread: Thread<u32>| {
            *runs += 1;
            let id = thread.id();
            let rescheduled = thread.threads().reschedule(id, When::Now);
            assert_eq!(rescheduled, Err(RescheduleError::Stale));
        };
        kpt.threads().add_execute("thread", hook, ()).unwrap();
        let mut runs = 0;
        assert_eq!(kpt.run_verified(&mut runs), Ok(Exit::Empty));
        assert_eq!(runs, 1);
    }
}

/// The poller lets go of the source that is left, at once; the one that is taken by another thread is refused, and then
/// nothing has changed.
#[test]
fn sources_are_left_at_once_and_never_shared() {
    for shape in Shape::all() {
        let (world, calls) = (World::new(), Calls::default());
        let poller = Counting::<_>::new(SimPoller::new(&world), &calls);
        let mut kpt = any_loop::<_, App, ()>(poller, 3, shape);
        let mut app = App::new(&world);
        let reader = kpt.threads().add_read("reader", SOURCE, App::note, ()).unwrap();
        kpt.threads().add_read("other", OTHER, App::note, ()).unwrap();
        kpt.threads().add_execute("nothing", |_, _| {}, ()).unwrap();
        kpt.poll(&mut app).unwrap();
        let taken = kpt.threads().reschedule(reader, When::Readable(OTHER));
        assert_eq!(taken, Err(RescheduleError::Taken));
        // Its own it may keep, and it may write to the other's.
        kpt.threads().reschedule(reader, When::Readable(SOURCE)).unwrap();
        kpt.threads().reschedule(reader, When::Writable(OTHER)).unwrap();
        kpt.threads().verify().unwrap();
        assert_eq!(world.set(SOURCE, Readiness::READABLE), Ok(()));
        world.set(OTHER, Readiness::WRITABLE).unwrap();
        kpt.poll(&mut app).unwrap();
        assert_eq!(app.runs, [("reader", 0)]);
        assert_eq!(kpt.threads().cancel_source(SOURCE).reader, None);
        assert_eq!(kpt.threads().cancel_source(OTHER).reader, Some(()));
        if shape != Shape::Small {
            // Told of: both readers; the one that is left and the new one; nothing for the one that has run; its end.
            assert!(calls.changes.get() <= 8, "{} changes", calls.changes.get());
        }
    }
}

/// The next period is counted from the deadline, and what was missed is skipped.
#[test]
fn after_deadline_does_not_drift_and_skips_what_was_missed() {
    struct Jitter<'w> {
        world: &'w World,
        periods: Vec<u64>,
        deadlines: Vec<u64>,
    }
    for shape in Shape::all() {
        let world = World::new();
        let mut kpt = sim_loop::<Jitter, ()>(&world, 1, shape);
        let hook = |jitter: &mut Jitter, mut thread: Thread<Jitter>| {
            assert_eq!(thread.lateness(), Duration::ZERO);
            jitter.deadlines.push(thread.deadline().unwrap().as_micros());
            jitter.world.advance(micros(25));
            assert_eq!(thread.lateness(), micros(25));
            assert_eq!(thread.threads().turn_time(), thread.deadline().unwrap());
            match jitter.periods.pop() {
                Some(period) => thread.again_when(When::AfterDeadline(micros(period))).unwrap(),
                // `AfterDeadline` has set the period.
                None if jitter.deadlines.len() < 6 => thread.again(),
                None => {}
            }
        };
        kpt.threads().add("jitter", When::AfterDeadline(micros(100)), hook, ()).unwrap();
        let mut jitter = Jitter { world: &world, periods: vec![30, 90, 110], deadlines: vec![] };
        assert_eq!(kpt.run_verified(&mut jitter), Ok(Exit::Empty));
        assert_eq!(jitter.deadlines, [100, 210, 300, 330, 360, 390], "{shape:?}");
    }
}

/// A timer that waits goes on from the deadline that it waits for; a reader, which has none, from now.
#[test]
fn after_deadline_reschedules_from_the_deadline() {
    for shape in Shape::all() {
        let world = World::new();
        let mut kpt = sim_loop::<App, ()>(&world, 2, shape);
        let timer = kpt.threads().add_timer("timer", micros(100), App::note, ()).unwrap();
        let reader = kpt.threads().add_read("reader", SOURCE, App::note, ()).unwrap();
        world.advance(micros(10));
        for id in [timer, reader] {
            kpt.threads().reschedule(id, When::AfterDeadline(micros(40))).unwrap();
        }
        let mut app = App::new(&world);
        assert_eq!(kpt.run_verified(&mut app), Ok(Exit::Empty));
        assert_eq!(app.runs, [("reader", 50), ("timer", 140)]);
    }
}

#[test]
fn a_reserve_is_left_for_others() {
    for shape in Shape::both() {
        let world = World::new();
        let mut kpt = sim_loop::<App, ()>(&world, 3, shape);
        let mut threads = kpt.threads();
        assert_eq!(threads.vacant(), 3);
        let now = When::Now;
        assert!(threads.add_with_reserve(2, "key", now, App::note, ()).is_ok());
        assert!(matches!(
            threads.add_with_reserve(2, "key", now, App::note, ()),
            Err(AddError::Full(()))
        ));
        assert_eq!((threads.len(), threads.vacant()), (1, 2));
        assert!(threads.add_with_reserve(0, "client", now, App::note, ()).is_ok());
        assert!(threads.add("client", now, App::note, ()).is_ok());
        assert_eq!(threads.vacant(), 0);
    }
}

#[test]
fn moments_subtract_to_durations_and_never_below_zero() {
    let (early, late) = (Instant::from_micros(5_000), Instant::from_micros(7_000));
    assert_eq!(late - early, millis(2));
    assert_eq!(early - late, Duration::ZERO);
    assert_eq!(early + (late - early), late);
}
