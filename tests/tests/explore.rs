//! What `kpt_std::sim` promises about schedules: on tests that only decide, and on `kpt_core`'s own simulator.

use std::cell::Cell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use kpt_core::sim::{Choices, Faults, Listed, ScheduleError, Seed, SimPoller, Site, World};
use kpt_core::{FixedLoop, Instant, Readiness, Source, Thread};
use kpt_std::sim::{Limits, Report, Sim, TestResult, check, explore, fuzz, replay};
use kpt_tests::chance::Chance;
use kpt_tests::explored::failure_of;
use kpt_tests::time::millis;

const WAYS: &[&str] = &["on-time", "lost", "late"];

/// So many decisions of three ways, about one thing each.
fn decides(count: u32) -> impl Fn(&Sim) -> TestResult {
    move |sim| {
        (0..count).for_each(|who| _ = sim.choose("packet", who, WAYS));
        Ok(())
    }
}

#[test]
fn all_schedules_with_few_deviations_are_tried_once() {
    // 1, 10 * 2, C(10, 2) * 2^2, C(10, 3) * 2^3.
    let report = check(Limits::new().deviations(3), decides(10));
    assert_eq!((&report.by_deviations[..], report.is_complete), (&[1, 20, 180, 960][..], true));
    assert_eq!((report.schedules, report.failing), (1_161, 0));
    // With two decisions, three of them can't deviate.
    let report = check(Limits::new().deviations(3), decides(2));
    assert_eq!((&report.by_deviations[..], report.is_complete), (&[1, 4, 4][..], true));
}

#[test]
fn inputs_are_tried_with_each_schedule_and_cost_no_deviation() {
    let inputs = Cell::new([0; 6]);
    let report = explore(Limits::new().deviations(1), |sim| {
        let input = sim.pick("size", 3) * 2 + sim.pick("kind", 2);
        let mut seen = inputs.get();
        seen[input as usize] += 1;
        inputs.set(seen);
        sim.choose("packet", 0, &["on-time", "lost"]);
        Ok(())
    });
    assert_eq!((&report.by_deviations[..], report.is_complete), (&[6, 6][..], true));
    assert!(inputs.get().iter().all(|times| *times >= 2), "{inputs:?}");
}

/// The schedule that fails first has as few deviations as any that fails.
#[test]
fn the_fewest_deviations_come_first() {
    let report = explore(Limits::new().deviations(3), |sim| {
        let lost = (0..10).filter(|who| sim.choose("packet", *who, WAYS) == 1).count();
        let is_late = sim.choose("answer", 0, WAYS) == 2;
        sim.always("something", lost < 3 && !(lost > 0 && is_late));
        Ok(())
    });
    let failure = report.failure.expect("there are some");
    assert_eq!(failure.schedule.to_string(), "packet/0#0=lost answer/0#0=late");
    assert_eq!(report.by_deviations[..2], [1, 22]);
}

/// With more decisions in between, and about others, nothing that was decided becomes anything else.
#[test]
fn removing_one_deviation_moves_no_other() {
    let decided = |sim: &Sim, has_more: bool| -> Vec<usize> {
        let decide = |nth| {
            if has_more {
                sim.choose("another", nth, WAYS);
                sim.choose("packet", 77, WAYS);
            }
            [sim.choose("packet", 1, WAYS), sim.choose("packet", 2, WAYS)]
        };
        (0..6).flat_map(decide).collect()
    };
    let seen = |schedule: &str, has_more: bool| {
        let seen = Cell::new(Vec::new());
        let replay = replay(schedule, |sim| {
            seen.set(decided(sim, has_more));
            Ok(())
        });
        assert!(replay.expect("a schedule").unasked.is_empty(), "{schedule}");
        seen.take()
    };
    let all = "packet/1#2=lost packet/2#0=late packet/2#5=lost";
    let mut expected = [0; 12];
    (expected[4], expected[1], expected[11]) = (1, 2, 1);
    assert_eq!(seen(all, false), expected);
    assert_eq!(seen(all, true), expected);
    for (at, gone) in [4, 1, 11].into_iter().enumerate() {
        let mut words: Vec<&str> = all.split(' ').collect();
        words.remove(at);
        let mut expected = expected;
        expected[gone] = 0;
        assert_eq!(seen(&words.join(" "), false), expected);
        assert_eq!(seen(&words.join(" "), true), expected);
    }
    // Neither does it in a walk.
    let walked = |has_more| {
        let all = Cell::new(Vec::new());
        let limits = Limits::new().deviations(0).walks(100, 3);
        let _ = explore(limits, |sim| {
            let mut before = all.take();
            before.push(decided(sim, has_more));
            all.set(before);
            Ok(())
        });
        all.take()
    };
    assert_eq!(walked(false), walked(true));
    assert!(walked(false).iter().flatten().any(|way| *way != 0));
}

/// The same for those that need no memory: by chance, and from a list.
#[test]
fn in_the_core_removing_one_deviation_moves_no_other_either() {
    fn decided(mut choices: impl Choices, has_more: bool) -> Vec<usize> {
        let mut seen = Vec::new();
        for nth in 0..20 {
            if has_more {
                choices.decide(Site::new("another", nth, 2), WAYS);
                choices.decide(Site::new("packet", 77, 2), WAYS);
            }
            seen.extend([1, 2].map(|who| choices.decide(Site::new("packet", who, 3), WAYS)));
        }
        seen
    }
    let listed = |schedule, has_more| decided(Listed::new(schedule).expect(schedule), has_more);
    let all = listed("packet/1#2=lost packet/2#19=late", false);
    assert_eq!(all.iter().position(|way| *way != 0), Some(4));
    assert_eq!((all[4], all[39]), (1, 2));
    assert_eq!(listed("packet/1#2=lost packet/2#19=late", true), all);
    assert_eq!(listed("packet/2#19=late", false)[5..], all[5..]);
    // What is not known goes as usual.
    assert_eq!(listed("packet/1#2=gone another/1#0=lost", false), [0; 40]);
    let mut deviations = 0;
    for seed in 0..100 {
        let all = decided(Seed::new(seed), false);
        assert_eq!(decided(Seed::new(seed), true), all, "seed {seed}");
        deviations += all.iter().filter(|way| **way != 0).count();
    }
    assert!((1_100..1_600).contains(&deviations), "{deviations} of 4,000 are not one in three");
    assert_eq!(Listed::new("packet/1#2").expect_err("it is none"), ScheduleError::Way(10));
}

/// Fails by three decisions of 400.
fn needs_three(sim: &Sim) -> TestResult {
    let packets: Vec<_> = (0..200).map(|_| sim.choose("packet", 4, WAYS)).collect();
    let jitter: Vec<_> = (0..200).map(|who| sim.choose("jitter", who, &["none", "some"])).collect();
    let is_late = packets.contains(&2);
    sim.always("an answer comes", !(packets[37] == 1 && is_late && jitter[5] == 1));
    // Something else that happens in nearly each walk.
    if packets[199] == 1 && packets[38] == 2 {
        return Err("another failure".into());
    }
    Ok(())
}

#[test]
fn a_failing_walk_of_a_hundred_deviations_shrinks_to_those_that_matter() {
    let report = explore(Limits::new().deviations(0).walks(2_000, 3), |sim| {
        needs_three(sim).map_err(|error| sim.note(|| error.to_string())).or(Ok(()))
    });
    let failure = report.failure.expect("one of 2,000 walks fails");
    assert!(failure.shrunk_from > 100, "{} deviations", failure.shrunk_from);
    assert!(failure.schedule.len() <= 5, "{}", failure.schedule);
    assert_eq!(failure.schedule.len(), 3, "{}", failure.schedule);
}

/// A shorter schedule that fails for another reason is not the failure that was found.
#[test]
fn shrinking_keeps_to_the_failure_that_was_found() {
    for seed in 0..20 {
        let report =
            explore(Limits::new().deviations(0).walks(2_000, 3).seed(seed * 10_000), needs_three);
        let failure = report.failure.expect("one of 2,000 walks fails");
        let expected = if failure.message == "another failure" { 2 } else { 3 };
        assert_eq!(failure.schedule.len(), expected, "{failure}");
    }
}

#[test]
fn a_schedule_that_fails_fails_again_by_its_text() {
    let failure = explore(Limits::new().deviations(0).walks(2_000, 3), needs_three).failure;
    let failure = failure.expect("one of 2,000 walks fails");
    let again = replay(&failure.schedule.to_string(), needs_three).expect("it is a schedule");
    let again = again.failure.expect("it fails again");
    assert_eq!((&again.message, &again.schedule), (&failure.message, &failure.schedule));
    assert_eq!(again.trace, failure.trace);
}

/// In a process of its own, by the line as it is printed. The child is this test with `KPT_SCHEDULE`.
#[test]
fn check_obeys_the_line_that_it_prints() {
    const NAME: &str = "check_obeys_the_line_that_it_prints";
    let test = |sim: &Sim| {
        let lost = sim.choose("packet", 1000, WAYS) == 1;
        sim.note(|| format!("lost: {lost}"));
        sim.always("nothing is lost", !lost);
        Ok(())
    };
    if std::env::var_os("KPT_SCHEDULE").is_some() {
        check(Limits::new(), test);
        return;
    }
    let text = failure_of(Limits::new(), test);
    let line = text.lines().last().expect("there is a line");
    let command = format!("cargo test -p kpt-tests {NAME} -- --exact --nocapture");
    assert_eq!(line, format!("KPT_SCHEDULE='packet/1000#0=lost' {command}"));
    let run = |schedule: &[u8]| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args([NAME, "--exact", "--nocapture"])
            .env("KPT_SCHEDULE", OsStr::from_bytes(schedule));
        let output = command.output().expect("it can be run");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).expect("it is text"))
    };
    let (passes, again) = run(b"packet/1000#0=lost");
    assert!(!passes && again.contains("not always: nothing is lost"), "{again}");
    assert!(again.contains("** packet/1000: lost") && again.contains("lost: true"), "{again}");
    let (passes, again) = run(b"packet/1000#0=late packet/9#0=lost");
    assert!(passes && again.contains("no such decision: packet/9#0=lost"), "{again}");
    let (passes, again) = run(b"packet/1000=lost");
    assert!(!passes && again.contains("at byte 11 there should be '#' and a number"), "{again}");
    let (passes, again) = run(b"packet/1000#0=l\xFFst");
    assert!(!passes && again.contains("KPT_SCHEDULE is not text"), "{again}");
    let (passes, again) = run(b"");
    assert!(passes && again.contains("lost: false"), "nothing deviates: {again}");
}

#[test]
fn limits_leave_out_what_they_say() {
    let count = |limits: Limits| explore(limits, decides(10)).by_deviations;
    assert_eq!(count(Limits::new().without(&["packet=lost"])), [1, 10]);
    assert_eq!(count(Limits::new().without(&["packet"])), [1]);
    assert_eq!(count(Limits::new().only(&["packet=late"])), [1, 10]);
    assert_eq!(count(Limits::new().only(&["another"])), [1]);
    let walks =
        explore(Limits::new().deviations(0).walks(50, 1).without(&["packet=lost"]), |sim| {
            sim.always("no packet is lost", (0..9).all(|who| sim.choose("packet", who, WAYS) != 1));
            sim.sometimes(
                "packets are late",
                (9..18).all(|who| sim.choose("packet", who, WAYS) == 2),
            );
            Ok(())
        });
    assert!(walks.failure.is_none());
    // What has no room in the limit of schedules is left to the walks.
    let report = explore(Limits::new().deviations(3).schedules(100).walks(10, 4), decides(10));
    assert_eq!((report.schedules, report.walks, report.is_complete), (110, 10, false));
}

#[test]
fn failures_are_counted_if_the_limits_say_so() {
    let test = |sim: &Sim| {
        let lost = (0..10).filter(|who| sim.choose("packet", *who, WAYS) == 1).count();
        sim.always("at most one is lost", lost < 2);
        Ok(())
    };
    let report = explore(Limits::new().deviations(2).count_failures(), test);
    assert_eq!((report.failing, report.schedules, report.is_complete), (45, 201, true));
    assert_eq!(report.failure.expect("the first").schedule.len(), 2);
}

#[test]
fn a_report_has_the_sites_and_how_often_each_way_was_taken() {
    let report: Report = explore(Limits::new(), |sim| {
        sim.choose("packet", 7, WAYS);
        sim.pick("size", 3);
        Ok(())
    });
    let sites: Vec<_> = report.sites.iter().map(|site| (site.name, site.decisions)).collect();
    assert_eq!(sites, [("packet", 9), ("size", 9)]);
    let ways: Vec<_> = report.sites[0].ways.iter().map(|(way, times)| (&**way, *times)).collect();
    assert_eq!(ways, [("lost", 3), ("late", 3)]);
    let text = report.to_string();
    assert!(text.contains("6 schedules with 1 deviation\n"), "{text}");
    assert!(text.contains("9 decisions at packet: lost 3 late 3\n"), "{text}");
}

#[test]
fn any_bytes_of_a_fuzzer_are_a_schedule() {
    let test = |sim: &Sim| {
        let size = sim.pick("size", 10);
        let lost: Vec<_> = (0..40).map(|_| sim.choose("packet", 0, WAYS)).collect();
        sim.always("the fault", !(size == 7 && lost[3] == 1 && lost[30] == 2));
        Ok(())
    };
    let mut chance = Chance::new(1);
    let found = (0..200_000).find_map(|_| {
        let bytes: Vec<u8> = (0..chance.below(8)).map(|_| chance.below(256) as u8).collect();
        fuzz(&bytes, test).err()
    });
    let failure = found.expect("chance finds it");
    assert!(replay(&failure.schedule.to_string(), test).expect("a schedule").failure.is_some());
    // By hand: size 7, three as usual, lost, 26 as usual, late.
    let failure = fuzz(&[7, 3 << 3, 26 << 3 | 1], test).expect_err("it is the fault");
    assert_eq!(failure.schedule.to_string(), "size/0#0=7 packet/0#3=lost packet/0#30=late");
    assert!(fuzz(&[], test).is_ok());
}

/// The faults of a poller are decisions like any other: all schedules with two of them, on both sides of a deadline.
#[test]
fn r04_faults_stay_within_the_contract_in_all_schedules() {
    const LINE: Source = Source::new(3);
    struct App<'w> {
        world: &'w World<4>,
        reads: Vec<u64>,
        ticks: Vec<u64>,
        is_idle: bool,
    }
    fn on_read(app: &mut App, thread: Thread<App>) {
        let is_ready = !app.world.readiness(LINE).is_none();
        app.is_idle |= !is_ready;
        if is_ready {
            app.world.clear(LINE, Readiness::READABLE);
            app.reads.push(app.world.now().as_micros());
        }
        if app.reads.len() < 2 {
            thread.again();
        }
    }
    fn on_tick(app: &mut App, thread: Thread<App>) {
        app.ticks.push(app.world.now().as_micros());
        if app.ticks.len() < 3 {
            thread.again();
        }
    }
    let report = check(Limits::new().deviations(2).walks(500, 4), |sim| {
        let world = World::<4>::new();
        world.at(Instant::from_micros(1_500), LINE, Readiness::READABLE)?;
        world.at(Instant::from_micros(2_700), LINE, Readiness::READABLE)?;
        let faults = Faults::with(SimPoller::new(&world), sim.clone());
        let mut kpt = FixedLoop::<_, App, 4>::new(sim.observe(faults));
        kpt.threads().add_read("line", LINE, on_read, ())?;
        kpt.threads().add_timer("tick", millis(1), on_tick, ())?;
        let mut app = App { world: &world, reads: Vec::new(), ticks: Vec::new(), is_idle: false };
        kpt.run(&mut app)?;
        let pairs = app.ticks.iter().zip([1_000, 2_000, 3_000]);
        sim.always("no timer is early", pairs.clone().all(|(at, due)| *at >= due));
        sim.always("all timers run", app.ticks.len() == 3);
        sim.always("all that is ready is found", app.reads.len() == 2);
        sim.sometimes("a hook is called for nothing", app.is_idle);
        Ok(())
    });
    assert!(report.schedules > 900, "{report}");
    let names: Vec<_> = report.sites.iter().map(|site| site.name).collect();
    assert_eq!(names, ["time", "clock", "wait", "nothing", "event"], "{report}");
}
