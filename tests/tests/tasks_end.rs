//! How tasks end, and how their parents get to know: K1 to K6, K17, K18 and K20 of the faults of this field.

use std::error::Error;
use std::time::Duration;

use kpt_std::{
    Child, EventLoop, Parent, Spawner, StopStep, TaskConfig, TaskEvent, TaskExit, TaskHandle,
    TaskStatus, Thread, Threads,
};
use kpt_tests::sys;
use kpt_tests::tasks::{Script, receive_all, start};
use libc::{SIGABRT, SIGKILL, SIGSEGV, SIGTERM};

const GRACE: Duration = Duration::from_secs(8);

fn k01_each_end_has_its_exact_reason() {
    let spawner = Spawner::new();
    let ends: [(Script, TaskStatus); 6] = [
        (|child, _| say_last(child, || std::process::exit(0)), TaskStatus::Code(0)),
        (|child, _| say_last(child, || std::process::exit(77)), TaskStatus::Code(77)),
        (|child, _| say_last(child, || sys::raise(SIGKILL)), TaskStatus::Signal(SIGKILL)),
        (|child, _| say_last(child, || sys::raise(SIGSEGV)), TaskStatus::Signal(SIGSEGV)),
        (|child, _| say_last(child, || sys::raise(SIGABRT)), TaskStatus::Signal(SIGABRT)),
        (
            |child, _| {
                child.parent.send(b"last words")?;
                Err("no such luck".into())
            },
            TaskStatus::Failed("no such luck".to_owned()),
        ),
    ];
    for (end, status) in ends {
        let (messages, exit) = receive_all(&start(&spawner, end));
        assert_eq!(messages, [b"last words"], "{exit}");
        let expected = TaskExit {
            status,
            stopped: None,
            has_started: false,
            is_truncated: false,
            protocol_error: None,
            signal_error: None,
        };
        assert_eq!(exit, expected);
    }
}

fn say_last(
    child: &mut kpt_tests::tasks::Scripted,
    end: fn(),
) -> Result<(), Box<dyn std::error::Error>> {
    child.parent.send(b"last words")?;
    end();
    Ok(())
}

fn k01_a_panic_comes_with_its_message_and_place() {
    let task = start(&Spawner::new(), |child, _| {
        child.parent.send(b"last words")?;
        panic!("lost {} keys", 3)
    });
    let (messages, exit) = receive_all(&task);
    assert_eq!(messages, [b"last words"]);
    let TaskStatus::Panicked(text) = &exit.status else { panic!("{exit}") };
    assert!(text.contains("lost 3 keys") && text.contains("tasks_end.rs"), "{text}");
}

fn k01_a_panic_of_any_length_comes_cut() {
    let task = start(&Spawner::new(), |_, _| panic!("{}", "ä".repeat(1 << 20)));
    let (_, exit) = receive_all(&task);
    let TaskStatus::Panicked(text) = &exit.status else { panic!("{exit}") };
    assert!(text.contains("ääää") && text.len() <= 4_096, "{}", text.len());
}

/// The parent's state on a loop: tasks, and their exit events.
struct Watched {
    tasks: Vec<TaskHandle>,
    exits: Vec<TaskExit>,
}

impl Watched {
    fn on_task(&mut self, thread: Thread<Self, usize>) {
        match self.tasks[thread.arg].receive() {
            Some(TaskEvent::Exit(exit)) => self.exits.push(exit),
            _ => thread.again(),
        }
    }
}

fn k02_none_of_many_that_die_at_once_is_missed() {
    let mut kpt = EventLoop::with_capacity(100).unwrap();
    let spawner = kpt.spawner();
    let mut state = Watched { tasks: Vec::new(), exits: Vec::new() };
    for at in 0..100 {
        let task = start(&spawner, |_, _| Ok(()));
        kpt.threads().add_read("task", task.source(), Watched::on_task, at).expect("room");
        state.tasks.push(task);
    }
    state.tasks.iter().for_each(|task| sys::kill(task.id()));
    kpt.run(&mut state).expect("the loop runs");
    assert_eq!(state.exits.len(), 100);
    assert!(state.exits.iter().all(|exit| exit.status == TaskStatus::Signal(SIGKILL)));
}

fn k03_where_somebody_else_is_told_the_status_is_unknown() {
    let spawner = Spawner::new();
    let quit: Script = |_, _| std::process::exit(3);
    // The system reaps by itself.
    sys::ignore(libc::SIGCHLD);
    let (_, exit) = receive_all(&start(&spawner, quit));
    assert_eq!(exit.status, TaskStatus::Unknown);
    sys::reset(libc::SIGCHLD);
    // Other code waits for any child.
    let task = start(&spawner, quit);
    sys::wait_for_any().expect("there is one");
    let (_, exit) = receive_all(&task);
    assert_eq!(exit.status, TaskStatus::Unknown);
    assert_eq!(task.wait(), exit);
}

fn k04_after_the_end_all_is_said_again_and_nothing_is_signalled() {
    let spawner = Spawner::new();
    let task = start(&spawner, |_, _| std::process::exit(3));
    let first = task.wait();
    assert_eq!(first.status, TaskStatus::Code(3));
    task.kill().expect("it can be killed");
    task.stop(Duration::ZERO);
    assert_eq!(task.wait(), first, "neither kill nor stop has done anything");
    assert_eq!(task.receive(), Some(TaskEvent::Exit(first.clone())), "the event is still to come");
    assert_eq!(task.receive(), None, "and comes once");
    assert_eq!(task.receive_blocking(), None, "nobody waits for what can't come");
}

fn k05_one_that_does_not_listen_is_terminated() {
    let spawner = Spawner::new();
    let task = start(&spawner, |child, _| {
        child.parent.send(b"deaf")?;
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    assert!(matches!(task.receive_blocking(), Some(TaskEvent::Message(_))));
    task.stop(Duration::from_millis(600));
    let exit = task.wait();
    assert_eq!(
        (exit.status, exit.stopped),
        (TaskStatus::Signal(SIGTERM), Some(StopStep::Terminated))
    );
}

fn k05_one_that_blocks_sigterm_is_killed_and_the_loop_goes_on() {
    let mut kpt = EventLoop::with_capacity(2).unwrap();
    let spawner = kpt.spawner();
    let task = start(&spawner, |child, _| {
        sys::block(SIGTERM);
        child.parent.send(b"deaf")?;
        loop {
            std::hint::spin_loop();
        }
    });
    assert!(matches!(task.receive_blocking(), Some(TaskEvent::Message(_))));
    struct State {
        task: TaskHandle,
        exit: Option<TaskExit>,
        ticks: u32,
    }
    let mut state = State { task, exit: None, ticks: 0 };
    let mut threads = kpt.threads();
    let read = |state: &mut State, thread: Thread<State>| match state.task.receive() {
        Some(TaskEvent::Exit(exit)) => state.exit = Some(exit),
        _ => thread.again(),
    };
    let tick = |state: &mut State, thread: Thread<State>| {
        state.ticks += 1;
        if state.exit.is_none() {
            thread.again();
        }
    };
    threads.add_read("task", state.task.source(), read, ()).expect("room");
    threads.add_timer("tick", Duration::from_millis(5), tick, ()).expect("room");
    state.task.stop(Duration::from_millis(500));
    kpt.run(&mut state).expect("the loop runs");
    let exit = state.exit.expect("it has ended");
    assert_eq!((exit.status, exit.stopped), (TaskStatus::Signal(SIGKILL), Some(StopStep::Killed)));
    assert!(state.ticks > 3, "the loop has stood still");
}

fn k06_a_stopped_process_ends_by_stop() {
    let spawner = Spawner::new();
    let task = start(&spawner, |child, _| {
        child.parent.send(b"here")?;
        Ok(())
    });
    assert!(matches!(task.receive_blocking(), Some(TaskEvent::Message(_))));
    sys::signal(task.id(), libc::SIGSTOP);
    sys::wait_until_stopped(task.id()).expect("it stops");
    assert_eq!(task.receive_timeout(Duration::ZERO), None, "that is no exit");
    task.stop(Duration::from_millis(600));
    let exit = task.wait();
    // With SIGCONT it may read the stop message before it sees SIGTERM.
    assert!(matches!(exit.status, TaskStatus::Signal(SIGTERM) | TaskStatus::Code(0)), "{exit}");
    assert_eq!(exit.stopped, Some(StopStep::Terminated));
}

fn k17_a_start_that_fails_panics_or_blocks_is_told() {
    let spawner = Spawner::new();
    let fails = start(&spawner, |_, _| Err("no configuration".into()));
    let panics = start(&spawner, |_, _| panic!("at once"));
    let blocks = start(&spawner, |_, _| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    let works = start(&spawner, |_, _| Ok(()));
    assert_eq!(fails.wait().status, TaskStatus::Failed("no configuration".to_owned()));
    assert!(matches!(panics.wait().status, TaskStatus::Panicked(_)));
    blocks.stop(Duration::from_millis(400));
    let exit = blocks.wait();
    assert_eq!((exit.stopped, exit.has_started), (Some(StopStep::Terminated), false), "{exit}");
    // It has had time enough to say that it runs.
    works.stop(GRACE);
    let exit = works.wait();
    assert_eq!((exit.stopped, exit.has_started), (Some(StopStep::Asked), true), "{exit}");
}

fn k18_a_dropped_handle_ends_its_task_in_the_waits_of_the_loop() {
    let mut kpt: EventLoop<u32> = EventLoop::with_capacity(2).unwrap();
    let spawner = kpt.spawner();
    for _ in 0..10 {
        drop(start(&spawner, |_, _| Ok(())));
    }
    let check = |ticks: &mut u32, thread: Thread<u32>| {
        *ticks += 1;
        if sys::has_children() && *ticks < 3_000 {
            thread.again();
        }
    };
    kpt.threads().add_timer("check", Duration::from_millis(1), check, ()).expect("room");
    kpt.run(&mut 0).expect("the loop runs");
    assert!(!sys::has_children(), "a zombie, or a task that lives");
}

/// A crash loop is the application's to slow down: the exit event comes each time, and a start costs what it costs.
fn k20_a_task_that_always_dies_can_be_started_anew() {
    let spawner = Spawner::new();
    for _ in 0..50 {
        let task = start(&spawner, |_, _| std::process::exit(1));
        assert_eq!(task.wait().status, TaskStatus::Code(1));
    }
}

/// Ends where it is told to, by a hook of any kind.
struct Ends {
    parent: Parent,
    place: Place,
    end: fn(),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Message,
    Thread,
    Stop,
}

impl Ends {
    fn at(&self, place: Place) {
        if self.place == place {
            self.parent.send(b"last words").expect("room");
            (self.end)();
        }
    }

    fn on_due(&mut self, _: Thread<Self>) {
        self.at(Place::Thread);
    }
}

impl Child for Ends {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        threads.add_timer("due", Duration::from_millis(1), Self::on_due, ())?;
        Ok(())
    }

    fn on_message(&mut self, _: Vec<u8>, _: Threads<Self>) {
        self.at(Place::Message);
    }

    fn pre_stop(&mut self, _: Threads<Self>) {
        self.at(Place::Stop);
    }
}

/// The message, or the stop, also comes at the moment when its last thread ends.
fn k01_in_each_hook() {
    let ends: [(fn(), TaskStatus); 4] = [
        (|| std::process::exit(77), TaskStatus::Code(77)),
        (|| sys::raise(SIGKILL), TaskStatus::Signal(SIGKILL)),
        (|| sys::raise(SIGSEGV), TaskStatus::Signal(SIGSEGV)),
        (|| sys::raise(SIGABRT), TaskStatus::Signal(SIGABRT)),
    ];
    let spawner = Spawner::new();
    for place in [Place::Message, Place::Thread, Place::Stop] {
        for (end, status) in &ends {
            let task = spawner
                .start(TaskConfig::new("ends"), |parent| Ends { parent, place, end: *end })
                .expect("it starts");
            match place {
                Place::Message => task.send(b"now").expect("room"),
                Place::Thread => {}
                Place::Stop => task.stop(GRACE),
            }
            let (messages, exit) = receive_all(&task);
            assert_eq!(messages, [b"last words"], "{place:?}: {exit}");
            assert_eq!((&exit.status, exit.has_started), (status, true), "{place:?}");
        }
    }
}

fn k17_a_pre_stop_that_blocks_or_panics_ends() {
    let sleeps: fn() = || std::thread::sleep(GRACE);
    let task = Spawner::new()
        .start(TaskConfig::new("blocks"), |parent| Ends { parent, place: Place::Stop, end: sleeps })
        .expect("it starts");
    task.stop(Duration::from_millis(600));
    let (messages, exit) = receive_all(&task);
    assert_eq!(messages, [b"last words"]);
    assert_eq!(
        (exit.status, exit.stopped),
        (TaskStatus::Signal(SIGTERM), Some(StopStep::Terminated))
    );
    let task = Spawner::new()
        .start(TaskConfig::new("panics"), |parent| Ends {
            parent,
            place: Place::Stop,
            end: || panic!("at last"),
        })
        .expect("it starts");
    task.stop(GRACE);
    let (messages, exit) = receive_all(&task);
    assert_eq!(messages, [b"last words"]);
    assert!(matches!(exit.status, TaskStatus::Panicked(_)), "{exit}");
    assert_eq!(exit.stopped, Some(StopStep::Asked));
}

/// Ends by itself after a while, so that waiting for it has an end.
fn start_brief(spawner: &Spawner) -> TaskHandle {
    start(spawner, |child, mut threads| {
        child.parent.hang_up();
        threads.add_timer("end", Duration::from_millis(3), |_, _| {}, ())?;
        Ok(())
    })
}

/// Start, stop, kill, wait and drop in every order of three after a start.
fn k18_every_order(spawner: &Spawner) {
    for order in 0..5_usize.pow(3) {
        let mut task = Some(start_brief(spawner));
        for place in 0..3 {
            match (order / 5_usize.pow(place) % 5, &task) {
                (0, _) => task = Some(start_brief(spawner)),
                (1, Some(task)) => task.stop(GRACE),
                (2, Some(task)) => task.kill().expect("it can be killed"),
                (3, Some(task)) => drop(task.wait()),
                (4, Some(_)) => task = None,
                _ => {}
            }
        }
    }
}

fn k18_every_order_twice_without_a_loop() {
    for _ in 0..2 {
        k18_every_order(&Spawner::new());
    }
}

fn k18_every_order_twice_with_a_loop() {
    let mut kpt: EventLoop<()> = EventLoop::with_capacity(2).unwrap();
    for _ in 0..2 {
        k18_every_order(&kpt.spawner());
        kpt.threads().add_timer("wait", Duration::from_millis(20), |_, _| {}, ()).expect("room");
        kpt.run(&mut ()).expect("the loop runs");
    }
}

kpt_tests::scenarios! {
    k01_each_end_has_its_exact_reason,
    k01_a_panic_comes_with_its_message_and_place,
    k01_a_panic_of_any_length_comes_cut,
    k01_in_each_hook,
    k02_none_of_many_that_die_at_once_is_missed,
    k03_where_somebody_else_is_told_the_status_is_unknown,
    k04_after_the_end_all_is_said_again_and_nothing_is_signalled,
    k05_one_that_does_not_listen_is_terminated,
    k05_one_that_blocks_sigterm_is_killed_and_the_loop_goes_on,
    k06_a_stopped_process_ends_by_stop,
    k17_a_start_that_fails_panics_or_blocks_is_told,
    k17_a_pre_stop_that_blocks_or_panics_ends,
    k18_every_order_twice_without_a_loop,
    k18_every_order_twice_with_a_loop,
    k18_a_dropped_handle_ends_its_task_in_the_waits_of_the_loop,
    k20_a_task_that_always_dies_can_be_started_anew,
}
