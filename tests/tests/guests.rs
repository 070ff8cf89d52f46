//! A loop of kpt as a guest in the loop of another library: its descriptor is readable when it has something to do.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use kpt_std::{EventLoop, Exit, Next, Thread, When, source};
use kpt_tests::sys;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::io::unix::AsyncFd;

const TICKS: u32 = 40;
const TICK: Duration = Duration::from_millis(5);
const MESSAGES: u32 = 40;

/// What the guest has done.
#[derive(Default)]
struct Guest {
    ticks: u32,
    latest: Duration,
    messages: u32,
}

type GuestThread<'t> = Thread<'t, Guest, Option<UnixStream>>;

impl Guest {
    fn on_tick(&mut self, mut thread: GuestThread) {
        self.ticks += 1;
        self.latest = self.latest.max(thread.lateness());
        if self.ticks < TICKS {
            thread.again();
        }
    }

    fn on_message(&mut self, thread: GuestThread) {
        let mut byte = [0];
        let Some(mut stream) = thread.arg.as_ref() else { return };
        match stream.read(&mut byte) {
            Ok(0) => {}
            Ok(_) => {
                self.messages += 1;
                thread.again();
            }
            Err(_) => thread.again(),
        }
    }
}

/// A guest with a timer, and a reader whose other side another OS thread writes to.
fn guest() -> EventLoop<Guest, Option<UnixStream>> {
    let (here, mut there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        for _ in 0..MESSAGES {
            std::thread::sleep(Duration::from_millis(3));
            there.write_all(b"x").unwrap();
        }
    });
    let mut kpt = EventLoop::with_capacity(4).unwrap();
    kpt.threads().add_timer("tick", TICK, Guest::on_tick, None).unwrap();
    let when = When::Readable(source(&here));
    kpt.threads().add("reader", when, Guest::on_message, Some(here)).unwrap();
    kpt
}

/// Runs the guest to its end in a program whose own loop is poll(2). Returns how often it waited, and called `poll`.
fn run_in_poll(kpt: &mut EventLoop<Guest, Option<UnixStream>>, state: &mut Guest) -> (u32, u32) {
    let (mut waits, mut polls) = (0, 0);
    loop {
        polls += 1;
        match kpt.poll(state).unwrap() {
            Next::Again => {}
            Next::Wait(_) => {
                waits += 1;
                poll(&mut [PollFd::new(kpt, PollFlags::IN)], None).unwrap();
            }
            Next::Exit(exit) => {
                assert_eq!(exit, Exit::Empty);
                return (waits, polls);
            }
        }
    }
}

#[test]
fn a_loop_is_a_guest_of_poll() {
    let (mut kpt, mut state) = (guest(), Guest::default());
    let (waits, polls) = run_in_poll(&mut kpt, &mut state);
    assert_eq!((state.ticks, state.messages), (TICKS, MESSAGES));
    println!("NOTE {waits} waits, {polls} polls, at most {:?} late", state.latest);
    let events = TICKS + MESSAGES + 1;
    assert!(waits <= events && polls <= 3 * events, "the host spins");
}

#[test]
fn a_loop_is_a_guest_of_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (ticks, polls) = (Rc::new(Cell::new(0)), Cell::new(0));
    let local = tokio::task::LocalSet::new();
    let state = local.block_on(&runtime, async {
        let theirs = Rc::clone(&ticks);
        tokio::task::spawn_local(async move {
            let mut interval = tokio::time::interval(TICK);
            loop {
                interval.tick().await;
                theirs.set(theirs.get() + 1);
            }
        });
        let (mut kpt, mut state) = (guest(), Guest::default());
        // What takes its place is unsafe, which the descriptor's owner need not be.
        #[allow(deprecated)]
        let readable = AsyncFd::new(kpt.as_fd().try_clone_to_owned().unwrap()).unwrap();
        loop {
            polls.set(polls.get() + 1);
            match kpt.poll(&mut state).unwrap() {
                // Others get their turn.
                Next::Again => tokio::task::yield_now().await,
                Next::Wait(_) => {
                    // tokio waits for edges: what it has seen is over only when nothing is left to do. Was there
                    // something new in the meantime, the descriptor is readable, and the next poll finds it.
                    let mut guard = readable.readable().await.unwrap();
                    if kpt.poll(&mut state).is_ok_and(|next| matches!(next, Next::Wait(_))) {
                        guard.clear_ready();
                    }
                }
                Next::Exit(exit) => {
                    assert_eq!(exit, Exit::Empty);
                    break state;
                }
            }
        }
    });
    assert_eq!((state.ticks, state.messages), (TICKS, MESSAGES));
    println!("NOTE {} polls, at most {:?} late", polls.get(), state.latest);
    assert!(ticks.get() >= TICKS / 2, "tokio's own interval ticked {} times", ticks.get());
    assert!(polls.get() <= 6 * (TICKS + MESSAGES), "the host spins");
}

/// The set is replaced below the host, which goes on.
#[test]
fn a_guest_whose_set_is_rebuilt_still_wakes_its_host() {
    let (mut kpt, mut state) = (guest(), Guest::default());
    let (closed, mut other) = UnixStream::pair().unwrap();
    let copy = sys::duplicate(closed.as_raw_fd()).unwrap();
    let id = kpt.threads().add_read("closed", source(&closed), |_, _| {}, None).unwrap();
    while kpt.poll(&mut state).unwrap() == Next::Again {}
    // Closed before its thread has ended, which the kernel does not notice while there is a copy.
    drop(closed);
    kpt.threads().cancel(id).unwrap();
    other.write_all(b"x").unwrap();
    let (waits, _) = run_in_poll(&mut kpt, &mut state);
    assert_eq!((state.ticks, state.messages), (TICKS, MESSAGES));
    assert!(waits <= TICKS + MESSAGES + 2, "{waits} waits: the host spins");
    drop(copy);
}

#[test]
fn a_guest_has_a_moment_to_be_called_at() {
    let mut kpt = EventLoop::<()>::with_capacity(4).unwrap();
    kpt.threads().add_timer("long", Duration::from_secs(60), |_, _| {}, ()).unwrap();
    let before = kpt.threads().now();
    let Next::Wait(until) = kpt.poll(&mut ()).unwrap() else { panic!("nothing is to be done") };
    let wait = until.saturating_duration_since(before);
    assert!(wait > Duration::from_secs(1) && wait < Duration::from_secs(61), "{wait:?}");
}
