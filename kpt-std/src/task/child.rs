//! The child's end of a task: the trait that it implements, and how its process runs and exits.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use kpt_core::{Exit, Source, Threads, large};

use super::config::TaskConfig;
use super::end::End;
use super::ends::{self, SharedEnds};
use super::error::SendError;
use super::frame::Kind;
use super::net::{self, Ticket};
use super::parent_end::{Order, ParentEnd};
use super::tasks::Tasks;
use crate::epoll::EpollPoller;
use crate::heap::HeapStorage;
use crate::sys;

/// The number of messages that are delivered before the threads run.
const MESSAGES_PER_TURN: usize = 64;

/// The exit code of a task that panicked: that of any Rust program.
const PANICKED: i32 = 101;

/// The exit code of a task that could not start, or whose loop failed.
const FAILED: i32 = 1;

/// The application's part of a task: its state, on which the hooks of its own loop work.
///
/// The task ends with exit code 0 when its parent stops it or has ended (after `pre_stop`), when one of its hooks calls
/// `stop`, and when it has hung up and no thread is left.
pub trait Child: Sized {
    /// The type of the arguments of its threads.
    type Arg;

    /// Called before its loop runs. Adds its threads.
    ///
    /// # Errors
    /// An error ends the task. Its parent receives the text in [`TaskStatus::Failed`](super::TaskStatus::Failed).
    fn pre_run(&mut self, threads: Threads<'_, Self, Self::Arg>) -> Result<(), Box<dyn Error>> {
        let _ = threads;
        Ok(())
    }

    /// Called for each message of the parent, in the order of sending, between turns of its loop.
    fn on_message(&mut self, message: Vec<u8>, threads: Threads<'_, Self, Self::Arg>) {
        let _ = (message, threads);
    }

    /// Called when the parent stops the task or has ended. The task exits when this returns and all its messages have
    /// been sent.
    fn pre_stop(&mut self, threads: Threads<'_, Self, Self::Arg>) {
        let _ = threads;
    }
}

/// A task's end of the channel to its parent.
#[derive(Clone)]
pub struct Parent {
    ends: SharedEnds,
    source: Source,
    has_hung_up: std::rc::Rc<Cell<bool>>,
    #[cfg(feature = "sim")]
    simulated: Option<std::rc::Rc<crate::sim::SimTask>>,
}

impl Parent {
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(end: crate::sim::SimTask) -> Self {
        let (source, simulated) = (end.source(), Some(std::rc::Rc::new(end)));
        Self { ends: super::ends::shared(), source, has_hung_up: Default::default(), simulated }
    }

    /// Returns the source of this channel. It is writable when a message of any allowed length fits into the queue: for
    /// a write thread that sends what was refused. Messages of the parent are passed to [`Child::on_message`].
    pub fn source(&self) -> Source {
        self.source
    }

    /// Queues a message for the parent, and sends what the channel accepts. Never blocks. At most as many bytes as the
    /// queue holds are sent between two waits, so that a hook that sends until the queue is full comes to an end.
    /// Messages that are queued when the task ends are sent before it exits, also after a panic or
    /// `std::process::exit`. Where another OS thread of the task calls `exit`, or a signal ends the task, only those
    /// are certain to arrive that the channel has accepted: end the threads of the task first, or let its first thread
    /// exit.
    ///
    /// # Errors
    /// Returns a [`SendError`] if the message is not queued.
    pub fn send(&self, message: &[u8]) -> Result<(), SendError> {
        #[cfg(feature = "sim")]
        if let Some(end) = &self.simulated {
            return end.send_up(message);
        }
        self.with(|parent| parent.channel_mut().send(message)).unwrap_or(Err(SendError::Closed))
    }

    /// Refuses further messages: sending fails with `Closed` for the parent, and messages under way are dropped. From
    /// then on, the task ends when it has no threads left. Its parent can still stop it, and the end of its parent
    /// still ends it.
    pub fn hang_up(&self) {
        #[cfg(feature = "sim")]
        if let Some(end) = &self.simulated {
            return end.hang_up();
        }
        if !self.has_hung_up.replace(true) {
            self.with(ParentEnd::hang_up);
        }
    }

    fn with<R>(&self, work: impl FnOnce(&mut ParentEnd) -> R) -> Option<R> {
        self.ends.borrow_mut().with_parent(self.source, work)
    }

    /// Sends all queued messages. Blocks until the parent has read them or has ended.
    fn flush(&self) {
        // `exit` may have been called while the channels were borrowed; nothing can be sent then.
        if let Ok(mut ends) = self.ends.try_borrow_mut() {
            ends.with_parent(self.source, |parent| parent.flush());
        }
    }

    fn say_last(&self, kind: Kind, text: &str) {
        if let Ok(mut ends) = self.ends.try_borrow_mut() {
            ends.with_parent(self.source, |parent| parent.channel_mut().queue_control(kind, text));
        }
    }
}

impl std::fmt::Debug for Parent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parent").field("source", &self.source).finish_non_exhaustive()
    }
}

thread_local! {
    /// The parent of this process, if this is a task. Never freed.
    static PARENT: Cell<Option<&'static Parent>> = const { Cell::new(None) };
    /// The process of that task, to tell it from processes that it has forked by hand.
    static TASK: Cell<libc::pid_t> = const { Cell::new(0) };
    /// The text of the last panic.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the new process of a task has from its start.
pub struct Start {
    /// The process that has forked it.
    pub parent: libc::pid_t,
    /// Its number for the guard.
    pub ticket: Ticket,
    pub config: TaskConfig,
    /// The task's end of the channel.
    pub socket: UnixStream,
    /// Whether there is text of the parent's in the buffer of standard output.
    pub has_text: bool,
}

/// Runs the task in the new process, and exits.
pub fn run_and_exit<C: Child>(start: Start, build: impl FnOnce(Parent) -> C) -> ! {
    // No value of the parent may be unwound or dropped here.
    let code = match panic::catch_unwind(AssertUnwindSafe(|| run(start, build))) {
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
    flush_parent();
    let _ = panic::catch_unwind(sys::flush_output_fully);
    sys::exit_now(code)
}

/// Leaks the payload of a panic, since dropping it can panic.
fn forget(payload: Box<dyn Any + Send>) {
    std::mem::forget(payload);
}

/// Makes the channel first: by it, the parent learns why all else has failed.
fn run<C: Child>(start: Start, build: impl FnOnce(Parent) -> C) -> Result<(), Box<dyn Error>> {
    let Start { parent: process, ticket, config, socket, has_text } = start;
    ends::disown_all();
    let end = net::enter(ticket)?;
    let kept: Vec<_> =
        [socket.as_raw_fd()].into_iter().chain(end.as_ref().map(AsRawFd::as_raw_fd)).collect();
    let parent = open_channel(ParentEnd::new(&config, socket, end));
    keep_words_of_panics();
    if has_text {
        sys::discard_output()
            .map_err(|error| format!("can't discard the parent's buffered output: {error}"))?;
    }
    close_inherited(&config, &kept)?;
    sys::reset_signals();
    sys::die_after(process)?;
    let mut kpt = new_loop(&config, &parent)?;
    give_up_privileges(&config, process)?;
    let result = run_loop(&mut kpt, &parent, build);
    if kpt.threads().is_empty() {
        // The loop holds nothing that needs to be dropped, and freeing its memory would write to pages that are shared
        // with the parent.
        std::mem::forget(kpt);
    }
    result
}

fn open_channel(end: ParentEnd) -> Parent {
    let ends = ends::shared();
    let source = ends.borrow_mut().insert(End::Parent(end));
    let parent = Parent {
        ends,
        source,
        has_hung_up: Default::default(),
        #[cfg(feature = "sim")]
        simulated: None,
    };
    PARENT.set(Some(Box::leak(Box::new(parent.clone()))));
    TASK.set(sys::process_id());
    parent
}

fn close_inherited(config: &TaskConfig, own: &[RawFd]) -> Result<(), Box<dyn Error>> {
    let Some(kept) = config.kept() else { return Ok(()) };
    let kept = [kept, own].concat();
    sys::close_all_but(&kept)?;
    config.privileges.check_descriptors(&kept)
}

/// The loop of a task. Not an [`EventLoop`](crate::EventLoop), which is made of the same parts, and knows this module.
type Loop<C> =
    large::EventLoop<Tasks<EpollPoller>, C, <C as Child>::Arg, HeapStorage<C, <C as Child>::Arg>>;

fn new_loop<C: Child>(config: &TaskConfig, parent: &Parent) -> Result<Loop<C>, Box<dyn Error>> {
    let make = || -> io::Result<Loop<C>> {
        let poller = Tasks::of(EpollPoller::new()?, parent.ends.clone());
        Ok(large::EventLoop::with_storage(poller, HeapStorage::new(config.threads)?))
    };
    make().map_err(|error| {
        format!("can't make a loop for {} threads: {error}", config.threads).into()
    })
}

fn give_up_privileges(config: &TaskConfig, parent: libc::pid_t) -> Result<(), Box<dyn Error>> {
    if config.privileges.are_kept() {
        return Ok(());
    }
    config.privileges.apply()?;
    sys::ask_for_death_signal(parent)?;
    config.privileges.before_run()
}

/// Registers a handler that sends queued messages when a task ends by `std::process::exit`, and makes what tasks would
/// each make for themselves. Called before the first fork, once for the process and all that it forks.
pub fn prepare() {
    static IS_DONE: Once = Once::new();
    IS_DONE.call_once(|| {
        sys::at_exit(at_exit);
        sys::generation();
    });
}

extern "C" fn at_exit() {
    let _ = panic::catch_unwind(flush_parent);
}

/// Keeps the text of a panic for the parent. The panic is printed as before.
fn keep_words_of_panics() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANIC.set(info.to_string());
        if cfg!(panic = "abort") {
            last_words(Kind::Panicked, &info.to_string());
            sys::flush_output_fully();
        }
        print(info);
    }));
}

/// Returns the parent of this process, unless this process was forked by hand from the task.
fn own_parent() -> Option<&'static Parent> {
    PARENT.get().filter(|_| TASK.get() == sys::process_id())
}

/// Sends the text of a panic to the parent before anything is dropped: a drop may panic, too, and a second panic
/// aborts.
fn with_last_words<R>(work: impl FnOnce() -> R) -> R {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        say_panic();
        panic::resume_unwind(payload)
    })
}

/// Sends the text of the last panic to the parent, once.
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

/// Builds the task's state, and runs its loop.
fn run_loop<C: Child>(
    kpt: &mut Loop<C>,
    parent: &Parent,
    build: impl FnOnce(Parent) -> C,
) -> Result<(), Box<dyn Error>> {
    let mut state = build(parent.clone());
    with_last_words(|| serve(kpt, &mut state, parent))
}

/// Runs the task from `pre_run` to its last message.
fn serve<C: Child>(
    kpt: &mut Loop<C>,
    state: &mut C,
    parent: &Parent,
) -> Result<(), Box<dyn Error>> {
    state.pre_run(kpt.threads())?;
    parent.with(|parent| parent.channel_mut().queue_control(Kind::Ready, ""));
    loop {
        for _ in 0..MESSAGES_PER_TURN {
            if kpt.threads().is_stopping() {
                break;
            }
            match parent.with(ParentEnd::receive).flatten() {
                Some(Order::Message(_)) if parent.has_hung_up.get() => {}
                Some(Order::Message(message)) => state.on_message(message, kpt.threads()),
                Some(Order::Stop | Order::Gone) => {
                    state.pre_stop(kpt.threads());
                    return Ok(());
                }
                None => break,
            }
        }
        match kpt.turn(state)? {
            None => {}
            Some(Exit::Stopped) => return Ok(()),
            Some(Exit::Empty) if parent.has_hung_up.get() => return Ok(()),
            // No thread is left, but the parent may send a message.
            Some(Exit::Empty) => parent.ends.borrow_mut().drive(None)?,
        }
    }
}
