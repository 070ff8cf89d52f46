//! What a task gives up, and that it is gone: from inside, all is tried that must fail.

use std::fs;
use std::io::{self, Read, pipe};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{Limit, Parent, Spawner, TaskConfig, TaskEvent, TaskExit, TaskHandle, TaskStatus};
use kpt_tests::chance::is_checked;
use kpt_tests::sys;
use kpt_tests::sys::attempts::{self as a, read_number};
use kpt_tests::sys::namespaces::{self, become_nobody};
use kpt_tests::tasks::{Script, Scripted, message_of, receive_all, use_and_end};
use libc::{EACCES, EAGAIN, EBADF, EFBIG, EINVAL, EMFILE, ENOENT, ENOMEM, ENOSYS, EPERM, SIGXFSZ};

/// A user that nothing else here has, so that all of its processes are the test's.
const USER: u32 = 64_217;
const NOBODY: u32 = 65_534;

type Attempt = (&'static str, fn() -> io::Result<()>, &'static [i32]);

/// What a task of another user in a root directory of its own tries, and the errors that are right.
const OF_ANOTHER_USER: &[Attempt] = &[
    ("setuid(0)", a::setuid_root, &[EPERM]),
    ("seteuid(0)", a::seteuid_root, &[EPERM]),
    ("setreuid(0, 0)", a::setreuid_root, &[EPERM]),
    ("setresuid(0, 0, 0)", a::setresuid_root, &[EPERM]),
    ("setgid(0)", a::setgid_root, &[EPERM]),
    ("setresgid(0, 0, 0)", a::setresgid_root, &[EPERM]),
    ("setgroups([0])", a::setgroups_root, &[EPERM]),
    ("capset(all)", a::take_capabilities, &[EPERM]),
    ("prctl(PR_SET_SECUREBITS)", a::keep_capabilities_of_root, &[EPERM]),
    ("open(/etc/passwd)", a::open_passwd, &[ENOENT]),
    ("open(../../../../etc/passwd)", a::open_passwd_above, &[ENOENT]),
    ("open(/proc/1/root/etc/passwd)", a::open_passwd_of_init, &[ENOENT]),
    ("open(/proc/self/../../etc/passwd)", a::open_passwd_of_parent, &[ENOENT]),
    ("open(/proc/self/exe)", a::open_program, &[ENOENT]),
    ("open(/dev/null)", a::open_device, &[ENOENT]),
    ("open(/new, O_CREAT)", a::create_file, &[EACCES]),
    ("mknod(/device)", a::make_device, &[EPERM, EACCES]),
    ("chmod(/)", a::change_root_mode, &[EPERM]),
    ("execve(/bin/sh)", a::execute_shell, &[ENOENT]),
    ("open_by_handle_at", a::open_by_handle, &[EPERM]),
    ("chdir(/etc)", a::chdir_etc, &[ENOENT]),
    ("chdir(../etc)", a::chdir_above_etc, &[ENOENT]),
    ("chroot(.)", a::chroot_here, &[EPERM]),
    ("pivot_root(., .)", a::pivot_root, &[EPERM]),
    ("mount(/)", a::mount, &[EPERM]),
    ("umount2(/)", a::unmount, &[EPERM]),
    ("unshare(CLONE_NEWNS)", a::unshare_mounts, &[EPERM]),
    ("unshare(CLONE_NEWUSER)", a::unshare_users, &[EPERM]),
    ("unshare(CLONE_NEWPID)", a::unshare_processes, &[EPERM]),
    ("setns(parent)", a::enter_namespaces_of_parent, &[EPERM]),
    ("ptrace(PTRACE_ATTACH, parent)", a::attach_to_parent, &[EPERM]),
    ("ptrace(PTRACE_SEIZE, parent)", a::seize_parent, &[EPERM]),
    ("process_vm_readv(parent)", a::read_parent, &[EPERM]),
    ("pidfd_getfd(parent, 0)", a::take_descriptor_of_parent, &[EPERM]),
    ("kill(parent, 0)", a::ask_for_parent, &[EPERM]),
    ("kill(parent, SIGTERM)", a::terminate_parent, &[EPERM]),
    ("kill(parent, SIGKILL)", a::kill_parent, &[EPERM]),
    ("kill(parent, SIGSTOP)", a::stop_parent, &[EPERM]),
    ("pidfd_send_signal(parent, SIGKILL)", a::kill_parent_by_descriptor, &[EPERM]),
    ("prlimit(parent)", a::limit_parent, &[EPERM]),
    ("setpriority(parent)", a::slow_parent, &[EPERM]),
    ("kill(1, SIGKILL)", a::kill_init, &[EPERM]),
    ("socket(SOCK_RAW)", a::open_raw_socket, &[EPERM]),
    ("socket(AF_PACKET)", a::open_packet_socket, &[EPERM]),
    ("clock_settime(0)", a::set_clock, &[EPERM]),
    ("sethostname", a::set_host_name, &[EPERM]),
    ("sched_setscheduler(SCHED_FIFO)", a::be_real_time, &[EPERM]),
    ("setpriority(-5)", a::be_important, &[EACCES]),
    ("acct", a::account, &[EPERM, ENOSYS]),
    ("swapoff(/)", a::swap, &[EPERM, ENOSYS]),
    ("init_module", a::load_module, &[EPERM, ENOSYS]),
    ("reboot", a::restart, &[EPERM]),
];

/// What a task with `LIMITS` tries.
const BEYOND_LIMITS: &[Attempt] = &[
    ("setrlimit(RLIMIT_NPROC, unlimited)", a::raise_processes, &[EPERM]),
    ("setrlimit(RLIMIT_NOFILE, unlimited)", a::raise_files, &[EPERM]),
    ("setrlimit(RLIMIT_FSIZE, unlimited)", a::raise_file_size, &[EPERM]),
    ("fcntl(F_DUPFD, 64)", a::duplicate_beyond_limit, &[EINVAL, EMFILE]),
    ("mlockall", a::lock_memory, &[EPERM, ENOMEM]),
    ("fork", a::fork_a_process, &[EAGAIN]),
    ("mmap(1 TiB)", a::map_beyond_limit, &[ENOMEM]),
    ("ftruncate(1 MiB)", a::grow_file, &[EFBIG]),
];

fn limits() -> [Limit; 6] {
    [
        Limit::Processes(1),
        Limit::OpenFiles(64),
        Limit::FileSize(64 << 10),
        Limit::LockedMemory(0),
        Limit::CoreFile(0),
        Limit::AddressSpace(64 << 30),
    ]
}

/// An empty folder of root's that all may enter, until it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("kpt-root-{}", std::process::id()));
        fs::create_dir(&path).expect("it can be made");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("nothing else is in it");
    }
}

fn start(config: TaskConfig, script: Script) -> TaskHandle {
    let build = |parent: Parent| Scripted::new(parent, script);
    Spawner::new().start(config, build).expect("it starts")
}

/// Reports each attempt that does not end with one of its errors.
fn report(child: &Scripted, attempts: &[Attempt]) -> Result<(), Box<dyn std::error::Error>> {
    for (name, attempt, errors) in attempts {
        let got = attempt().map_err(|error| error.raw_os_error().unwrap_or(0));
        if !got.is_err_and(|number| errors.contains(&number)) {
            child.parent.send(format!("{name}: {got:?}, and not {errors:?}").as_bytes())?;
        }
    }
    child.parent.hang_up();
    Ok(())
}

/// A task that has sent nothing, and has ended well.
fn assert_silent(task: &TaskHandle) {
    let (messages, exit) = receive_all(task);
    let texts: Vec<_> = messages.iter().map(|text| String::from_utf8_lossy(text)).collect();
    assert_eq!((&texts[..], &exit.status), (&[][..], &TaskStatus::Code(0)), "{exit}");
}

/// The text of a task that could not start.
fn failure(config: TaskConfig) -> String {
    let exit = start(config, |_, _| Ok(())).wait();
    let TaskExit { status: TaskStatus::Failed(text), has_started: false, .. } = exit else {
        panic!("{exit}")
    };
    text
}

fn is_root() -> bool {
    namespaces::is_root() || {
        println!("SKIPPED: not root");
        false
    }
}

fn as_another_user_in_a_root_of_its_own_all_that_must_fail_fails() {
    if !is_root() {
        return;
    }
    let folder = Folder::new();
    let config = TaskConfig::new("jail").user(USER, USER, []).root(folder.path()).no_new_privs();
    let config = config.limits(limits());
    let run: Script = |child, _| {
        sys::ignore(SIGXFSZ);
        report(child, OF_ANOTHER_USER)?;
        report(child, BEYOND_LIMITS)
    };
    if is_checked() {
        return println!("SKIPPED: the checker maps more memory than the limit");
    }
    assert_silent(&start(config, run));
}

/// Of the list, what does not concern the root directory, and with groups that it has and one that it has not.
fn as_another_user_without_a_root_its_groups_are_those_that_were_given() {
    if !is_root() {
        return;
    }
    let config = TaskConfig::new("user").user(USER, USER + 1, [USER + 2, USER + 3]);
    let run: Script = |child, _| {
        let status = fs::read_to_string("/proc/self/status")?;
        for (name, numbers) in [
            ("Uid:", &[USER; 4][..]),
            ("Gid:", &[USER + 1; 4]),
            ("Groups:", &[USER + 2, USER + 3]),
            ("CapInh:", &[0]),
            ("CapPrm:", &[0]),
            ("CapEff:", &[0]),
            ("CapAmb:", &[0]),
        ] {
            let line = status.lines().find(|line| line.starts_with(name)).ok_or(name)?;
            let found =
                line.split_whitespace().skip(1).map(str::parse).collect::<Result<Vec<u32>, _>>()?;
            if found != numbers {
                child.parent.send(line.as_bytes())?;
            }
        }
        report(child, &OF_ANOTHER_USER[..9])
    };
    assert_silent(&start(config, run));
}

/// What needs no root: limits and `no_new_privs`.
fn as_nobody_no_limit_is_passed_and_no_program_gives_rights() {
    if is_root() {
        become_nobody().expect("root may do that");
    }
    let limits = [
        Limit::Processes(0),
        Limit::OpenFiles(64),
        Limit::FileSize(64 << 10),
        Limit::LockedMemory(0),
    ];
    let run: Script = |child, _| {
        sys::ignore(SIGXFSZ);
        // AddressSanitizer makes no call for mlockall.
        let is_bound = |(name, ..): &&Attempt| {
            !(name.starts_with("mmap") || is_checked() && name.starts_with("mlockall"))
        };
        let attempts: Vec<_> = BEYOND_LIMITS.iter().filter(is_bound).copied().collect();
        report(child, &attempts)?;
        report(child, &OF_ANOTHER_USER[..9])
    };
    assert_silent(&start(TaskConfig::new("bound").limits(limits).no_new_privs(), run));
}

/// A copy of a program that belongs to root and is setuid, which tells as whom it runs.
fn a_setuid_program_gives_rights_only_without_no_new_privs() {
    if !is_root() {
        return;
    }
    let folder = Folder::new();
    let program = folder.path().join("id");
    fs::copy("/usr/bin/id", &program).expect("it is there");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).expect("it is ours");
    for (config, user) in
        [(TaskConfig::new("with"), "0"), (TaskConfig::new("without").no_new_privs(), "64217")]
    {
        let program = program.clone();
        let build = move |parent: Parent| {
            let output = Command::new(&program).arg("-u").output().expect("it runs");
            parent.send(output.stdout.trim_ascii()).expect("room");
            Scripted::new(parent, |_, _| Ok(()))
        };
        let config = config.user(USER, USER, []);
        let task = Spawner::new().start(config, build).expect("it starts");
        assert_eq!(String::from_utf8_lossy(&message_of(&task)), user);
        use_and_end(&task);
    }
}

/// The limit counts the task itself.
fn a_task_may_fork_up_to_its_limit() {
    if !is_root() {
        return;
    }
    let config = TaskConfig::new("forks").user(USER, USER, []).limits([Limit::Processes(3)]);
    let task = start(config, |child, _| {
        let mut count = 0_u8;
        while a::fork_a_process().is_ok() {
            count += 1;
        }
        child.parent.send(&[count])?;
        Ok(())
    });
    assert_eq!(message_of(&task), [2]);
    use_and_end(&task);
}

fn a_limit_of_cpu_time_ends_a_task() {
    let config = TaskConfig::new("spins").limits([Limit::CpuTime(Duration::from_millis(300))]);
    let begin = Stopwatch::now();
    let exit = start(config, |_, _| {
        loop {
            std::hint::spin_loop();
        }
    })
    .wait();
    assert_eq!(exit.status, TaskStatus::Signal(libc::SIGKILL), "rounded up to a second");
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
}

/// With a user, none of the parent's descriptors is there but those that are named.
fn no_descriptor_is_there_but_those_to_be_kept() {
    if !is_root() {
        return;
    }
    let (kept, other) = (fs::File::open("/etc/passwd"), fs::File::open("/etc/passwd"));
    let (kept, other) = (kept.expect("it is there"), other.expect("it is there"));
    let (number, hidden) = (kept.as_raw_fd(), other.as_raw_fd());
    let build = move |parent: Parent| {
        let results =
            [number, hidden].map(|number| read_number(number).map_err(|e| e.raw_os_error()));
        parent.send(format!("{results:?}").as_bytes()).expect("room");
        Scripted::new(parent, |_, _| Ok(()))
    };
    let nothing = |config: TaskConfig| config.user(USER, USER, []);
    for (config, first) in [
        (nothing(TaskConfig::new("one")).keep_only([&kept]), "Ok(1)".to_owned()),
        (nothing(TaskConfig::new("none")), format!("Err(Some({EBADF}))")),
    ] {
        let task = Spawner::new().start(config, build).expect("it starts");
        let text = String::from_utf8(message_of(&task)).expect("text");
        assert_eq!(text, format!("[{first}, Err(Some({EBADF}))]"));
        use_and_end(&task);
    }
}

fn what_fails_is_named() {
    if !is_root() {
        return;
    }
    let folder = Folder::new();
    let config = || TaskConfig::new("fails");
    let user = || config().user(USER, USER, []);
    let text = failure(user().root("/nonexistent"));
    assert_eq!(
        text,
        "can't make /nonexistent the root directory: No such file or directory (os error 2)"
    );
    let text = failure(config().root(folder.path()));
    assert!(text.contains("could leave its root directory"), "{text}");
    let text = failure(config().user(0, 0, []).root(folder.path()));
    assert!(text.contains("could leave its root directory"), "{text}");
    let directory = fs::File::open("/etc").expect("it is there");
    let text = failure(user().root(folder.path()).keep_only([&directory]));
    assert!(text.contains("is a directory, through which the task could leave its root"), "{text}");
    let text = failure(config().user(u32::MAX, USER, []));
    assert_eq!(text, "can't become user 4294967295: Invalid argument (os error 22)");
    let text = failure(config().user(USER, u32::MAX, []));
    assert_eq!(text, "can't become group 4294967295: Invalid argument (os error 22)");
    let text = failure(config().user(USER, USER, vec![7; 100_000]));
    assert!(text.starts_with("can't set 100000 supplementary groups: "), "{text}");
    let text = failure(config().limits([Limit::OpenFiles(u64::MAX)]));
    assert!(text.starts_with("can't limit open files to 18446744073709551615: "), "{text}");
    let text = failure(config().before_run(|| Err("no filter".into())));
    assert_eq!(text, "before_run: no filter");
    let exit = start(config().before_run(|| panic!("as told")), |_, _| Ok(())).wait();
    assert!(
        matches!(&exit.status, TaskStatus::Panicked(text) if text.contains("as told")),
        "{exit}"
    );
}

fn what_takes_the_rights_of_root_is_named() {
    if is_root() {
        become_nobody().expect("root may do that");
    }
    let config = || TaskConfig::new("fails");
    let text = failure(config().user(USER, USER, []));
    assert_eq!(text, format!("can't become group {USER}: Operation not permitted (os error 1)"));
    let text = failure(config().user(NOBODY, NOBODY, [0]));
    assert_eq!(
        text,
        "can't set the supplementary groups [0]: Operation not permitted (os error 1)"
    );
    let text = failure(config().root("/"));
    assert_eq!(text, "can't make / the root directory: Operation not permitted (os error 1)");
    let text = failure(config().limits([Limit::OpenFiles(1 << 30)]));
    assert_eq!(text, "can't limit open files to 1073741824: Operation not permitted (os error 1)");
    // What is so already takes no rights.
    use_and_end(&start(config().user(NOBODY, NOBODY, []), |_, _| Ok(())));
}

/// As many as the system has room for, and one more.
fn r49_many_groups_are_set_at_once_and_too_many_named() {
    const MOST: u32 = 65_536;
    if !is_root() {
        return;
    }
    let config = |count| TaskConfig::new("many").user(USER, USER, 1_000..1_000 + count);
    let begin = Stopwatch::now();
    use_and_end(&start(config(MOST), |_, _| Ok(())));
    let time = begin.elapsed();
    assert!(is_checked() || time < Duration::from_secs(1), "{time:?}");
    let text = failure(config(MOST + 1));
    let expected = "can't set 65537 supplementary groups: Invalid argument (os error 22)";
    assert_eq!(text, expected);
}

/// Each closure runs once in each task, in order, after all else, and in no other process.
fn before_run_runs_in_each_task_of_a_configuration() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let count = |factor: u32| {
        move || {
            CALLS.store(CALLS.load(Ordering::Relaxed) * 10 + factor, Ordering::Relaxed);
            let limit = fs::read_to_string("/proc/self/limits")?;
            let line = limit.lines().find(|line| line.starts_with("Max open files"));
            if line.is_none_or(|line| !line.contains(" 64 ")) {
                return Err("before the limits".into());
            }
            Ok(())
        }
    };
    let config = TaskConfig::new("counts").limits([Limit::OpenFiles(64)]);
    let config = config.before_run(count(1)).before_run(count(2));
    assert!(format!("{config:?}").contains("before_run: [closure, closure]"), "{config:?}");
    for config in [config.clone(), config.clone(), config] {
        let task = start(config, |child, _| {
            child.parent.send(&CALLS.load(Ordering::Relaxed).to_le_bytes())?;
            Ok(())
        });
        assert_eq!(message_of(&task), 12_u32.to_le_bytes());
        use_and_end(&task);
    }
    assert_eq!(CALLS.load(Ordering::Relaxed), 0, "in the parent");
}

/// A task that is stuck, with all privileges given up, does not outlive its parent: the kernel forgets to tell of the
/// parent's death when a process changes its user.
fn k07_a_task_with_another_user_and_root_does_not_outlive_its_parent() {
    if !is_root() {
        return;
    }
    let folder = Folder::new();
    let (mut reader, writer) = pipe().expect("a pipe");
    let parent = sys::fork_and(|| {
        let config = TaskConfig::new("stuck").user(USER, USER, []).root(folder.path());
        let config = config.limits(limits()).no_new_privs().keep_only([&writer]);
        let task = start(config, |child, _| {
            child.parent.send(b"here")?;
            loop {
                std::hint::spin_loop();
            }
        });
        assert!(
            matches!(task.receive_blocking(), Some(TaskEvent::Message(_))),
            "{:?}",
            task.wait()
        );
        sys::raise(libc::SIGKILL);
    })
    .expect("a fork");
    drop(writer);
    assert_eq!(sys::exit_code(parent).expect("a child"), None);
    let begin = Stopwatch::now();
    // The end comes when the task, which has inherited the writer, is gone.
    reader.read_to_end(&mut Vec::new()).expect("it can be read");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

/// All events come, and it can be stopped and killed, as any task.
fn a_task_without_privileges_is_a_task() {
    if !is_root() {
        return;
    }
    let folder = Folder::new();
    let config = TaskConfig::new("jail").user(USER, USER, []).root(folder.path()).no_new_privs();
    use_and_end(&start(config.clone(), |_, _| Ok(())));
    let killed = start(config.clone(), |_, _| Ok(()));
    killed.kill().unwrap();
    assert_eq!(killed.wait().status, TaskStatus::Signal(libc::SIGKILL));
    let exit = start(config, |_, _| panic!("as told")).wait();
    assert!(
        matches!(&exit.status, TaskStatus::Panicked(text) if text.contains("as told")),
        "{exit}"
    );
}

kpt_tests::scenarios! {
    as_another_user_in_a_root_of_its_own_all_that_must_fail_fails,
    as_another_user_without_a_root_its_groups_are_those_that_were_given,
    as_nobody_no_limit_is_passed_and_no_program_gives_rights,
    a_setuid_program_gives_rights_only_without_no_new_privs,
    a_task_may_fork_up_to_its_limit,
    a_limit_of_cpu_time_ends_a_task,
    no_descriptor_is_there_but_those_to_be_kept,
    what_fails_is_named,
    what_takes_the_rights_of_root_is_named,
    r49_many_groups_are_set_at_once_and_too_many_named,
    before_run_runs_in_each_task_of_a_configuration,
    k07_a_task_with_another_user_and_root_does_not_outlive_its_parent,
    a_task_without_privileges_is_a_task,
}
