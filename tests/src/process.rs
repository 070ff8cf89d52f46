//! Tests in a process of their own: those that change limits or signals, and those that would hang if they failed.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::chance::{is_checked, is_deep};
use crate::real::Real;
use crate::sys;

/// Tells a test that it is in its own process, by its name.
const OWN_PROCESS: &str = "KPT_TESTS_OWN_PROCESS";

/// Tells a test in its own process which loop and poller it is for, by its number.
const LOOP: &str = "KPT_TESTS_LOOP";

/// After so long a process hangs, on however slow a machine.
const WATCHDOG: Duration = Duration::from_secs(10);
const WATCHDOG_IF_LONG: Duration = Duration::from_secs(600);

/// Runs `test` in a process of its own, which is killed with all of its children after 10 s.
///
/// `name` is the name of the test that calls this: the process is the same test binary, told to run only that.
///
/// # Panics
/// If the test fails, does not end, or `name` is not its name.
pub fn in_own_process(name: &str, test: impl FnOnce()) {
    in_own_process_with(name, |_| {}, test);
}

/// The same, with a command that is changed by `prepare`: an environment variable, say.
///
/// # Panics
/// See [`in_own_process`].
pub fn in_own_process_with(name: &str, prepare: impl FnOnce(&mut Command), test: impl FnOnce()) {
    if is_own_process(name) {
        return test();
    }
    let mut command = command(name);
    prepare(&mut command);
    let child = command.spawn().expect("the test binary starts");
    let output = wait_or_kill(child);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("test result: ok. 1 passed"),
        "{name} in its own process: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The same for a loop of each kind on each poller, in a process each.
///
/// # Panics
/// See [`in_own_process`].
pub fn all_in_own_process(name: &str, test: impl Fn(Real)) {
    these_in_own_process(name, Real::all().collect(), &test);
}

/// The same for some of them.
///
/// # Panics
/// See [`in_own_process`].
pub fn these_in_own_process(name: &str, these: Vec<Real>, test: &dyn Fn(Real)) {
    for (number, real) in these.into_iter().enumerate() {
        let number = number.to_string();
        let is_other = std::env::var(LOOP).is_ok_and(|other| other != number);
        if !is_other {
            in_own_process_with(name, |command| _ = command.env(LOOP, number), || test(real));
        }
    }
}

/// Whether this is the process that [`in_own_process`] started for the test of that name.
pub fn is_own_process(name: &str) -> bool {
    std::env::var_os(OWN_PROCESS).is_some_and(|own| own == name)
}

/// The command that runs a test of this binary in a process, and process group, of its own.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its binary"));
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(OWN_PROCESS, name)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The output of the process when it has ended.
///
/// # Panics
/// If it does not end within 10 s, after it has been killed together with its group. A long test has 10 minutes, and so
/// has each under a checker of memory.
pub fn wait_or_kill(child: std::process::Child) -> Output {
    let watchdog = if is_deep() || is_checked() { WATCHDOG_IF_LONG } else { WATCHDOG };
    let group = child.id();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = sender.send(child.wait_with_output());
    });
    if let Ok(output) = receiver.recv_timeout(watchdog) {
        return output.expect("the output can be read");
    }
    sys::kill_group(group);
    let output = receiver.recv().expect("the reader lives").expect("the output can be read");
    panic!(
        "hangs; killed\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
