//! The examples with tasks as programs: what they print, and that no process of theirs is left.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// The time after which a program counts as hung, and is killed with all of its tasks.
const WATCHDOG: Duration = Duration::from_secs(10);

/// A running example.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    /// Dropped when it has ended.
    _watched: Sender<()>,
}

impl Running {
    fn start(name: &str, args: &[&str]) -> Self {
        let mut child = Command::new(path(name))
            .args(args)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example has been built: by `cargo test --workspace`");
        let group = child.id();
        let (watched, end) = mpsc::channel::<()>();
        thread::spawn(move || {
            if end.recv_timeout(WATCHDOG) == Err(RecvTimeoutError::Timeout) {
                kill(&format!("-{group}"));
            }
        });
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines, _watched: watched }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    /// What it prints until its end, which is a good one. None of those processes is there any more.
    fn finish(mut self, tasks: &[u32]) -> String {
        let mut text = String::new();
        self.lines.read_to_string(&mut text).expect("text");
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "{status}\n{text}");
        let left: Vec<_> = tasks.iter().filter(|&&task| parent_of(task).is_some()).collect();
        assert!(left.is_empty(), "{left:?} are left\n{text}");
        text
    }

    /// The number of the task in a line that ends with it: `worker 1 is process 4711`.
    fn task_in(&self, line: &str) -> u32 {
        let number = line.split("process ").nth(1).and_then(|number| number.parse().ok());
        let number = number.unwrap_or_else(|| panic!("no process in {line:?}"));
        assert_eq!(parent_of(number), Some(self.child.id()), "a process of its own: {line}");
        number
    }
}

/// Examples lie beside the folder of the tests' binaries.
fn path(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its binary");
    own.ancestors().nth(2).expect("target/debug").join("examples").join(name)
}

/// What `ps` would show: the parent of a process that is there, be it a zombie.
fn parent_of(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    // Behind the name in brackets: the state, and the parent.
    stat.ok()?.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

fn kill(target: &str) {
    signal("-9", target);
}

fn signal(signal: &str, target: &str) {
    let _ = Command::new("sh").args(["-c", &format!("kill {signal} {target}")]).status();
}

#[test]
fn task_is_there_while_it_runs_and_not_after() {
    let mut task = Running::start("task", &["--ticks", "3", "--period-ms", "500"]);
    let first = task.line();
    let number = task.task_in(&first);
    let text = task.finish(&[number]);
    for line in [
        "the task says good-bye",
        "from the task: tick 3",
        "the task has ended: exit code 0, as asked",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn server_client_ends_by_itself_with_two_exit_events() {
    let text = Running::start("server_client", &[]).finish(&[]);
    for line in ["server has ended: exit code 0", "client has ended: exit code 0", "Broken pipe"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn echo_tasks_ends_after_its_time() {
    let mut echo = Running::start("echo_tasks", &["--seconds", "1", "--clients", "3"]);
    let tasks: Vec<u32> = (0..4)
        .map(|_| {
            let line = echo.line();
            echo.task_in(&line)
        })
        .collect();
    let text = echo.finish(&tasks);
    assert_eq!(text.matches(": exit code 0, as asked").count(), 4, "{text}");
    assert!(text.contains("3 clients") && !text.contains(" 0 messages"), "{text}");
}

/// One worker after the other is killed from outside. The sum stays right.
#[test]
fn pool_loses_nothing_by_a_worker_that_is_killed() {
    for victim in 0..3 {
        let mut pool =
            Running::start("pool", &["--workers", "3", "--parts", "12", "--up-to", "3000000"]);
        let workers: Vec<u32> = (0..3)
            .map(|_| {
                let line = pool.line();
                pool.task_in(&line)
            })
            .collect();
        kill(&workers[victim].to_string());
        let text = pool.finish(&workers);
        assert!(text.contains(&format!("worker {}: signal 9", victim + 1)), "{text}");
        assert!(text.contains("216816 primes up to 3000000"), "{text}");
        assert!(text.contains("worker 4 is process"), "{text}");
    }
}

/// What a client of the broker gets for a name.
fn ask_broker(address: &str, name: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(name.as_bytes()).expect("it reads");
    stream.write_all(b"\n").expect("it reads");
    let mut content = Vec::new();
    stream.read_to_end(&mut content).expect("it ends");
    content
}

/// The user of a process, its root directory, and how many files it has open besides 0, 1 and 2.
fn confinement_of(process: u32) -> (u32, PathBuf, usize) {
    let folder = Path::new("/proc").join(process.to_string());
    let user = std::fs::metadata(&folder).expect("it runs").uid();
    let root = std::fs::read_link(folder.join("root")).expect("this user may look");
    let files = std::fs::read_dir(folder.join("fd")).expect("this user may look").flatten();
    let is_other = |name: &std::ffi::OsStr| !["0", "1", "2"].iter().any(|number| name == *number);
    let files = files.filter(|file| is_other(&file.file_name()));
    let links = files.filter_map(|file| std::fs::read_link(file.path()).ok());
    (user, root, links.filter(|link| link.starts_with("/") && !link.starts_with("/dev")).count())
}

/// The worker serves what the broker opens for it, and has no file left.
#[test]
fn broker_passes_the_socket_and_the_files() {
    let mut broker = Running::start("broker", &[]);
    let mut lines = [(); 3].map(|()| broker.line());
    lines.sort(); // The broker prints two of them, the worker one.
    let [address, word, process] = &lines;
    let address = address.strip_prefix("listening on ").expect("an address");
    let worker = broker.task_in(process);
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let address = address.to_owned();
            thread::spawn(move || ask_broker(&address, "pool.rs"))
        })
        .collect();
    let content = std::fs::read("pool.rs").expect("tests run in this folder");
    for client in clients {
        assert!(client.join().expect("it has an answer") == content, "another file came");
    }
    for name in ["../Cargo.toml", "/etc/passwd", "..", "node", "", "none.rs"] {
        let answer = String::from_utf8(ask_broker(address, name)).expect("text");
        assert!(answer.starts_with(&format!("{name:?}: ")), "{answer}");
    }
    // It closes a file after its client has all of it.
    let has_files = || confinement_of(worker).2 > 0;
    let patience = Instant::now() + Duration::from_secs(5);
    while has_files() && Instant::now() < patience {
        thread::sleep(Duration::from_millis(10));
    }
    let (user, root, files) = confinement_of(worker);
    if std::fs::metadata("/proc/self").expect("Linux has it").uid() == 0 {
        assert!(user == 65_534 && root != Path::new("/"), "{user} {root:?}");
        assert!(word.contains("can't open /etc/passwd"), "{word}");
    }
    assert_eq!(files, 0);
    signal("-TERM", &broker.child.id().to_string());
    let text = broker.finish(&[worker]);
    assert!(text.contains("the worker has ended: exit code 0, as asked"), "{text}");
}

/// A worker that is stopped gives no sign of life.
#[test]
fn pool_replaces_a_worker_that_hangs() {
    let mut pool =
        Running::start("pool", &["--workers", "2", "--parts", "6", "--up-to", "3000000"]);
    let workers: Vec<u32> = (0..2)
        .map(|_| {
            let line = pool.line();
            pool.task_in(&line)
        })
        .collect();
    signal("-STOP", &workers[1].to_string());
    let text = pool.finish(&workers);
    assert!(text.contains("worker 2: signal 9"), "{text}");
    assert!(text.contains("216816 primes up to 3000000"), "{text}");
}
