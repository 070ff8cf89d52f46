//! The simulator under tests that do odd things: they end, and say what is wrong.

use std::cell::Cell;
use std::collections::HashMap;
use std::error::Error;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use kpt_std::sim::{End, Limits, Report, Sim, TestResult, check, explore, fuzz};
use kpt_std::{
    Builder, Child, EventLoop, Instant, Listener, Spawner, Stream, TaskConfig, Thread, Threads,
    source,
};
use kpt_tests::sys;
use kpt_tests::time::millis;

type Loop<S, A = ()> = EventLoop<S, A, kpt_std::sim::SimPoller>;

fn new_loop<S, A>(sim: &Sim) -> Loop<S, A> {
    Builder::new().threads(16).build_on(sim.poller()).expect("there is memory")
}

fn message(report: Report) -> String {
    report.failure.expect("it fails").message
}

/// Runs a loop for a millisecond, with what `add` adds to the world.
fn runs_beside(add: impl Fn(&Sim) -> TestResult) -> Report {
    explore(Limits::new(), |sim| {
        let mut kpt: Loop<()> = new_loop(sim);
        kpt.threads().add_timer("end", millis(1), |_, mut thread| thread.threads().stop(), ())?;
        add(sim)?;
        kpt.run(&mut ())?;
        Ok(())
    })
}

struct Spins;

impl Child for Spins {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        threads.add_timer("spin", Duration::ZERO, |_, thread| thread.again(), ())?;
        Ok(())
    }

    fn on_message(&mut self, _: Vec<u8>, _: Threads<Self>) {}
}

/// They run while the application's loop waits, which would wait for ever.
#[test]
fn peers_that_spin_are_told() {
    fn again(sim: &Sim) {
        sim.after(Duration::ZERO, again);
    }
    let what = "the peers go on for ever: ";
    let action = runs_beside(|sim| {
        sim.after(Duration::ZERO, again);
        Ok(())
    });
    let peer = runs_beside(|sim| {
        sim.add_loop(2, (), |_, mut threads| {
            let _ = threads.add_timer("spin", Duration::ZERO, |_, thread| thread.again(), ());
        });
        Ok(())
    });
    let task = runs_beside(|_| {
        // Its handle is kept: a task that is dropped is stopped.
        std::mem::forget(Spawner::new().start_owned(TaskConfig::new("spins"), |_| Spins)?);
        Ok(())
    });
    let is_waited_for = explore(Limits::new().deviations(0), |_| {
        let task = Spawner::new().start_owned(TaskConfig::new("spins"), |_| Spins)?;
        let _ = task.receive_blocking();
        Ok(())
    });
    for report in [action, peer, task, is_waited_for] {
        let message = message(report);
        assert!(message.starts_with(what), "{message}");
    }
}

/// Many things at the same moment are no spinning.
#[test]
fn many_things_at_one_moment() {
    let report = runs_beside(|sim| {
        (0..30_000).for_each(|_| sim.after(Duration::ZERO, |_| ()));
        Ok(())
    });
    assert!(report.failure.is_none(), "{report}");
}

/// What is opened after a simulation is the system's.
#[test]
fn a_simulation_ends_with_its_last_clone() {
    let is_real = || {
        let listener = Listener::bind(([127, 0, 0, 1], 0)).expect("a port");
        TcpStream::connect(listener.local().ip().expect("an address")).is_ok()
    };
    let sim = Sim::new();
    sim.add_loop(2, (), |_, mut threads| {
        let _ = threads.add_timer("tick", millis(1), |_, thread| thread.again(), ());
    });
    let client = sim.client(7).send("hello");
    assert!(!is_real());
    drop(sim);
    assert!(is_real(), "with a peer and a client that have not ended");
    drop(client);
    let sim = Sim::new();
    let task = Spawner::new().start_owned(TaskConfig::new("spins"), |_| Spins).expect("it starts");
    drop(sim);
    assert!(is_real(), "with a task");
    drop(task);
}

#[test]
fn running_until_there_is_no_end() {
    let sim = Sim::new();
    let mut kpt: Loop<()> = new_loop(&sim);
    kpt.threads().add_timer("once", millis(3), |_, _| (), ()).unwrap();
    let listener = sim.listen(7).unwrap();
    kpt.threads().add_read("accept", source(&listener), |_, _| (), ()).unwrap();
    assert_eq!(sim.run_until(Instant::NEVER, || kpt.run(&mut ()).map(drop)), Ok(()));
    assert_eq!(sim.now().as_micros(), 3_000, "no more time passes");
}

/// Each wait finds something, so that it does not sleep.
#[test]
fn running_until_a_moment_while_the_loop_has_no_rest() {
    let sim = Sim::new();
    let mut kpt: Loop<Sim> = new_loop(&sim);
    let hook = |sim: &mut Sim, thread: Thread<Sim>| {
        sim.advance(millis(1));
        thread.again();
    };
    kpt.threads().add_execute("busy", hook, ()).unwrap();
    let until = Instant::from_micros(20_500);
    assert_eq!(sim.run_until(until, || kpt.run(&mut sim.clone()).map(drop)), Ok(()));
    assert!((20_500..30_000).contains(&sim.now().as_micros()), "{:?}", sim.now());
    assert_eq!(sim.run_until(until, || kpt.run(&mut sim.clone()).map(drop)), Ok(()));
}

/// A panic of a peer passes through the application's loop. What is opened then is the application's all the same.
#[test]
fn after_a_panic_in_a_peer_decisions_go_on() {
    let report = check(Limits::new(), |sim| {
        sim.add_loop(2, (), |_, mut threads| {
            let _ = threads.add_timer("panic", millis(1), |_, _| panic!("in a peer"), ());
        });
        let mut kpt: Loop<Listener> = new_loop(sim);
        kpt.threads().add_timer("end", millis(2), |_, _| (), ())?;
        let mut unused = sim.listen(8)?;
        let run = AssertUnwindSafe(|| {
            sim.run_until(Instant::from_micros(9_000), || kpt.run(&mut unused).map(drop))
        });
        assert!(catch_unwind(run).is_err());
        let _client = sim.client(7).send("hello").hang_up();
        let mut listener = sim.listen(7)?;
        let hook = |listener: &mut Listener, _: Thread<Listener>| drop(listener.accept());
        kpt.threads().add_read("accept", source(&listener), hook, ())?;
        kpt.run(&mut listener)?;
        Ok(())
    });
    assert!(report.sites.iter().any(|site| site.name == "accept"), "{report}");
}

#[test]
fn a_panic_at_the_end_of_the_world_is_a_failure() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("as it is dropped");
        }
    }
    let report = explore(Limits::new(), |sim| {
        let panics = Panics;
        sim.after(millis(1), move |_| drop(panics)); // No loop runs.
        Ok(())
    });
    assert!(message(report).ends_with("as it is dropped"));
}

#[test]
fn a_note_may_have_a_note() {
    let failure = explore(Limits::new(), |sim| {
        sim.note(|| {
            sim.note(|| "inner".to_owned());
            "outer".to_owned()
        });
        sim.always("nothing is lost", sim.choose("packet", 0, &["on-time", "lost"]) == 0);
        Ok(())
    })
    .failure
    .expect("it fails");
    assert_eq!(failure.message, "not always: nothing is lost");
    assert!(failure.trace.lines().any(|line| line.ends_with("inner")), "{failure}");
}

#[test]
fn what_fails_once_only_is_called_so() {
    let runs = Cell::new(0);
    let report = explore(Limits::new().walks(100, 4), |sim| {
        sim.choose("packet", 0, &["on-time", "lost"]);
        runs.set(runs.get() + 1);
        sim.always("it is not the twentieth", runs.get() != 20);
        Ok(())
    });
    let message = message(report);
    assert!(message.contains("run again, this schedule does not fail"), "{message}");
    assert!(!message.contains("the end"), "{message}");
}

/// Before anything was counted, and where failures are counted.
#[test]
fn what_is_not_deterministic_has_a_number_and_is_the_end() {
    for limits in [Limits::new(), Limits::new().count_failures()] {
        let report = explore(limits, |sim| {
            let clients: HashMap<u32, ()> = (0..20).map(|client| (client, ())).collect();
            clients.keys().for_each(|&client| _ = sim.choose("send", client, &["all", "not-yet"]));
            Ok(())
        });
        assert_eq!((report.schedules, report.failing), (1, 1), "{report}");
        let failure = report.failure.expect("it is noticed");
        assert_eq!(failure.number, 1);
        assert!(failure.message.starts_with("not deterministic: decision "), "{failure}");
    }
}

#[test]
fn nothing_to_choose_from() {
    let sim = Sim::new();
    assert_eq!((sim.choose("one", 0, &["only"]), sim.pick("one", 1)), (0, 0));
    assert!(catch_unwind(AssertUnwindSafe(|| sim.choose("none", 0, &[]))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| sim.pick("none", 0))).is_err());
    let report = check(Limits::new().deviations(0), |sim| {
        sim.choose("one", 0, &["only"]);
        Ok(())
    });
    assert_eq!((report.schedules, report.sites.len()), (1, 0));
}

#[test]
fn limits_at_their_ends() {
    let test = |sim: &Sim| {
        sim.choose("packet", 0, &["on-time", "lost"]);
        Ok(())
    };
    let tried = |limits: Limits| {
        let report = explore(limits, test);
        (report.by_deviations.clone(), report.walks, report.is_complete)
    };
    assert_eq!(tried(Limits::new().schedules(0)), (vec![1], 0, false), "as usual, in any case");
    assert_eq!(tried(Limits::new().deviations(usize::MAX)), (vec![1, 1], 0, true));
    assert_eq!(tried(Limits::new().seed(u64::MAX).walks(3, 0)), (vec![1, 1], 3, true));
    assert_eq!(tried(Limits::new().seed(0).walks(3, u32::MAX)), (vec![1, 1], 3, true));
    assert_eq!(fuzz(&[], test).map_err(|failure| failure.message), Ok(()));
    for byte in 0..=u8::MAX {
        assert_eq!(fuzz(&[byte; 3], test).map_err(|failure| failure.message), Ok(()));
    }
}

#[test]
fn a_client_that_goes_on_after_it_has_hung_up() {
    let report = explore(Limits::new(), |sim| {
        let _client = sim.client(7).send("hello").hang_up().send("more");
        let mut listener = sim.listen(7)?;
        let mut kpt: Loop<Listener> = new_loop(sim);
        let hook = |listener: &mut Listener, _: Thread<Listener>| drop(listener.accept());
        kpt.threads().add_read("accept", source(&listener), hook, ())?;
        kpt.run(&mut listener)?;
        Ok(())
    });
    assert_eq!(message(report), "a client has further steps after it has hung up: 1");
}

/// That it sends to who has closed the connection is answered with a reset. It has ended before.
#[test]
fn which_clients_are_broken() {
    type Listeners = (Listener, Listener);
    let closes = |listeners: &mut Listeners, thread: Thread<Listeners>| {
        drop(listeners.0.accept());
        thread.again();
    };
    let closes_late = |listeners: &mut Listeners, _: Thread<Listeners>| drop(listeners.1.accept());
    let sim = Sim::new();
    let mut listeners = (sim.listen(7).unwrap(), sim.listen(9).unwrap());
    let ended = sim.client(7).connect().expect_end().send("late").wait(millis(1)).send("later");
    let refused = sim.client(8).send("hello");
    let resets = sim.client(9).room(1).pause_reading().send("never read").wait(millis(1));
    let mut kpt: Loop<Listeners> = new_loop(&sim);
    kpt.threads().add_read("accept", source(&listeners.0), closes, ()).unwrap();
    kpt.threads().add_timer("accept late", millis(5), closes_late, ()).unwrap();
    assert_eq!(kpt.run(&mut listeners), Err(End::Idle));
    let broken = [&ended, &refused, &resets].map(kpt_std::sim::Client::is_broken);
    assert_eq!(broken, [false, true, true], "{ended:?} {refused:?} {resets:?}");
}

/// Simulated sockets have descriptors, of which this process may have no more.
#[test]
fn a_world_of_more_clients_than_descriptors() {
    type ServerThread<'t> = Thread<'t, Listener, Option<Stream>>;
    fn on_connection(listener: &mut Listener, mut thread: ServerThread) {
        while let Ok(Some(stream)) = listener.accept() {
            let hook = |_: &mut Listener, _: ServerThread| ();
            let _ = thread.threads().add_read("client", source(&stream), hook, Some(stream));
        }
        let _ = thread.again_when(listener.when());
    }
    const NAME: &str = "a_world_of_more_clients_than_descriptors";
    if std::env::var_os("KPT_FEW").is_none() {
        // In a process of its own, for the limit.
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let output = command.args([NAME, "--exact"]).env("KPT_FEW", "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    sys::set_descriptor_limit(60).unwrap();
    let sim = Sim::new();
    let clients: Vec<_> = (0..100).map(|_| sim.client(7).send("x").expect_end()).collect();
    let mut listener = sim.listen(7).unwrap();
    let mut kpt = Builder::new().threads(200).build_on(sim.poller()).unwrap();
    kpt.threads().add("accept", listener.when(), on_connection, None).unwrap();
    assert_eq!(kpt.run(&mut listener), Err(End::Idle));
    let served = clients.iter().filter(|client| client.is_done()).count();
    assert_eq!(served, 100, "those that had to wait were accepted later");
}
