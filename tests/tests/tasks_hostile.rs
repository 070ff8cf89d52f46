//! A parent with a 10 ms timer, three tasks that answer, and one that is hostile, in one way after the other: 3 s, or 60 s
//! with `KPT_DEEP=1`. The timer is not late, the memory stays bounded, and the other tasks are not disturbed.
//!
//! How late a timer is depends on what else the machine does: the time for which the parent was ready to run, and others
//! ran, is told from the rest.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant as Stopwatch};

use kpt_std::{
    Child, EventLoop, Parent, Spawner, TaskConfig, TaskEvent, TaskHandle, TaskStatus, Thread,
    Threads,
};
use kpt_tests::attack;
use kpt_tests::chance::{Chance, is_checked, is_deep};
use kpt_tests::sys;
use kpt_tests::tasks::{Script, Scripted, own_channel};

/// The period of the timer.
const TICK: Duration = Duration::from_millis(10);

/// How late the timer may be, but for the time for which others ran.
const MOST_LATE: Duration = Duration::from_millis(30);

/// The time for which a hostile task is left alone.
const TURN: Duration = Duration::from_millis(150);

/// The number of tasks that answer.
const OTHERS: usize = 3;

/// What the parent may grow: its queues, of which those of a hostile task are full, and what reads bring.
const MOST_GROWN: u64 = 4 << 20;

/// A frame of a message with these bytes.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("it is short").to_le_bytes();
    [&[1], &length[..], message].concat()
}

/// That of an empty message with a descriptor.
fn frame_with_descriptor() -> Vec<u8> {
    vec![7, 0, 0, 0, 0]
}

/// Sends the same bytes with `count` descriptors, 10,000 times or until the parent has closed the channel.
fn send_many_descriptors(bytes: &[u8], count: usize) -> std::io::Result<()> {
    let channel = own_channel();
    channel.set_nonblocking(false)?;
    let null = std::fs::File::open("/dev/null")?;
    let descriptors = vec![null.as_fd(); count];
    let send = |_| attack::send_descriptors(&channel, bytes, &descriptors);
    let _ = (0..10_000).try_for_each(|at| send(at).map(drop));
    Ok(())
}

/// What a hostile task does.
const ATTACKS: [(&str, Script); 10] = [
    ("floods with large messages", |_, _| {
        let (channel, large) = (own_channel(), frame(&[7; 60_000]));
        channel.set_nonblocking(false)?;
        while (&channel).write_all(&large).is_ok() {}
        hang()
    }),
    ("floods with empty messages", |_, _| {
        let (channel, empty) = (own_channel(), frame(&[]).repeat(10_000));
        enlarge(&channel)?;
        channel.set_nonblocking(false)?;
        while (&channel).write_all(&empty).is_ok() {}
        hang()
    }),
    ("leaves writers behind", |_, _| {
        // So few at once that they are not split: parts of others between them would be no frames.
        let (channel, empty) = (own_channel(), frame(&[]).repeat(1_000));
        enlarge(&channel)?;
        channel.set_nonblocking(false)?;
        for _ in 0..4 {
            sys::fork_and(|| while (&channel).write_all(&empty).is_ok() {})?;
        }
        thread::sleep(TURN / 2);
        sys::raise(libc::SIGKILL);
        Ok(())
    }),
    ("closes what it has", |_, _| {
        sys::close_from(0, -1);
        hang()
    }),
    ("stops itself", |_, _| {
        loop {
            sys::raise(libc::SIGSTOP);
        }
    }),
    ("blocks all signals, and computes", |_, _| {
        (1..=64).for_each(sys::block);
        loop {
            std::hint::spin_loop();
        }
    }),
    ("sends sockets that linger", |_, _| {
        let channel = own_channel();
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        for _ in 0..20 {
            let socket = TcpStream::connect(listener.local_addr()?)?;
            attack::linger(&socket, 4)?;
            socket.set_nonblocking(true)?;
            while (&socket).write(&[7; 1 << 16]).is_ok() {}
            // The parent would drop the last one.
            let _ = attack::send_descriptors(&channel, &frame(&[]), &[socket.as_fd()]);
        }
        hang()
    }),
    ("sends garbage", |child, _| {
        let mut chance = Chance::new(child.parent.source().number().into());
        let garbage: Vec<_> = (0..100_000).map(|_| chance.number() as u8).collect();
        let _ = own_channel().write_all(&garbage);
        hang()
    }),
    ("sends 10,000 descriptors", |_, _| {
        send_many_descriptors(&frame_with_descriptor(), 1)?;
        hang()
    }),
    ("sends descriptors of no message", |_, _| {
        send_many_descriptors(&frame(&[]), 8)?;
        hang()
    }),
];

/// As there are a million empty messages in it then, there is no time for other attacks.
fn enlarge(channel: &UnixStream) -> std::io::Result<()> {
    if is_deep() { attack::enlarge_send_buffer(channel) } else { Ok(()) }
}

fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

/// Sends each message back.
struct Echo(Parent);

impl Child for Echo {
    type Arg = ();

    fn on_message(&mut self, message: Vec<u8>, mut threads: Threads<Self>) {
        if self.0.send(&message).is_err() {
            threads.stop();
        }
    }
}

/// A task that answers, and what has been said to it and by it.
struct Other {
    task: TaskHandle,
    asked_at: Option<Stopwatch>,
    answers: u64,
    longest: Duration,
}

/// The parent's state.
struct Hostility {
    spawner: Spawner,
    others: Vec<Other>,
    hostile: Option<TaskHandle>,
    attack: usize,
    begun_at: Stopwatch,
    until: Stopwatch,
    ticks: u32,
    latest: Duration,
    /// The same without the time for which others ran.
    latest_itself: Duration,
    /// At the last tick.
    time_ready: Duration,
    resident: u64,
    received: u64,
}

/// A loop's threads have the number of a task that answers.
type ParentThread<'t> = Thread<'t, Hostility, usize>;

impl Hostility {
    fn is_over(&self) -> bool {
        Stopwatch::now() >= self.until
    }

    /// Starts the next hostile task.
    fn start_hostile(&mut self, mut threads: Threads<'_, Self, usize>) {
        let (name, script) = ATTACKS[self.attack % ATTACKS.len()];
        self.attack += 1;
        // Who may send descriptors, may hold up its parent, as the docs say.
        let descriptors = if name.contains("descriptors") { 8 } else { 0 };
        let config =
            TaskConfig::new(name).accept_descriptors(descriptors).grace(Duration::from_millis(20));
        let build = |parent| Scripted::new(parent, script);
        let task = self.spawner.start(config, build).expect("it starts");
        threads.add_read("hostile", task.source(), Self::on_hostile, 0).expect("room");
        self.begun_at = Stopwatch::now();
        self.hostile = Some(task);
    }

    fn on_hostile(&mut self, mut thread: ParentThread) {
        let event = self.hostile.as_ref().and_then(TaskHandle::receive);
        if !matches!(event, Some(TaskEvent::Exit(_))) {
            self.received += u64::from(event.is_some());
            return thread.again();
        }
        self.hostile = None;
        if !self.is_over() {
            self.start_hostile(thread.threads());
        }
    }

    fn on_tick(&mut self, mut thread: ParentThread) {
        let deadline = thread.deadline().expect("a timer has one");
        let late = thread.threads().now().saturating_duration_since(deadline);
        let time_ready = time_ready();
        let time_of_others = time_ready - std::mem::replace(&mut self.time_ready, time_ready);
        let itself = late.saturating_sub(time_of_others);
        self.latest = self.latest.max(late);
        self.latest_itself = self.latest_itself.max(itself);
        self.ticks += 1;
        self.resident = self.resident.max(sys::resident_bytes());
        if let Some(task) = &self.hostile {
            // It reads none of these.
            let _ = task.send(&[1; 10_000]);
            if self.begun_at.elapsed() > TURN {
                task.stop(Duration::from_millis(20));
                self.begun_at = self.until.max(Stopwatch::now());
            }
        }
        let is_over = self.is_over();
        for other in self.others.iter_mut().filter(|other| other.asked_at.is_none()) {
            if is_over {
                other.task.stop(Duration::from_secs(8));
            } else {
                other.asked_at = Some(Stopwatch::now());
                other.task.send(&other.answers.to_ne_bytes()).expect("the queue is empty");
            }
        }
        if !is_over || self.hostile.is_some() {
            thread.again();
        }
    }

    fn on_other(&mut self, thread: ParentThread) {
        let other = &mut self.others[thread.arg];
        match other.task.receive() {
            Some(TaskEvent::Message(number)) => {
                assert_eq!(*number, other.answers.to_ne_bytes());
                let asked_at = other.asked_at.take().expect("an answer follows a question");
                other.longest = other.longest.max(asked_at.elapsed());
                other.answers += 1;
            }
            Some(TaskEvent::Exit(exit)) => {
                assert_eq!(exit.status, TaskStatus::Code(0));
                return;
            }
            _ => {}
        }
        thread.again();
    }
}

/// Returns for how long this process has been ready to run while others ran; nothing if the system does not know.
fn time_ready() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn a_hostile_task_delays_no_timer_and_disturbs_no_other() {
    let time = Duration::from_secs(if is_deep() { 60 } else { 3 });
    let until = Stopwatch::now() + time;
    let mut kpt: EventLoop<Hostility, usize> = EventLoop::with_capacity(8).expect("a loop");
    let spawner = kpt.spawner();
    let start_other = |at: usize| {
        let task = spawner.start(TaskConfig::new("echo"), Echo).expect("it starts");
        kpt.threads().add_read("echo", task.source(), Hostility::on_other, at).expect("room");
        Other { task, asked_at: None, answers: 0, longest: Duration::ZERO }
    };
    let others: Vec<_> = (0..OTHERS).map(start_other).collect();
    let mut state = Hostility {
        spawner,
        others,
        hostile: None,
        attack: 0,
        begun_at: Stopwatch::now(),
        until,
        ticks: 0,
        latest: Duration::ZERO,
        latest_itself: Duration::ZERO,
        time_ready: time_ready(),
        resident: 0,
        received: 0,
    };
    kpt.threads().add_timer("tick", TICK, Hostility::on_tick, 0).expect("room");
    state.start_hostile(kpt.threads());
    let before = sys::resident_bytes();
    kpt.run(&mut state).expect("the loop runs");
    check(&state, before, time);
}

fn check(state: &Hostility, before: u64, time: Duration) {
    let grown = state.resident.saturating_sub(before);
    let answers: Vec<_> = state.others.iter().map(|other| other.answers).collect();
    let longest = state.others.iter().map(|other| other.longest).max().expect("there are three");
    println!(
        "NOTE {time:?}, {} hostile tasks, {} messages of them: a 10 ms timer at most {:?} late, and {:?} but for the time for which others ran, {} ticks; answers {answers:?}, the longest after {longest:?}; grown by {} KiB",
        state.attack,
        state.received,
        state.latest,
        state.latest_itself,
        state.ticks,
        grown >> 10
    );
    assert!(state.attack > 2 * ATTACKS.len() || !is_deep(), "{}", state.attack);
    if is_checked() {
        return;
    }
    assert!(grown < MOST_GROWN, "{grown}");
    assert!(state.latest_itself <= MOST_LATE, "{:?}", state.latest_itself);
    // Each is asked once a tick.
    let expected = (time.as_millis() / TICK.as_millis()) as u64;
    let least = if is_deep() { expected * 3 / 4 } else { expected / 4 };
    assert!(answers.iter().all(|&count| count >= least), "{answers:?} of {expected}");
}

kpt_tests::scenarios! {
    a_hostile_task_delays_no_timer_and_disturbs_no_other,
}
