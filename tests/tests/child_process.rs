//! Ordinary child processes as sources.

use std::env;
use std::io::{ErrorKind, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use kpt_std::tape::{self, Recording, Replay};
use kpt_std::{ChildProcess, EventLoop, Exit, Thread, source};
use kpt_tests::loops::real_loop;
use kpt_tests::real::Real;
use kpt_tests::sys;
use kpt_tests::tape::Memory;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

#[derive(Default)]
struct App {
    statuses: Vec<ExitStatus>,
    calls: u32,
}

impl App {
    fn on_exit(&mut self, mut thread: Thread<App, ChildProcess>) {
        self.calls += 1;
        match thread.arg.try_wait().expect("nobody else waits") {
            Some(status) => self.statuses.push(status),
            None => thread.again(),
        }
    }
}

fn each_end_is_told_with_its_status() {
    for real in Real::all() {
        let mut app = App::default();
        let mut kpt = real_loop::<App, ChildProcess>(4, real);
        for script in ["exit 3", "kill -9 $$", "exec sleep 0.05", "exit 3"] {
            let child = ChildProcess::spawn(&mut shell(script)).unwrap();
            kpt.threads().add_read("child", source(&child), App::on_exit, child).unwrap();
        }
        assert_eq!(kpt.run(&mut app).unwrap(), Exit::Empty);
        let mut codes: Vec<_> = app.statuses.iter().map(ExitStatus::code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [None, Some(0), Some(3), Some(3)]);
        assert_eq!(app.calls, 4, "called when none had ended");
    }
}

fn p09_the_end_before_the_thread_was_added_is_told() {
    for real in Real::all() {
        let mut app = App::default();
        let mut kpt = real_loop::<App, ChildProcess>(1, real);
        let child = ChildProcess::spawn(&mut shell("exit 7")).unwrap();
        sys::wait_until_ended(child.id());
        kpt.threads().add_read("child", source(&child), App::on_exit, child).unwrap();
        assert_eq!(kpt.run(&mut app).unwrap(), Exit::Empty);
        assert_eq!(app.statuses[0].code(), Some(7));
    }
}

fn it_does_what_a_child_of_the_standard_library_does() {
    let mut child = ChildProcess::spawn(shell("echo $0").stdout(Stdio::piped())).unwrap();
    let mut text = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut text).unwrap();
    assert_eq!(text, "sh\n");
    assert!(child.wait().unwrap().success());
    let mut child = ChildProcess::spawn(&mut shell("exec sleep 60")).unwrap();
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None);
}

/// What it prints goes through `tape::bytes`. Nothing is started in the replay.
fn a_replay_has_the_end_that_is_on_the_tape() {
    let path = env::temp_dir().join(format!("kpt-tests-child-{}", std::process::id()));
    let story = || {
        let mut script = shell("echo hello; touch $0; exit 3");
        let script = script.arg(&path).stdout(Stdio::piped());
        let mut app = App::default();
        let mut child = ChildProcess::spawn(script).unwrap();
        let mut stdout = child.stdout.take().expect("a pipe");
        let printed = tape::bytes(1, || {
            let mut printed = Vec::new();
            stdout.read_to_end(&mut printed)?;
            Ok(printed)
        });
        let id = child.id();
        app.statuses.push(child.wait().unwrap());
        let mut killed = ChildProcess::spawn(&mut shell("exec sleep 60")).unwrap();
        assert!(killed.try_wait().unwrap().is_none());
        killed.kill().unwrap();
        app.statuses.push(killed.wait().unwrap());
        let missing = ChildProcess::spawn(&mut Command::new("/no/such/program"));
        let code = missing.unwrap_err().raw_os_error();
        (printed.unwrap(), id, app.statuses, code)
    };
    let memory = Memory::default();
    let recording = Recording::start(memory.clone()).unwrap();
    let _kpt = EventLoop::<()>::new().unwrap();
    let said = story();
    recording.stop().unwrap();
    assert_eq!((&said.0[..], said.2[0].code()), (&b"hello\n"[..], Some(3)));
    std::fs::remove_file(&path).unwrap();
    let replay = Replay::start(&memory.bytes()).unwrap();
    assert_eq!(story(), said);
    assert_eq!((replay.left(), replay.divergence().is_none()), (0, true));
    assert!(!path.exists());
}

fn a_dropped_one_runs_on() {
    let child = ChildProcess::spawn(&mut shell("exec sleep 0.1; exit 1")).unwrap();
    let id = child.id();
    drop(child);
    assert!(sys::is_running(id));
    assert_eq!(sys::exit_code(id).unwrap(), Some(0), "it was not killed");
}

fn a_program_that_is_not_there_is_an_error() {
    let error = ChildProcess::spawn(&mut Command::new("/no/such/program")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// This scenario once more, in a process in which `pidfd_open` fails with this error.
fn with_failing_pidfd_open(name: &str, error: &str, test: impl FnOnce()) {
    if env::var_os("KPT_TESTS_INNER").is_some() {
        return test();
    }
    let strace = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=pidfd_open", "-e"])
        .arg(format!("inject=pidfd_open:error={error}"))
        .arg(env::current_exe().expect("a test knows its binary"))
        .args(["--scenario", name])
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
}

fn p10_without_descriptors_for_processes_nothing_is_started() {
    const NAME: &str = "p10_without_descriptors_for_processes_nothing_is_started";
    with_failing_pidfd_open(NAME, "ENOSYS", || {
        let file = env::temp_dir().join(format!("kpt-p10-{}", std::process::id()));
        let error = ChildProcess::spawn(Command::new("touch").arg(&file)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("pidfd_open"), "{error}");
        std::thread::sleep(Duration::from_millis(50));
        assert!(!file.exists());
    });
}

/// That no child and no zombie is left, each scenario checks.
fn p10_for_want_of_a_descriptor_nothing_is_left() {
    const NAME: &str = "p10_for_want_of_a_descriptor_nothing_is_left";
    with_failing_pidfd_open(NAME, "EMFILE", || {
        let error = ChildProcess::spawn(&mut shell("exec sleep 60")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    });
}

kpt_tests::scenarios! {
    each_end_is_told_with_its_status,
    p09_the_end_before_the_thread_was_added_is_told,
    it_does_what_a_child_of_the_standard_library_does,
    a_replay_has_the_end_that_is_on_the_tape,
    a_dropped_one_runs_on,
    a_program_that_is_not_there_is_an_error,
    p10_without_descriptors_for_processes_nothing_is_started,
    p10_for_want_of_a_descriptor_nothing_is_left,
}
