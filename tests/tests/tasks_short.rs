//! Processes that are short of something: limits lowered after the start, no standard streams, no memory for a moment; and
//! what a task keeps that should keep nothing.

use std::env;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use kpt_std::{Parent, Spawner, StopStep, TaskConfig, TaskEvent, TaskHandle, TaskStatus};
use kpt_tests::chance::is_under_valgrind;
use kpt_tests::scenario::descriptors;
use kpt_tests::sys;
use kpt_tests::tasks::{Script, Scripted, message_of, receive_all, start, use_and_end};

const GRACE: Duration = Duration::from_secs(8);

/// A task that has a lot to say, and then does `script`.
fn start_with(config: TaskConfig, script: Script) -> TaskHandle {
    let build = |parent: Parent| Scripted::new(parent, script);
    Spawner::new().start(config, build).expect("it starts")
}

/// As programs do that have opened all that they need: `poll` then takes no more descriptors than that.
fn k16_a_parent_may_lower_its_limit_when_its_tasks_run() {
    let spawner = Spawner::new();
    let tasks: Vec<_> = (0..20).map(|_| start(&spawner, |_, _| Ok(()))).collect();
    sys::set_descriptor_limit(16).expect("it can be lowered");
    tasks.iter().for_each(use_and_end);
}

/// As a sandbox does that shall open nothing.
fn k16_a_task_may_have_a_limit_of_none() {
    let task = start(&Spawner::new(), |child, _| {
        sys::set_descriptor_limit(0)?;
        child.parent.send(b"here")?;
        Ok(())
    });
    message_of(&task);
    use_and_end(&task);
    let talks = start_with(TaskConfig::new("talks").queue(4 << 20), |child, _| {
        sys::set_descriptor_limit(0)?;
        (0..40).try_for_each(|_| child.parent.send(&[1; 50_000]))?;
        child.parent.hang_up();
        Ok(())
    });
    // It has filled the socket, and waits for room to leave.
    std::thread::sleep(Duration::from_millis(100));
    let (messages, exit) = receive_all(&talks);
    assert_eq!((messages.len(), exit.status), (40, TaskStatus::Code(0)));
}

/// What the task prints, or the parent, must not get into the channel.
fn k10_without_standard_streams_nothing_is_printed_into_a_channel() {
    let result = sys::without_standard_descriptors(|| {
        let task = start(&Spawner::new(), |child, _| {
            println!("from the task");
            eprintln!("from the task");
            child.parent.send(b"here")?;
            Ok(())
        });
        println!("from the parent");
        eprintln!("from the parent");
        let first = task.receive_blocking();
        let sent = task.send(b"echo");
        let second = task.receive_timeout(GRACE);
        task.stop(GRACE);
        (first, sent, second, task.wait())
    });
    let (first, sent, second, exit) = result.expect("they are open again");
    assert_eq!(first, Some(TaskEvent::Message(b"here".to_vec())));
    assert_eq!((sent, second), (Ok(()), Some(TaskEvent::Message(b"echo".to_vec()))));
    assert_eq!((exit.status, exit.protocol_error), (TaskStatus::Code(0), None));
}

/// What it has open beyond 0, 1, 2, its channel and what its loop waits with.
fn others_of(config: TaskConfig) -> Vec<String> {
    let task = start_with(config, |child, _| {
        let is_other = |(number, target): &(i32, String)| {
            let own = ["/dev/null", "anon_inode:[eventpoll]", "anon_inode:[timerfd]"];
            *number > 2 && !target.starts_with("socket:") && !own.contains(&target.as_str())
        };
        let others: Vec<_> = descriptors().into_iter().filter(is_other).map(|(_, to)| to).collect();
        child.parent.send(others.join("\n").as_bytes())?;
        Ok(())
    });
    let others = String::from_utf8(message_of(&task)).expect("text");
    others.lines().map(str::to_owned).collect()
}

fn k13_a_path_is_closed_as_well() {
    let folder = File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open("/etc")
        .expect("Linux has it");
    // A checker may have opened others.
    let others = others_of(TaskConfig::new("alone").keep_only::<&File>([]));
    assert!(!others.contains(&"/etc".to_owned()), "{others:?}");
    drop(folder);
}

fn k13_what_is_beyond_a_lowered_limit_is_closed_as_well() {
    if is_under_valgrind() {
        return println!("SKIPPED: valgrind closes nothing that is beyond the limit");
    }
    let secret = File::open("/etc/passwd").expect("Linux has it");
    let high = sys::duplicate_from(&secret, 900).expect("below the limit");
    drop(secret);
    sys::set_descriptor_limit(300).expect("it can be lowered");
    let others = others_of(TaskConfig::new("alone").keep_only::<&File>([]));
    assert_eq!(others, ["anon_inode:[pidfd]"], "only its parent");
    drop(high);
}

/// With room for the two ends of the channel, of which the task closes one, for its parent, and two more.
fn k16_a_task_that_keeps_nothing_needs_room_for_its_loop_only() {
    if is_under_valgrind() {
        return println!("SKIPPED: valgrind has limits of its own");
    }
    let open = descriptors();
    let mut free = (0..).filter(|number: &i32| open.iter().all(|(other, _)| other != number));
    let limit = free.nth(5).expect("numbers go on");
    sys::set_descriptor_limit(limit as u64).expect("it can be lowered");
    let config = TaskConfig::new("alone").keep_only::<&File>([]);
    use_and_end(&start_with(config, |_, _| Ok(())));
    sys::raise_descriptor_limit().expect("up to the hard limit is allowed");
}

fn k08_a_task_in_a_namespace_of_its_own_runs() {
    let parent = sys::fork_and(|| {
        if sys::unshare_processes().is_err() {
            return println!("SKIPPED: only root may have namespaces");
        }
        use_and_end(&start(&Spawner::new(), |_, _| Ok(())));
    });
    assert_eq!(sys::exit_code(parent.expect("a fork")).expect("a child"), Some(0));
}

/// The fork has a copy of what is queued, which is not its own to send.
fn k10_a_fork_by_hand_in_a_task_sends_nothing() {
    let task = start_with(TaskConfig::new("forks").queue(4 << 20), |child, _| {
        (0..20).try_for_each(|at| child.parent.send(&[at; 50_000]))?;
        sys::fork_and_exit()?;
        child.parent.hang_up();
        Ok(())
    });
    let (messages, exit) = receive_all(&task);
    let numbers: Vec<_> = messages.iter().map(|message| message[0]).collect();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>(), "{exit}");
    assert_eq!(exit.protocol_error, None);
}

/// The kernel has no memory for a message, for a moment.
fn m08_what_finds_no_memory_is_sent_later() {
    const NAME: &str = "m08_what_finds_no_memory_is_sent_later";
    if env::var_os("KPT_TESTS_INNER").is_some() {
        return use_and_end(&start(&Spawner::new(), |_, _| Ok(())));
    }
    for when in 1..4 {
        let inject = format!("inject=sendto:error=ENOBUFS:when={when}");
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=sendto", "-e", &inject])
            .arg(env::current_exe().expect("a test knows its binary"))
            .args(["--scenario", NAME])
            .env("KPT_TESTS_INNER", "1")
            .env("ASAN_OPTIONS", "detect_leaks=0")
            .stdin(Stdio::null())
            .output();
        let Ok(output) = strace else { return println!("SKIPPED: there is no strace") };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The parent comes late, and the kernel has no descriptors for processes: what has ended in time was not killed.
fn k05_a_late_parent_says_exactly_how_far_it_had_to_go() {
    const NAME: &str = "k05_a_late_parent_says_exactly_how_far_it_had_to_go";
    if env::var_os("KPT_TESTS_INNER").is_none() {
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=pidfd_open", "-e", "inject=pidfd_open:error=ENOSYS"])
            .arg(env::current_exe().expect("a test knows its binary"))
            .args(["--scenario", NAME])
            .env("KPT_TESTS_INNER", "1")
            .env("ASAN_OPTIONS", "detect_leaks=0")
            .stdin(Stdio::null())
            .output();
        let Ok(output) = strace else { return println!("SKIPPED: there is no strace") };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let task = start(&Spawner::new(), |child, _| Ok(child.parent.send(b"here")?));
    message_of(&task);
    let grace = Duration::from_millis(50);
    task.stop(grace);
    sys::wait_until_ended(task.id());
    std::thread::sleep(2 * grace);
    let exit = task.wait();
    assert_eq!((exit.status, exit.stopped), (TaskStatus::Code(0), Some(StopStep::Asked)));
}

kpt_tests::scenarios! {
    k16_a_parent_may_lower_its_limit_when_its_tasks_run,
    k16_a_task_may_have_a_limit_of_none,
    k10_without_standard_streams_nothing_is_printed_into_a_channel,
    k13_a_path_is_closed_as_well,
    k13_what_is_beyond_a_lowered_limit_is_closed_as_well,
    k16_a_task_that_keeps_nothing_needs_room_for_its_loop_only,
    k08_a_task_in_a_namespace_of_its_own_runs,
    k10_a_fork_by_hand_in_a_task_sends_nothing,
    m08_what_finds_no_memory_is_sent_later,
    k05_a_late_parent_says_exactly_how_far_it_had_to_go,
}
