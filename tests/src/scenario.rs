//! Tests of processes: each runs in a process with one OS thread, as a task's parent has to be, which the usual harness
//! can't give. What a test leaves behind makes it fail: a child, a zombie, a descriptor.
//!
//! A file of such tests has `harness = false` and ends with [`scenarios!`](crate::scenarios). It takes the usual filter
//! and `--exact`, `--list`, `--ignored`.

use std::collections::BTreeSet;
use std::env;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::panic::{self, AssertUnwindSafe};
use std::process::{self, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::wait_or_kill;
use crate::sys;

/// A test: its name and what it does.
pub type Scenario = (&'static str, fn());

/// Says which scenario the process is for.
const ARG: &str = "--scenario";

/// Whatever a test has started must have gone so long after its end.
const PATIENCE: Duration = Duration::from_secs(3);

/// The main function of a file of scenarios: `scenarios! { k01_child_dies, k02_many_die }`.
#[macro_export]
macro_rules! scenarios {
    ($($name:ident),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            $crate::scenario::main(&[$((stringify!($name), $name as fn())),+])
        }
    };
}

/// The same for scenarios that wait for most of their time: all run at the same time.
#[macro_export]
macro_rules! scenarios_at_once {
    ($($name:ident),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            let scenarios: &[$crate::scenario::Scenario] =
                &[$((stringify!($name), $name as fn())),+];
            $crate::scenario::main_at_once(scenarios, scenarios.len())
        }
    };
}

/// Runs the scenario that this process is for, or all that the arguments ask for, each in a process of its own.
pub fn main(scenarios: &[Scenario]) -> ExitCode {
    main_at_once(scenarios, 1)
}

/// The same with so many at a time.
pub fn main_at_once(scenarios: &[Scenario], at_once: usize) -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [first, name] = &args[..]
        && first == ARG
    {
        return run_here(scenarios, name);
    }
    let is_exact = args.iter().any(|arg| arg == "--exact");
    let filter = args.iter().find(|arg| !arg.starts_with('-')).cloned().unwrap_or_default();
    let is_wanted = |&&(name, _): &&Scenario| {
        if is_exact { name == filter } else { name.contains(&filter) }
    };
    // None is ever ignored.
    let is_none = args.iter().any(|arg| arg == "--ignored");
    let wanted: Vec<_> = scenarios.iter().filter(is_wanted).filter(|_| !is_none).collect();
    if args.iter().any(|arg| arg == "--list") {
        wanted.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", wanted.len());
    let (mut failed, mut skipped) = (0, 0);
    for some in wanted.chunks(at_once) {
        let verdicts: Vec<_> = thread::scope(|scope| {
            let started: Vec<_> =
                some.iter().map(|(name, _)| scope.spawn(|| verdict_of(name))).collect();
            started.into_iter().map(|thread| thread.join().expect("it says so")).collect()
        });
        for verdict in verdicts {
            match verdict {
                Verdict::Passed => {}
                Verdict::Skipped => skipped += 1,
                Verdict::Failed => failed += 1,
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    let passed = wanted.len() - failed;
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; {skipped} skipped\n");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One that has been skipped, or a part of which has, counts as passed.
enum Verdict {
    Passed,
    Skipped,
    Failed,
}

fn verdict_of(name: &str) -> Verdict {
    let (verdict, text) = match panic::catch_unwind(|| run_apart(name)) {
        Ok(false) => (Verdict::Passed, "ok"),
        Ok(true) => (Verdict::Skipped, "ok, SKIPPED"),
        Err(_) => (Verdict::Failed, "FAILED"),
    };
    println!("test {name} ... {text}");
    let _ = std::io::stdout().flush();
    verdict
}

/// Runs a scenario in a process and process group of its own. Whether it says that it was skipped.
fn run_apart(name: &str) -> bool {
    let child = Command::new(env::current_exe().expect("a test knows its binary"))
        .args([ARG, name])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test binary starts");
    let group = child.id();
    let output = wait_or_kill(child);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{name}: {}\n{text}", output.status);
    // What is worth reading of a test that has passed: a skipped one says so.
    for line in text.lines().filter(|line| line.starts_with("SKIPPED") || line.starts_with("NOTE"))
    {
        println!("{name}: {line}");
    }
    let end = Instant::now() + PATIENCE;
    while sys::group_exists(group) {
        assert!(Instant::now() < end, "{name}: leaves an orphan\n{text}");
        thread::sleep(Duration::from_millis(5));
    }
    text.lines().any(|line| line.starts_with("SKIPPED"))
}

/// Runs a scenario in this process, and looks at what it leaves behind.
fn run_here(scenarios: &[Scenario], name: &str) -> ExitCode {
    let Some((_, run)) = scenarios.iter().find(|(other, _)| *other == name) else {
        eprintln!("no scenario is called {name}");
        return ExitCode::FAILURE;
    };
    let (me, before) = (process::id(), descriptors());
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    if process::id() != me {
        // A task has come back into its parent's code.
        eprintln!("{name}: a child has returned");
        sys::kill_group(me);
    }
    if result.is_err() {
        return ExitCode::FAILURE;
    }
    if sys::has_children() {
        eprintln!("{name}: leaves a child or a zombie");
        return ExitCode::FAILURE;
    }
    let after = descriptors();
    if after != before {
        eprintln!("{name}: descriptors before {before:?}, after {after:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The descriptors that this process has open, and what they are.
pub fn descriptors() -> BTreeSet<(i32, String)> {
    let folder = std::fs::read_dir("/proc/self/fd").expect("Linux has it");
    let mut open = BTreeSet::new();
    for entry in folder.flatten() {
        let number = entry.file_name().to_string_lossy().parse().expect("a number");
        // The folder itself, as it is read, says its own name.
        if let Ok(target) = std::fs::read_link(entry.path())
            && !target.to_string_lossy().ends_with("/fd")
        {
            open.insert((number, target.to_string_lossy().into_owned()));
        }
    }
    open
}
