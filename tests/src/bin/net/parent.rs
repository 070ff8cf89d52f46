//! The processes of a row: its parent, and the parts of which its tasks are made.

use std::cell::RefCell;
use std::error::Error;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;
use std::{env, fs, io, thread};

use kpt_std::{Child, Parent, Spawner, TaskConfig, TaskEvent, TaskHandle, Threads};
use kpt_tests::attack::{self, Hold};
use kpt_tests::sys;
use kpt_tests::sys::family;

use super::folder;
use super::row::{End, Row};

/// Says that this program is executed by a task, and what it does then.
pub const PROGRAM: &str = "--program";

/// The environment variable with the folder of the programs.
pub const FOLDER: &str = "KPT_NET_FOLDER";

/// In the parent of a row.
pub fn be_parent(row: &Row) -> ! {
    (row.parent)();
    say("placed");
    // Until it is killed, or told to end.
    let _ = io::stdin().read(&mut [0]);
    if let End::Does(end) = row.end {
        end();
    }
    hang()
}

/// Says a line to the observer.
pub fn say(line: &str) {
    // One call for a whole line.
    println!("{line}");
}

thread_local! {
    /// In a task: its parent.
    static PARENT: RefCell<Option<Parent>> = const { RefCell::new(None) };
}

/// In a task, or in the program that it has become: says that it does now what it is there for.
pub fn ready() {
    say("ready");
    PARENT.with_borrow(|parent| {
        if let Some(parent) = parent {
            parent.send(b"ready").expect("the queue holds a word");
        }
    });
}

pub fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

/// A task that is ready, and hangs.
pub fn hung() {
    ready();
    hang();
}

/// A task that ends when its parent does.
pub fn well() {}

/// A task that stops itself whenever it goes on.
pub fn stopped() {
    ready();
    loop {
        sys::raise(libc::SIGSTOP);
    }
}

/// A task that hangs, and has changed its user.
pub fn other_user() {
    sys::become_user(65_534).expect("root may do that");
    hung();
}

/// Does its part, and then serves its loop if that returns.
struct Acts(fn());

impl Child for Acts {
    type Arg = ();

    fn pre_run(&mut self, _: Threads<Self>) -> Result<(), Box<dyn Error>> {
        (self.0)();
        ready();
        Ok(())
    }

    fn pre_stop(&mut self, _: Threads<Self>) {
        say("pre_stop");
    }
}

/// Starts a task that does `act`. Returns its number.
pub fn start(act: fn()) -> u32 {
    start_with(&Spawner::new(), TaskConfig::new("task"), act)
}

/// The same with a spawner and a configuration.
pub fn start_with(spawner: &Spawner, config: TaskConfig, act: fn()) -> u32 {
    leak(start_task(spawner, config, act))
}

/// Starts a task that does `act`, and waits until it is ready.
pub fn start_and_wait(act: fn()) -> u32 {
    let task = start_task(&Spawner::new(), TaskConfig::new("task"), act);
    assert!(matches!(task.receive_blocking(), Some(TaskEvent::Message(_))), "it is ready");
    leak(task)
}

/// Starts so many tasks that end at once, one after the other, and then one that does `act`.
pub fn start_after_others(count: usize, act: fn()) -> u32 {
    let spawner = Spawner::new();
    for _ in 0..count {
        start_task(&spawner, TaskConfig::new("short"), || process::exit(0)).wait();
    }
    start_with(&spawner, TaskConfig::new("task"), act)
}

fn start_task(spawner: &Spawner, config: TaskConfig, act: fn()) -> TaskHandle {
    let build = |parent| {
        PARENT.set(Some(parent));
        Acts(act)
    };
    spawner.start(config, build).expect("it starts")
}

/// What dropping a handle does is not what is tried.
fn leak(task: TaskHandle) -> u32 {
    let number = task.id();
    std::mem::forget(task);
    number
}

/// Forks a process that is no task and none of the row's, and does `work`.
pub fn fork_helper(work: impl FnOnce()) -> u32 {
    let helper = sys::fork_and(work).expect("a fork");
    say(&format!("helper {helper}"));
    helper
}

/// Has a helper hold a process, as a debugger does.
pub fn trace(process: u32, hold: Hold) {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    fork_helper(|| {
        let result = attack::hold(process, hold, || drop(writer));
        if let Err(error) = result {
            say(&format!("skipped {error}"));
        }
    });
    // Until it is held.
    let _ = reader.read(&mut [0]);
}

/// Returns the guards of a process.
pub fn list_guards_of(parent: u32) -> Vec<u32> {
    let children = family::children_of(parent).into_iter();
    let guards = children.filter(|child| child.name == "kpt-guard" && !child.is_dead());
    guards.map(|guard| guard.id).collect()
}

/// Returns the guards of a process that has a certain number of them.
pub fn guards_of<const COUNT: usize>(parent: u32) -> [u32; COUNT] {
    // A new one gives itself its name, and one that was killed has to end.
    loop {
        if let Ok(guards) = list_guards_of(parent).try_into() {
            return guards;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Kills the guard of this process, and waits for its end.
pub fn kill_guard() {
    let [guard] = guards_of(process::id());
    sys::kill(guard);
    let [] = guards_of(process::id());
}

/// In a task, or in a child of it: becomes a program of the folder.
pub fn execute(program: &str, what: &str) {
    let error = Command::new(folder().join(program)).args([PROGRAM, what]).exec();
    panic!("{program}: {error}");
}

/// In a program that a task has become.
pub fn be_program(what: &str) -> ! {
    match what {
        "plain" => {}
        "setuid" if !family::has_effective_rights_of_root() => say("skipped no setuid programs"),
        "setuid" => {}
        "setgid" if !family::has_effective_group_of_root() => say("skipped no setgid programs"),
        "setgid" => {}
        "root" if family::become_root().is_err() => say("skipped no setuid programs"),
        "root" => {}
        other => panic!("no such program: {other}"),
    }
    hung();
    hang()
}

/// Copies of this program that each user may execute, in a folder that is removed at the end. For root, one of them has
/// the rights of root, and one has its group.
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    pub fn new() -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("kpt-net-{}", process::id()));
        fs::create_dir(&folder)?;
        let programs = Self { folder };
        fs::set_permissions(&programs.folder, fs::Permissions::from_mode(0o755))?;
        let own = env::current_exe()?;
        for (name, mode) in [("plain", 0o755), ("setuid", 0o4_755), ("setgid", 0o2_755)] {
            let copy = programs.folder.join(name);
            fs::copy(&own, &copy)?;
            fs::set_permissions(&copy, fs::Permissions::from_mode(mode))?;
        }
        Ok(programs)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
