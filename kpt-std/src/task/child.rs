//! The other side: what a task is made of, and how its process runs and leaves.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use kpt_core::{Exit, Source, Threads};

use super::config::TaskConfig;
use super::error::SendError;
use super::exit::TaskEvent;
use super::frame::Kind;
use super::peer::{News, Peer};
use super::peers::{self, SharedPeers};
use super::spawner::flush_output;
use crate::EventLoop;
use crate::sys;

/// So many messages are handed over before the threads get their turn.
const MESSAGES_PER_TURN: usize = 64;

/// What the exit code of a task is when it panicked, as of any Rust program.
const PANICKED: i32 = 101;

/// The exit code of a task that could not run, or not go on.
const FAILED: i32 = 1;

/// The application's part of a task: its state, with a loop of its own.
///
/// The task ends, and leaves with exit code 0, when its parent says `stop` or has gone (after `pre_stop`), when one of its
/// hooks says `stop`, and when it has hung up and no thread is left.
pub trait Child: Sized {
    /// The type of its threads' arguments.
    type Arg;

    /// Called before its loop runs; adds its threads.
    ///
    /// # Errors
    /// The task ends: its parent gets to know by [`TaskStatus::Failed`](super::TaskStatus::Failed).
    fn pre_run(&mut self, threads: Threads<'_, Self, Self::Arg>) -> Result<(), Box<dyn Error>> {
        let _ = threads;
        Ok(())
    }

    /// Called for each message of the parent, in the order of sending, between the turns of its loop.
    fn on_message(&mut self, message: Vec<u8>, threads: Threads<'_, Self, Self::Arg>) {
        let _ = (message, threads);
    }

    /// Called when the parent wants it to end or has gone. The task leaves when this returns, and what it has sent is
    /// there.
    fn pre_stop(&mut self, threads: Threads<'_, Self, Self::Arg>) {
        let _ = threads;
    }
}

/// The way from a task to its parent.
#[derive(Clone)]
pub struct Parent {
    peers: SharedPeers,
    source: Source,
    has_hung_up: std::rc::Rc<Cell<bool>>,
}

impl Parent {
    /// Writable when any message finds room: for a write thread that sends what was refused. Its messages come to
    /// [`Child::on_message`].
    pub fn source(&self) -> Source {
        self.source
    }

    /// Queues a message for the parent, and sends what the channel takes at once (what goes beyond the size of the
    /// queue is left to the next wait, so that whoever sends until it is full comes to an end). Never blocks. What is
    /// queued when the task ends is sent before it leaves, also by a panic or `std::process::exit`.
    ///
    /// # Errors
    /// [`SendError`]: it is not queued.
    pub fn send(&self, message: &[u8]) -> Result<(), SendError> {
        self.with(|peer| peer.send(message)).unwrap_or(Err(SendError::Closed))
    }

    /// Says that no more messages are wanted: sending is `Closed` for the parent from then on, those on the way are
    /// dropped. The task then ends when it has no threads left. It is still stopped by its parent, and by its death.
    pub fn hang_up(&self) {
        if !self.has_hung_up.replace(true) {
            self.with(Peer::hang_up);
        }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Peer) -> R) -> Option<R> {
        self.peers.borrow_mut().with(self.source, work)
    }

    /// Sends what is queued. Blocks until the parent has read it or is gone.
    fn flush(&self) {
        // Somebody may have called `exit` from where the peers were in use; nothing can be done for him.
        if let Ok(mut peers) = self.peers.try_borrow_mut() {
            peers.with(self.source, Peer::flush);
        }
    }

    fn say_last(&self, kind: Kind, text: &str) {
        if let Ok(mut peers) = self.peers.try_borrow_mut() {
            peers.with(self.source, |peer| peer.queue_control(kind, text));
        }
    }
}

impl std::fmt::Debug for Parent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parent").field("source", &self.source).finish_non_exhaustive()
    }
}

thread_local! {
    /// The parent of this process, if it is a task. It is there until the process has gone.
    static PARENT: Cell<Option<&'static Parent>> = const { Cell::new(None) };
    /// The process that it is the parent of, and not one that this has forked by hand.
    static TASK: Cell<libc::pid_t> = const { Cell::new(0) };
    /// What the last panic said.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// In the new process: runs the task to its end, and leaves.
pub fn run_and_exit<C: Child>(
    parent: libc::pid_t,
    config: TaskConfig,
    socket: UnixStream,
    parents_end: UnixStream,
    build: impl FnOnce(Parent) -> C,
) -> ! {
    // Nothing of the parent's may be unwound or dropped, whatever happens.
    let code = panic::catch_unwind(AssertUnwindSafe(|| {
        drop(parents_end);
        match become_task(parent, &config, &socket).and_then(|()| new_loop(&config)) {
            Ok(kpt) => run(kpt, config, socket, build),
            Err(error) => {
                let mut peer = Peer::new(&config, socket, None);
                peer.queue_control(Kind::Failed, &error.to_string());
                peer.flush();
                Err(error)
            }
        }
    }));
    let code = match code {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            last_words(Kind::Failed, &error.to_string());
            FAILED
        }
        Err(payload) => {
            say_panic();
            forget(payload);
            PANICKED
        }
    };
    let _ = panic::catch_unwind(flush_output);
    flush_parent();
    sys::exit_now(code)
}

/// Dropping what a panic carries can panic.
fn forget(payload: Box<dyn Any + Send>) {
    std::mem::forget(payload);
}

/// Lets go of what was the parent's, before anything of the application runs.
fn become_task(
    parent: libc::pid_t,
    config: &TaskConfig,
    socket: &UnixStream,
) -> Result<(), Box<dyn Error>> {
    peers::disown_all();
    PARENT.set(None);
    if let Some(kept) = &config.kept {
        let mut kept = kept.clone();
        kept.push(socket.as_raw_fd());
        sys::close_all_but(&kept)?;
    }
    sys::reset_signals();
    sys::die_after(parent)?;
    keep_words_of_panics();
    Ok(())
}

fn new_loop<C: Child>(config: &TaskConfig) -> Result<EventLoop<C, C::Arg>, Box<dyn Error>> {
    EventLoop::with_capacity(config.threads)
        .map_err(|error| format!("no loop for {} threads: {error}", config.threads).into())
}

/// Has a process that ends by `std::process::exit` send what is queued, should it be a task. Done before the first fork,
/// once for the process and all that it forks.
pub fn prepare_exit() {
    static IS_DONE: Once = Once::new();
    IS_DONE.call_once(|| sys::at_exit(at_exit));
}

extern "C" fn at_exit() {
    let _ = panic::catch_unwind(flush_parent);
}

/// A panic is printed as before, and what it says is kept for the parent.
fn keep_words_of_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANIC.set(info.to_string());
        if cfg!(panic = "abort") {
            last_words(Kind::Panicked, &info.to_string());
        }
        print(info);
    }));
}

/// The parent of this process, and of no other.
fn own_parent() -> Option<&'static Parent> {
    PARENT.get().filter(|_| TASK.get() == sys::process_id())
}

/// Why it ends goes to the parent before anything is dropped: what is dropped may panic, too, and a second panic aborts.
fn with_last_words<R>(work: impl FnOnce() -> R) -> R {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        say_panic();
        panic::resume_unwind(payload)
    })
}

/// Only once.
fn say_panic() {
    let text = PANIC.take();
    if !text.is_empty() {
        last_words(Kind::Panicked, &text);
    }
}

fn last_words(kind: Kind, text: &str) {
    if let Some(parent) = own_parent() {
        parent.say_last(kind, text);
        parent.flush();
    }
}

fn flush_parent() {
    if let Some(parent) = own_parent() {
        parent.flush();
    }
}

/// Runs the task's loop.
fn run<C: Child>(
    mut kpt: EventLoop<C, C::Arg>,
    config: TaskConfig,
    socket: UnixStream,
    build: impl FnOnce(Parent) -> C,
) -> Result<(), Box<dyn Error>> {
    let result = run_loop(&mut kpt, config, socket, build);
    if kpt.threads().is_empty() {
        // Nothing in there is to be dropped, and to give back memory would only write to pages that are the parent's.
        std::mem::forget(kpt);
    }
    result
}

fn run_loop<C: Child>(
    kpt: &mut EventLoop<C, C::Arg>,
    config: TaskConfig,
    socket: UnixStream,
    build: impl FnOnce(Parent) -> C,
) -> Result<(), Box<dyn Error>> {
    let peers = kpt.tasks().peers().clone();
    let source = peers.borrow_mut().insert(Peer::new(&config, socket, None), true);
    let parent = Parent { peers, source, has_hung_up: Default::default() };
    PARENT.set(Some(Box::leak(Box::new(parent.clone()))));
    TASK.set(sys::process_id());
    let mut state = build(parent.clone());
    with_last_words(|| serve(kpt, &mut state, &parent))
}

/// From `pre_run` to the last message.
fn serve<C: Child>(
    kpt: &mut EventLoop<C, C::Arg>,
    state: &mut C,
    parent: &Parent,
) -> Result<(), Box<dyn Error>> {
    state.pre_run(kpt.threads())?;
    parent.with(|peer| peer.queue_control(Kind::Ready, ""));
    loop {
        for _ in 0..MESSAGES_PER_TURN {
            match parent.with(Peer::receive).flatten() {
                Some(News::Event(TaskEvent::Message(_))) if parent.has_hung_up.get() => {}
                Some(News::Event(TaskEvent::Message(message))) => {
                    state.on_message(message, kpt.threads());
                }
                Some(News::Stop | News::Gone) => {
                    state.pre_stop(kpt.threads());
                    return Ok(());
                }
                Some(News::Event(TaskEvent::Exit(_))) | None => break,
            }
        }
        match kpt.turn(state)? {
            None => {}
            Some(Exit::Stopped) => return Ok(()),
            Some(Exit::Empty) if parent.has_hung_up.get() => return Ok(()),
            // No thread is left, but the parent may say something.
            Some(Exit::Empty) => parent.peers.borrow_mut().drive(None)?,
        }
    }
}
