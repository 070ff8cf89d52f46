//! What a fork takes along and what it must not: K7 to K16, K19 and K21 of the faults of this field.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{Read, pipe};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{
    EventLoop, Spawner, StartError, TaskConfig, TaskEvent, TaskHandle, TaskStatus, Thread,
};
use kpt_tests::chance::{is_checked, is_under_valgrind};
use kpt_tests::scenario::descriptors;
use kpt_tests::sys;
use kpt_tests::tasks::{Script, Scripted, receive_all, start, use_and_end};
use libc::{SIGTERM, SIGUSR1};

const GRACE: Duration = Duration::from_secs(8);

/// In a process of its own, starts a task that does `script`, and is killed. Nobody may be left after 3 s.
fn is_gone_with_its_parent(script: Script) {
    let (mut reader, writer) = pipe().expect("a pipe");
    let parent = sys::fork_and(|| {
        let task = start(&Spawner::new(), script);
        assert!(matches!(task.receive_blocking(), Some(TaskEvent::Message(_))));
        // The task runs now.
        sys::raise(libc::SIGKILL);
    })
    .expect("a fork");
    drop(writer);
    assert_eq!(sys::exit_code(parent).expect("a child"), None);
    let begin = Stopwatch::now();
    // The end comes when the last process that has inherited the writer is gone.
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("it can be read");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

fn k07_a_child_sees_the_end_of_its_parent() {
    is_gone_with_its_parent(|child, _| Ok(child.parent.send(b"here")?));
}

/// It never gets to see the end of its channel; the net catches it.
fn k07_a_child_that_is_stuck_does_not_outlive_its_parent() {
    is_gone_with_its_parent(|child, _| {
        child.parent.send(b"here")?;
        loop {
            std::hint::spin_loop();
        }
    });
}

/// The parent is killed at any moment of the start, also before the child has cast its net.
fn k08_a_parent_may_die_at_any_moment_of_a_start() {
    for round in 0..40 {
        let (mut reader, writer) = pipe().expect("a pipe");
        let parent = sys::fork_and(|| {
            let spawner = Spawner::new();
            let stuck: Script = |_, _| loop {
                std::hint::spin_loop();
            };
            let tasks: Vec<_> = (0..3).map(|_| start(&spawner, stuck)).collect();
            thread::sleep(GRACE);
            drop(tasks);
        })
        .expect("a fork");
        drop(writer);
        thread::sleep(Duration::from_micros(round * 60));
        sys::kill(parent);
        sys::wait_for(parent).expect("a child");
        let begin = Stopwatch::now();
        assert_eq!(reader.read(&mut [0; 1]).expect("it can be read"), 0);
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        if round > 5 && begin.elapsed() > Duration::from_millis(500) {
            // The net takes a second; a few rounds of that are enough.
            return;
        }
    }
}

fn k09_a_process_with_threads_starts_no_task() {
    let spawner = Spawner::new();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let other = thread::spawn(move || held.recv());
    let config = || TaskConfig::new("refused");
    let refused = spawner.start(config(), |parent| Scripted::new(parent, |_, _| Ok(())));
    assert!(matches!(refused, Err(StartError::MultiThreaded)), "{refused:?}");
    drop(hold);
    other.join().expect("it ends").expect_err("nothing was sent");
    // A thread that has been joined may take a moment to be gone.
    while sys::threads() > 1 {
        thread::yield_now();
    }
    start(&spawner, |_, _| Ok(())).stop(GRACE);
}

/// What a scenario prints that this binary is run with once more.
fn output_of(name: &str) -> String {
    let output = Command::new(env::current_exe().expect("a test knows its binary"))
        .args(["--scenario", name])
        .env("KPT_TESTS_INNER", "1")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn k10_what_is_printed_is_printed_once() {
    if env::var_os("KPT_TESTS_INNER").is_none() {
        let text = output_of("k10_what_is_printed_is_printed_once");
        assert_eq!(text, "before child returned child left child panicked after");
        return;
    }
    // Without an end of line nothing is written before somebody flushes.
    let spawner = Spawner::new();
    print!("before ");
    let ends: [Script; 3] = [
        |child, _| {
            print!("child returned ");
            child.parent.hang_up();
            Ok(())
        },
        |_, _| {
            print!("child left ");
            std::process::exit(0)
        },
        |_, _| {
            print!("child panicked ");
            panic!("as told")
        },
    ];
    for end in ends {
        start(&spawner, end).wait();
    }
    print!("after");
}

/// A child never returns into its parent's code, whatever its own code does: the harness looks for that after each test.
fn k11_nothing_of_the_parent_runs_in_a_child() {
    struct Parents(u32);
    impl Drop for Parents {
        fn drop(&mut self) {
            assert_eq!(self.0, std::process::id(), "dropped in the child");
        }
    }
    let parents = Parents(std::process::id());
    let spawner = Spawner::new();
    let panics = start(&spawner, |_, _| panic!("as told"));
    assert!(matches!(panics.wait().status, TaskStatus::Panicked(_)));
    let drops = spawner
        .start(TaskConfig::new("panics in build"), |_| -> Scripted { std::panic::panic_any(7) });
    assert!(matches!(drops.expect("it starts").wait().status, TaskStatus::Panicked(_)));
    drop(parents);
}

/// What a child's descriptors are.
fn names_of(task: &TaskHandle) -> Vec<String> {
    let folder = fs::read_dir(format!("/proc/{}/fd", task.id())).expect("it lives");
    let targets = folder.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.map(|target| target.to_string_lossy().into_owned()).collect()
}

/// The sockets among a child's descriptors.
fn sockets_of(task: &TaskHandle) -> BTreeSet<String> {
    names_of(task).into_iter().filter(|name| name.starts_with("socket:")).collect()
}

/// How many of a child's descriptors refer to a process.
fn processes_of(task: &TaskHandle) -> usize {
    names_of(task).iter().filter(|name| name.contains("pidfd")).count()
}

fn k12_a_child_has_nothing_of_the_other_tasks() {
    let (one, other) = (Spawner::new(), Spawner::new());
    let say: Script = |child, _| Ok(child.parent.send(b"here")?);
    let tasks: Vec<_> =
        (0..6).map(|at| start(if at % 2 == 0 { &one } else { &other }, say)).collect();
    for task in &tasks {
        assert!(matches!(task.receive_blocking(), Some(TaskEvent::Message(_))));
    }
    let sockets: Vec<_> = tasks.iter().map(sockets_of).collect();
    for (at, own) in sockets.iter().enumerate() {
        assert_eq!(own.len(), 1, "only its channel: {own:?}");
        // Valgrind knows no descriptors of processes.
        let processes = processes_of(&tasks[at]);
        assert!(
            processes == 1 || processes == 0 && is_under_valgrind(),
            "only its parent: {processes}"
        );
        assert!(sockets[..at].iter().all(|others| others.is_disjoint(own)));
    }
    // And so the end of one that is killed is seen while the others live.
    tasks[0].kill().expect("it can be killed");
    assert_eq!(tasks[0].wait().status, TaskStatus::Signal(libc::SIGKILL));
    drop(tasks);
}

fn k13_all_others_are_closed_without_counting() {
    sys::raise_descriptor_limit().expect("up to the hard limit is allowed");
    let kept = fs::File::open("/dev/null").expect("Linux has it");
    let other = fs::File::open("/dev/zero").expect("Linux has it");
    let high = sys::duplicate_from(&other, 900).expect("a number below the limit");
    let config = TaskConfig::new("alone").keep_only([&kept]);
    let report: Script = |child, _| {
        let open: Vec<String> = descriptors().into_iter().map(|(_, target)| target).collect();
        Ok(child.parent.send(open.join(" ").as_bytes())?)
    };
    let begin = Stopwatch::now();
    let task =
        Spawner::new().start(config, |parent| Scripted::new(parent, report)).expect("it starts");
    let Some(TaskEvent::Message(open)) = task.receive_blocking() else { panic!("no report") };
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let open = String::from_utf8(open).expect("text");
    assert!(!open.contains("/dev/zero"), "{open}");
    drop((other, high));
    task.stop(GRACE);
    task.wait();
}

fn k14_signals_are_the_childs_own() {
    if is_checked() {
        return println!("SKIPPED: the checker catches signals, too");
    }
    sys::block(SIGTERM);
    sys::catch(SIGUSR1);
    sys::catch(libc::SIGRTMIN() + 3);
    sys::ignore(libc::SIGHUP);
    let before = signals();
    let task = start(&Spawner::new(), |child, _| Ok(child.parent.send(signals().as_bytes())?));
    let Some(TaskEvent::Message(text)) = task.receive_blocking() else { panic!("no report") };
    let text = String::from_utf8(text).expect("text");
    // Nothing is blocked; caught is the one that tells of the parent's death; ignored is what the parent ignores.
    let net = 1_u64 << (libc::SIGRTMAX() - 2);
    let ignored = before.split(' ').nth(3).expect("a mask");
    assert_eq!(text, format!("SigBlk 0 SigIgn {ignored} SigCgt {net:x}"));
    assert_eq!(signals(), before, "the parent's are as they were");
    task.stop(GRACE);
    assert_eq!(task.wait().status, TaskStatus::Code(0));
}

/// The masks of this process: blocked, ignored, caught.
fn signals() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let mask = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("a mask");
        let digits = line.split_whitespace().nth(1).expect("a number");
        u64::from_str_radix(digits, 16).expect("a hexadecimal number")
    };
    format!("SigBlk {:x} SigIgn {:x} SigCgt {:x}", mask("SigBlk"), mask("SigIgn"), mask("SigCgt"))
}

fn k15_a_fork_that_fails_leaves_nothing() {
    if is_checked() {
        return println!("SKIPPED: the checker of leaks forks, too");
    }
    let before = signals();
    // Of this user's processes there are more than none already.
    sys::become_nobody_with_processes(0).expect("root may do that");
    let open = descriptors();
    let spawner = Spawner::new();
    for _ in 0..20 {
        let refused = spawner
            .start(TaskConfig::new("refused"), |parent| Scripted::new(parent, |_, _| Ok(())));
        let Err(StartError::System(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    }
    drop(spawner);
    assert_eq!(descriptors(), open);
    assert_eq!(signals(), before);
}

fn k16_for_want_of_descriptors_nothing_is_left() {
    if is_under_valgrind() {
        return println!("SKIPPED: valgrind closes nothing that is beyond the limit");
    }
    let spawner = Spawner::new();
    // The guard is there already.
    use_and_end(&start(&spawner, |_, _| Ok(())));
    let open = descriptors();
    let is_free = |number: &i32| open.iter().all(|(other, _)| other != number);
    let mut results = Vec::new();
    for room in 0..6 {
        let first_refused = (0..).filter(is_free).nth(room).expect("numbers go on");
        sys::set_descriptor_limit(first_refused as u64).expect("it can be lowered");
        let started =
            spawner.start(TaskConfig::new("tight"), |parent| Scripted::new(parent, |_, _| Ok(())));
        match started {
            // Without a descriptor for the process, it is asked now and then whether it has ended.
            Ok(task) => {
                task.stop(GRACE);
                let status = task.wait().status;
                let words = "can't make a loop for 64 threads: Too many open files (os error 24)";
                let has_run = status == TaskStatus::Code(0);
                assert!(has_run || status == TaskStatus::Failed(words.to_owned()), "{status:?}");
                results.push((true, has_run));
            }
            Err(StartError::System(error)) => {
                assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                results.push((false, false));
            }
            Err(error) => panic!("{error}"),
        }
        sys::raise_descriptor_limit().expect("up to the hard limit is allowed");
        assert_eq!(descriptors(), open, "with room for {room}");
    }
    // Two for the channel. The task closes those of the guard, and needs three for its loop.
    let [refused, runs] = [(false, false), (true, true)];
    assert_eq!(results, [refused, refused, runs, runs, runs, runs]);
}

/// `k16` in another way: the kernel has no descriptors for processes.
fn k16_without_descriptors_for_processes_all_ends_are_seen() {
    const NAME: &str = "k16_without_descriptors_for_processes_all_ends_are_seen";
    if env::var_os("KPT_TESTS_INNER").is_none() {
        let me = env::current_exe().expect("a test knows its binary");
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=pidfd_open", "-e", "inject=pidfd_open:error=ENOSYS"])
            .arg(me)
            .args(["--scenario", NAME])
            .env("KPT_TESTS_INNER", "1")
            // Leaks are looked for by ptrace, which strace has taken.
            .env("ASAN_OPTIONS", "detect_leaks=0")
            .output();
        match strace {
            Err(_) => println!("SKIPPED: there is no strace"),
            Ok(output) => {
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        return;
    }
    let spawner = Spawner::new();
    let (_, exit) = receive_all(&start(&spawner, |_, _| std::process::exit(5)));
    assert_eq!(exit.status, TaskStatus::Code(5));
    let task = start(&spawner, |_, _| Ok(()));
    task.stop(GRACE);
    assert_eq!(task.wait().status, TaskStatus::Code(0));
    let task = start(&spawner, |_, _| Ok(()));
    task.kill().expect("it can be killed");
    assert_eq!(task.wait().status, TaskStatus::Signal(libc::SIGKILL));
}

/// The loop can watch less than 64 descriptors, and all of the tasks' are above: they are looked at now and then.
fn k16_beyond_what_the_poller_can_watch_all_is_seen() {
    sys::set_descriptor_limit(64).expect("it can be lowered");
    let mut kpt = EventLoop::with_capacity(4).unwrap();
    sys::raise_descriptor_limit().expect("up to the hard limit is allowed");
    let null = fs::File::open("/dev/null").expect("Linux has it");
    let fill: Vec<_> =
        (0..70).map(|_| sys::duplicate_from(&null, 3).expect("a number is free")).collect();
    struct State {
        task: TaskHandle,
        events: Vec<TaskEvent>,
    }
    let read = |state: &mut State, thread: Thread<State>| match state.task.receive() {
        Some(TaskEvent::Exit(exit)) => state.events.push(TaskEvent::Exit(exit)),
        Some(message) => {
            state.events.push(message);
            state.task.stop(GRACE);
            thread.again();
        }
        None => thread.again(),
    };
    let task = start(&kpt.spawner(), |child, _| Ok(child.parent.send(b"here")?));
    kpt.threads().add_read("task", task.source(), read, ()).expect("room");
    let mut state = State { task, events: Vec::new() };
    kpt.run(&mut state).expect("the loop runs");
    let [TaskEvent::Message(_), TaskEvent::Exit(exit)] = &state.events[..] else {
        panic!("{:?}", state.events)
    };
    assert_eq!(exit.status, TaskStatus::Code(0));
    drop(fill);
}

/// A start costs a little more for each that lives already; see `tasks_load` for a thousand on a loop.
fn k19_many_live_tasks_are_all_reaped() {
    let spawner = Spawner::new();
    let live = if is_checked() { 50 } else { 500 };
    let tasks: Vec<_> = (0..live).map(|_| start(&spawner, |_, _| Ok(()))).collect();
    tasks.iter().for_each(|task| task.stop(GRACE));
    assert!(tasks.iter().all(|task| task.wait().status == TaskStatus::Code(0)));
}

fn k21_a_name_is_one_harmless_line() {
    let spawner = Spawner::new();
    for name in ["a\n[CRIT] x\x1b[2J", "nul\0byte", &"ä\u{202E}".repeat(100_000)] {
        let task = spawner
            .start(TaskConfig::new(name), |parent| Scripted::new(parent, |_, _| Ok(())))
            .expect("it starts");
        assert!(task.name().len() <= 64, "{}", task.name().len());
        assert!(!task.name().contains(|letter: char| letter.is_control() || letter == '\u{202E}'));
        task.kill().expect("it can be killed");
        task.wait();
    }
}

/// What a task says as it ends can't forge a line of a log, either.
fn k21_an_exit_is_one_harmless_line() {
    let fails: Script = |_, _| Err("a\n[CRIT] x\x1b[2J\u{202E}".into());
    let panics: Script = |_, _| panic!("a\n[CRIT] x\x1b[2J\u{202E}");
    for script in [fails, panics] {
        let exit = start(&Spawner::new(), script).wait();
        let line = exit.to_string();
        assert!(
            !line.contains(|letter: char| letter.is_control() || letter == '\u{202E}'),
            "{line:?}"
        );
        assert!(line.contains("[CRIT]"));
    }
}

kpt_tests::scenarios! {
    k07_a_child_sees_the_end_of_its_parent,
    k07_a_child_that_is_stuck_does_not_outlive_its_parent,
    k08_a_parent_may_die_at_any_moment_of_a_start,
    k09_a_process_with_threads_starts_no_task,
    k10_what_is_printed_is_printed_once,
    k11_nothing_of_the_parent_runs_in_a_child,
    k12_a_child_has_nothing_of_the_other_tasks,
    k13_all_others_are_closed_without_counting,
    k14_signals_are_the_childs_own,
    k15_a_fork_that_fails_leaves_nothing,
    k16_for_want_of_descriptors_nothing_is_left,
    k16_without_descriptors_for_processes_all_ends_are_seen,
    k16_beyond_what_the_poller_can_watch_all_is_seen,
    k19_many_live_tasks_are_all_reaped,
    k21_a_name_is_one_harmless_line,
    k21_an_exit_is_one_harmless_line,
}
