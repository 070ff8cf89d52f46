//! What a search notices, and what it says: properties, panics, runs without end, and tests that are not deterministic.

use std::cell::Cell;
use std::collections::HashMap;

use kpt_core::sim::{SimPoller, World};
use kpt_core::{FixedLoop, Readiness, Source, Thread};
use kpt_std::sim::{Limits, Schedule, Sim, check, explore, replay};
use kpt_tests::explored::failure_of;
use kpt_tests::time::millis;

const WAYS: &[&str] = &["on-time", "lost", "late"];

#[test]
fn what_is_no_schedule_is_an_error_that_says_where() {
    for (text, byte) in [
        ("packet", 6),
        ("packet/", 6),
        ("packet/x#0=lost", 6),
        ("packet/1", 8),
        ("packet/1#=lost", 8),
        ("packet/1#0", 10),
        ("packet/1#0=", 10),
        ("packet/1#0=lost!", 10),
        ("packet/1#0=lost /1#0=lost", 16),
        ("packet/4294967296#0=lost", 6),
        ("päckchen/1#0=lost", 1),
    ] {
        let error = text.parse::<Schedule>().expect_err(text).to_string();
        assert!(error.contains(&format!("at byte {byte} ")), "{text}: {error}");
        assert!(replay(text, |_| Ok(())).is_err());
    }
    for text in ["", "  ", "packet/1000#0=twice  write/1#3=not-yet\n", "a/0#4294967295=b.c_d-E"] {
        let schedule: Schedule = text.parse().expect(text);
        assert_eq!(schedule.to_string(), text.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(schedule.len(), text.split_whitespace().count());
    }
}

/// The hook of a loop goes through a `HashMap`, whose order differs from run to run.
#[test]
fn the_order_of_a_hash_map_in_a_hook_is_noticed() {
    struct App {
        clients: HashMap<u32, u32>,
        sim: Sim,
        ticks: u32,
    }
    fn on_tick(app: &mut App, mut thread: Thread<App>) {
        for client in app.clients.keys() {
            app.sim.choose("send", *client, &["all", "not-yet"]);
        }
        app.ticks += 1;
        if app.ticks < 3 { thread.again() } else { thread.threads().stop() }
    }
    let report = explore(Limits::new().deviations(1), |sim| {
        let world = World::<4>::new();
        let mut kpt = FixedLoop::<_, App, 4>::new(sim.observe(SimPoller::new(&world)));
        kpt.threads().add_timer("tick", millis(1), on_tick, ())?;
        let clients = (0..10).map(|number| (number, 0)).collect();
        kpt.run(&mut App { clients, sim: sim.clone(), ticks: 0 })?;
        Ok(())
    });
    let message = report.failure.expect("it is noticed").message;
    assert!(message.contains("not deterministic: decision "), "{message}");
    assert!(message.contains(" is send/"), "{message}");
}

/// Without any decision, the hooks and what they report tell.
#[test]
fn another_order_of_hooks_is_noticed() {
    let run = Cell::new(0);
    let report = explore(Limits::new().deviations(0), |sim| {
        run.set(run.get() + 1);
        let world = World::<4>::new();
        let mut kpt = FixedLoop::<_, (), 4>::new(sim.observe(SimPoller::new(&world)));
        let names = if run.get() % 2 == 0 { ["one", "other"] } else { ["other", "one"] };
        for name in names {
            kpt.threads().add_execute(name, |_, _| {}, ())?;
        }
        kpt.run(&mut ())?;
        Ok(())
    });
    let message = report.failure.expect("it is noticed").message;
    assert!(message.contains("not deterministic"), "{message}");
}

#[test]
fn a_property_that_is_never_true_fails_the_check() {
    let test = |sim: &Sim| {
        let way = sim.choose("packet", 0, WAYS);
        sim.sometimes("it is late", way == 2);
        sim.sometimes("it is lost twice", way == 3);
        Ok(())
    };
    assert_eq!(explore(Limits::new(), test).not_reached, ["it is lost twice"]);
    let text = failure_of(Limits::new(), test);
    assert!(
        text.contains("not sometimes, in 3 schedules") && text.ends_with(": it is lost twice"),
        "{text}"
    );
}

#[test]
fn a_test_with_nothing_to_decide_fails_the_check() {
    let text = failure_of(Limits::new(), |_| Ok(()));
    assert!(text.contains("nothing to try"), "{text}");
    check(Limits::new().deviations(0), |_| Ok(()));
}

#[test]
fn what_never_happens_in_a_schedule_is_a_failure_at_its_end() {
    let report = explore(Limits::new(), |sim| {
        for _ in 0..3 {
            sim.eventually("a packet arrives", sim.choose("packet", 0, &["on-time", "lost"]) == 0);
        }
        Ok(())
    });
    assert!(report.failure.is_none());
    let report = explore(Limits::new().deviations(3), |sim| {
        for _ in 0..3 {
            sim.eventually("a packet arrives", sim.choose("packet", 0, &["on-time", "lost"]) == 0);
        }
        Ok(())
    });
    let failure = report.failure.expect("all three may be lost");
    assert_eq!(
        (failure.message.as_str(), failure.schedule.len()),
        ("not eventually: a packet arrives", 3)
    );
}

#[test]
fn a_panic_names_its_place_and_its_hook() {
    let report = explore(Limits::new(), |sim| {
        let world = World::<4>::new();
        let mut kpt = FixedLoop::<_, Sim, 4>::new(sim.observe(SimPoller::new(&world)));
        let hook = |sim: &mut Sim, _: Thread<Sim>| {
            assert_eq!(sim.choose("packet", 3, WAYS), 0, "as usual");
        };
        kpt.threads().add_timer("tick", millis(1), hook, ())?;
        kpt.run(&mut sim.clone())?;
        Ok(())
    });
    let failure = report.failure.expect("it panics");
    let begin = format!("the hook of \"tick\" panicked at {}:", file!());
    assert!(failure.message.starts_with(&begin), "{}", failure.message);
    let lines: Vec<_> = failure.trace.lines().map(str::trim).collect();
    assert_eq!(
        lines[..2],
        ["0.001000  tick         -> timer", "0.001000  tick         ** packet/3: lost"]
    );
    assert!(lines[2].contains("!! the hook of"), "{lines:?}");
}

#[test]
fn a_loop_that_goes_on_for_ever_is_a_failure() {
    let report = explore(Limits::new().deviations(0).turns(100), |sim| {
        let world = World::<4>::new();
        world.set(Source::new(1), Readiness::READABLE)?;
        let mut kpt = FixedLoop::<_, (), 4>::new(sim.observe(SimPoller::new(&world)));
        kpt.threads().add_read("spins", Source::new(1), |_, thread| thread.again(), ())?;
        kpt.run(&mut ())?;
        Ok(())
    });
    let message = report.failure.expect("it is noticed").message;
    assert!(message.contains("the loop goes on for ever: 100 turns"), "{message}");
}
