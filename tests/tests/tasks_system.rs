//! What parents are and what the system refuses them: calls that fail, limits, clocks that differ, signals and descriptors
//! that are odd.

use std::env;
use std::fs::File;
use std::io::pipe;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant as Stopwatch};

use kpt_core::poller::{Poller, Ready, Unwatchable};
use kpt_std::{
    Builder, Child, EventLoop, Instant, Interest, Parent, SelectPoller, SendError, Source, Spawner,
    StopStep, TaskConfig, TaskEvent, TaskStatus, Thread, Threads,
};
use kpt_tests::chance::{is_checked, is_deep, is_under_valgrind};
use kpt_tests::scenario::descriptors;
use kpt_tests::sys;
use kpt_tests::tasks::{One, Script, Scripted, message_of, receive_all, start, use_and_end};
use kpt_tests::wall_clock::with_wall_clock_step;
use libc::{SIGKILL, SIGTERM};

const GRACE: Duration = Duration::from_secs(8);

/// Both ways, in queues that hold no more than they must.
fn m11_exactly_the_most_passes_in_the_smallest_queue() {
    for most in [0, 1, 100, 65_536, 16 << 20] {
        let config = TaskConfig::new("most").max_message(most).queue(0);
        let build = |parent| Scripted::new(parent, |_, _| Ok(()));
        let task = Spawner::new().start(config, build).expect("it starts");
        let message = vec![5; most];
        for _ in 0..3 {
            task.send(&message).expect("room");
            assert_eq!(task.send(&vec![5; most + 1]), Err(SendError::TooLong));
            assert!(message_of(&task) == message);
        }
        task.stop(GRACE);
        assert_eq!(task.wait().status, TaskStatus::Code(0));
    }
}

/// A parent that stands still for longer than the grace: its tasks end well all the same, and nothing is lost.
fn a_stopped_parent_finds_all_that_happened() {
    let parent = sys::fork_and(|| {
        let spawner = Spawner::new();
        let config = TaskConfig::new("talks").queue(8 << 20);
        let talk = |parent| {
            Scripted::new(parent, |child, _| {
                (0..60_u8).try_for_each(|at| child.parent.send(&[at; 60_000]))?;
                std::process::exit(7)
            })
        };
        let talks = spawner.start(config, talk).expect("it starts");
        let asked = start(&spawner, |child, _| Ok(child.parent.send(b"here")?));
        message_of(&asked);
        asked.stop(Duration::from_millis(300));
        sys::stop_myself();
        let (messages, exit) = receive_all(&talks);
        assert_eq!((messages.len(), exit.status), (60, TaskStatus::Code(7)));
        let exit = asked.wait();
        assert_eq!((exit.status, exit.stopped), (TaskStatus::Code(0), Some(StopStep::Asked)));
    })
    .expect("a fork");
    sys::wait_until_stopped(parent).expect("it stops");
    // Longer than the grace.
    thread::sleep(Duration::from_millis(400));
    sys::resume(parent);
    assert_eq!(sys::exit_code(parent).expect("a child"), Some(0));
}

/// The parent's output has nobody who reads it. Its tasks have the same, and live until they print.
fn a_closed_standard_output_ends_only_who_prints() {
    const NAME: &str = "a_closed_standard_output_ends_only_who_prints";
    if env::var_os("KPT_TESTS_INNER").is_none() {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(env::current_exe().expect("a test knows its binary"))
            .args(["--scenario", NAME])
            .env("KPT_TESTS_INNER", "1")
            .stdin(Stdio::null())
            .stdout(writer)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    print!("never written");
    use_and_end(&start(&Spawner::new(), |_, _| Ok(())));
    let prints = start(&Spawner::new(), |child, _| {
        child.parent.send(b"last words")?;
        println!("no use");
        Ok(())
    });
    let (messages, exit) = receive_all(&prints);
    assert_eq!(messages, [b"last words"]);
    assert!(matches!(exit.status, TaskStatus::Panicked(_)), "{exit}");
}

/// A poller whose clock begins with it, as that of another system might.
struct FromNow {
    inner: SelectPoller,
    start: Instant,
}

impl Poller for FromNow {
    type Error = std::io::Error;

    const LOOK_AFTER_HOOKS: u32 = SelectPoller::LOOK_AFTER_HOOKS;

    fn now(&mut self) -> Instant {
        Instant::ZERO + self.inner.now().saturating_duration_since(self.start)
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        self.inner.modify(source, interest)
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> std::io::Result<Instant> {
        let until = self.start + until.saturating_duration_since(Instant::ZERO);
        let now = self.inner.wait(until, ready)?;
        Ok(Instant::ZERO + now.saturating_duration_since(self.start))
    }
}

fn k05_the_ladder_holds_on_any_clock() {
    let mut inner = SelectPoller::new();
    let start_time = inner.now();
    let poller = FromNow { inner, start: start_time };
    let mut kpt = Builder::new().threads(2).build_on(poller).unwrap();
    let task = start(&kpt.spawner(), |child, _| {
        child.parent.send(b"deaf")?;
        loop {
            thread::sleep(GRACE);
        }
    });
    message_of(&task);
    task.stop(Duration::from_millis(300));
    let begin = Stopwatch::now();
    let events = One::run(&mut kpt, task);
    let [TaskEvent::Exit(exit)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(exit.status, TaskStatus::Signal(SIGTERM));
    assert!(begin.elapsed() >= Duration::from_millis(149), "{:?}", begin.elapsed());
}

static SENT: AtomicUsize = AtomicUsize::new(0);

/// Says a little for each message, however long.
struct Brief(Parent);

impl Child for Brief {
    type Arg = ();

    fn on_message(&mut self, _: Vec<u8>, _: Threads<Self>) {
        self.0.send(b"x").expect("room");
    }
}

/// The loop can watch the channel, and not the process, whose descriptor is too high: its end is seen all the same, also
/// after the interest in the channel has changed.
fn k16_a_process_beyond_what_the_poller_can_watch_is_seen() {
    if is_under_valgrind() {
        return println!("SKIPPED: valgrind has numbers of its own");
    }
    sys::set_descriptor_limit(64).expect("it can be lowered");
    let mut kpt = EventLoop::with_capacity(2).unwrap();
    sys::raise_descriptor_limit().expect("up to the hard limit is allowed");
    let null = File::open("/dev/null").expect("Linux has it");
    let high = sys::duplicate_from(&null, 100).expect("a number is free");
    drop(null);
    let copy = || sys::duplicate_from(&high, 3).expect("a number is free");
    let mut fill: Vec<OwnedFd> =
        std::iter::repeat_with(copy).take_while(|copy| copy.as_raw_fd() < 64).collect();
    // The channel gets the last number that can be watched.
    drop(fill.pop());
    let spawner = kpt.spawner();
    let task = spawner.start(TaskConfig::new("brief"), Brief).expect("it starts");
    // More than goes at once: the loop waits until it can write as well, and then no more.
    while task.send(&[7; 60_000]).is_ok() {
        SENT.fetch_add(1, Ordering::Relaxed);
    }
    let kill = |state: &mut One, thread: Thread<One>| {
        if state.events.len() < SENT.load(Ordering::Relaxed) {
            return thread.again();
        }
        sys::kill(state.task.id());
    };
    kpt.threads().add_timer("kill", Duration::from_millis(1), kill, ()).expect("room");
    let events = One::run(&mut kpt, task);
    let Some(TaskEvent::Exit(exit)) = events.last() else { panic!("{} events", events.len()) };
    assert_eq!(exit.status, TaskStatus::Signal(SIGKILL));
}

/// The one that has forked ends, and the process lives on by another one: so does the task.
fn k08_a_task_outlives_the_thread_that_forked_it() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let parent = sys::fork_and(|| {
        let task = start(&Spawner::new(), |child, _| Ok(child.parent.send(b"here")?));
        message_of(&task);
        let number = task.id();
        thread::spawn(move || {
            // Longer than the net gives an orphan.
            thread::sleep(Duration::from_millis(1_300));
            let is_there = sys::is_running(number);
            sys::kill(number);
            sys::wait_for(number).expect("a child");
            if is_there {
                // Without a look for leaks, as an exit would have.
                sys::kill(std::process::id());
            }
            std::process::exit(9);
        });
        std::mem::forget(task);
        sys::end_this_thread();
    })
    .expect("a fork");
    drop(writer);
    assert_eq!(sys::exit_code(parent).expect("a child"), None, "the task has been killed");
    std::io::Read::read_to_end(&mut reader, &mut Vec::new()).expect("it can be read");
}

/// The limit is 2^20 where that is allowed; up to 5,000 descriptors are open, and one as high as it goes.
fn k13_many_descriptors_and_a_limit_beyond_counting() {
    if is_under_valgrind() {
        return println!("SKIPPED: valgrind has limits of its own");
    }
    if sys::set_descriptor_limits(1 << 20).is_err() {
        println!("SKIPPED in part: the hard limit can't be raised here");
        sys::raise_descriptor_limit().expect("up to the hard limit is allowed");
    }
    let null = File::open("/dev/null").expect("Linux has it");
    let copy = |lowest| sys::duplicate_from(&null, lowest).ok();
    let high = [1_000_000, 19_000, 4_000, 900].into_iter().find_map(copy).expect("any is free");
    let mut fill: Vec<_> = (0..5_000).map_while(|_| copy(3)).collect();
    // For what the task and the test need.
    fill.truncate(fill.len() - 20);
    println!("NOTE {} descriptors, and number {}", fill.len(), high.as_raw_fd());
    let count: Script = |child, _| {
        let open = descriptors().into_iter().filter(|(_, target)| target == "/dev/null").count();
        child.parent.send(&(open as u32).to_le_bytes())?;
        Ok(())
    };
    let mut kpt = EventLoop::with_capacity(2).unwrap();
    for config in [TaskConfig::new("all"), TaskConfig::new("few").keep_only([&high])] {
        let spawner = kpt.spawner();
        let begin = Stopwatch::now();
        let build = |parent| Scripted::new(parent, count);
        let task = spawner.start(config, build).expect("it starts");
        let open = message_of(&task).try_into().map_or(0, u32::from_le_bytes) as usize;
        assert!(open >= fill.len(), "numbers are kept: {open}");
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        use_and_end(&task);
    }
    // On the loop, too.
    let task = start(&kpt.spawner(), |child, _| {
        child.parent.send(b"here")?;
        child.parent.hang_up();
        Ok(())
    });
    let events = One::run(&mut kpt, task);
    assert!(matches!(events[..], [TaskEvent::Message(_), TaskEvent::Exit(_)]), "{events:?}");
}

fn k14_a_parent_that_blocks_all_signals_has_tasks_that_do_not() {
    (1..=64).for_each(sys::block);
    let spawner = Spawner::new();
    use_and_end(&start(&spawner, |_, _| Ok(())));
    let deaf = start(&spawner, |child, _| {
        child.parent.send(b"deaf")?;
        loop {
            thread::sleep(GRACE);
        }
    });
    message_of(&deaf);
    deaf.stop(Duration::from_millis(200));
    assert_eq!(deaf.wait().status, TaskStatus::Signal(SIGTERM));
}

fn b07_the_wall_clock_back_by_a_day_moves_no_deadline_of_a_task() {
    const NAME: &str = "b07_the_wall_clock_back_by_a_day_moves_no_deadline_of_a_task";
    with_wall_clock_step(NAME, -86_400, keep_time);
}

fn b07_the_wall_clock_ahead_by_a_day_moves_no_deadline_of_a_task() {
    const NAME: &str = "b07_the_wall_clock_ahead_by_a_day_moves_no_deadline_of_a_task";
    with_wall_clock_step(NAME, 86_400, keep_time);
}

fn keep_time() {
    let begin = Stopwatch::now();
    let task = start(&Spawner::new(), |child, mut threads| {
        child.parent.send(b"here")?;
        let tick = |child: &mut Scripted, thread: Thread<Scripted>| {
            child.parent.send(b"tick").expect("room");
            thread.again();
        };
        threads.add_timer("tick", Duration::from_millis(40), tick, ())?;
        Ok(())
    });
    (0..6).for_each(|_| drop(message_of(&task)));
    assert!(begin.elapsed() >= Duration::from_millis(200), "{:?}", begin.elapsed());
    sys::signal(task.id(), libc::SIGSTOP);
    sys::wait_until_stopped(task.id()).expect("it stops");
    let begin = Stopwatch::now();
    task.stop(Duration::from_millis(400));
    assert_eq!(task.wait().stopped, Some(StopStep::Terminated));
    let passed = begin.elapsed().as_millis();
    assert!((200..400).contains(&passed) || is_checked(), "{passed} ms");
}

/// Which call of the system fails, and how; each is tried at the first time, the second, and with `KPT_DEEP=1` so on. As
/// strace counts for each process anew, it fails in the parent and in its tasks.
const FAILURES: [(&str, &str); 15] = [
    ("socketpair", "EMFILE"),
    ("unshare", "EPERM"),
    ("statx", "ENOENT"),
    ("clone", "EAGAIN"),
    ("clone", "ENOMEM"),
    ("pidfd_open", "EMFILE"),
    ("pidfd_open", "ENOSYS"),
    ("timer_create", "EAGAIN"),
    ("prctl", "EPERM"),
    ("pselect6,select", "ENOMEM"),
    ("pselect6,select", "EINTR"),
    ("waitid", "EINTR"),
    ("sendto", "EINTR"),
    ("recvfrom", "ENOMEM"),
    ("poll,ppoll", "ENOMEM"),
];

/// It may be told by any error: nothing hangs, panics or is left.
fn k16_whatever_call_fails_nothing_hangs_or_is_left() {
    const NAME: &str = "k16_whatever_call_fails_nothing_hangs_or_is_left";
    if env::var_os("KPT_TESTS_INNER").is_some() {
        return use_tasks_however_they_fail();
    }
    if is_checked() {
        return println!("SKIPPED: strace under a checker");
    }
    let mut runs = 0;
    for (call, error) in FAILURES {
        for when in 1..=if is_deep() { 50 } else { 2 } {
            let inject = format!("inject={call}:error={error}:when={when}");
            let strace = Command::new("strace")
                .args(["-f", "-qq", "-e", &format!("trace={call}"), "-e", &inject])
                .arg(env::current_exe().expect("a test knows its binary"))
                .args(["--scenario", NAME])
                .env("KPT_TESTS_INNER", "1")
                .stdin(Stdio::null())
                .output();
            let Ok(output) = strace else { return println!("SKIPPED: there is no strace") };
            let text = String::from_utf8_lossy(&output.stderr);
            if !text.contains("(INJECTED)") {
                break;
            }
            let has_begun = output.stdout.starts_with(b"begin");
            assert!(output.status.success() || !has_begun, "{inject}: {}\n{text}", output.status);
            runs += 1;
        }
    }
    println!("NOTE {runs} calls have failed");
}

fn use_tasks_however_they_fail() {
    println!("begin");
    let mut kpt = EventLoop::with_capacity(2).unwrap();
    let spawners = [Spawner::new(), kpt.spawner()];
    let null = File::open("/dev/null").expect("Linux has it");
    for config in [TaskConfig::new("all"), TaskConfig::new("few").keep_only([&null])] {
        for (at, spawner) in spawners.iter().enumerate() {
            let talk: Script = |child, _| Ok(child.parent.send(b"here")?);
            let build = |parent| Scripted::new(parent, talk);
            let Ok(task) = spawner.start(config.clone(), build) else { continue };
            let _ = task.send(b"echo");
            task.stop(Duration::from_millis(400));
            if at == 1 {
                kpt.threads().add_read("task", task.source(), One::on_task, ()).expect("room");
                let mut state = One { task, events: Vec::new() };
                // What fails once does not fail for ever.
                while kpt.run(&mut state).is_err() {}
                assert!(matches!(state.events.last(), Some(TaskEvent::Exit(_))));
            } else {
                task.wait();
            }
        }
    }
}

kpt_tests::scenarios! {
    m11_exactly_the_most_passes_in_the_smallest_queue,
    a_stopped_parent_finds_all_that_happened,
    a_closed_standard_output_ends_only_who_prints,
    k05_the_ladder_holds_on_any_clock,
    k16_a_process_beyond_what_the_poller_can_watch_is_seen,
    k08_a_task_outlives_the_thread_that_forked_it,
    k13_many_descriptors_and_a_limit_beyond_counting,
    k14_a_parent_that_blocks_all_signals_has_tasks_that_do_not,
    b07_the_wall_clock_back_by_a_day_moves_no_deadline_of_a_task,
    b07_the_wall_clock_ahead_by_a_day_moves_no_deadline_of_a_task,
    k16_whatever_call_fails_nothing_hangs_or_is_left,
}
