//! Faults of a start, and of the process that it makes: R30 to R37.

use std::env;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{Parent, Spawner, StartError, TaskConfig, TaskEvent, TaskHandle, TaskStatus};
use kpt_tests::chance::is_under_valgrind;
use kpt_tests::sys;
use kpt_tests::sys::attempts::read_number;
use kpt_tests::sys::namespaces::{self, hide, set_pending_signals_limit};
use kpt_tests::tasks::{Script, Scripted, message_of, receive_all, start, use_and_end};
use libc::EBADF;

fn start_with(config: TaskConfig, script: Script) -> TaskHandle {
    let build = |parent: Parent| Scripted::new(parent, script);
    Spawner::new().start(config, build).expect("it starts")
}

/// More than the channel takes at once.
const MANY: usize = 200;

fn send_many(child: &Scripted) -> Result<(), Box<dyn std::error::Error>> {
    (0..MANY).try_for_each(|at| child.parent.send(&[at as u8; 9_000]))?;
    Ok(())
}

/// `exit` of the first OS thread sends all that is queued; that of another one may lose what is queued, and nothing of
/// what has been sent. See the docs of `Parent::send`.
fn r30_the_exit_of_the_first_thread_sends_all_that_is_queued() {
    let config = || TaskConfig::new("exits").queue(4 << 20);
    let task = start_with(config(), |child, _| {
        send_many(child)?;
        // Others may be there.
        thread::spawn(|| thread::sleep(Duration::from_secs(60)));
        std::process::exit(3)
    });
    let (messages, exit) = receive_all(&task);
    assert_eq!((messages.len(), exit.status), (MANY, TaskStatus::Code(3)));

    let task = start_with(config(), |child, _| {
        send_many(child)?;
        thread::spawn(|| std::process::exit(4)).join().expect("it does not end by itself");
        Ok(())
    });
    let (messages, exit) = receive_all(&task);
    assert_eq!(exit.status, TaskStatus::Code(4));
    assert!(!messages.is_empty() && messages.len() <= MANY, "{}", messages.len());
    for (at, message) in messages.iter().enumerate() {
        assert!(message.len() == 9_000 && message[0] == at as u8, "message {at}");
    }
}

/// The words of a panic need the channel; where there can't be any, nothing is started.
fn r31_a_panic_before_the_loop_comes_with_its_words() {
    struct Late<'a>(&'a mut Option<Result<TaskHandle, StartError>>);
    impl Drop for Late<'_> {
        fn drop(&mut self) {
            let script: Script = |_, _| panic!("as told");
            let build = |parent: Parent| Scripted::new(parent, script);
            *self.0 = Some(Spawner::new().start(TaskConfig::new("late"), build));
        }
    }
    let mut started = None;
    let result = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let _late = Late(&mut started);
        panic!("unwinding");
    }));
    result.expect_err("it has panicked");
    match started.expect("it was tried") {
        Err(error) => assert!(matches!(error, StartError::Unwinding), "{error}"),
        Ok(task) => {
            let exit = task.wait();
            assert!(matches!(exit.status, TaskStatus::Panicked(_)), "{exit}");
        }
    }
    // The parent is as before.
    use_and_end(&start(&Spawner::new(), |_, _| Ok(())));

    // More room than any machine has: it is cut, or the error says so.
    let exit = {
        let task = start_with(TaskConfig::new("huge").threads(usize::MAX), |_, _| Ok(()));
        task.stop(Duration::from_secs(8));
        task.wait()
    };
    let is_told = matches!(&exit.status, TaskStatus::Code(0) | TaskStatus::Failed(_));
    assert!(is_told, "{exit}");
}

const INNER: &str = "KPT_TESTS_INNER";

/// Runs a scenario of this binary once more, with an output that is full and does not block. After `pause`, reads what
/// comes out of it.
fn output_of_a_full_pipe(name: &str, pause: Duration) -> String {
    let (mut reader, mut writer) = UnixStream::pair().expect("a pair");
    writer.set_nonblocking(true).expect("it is ours");
    let mut filled = 0;
    loop {
        match writer.write(&[b'.'; 4_096]) {
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    let mut child = Command::new(env::current_exe().expect("a test knows its binary"))
        .args(["--scenario", name])
        .env(INNER, "1")
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(writer))
        .spawn()
        .expect("it runs");
    thread::sleep(pause);
    let mut text = Vec::new();
    reader.read_to_end(&mut text).expect("it can be read");
    assert!(child.wait().expect("a child").success());
    assert!(text[..filled].iter().all(|&byte| byte == b'.'));
    String::from_utf8(text.split_off(filled)).expect("text")
}

/// What could not be written before the fork is the parent's, and what the task prints waits until there is room.
fn r32_what_can_not_be_written_at_a_start_is_written_once() {
    const NAME: &str = "r32_what_can_not_be_written_at_a_start_is_written_once";
    if env::var_os(INNER).is_none() {
        let text = output_of_a_full_pipe(NAME, Duration::from_millis(300));
        let mut words: Vec<_> = text.split_whitespace().collect();
        words.sort_unstable();
        assert_eq!(words, ["child", "parent"]);
        return;
    }
    print!("parent ");
    let task = start(&Spawner::new(), |child, _| {
        print!("child ");
        child.parent.hang_up();
        Ok(())
    });
    assert_eq!(task.wait().status, TaskStatus::Code(0));
    // There is room now.
    std::io::stdout().flush().expect("it is read");
}

/// A thread that has been joined, or whose scope has ended, is listed by the system for a moment longer. That it is,
/// takes a busy machine.
fn r33_a_start_right_after_a_join_is_not_refused() {
    let busy: Vec<_> = (0..3)
        .map(|_| {
            sys::fork_and(|| {
                let begin = Stopwatch::now();
                while begin.elapsed() < Duration::from_secs(20) {
                    std::hint::spin_loop();
                }
            })
            .expect("a fork")
        })
        .collect();
    let spawner = Spawner::new();
    let mut refused = 0;
    for round in 0..60 {
        if round % 2 == 0 {
            thread::scope(|scope| {
                (0..3).for_each(|_| drop(scope.spawn(|| ())));
            });
        } else {
            (0..3).map(|_| thread::spawn(|| ())).for_each(|thread| thread.join().expect("it ends"));
        }
        let build = |parent: Parent| Scripted::new(parent, |_, _| Ok(()));
        match spawner.start(TaskConfig::new("after"), build) {
            Ok(task) => task.kill().unwrap(),
            Err(_) => refused += 1,
        }
    }
    busy.iter().for_each(|&process| sys::kill(process));
    busy.iter().for_each(|&process| sys::wait_for(process).expect("a child"));
    assert_eq!(refused, 0, "of 60 starts");
}

/// Runs `work` in a process that may change the system that it sees.
fn apart(work: impl FnOnce()) {
    if !namespaces::is_root() {
        return println!("SKIPPED: not root");
    }
    let child = sys::fork_and(work).expect("a fork");
    assert_eq!(sys::exit_code(child).expect("a child"), Some(0));
}

fn failure_of(task: &TaskHandle) -> String {
    match task.wait().status {
        TaskStatus::Failed(text) => text,
        other => panic!("{other:?}"),
    }
}

fn r34_without_proc_a_task_starts_and_what_can_not_be_is_named() {
    if is_under_valgrind() {
        return println!("SKIPPED: valgrind reads /proc itself");
    }
    apart(|| {
        hide(Path::new("/proc")).expect("root may do that");
        use_and_end(&start(&Spawner::new(), |_, _| Ok(())));
        let none: [&File; 0] = [];
        let text = failure_of(&start_with(TaskConfig::new("few").keep_only(none), |_, _| Ok(())));
        assert!(text.contains("/proc/self/fd"), "{text}");
    });
}

fn r34_without_devices_numbers_are_closed_all_the_same() {
    if is_under_valgrind() {
        return println!("SKIPPED: valgrind has numbers of its own");
    }
    apart(|| {
        let file = File::open("/proc/self/status").expect("it is there");
        hide(Path::new("/dev")).expect("root may do that");
        assert_eq!(what_a_task_reads(&file), Some(EBADF));
    });
}

/// What a task gets that reads a file which it does not keep: an error, or nothing.
fn what_a_task_reads(file: &File) -> Option<i32> {
    let number = file.as_raw_fd();
    let build = move |parent: Parent| {
        let error = read_number(number).err().and_then(|error| error.raw_os_error());
        parent.send(&error.unwrap_or(0).to_le_bytes()).expect("room");
        Scripted::new(parent, |_, _| Ok(()))
    };
    let none: [&File; 0] = [];
    let task = Spawner::new().start(TaskConfig::new("few").keep_only(none), build).expect("a task");
    let error = message_of(&task).try_into().map_or(0, i32::from_le_bytes);
    use_and_end(&task);
    (error != 0).then_some(error)
}

/// There is room for no signal, and for three.
fn r34_without_room_for_signals_a_task_starts() {
    for limit in [0, 3] {
        apart(|| {
            set_pending_signals_limit(limit).expect("it can be lowered");
            let spawner = Spawner::new();
            let tasks: Vec<_> = (0..5).map(|_| start(&spawner, |_, _| Ok(()))).collect();
            tasks.iter().for_each(use_and_end);
        });
    }
}

/// A parent that is PID 1, as in a container, and sees the `/proc` of another namespace, in which it is nobody.
fn r34_as_the_first_process_of_a_container_tasks_start() {
    apart(|| {
        let spawner = Spawner::new();
        // The guard is there, which would be the first process otherwise.
        use_and_end(&start(&spawner, |_, _| Ok(())));
        sys::unshare_processes().expect("root may do that");
        let task = start(&spawner, |child, _| {
            assert_eq!(std::process::id(), 1);
            use_and_end(&start(&Spawner::new(), |_, _| Ok(())));
            child.parent.send(b"done")?;
            Ok(())
        });
        assert_eq!(task.receive_blocking(), Some(TaskEvent::Message(b"done".to_vec())));
        use_and_end(&task);
    });
}

/// Fails with musl where the standard library opens the file that takes the place of those that are closed.
fn r35_what_was_not_kept_can_not_be_read() {
    let file = File::open("/etc/passwd").expect("Linux has it");
    assert_eq!(what_a_task_reads(&file), Some(EBADF));
}

/// A generator of the parent's is copied: three tasks draw the same. One that is seeded in the task draws its own.
fn r37_three_tasks_throw_the_same_dice_unless_they_seed_them() {
    let inherited = kpt_tests::chance::Chance::new(7);
    let throw = |is_seeded: bool| {
        let mut chance = inherited.clone();
        move |parent: Parent| {
            if is_seeded {
                let mut seed = [0; 8];
                let mut random = File::open("/dev/urandom").expect("Linux has it");
                random.read_exact(&mut seed).expect("it never ends");
                chance = kpt_tests::chance::Chance::new(u64::from_le_bytes(seed));
            }
            parent.send(&chance.number().to_le_bytes()).expect("room");
            Scripted::new(parent, |_, _| Ok(()))
        }
    };
    for is_seeded in [false, true] {
        let numbers = [0; 3].map(|_| {
            let task = Spawner::new().start(TaskConfig::new("dice"), throw(is_seeded));
            let task = task.expect("it starts");
            let number = message_of(&task);
            use_and_end(&task);
            number
        });
        assert_eq!(numbers[0] != numbers[1] && numbers[1] != numbers[2], is_seeded, "{numbers:?}");
    }
}

kpt_tests::scenarios! {
    r30_the_exit_of_the_first_thread_sends_all_that_is_queued,
    r31_a_panic_before_the_loop_comes_with_its_words,
    r32_what_can_not_be_written_at_a_start_is_written_once,
    r33_a_start_right_after_a_join_is_not_refused,
    r34_without_proc_a_task_starts_and_what_can_not_be_is_named,
    r34_without_devices_numbers_are_closed_all_the_same,
    r34_without_room_for_signals_a_task_starts,
    r34_as_the_first_process_of_a_container_tasks_start,
    r35_what_was_not_kept_can_not_be_read,
    r37_three_tasks_throw_the_same_dice_unless_they_seed_them,
}
