//! What runs in the process of a task, from the fork to its exit.

use std::any::Any;
use std::error::Error;
use std::io;
use std::panic::{self, AssertUnwindSafe};

use kpt_core::{Exit, large};

use super::child::{Child, Parent};
use super::config::TaskConfig;
use super::ends;
use super::frame::Kind;
use super::last_words::{self, Keeper, flush_parent, last_words, say_panic, with_last_words};
use super::net::{self, Ticket};
use super::parent_end::{Order, ParentEnd};
use super::tasks::Tasks;
use crate::epoll::EpollPoller;
use crate::heap::HeapStorage;
use crate::sys::{self, Actions};

/// The largest number of messages that are delivered before the threads run.
pub const MESSAGES_PER_TURN: usize = 64;

/// The exit code of a task that panicked: that of any Rust program.
const PANICKED: i32 = 101;

/// The exit code of a task that could not start, or whose loop failed.
const FAILED: i32 = 1;

/// What the new process of a task has from its start.
pub struct Start<'c> {
    /// The process that has forked it.
    pub parent: libc::pid_t,
    /// Its number for the guard.
    pub ticket: Ticket,
    pub config: &'c TaskConfig,
    /// Its channel.
    pub channel: Box<Parent>,
    pub keeper: Keeper,
    /// Whether there is text of the parent's in the buffer of standard output.
    pub has_text: bool,
    /// The actions of the parent's signals, if they are known.
    pub actions: Option<Actions>,
}

/// Runs the task in the new process, and exits.
pub fn run_and_exit<C: Child>(start: Start<'_>, build: impl FnOnce(Parent) -> C) -> ! {
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

/// Makes the channel first: the parent receives through it why anything after that has failed.
fn run<C: Child>(start: Start<'_>, build: impl FnOnce(Parent) -> C) -> Result<(), Box<dyn Error>> {
    let Start { parent: process, ticket, config, channel, keeper, has_text, actions } = start;
    ends::disown_all_but(channel.ends());
    let end = net::enter(ticket, process, &config.name)?;
    let parent = last_words::begin(channel);
    if let Some(end) = end {
        parent.ends().borrow_mut().watch_parent(parent.source(), end);
    }
    keeper.install();
    if has_text {
        sys::discard_output()
            .map_err(|error| format!("can't discard the parent's buffered output: {error}"))?;
    }
    close_inherited(config, parent)?;
    sys::reset_signals(actions);
    sys::die_after(process)?;
    let mut kpt = new_loop(config, parent)?;
    give_up_privileges(config, process)?;
    let result = run_loop(&mut kpt, parent, build);
    if matches!(result, Ok(Exit::Empty)) || kpt.threads().is_empty() {
        // The loop holds nothing that needs to be dropped, and freeing its memory would write to pages that are shared
        // with the parent.
        std::mem::forget(kpt);
    }
    result.map(drop)
}

fn close_inherited(config: &TaskConfig, parent: &Parent) -> Result<(), Box<dyn Error>> {
    let Some(kept) = config.kept() else { return Ok(()) };
    let own = parent.with(|end| [end.channel().number(), end.parent_number()]);
    let own = own.into_iter().flatten().flatten();
    let kept: Vec<_> = kept.iter().copied().chain(own).collect();
    sys::close_all_but(&kept)?;
    config.privileges.check_descriptors(&kept)
}

/// The loop of a task. Not an [`EventLoop`](crate::EventLoop), which is made of the same parts, and knows this module.
type Loop<C> =
    large::EventLoop<Tasks<EpollPoller>, C, <C as Child>::Arg, HeapStorage<C, <C as Child>::Arg>>;

fn new_loop<C: Child>(config: &TaskConfig, parent: &Parent) -> Result<Loop<C>, Box<dyn Error>> {
    let make = || -> io::Result<Loop<C>> {
        let poller = Tasks::of(EpollPoller::hidden()?, parent.ends().clone());
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

/// Builds the task's state, and runs its loop. Returns `Exit::Empty` if no thread is left.
fn run_loop<C: Child>(
    kpt: &mut Loop<C>,
    parent: &Parent,
    build: impl FnOnce(Parent) -> C,
) -> Result<Exit, Box<dyn Error>> {
    let mut state = build(parent.clone());
    with_last_words(|| serve(kpt, &mut state, parent))
}

/// Runs the task from `pre_run` to its last message.
fn serve<C: Child>(
    kpt: &mut Loop<C>,
    state: &mut C,
    parent: &Parent,
) -> Result<Exit, Box<dyn Error>> {
    state.pre_run(kpt.threads())?;
    parent.with(|parent| parent.channel_mut().queue_control(Kind::Ready, ""));
    parent.ends().borrow_mut().begin();
    loop {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(order) = parent.with(ParentEnd::receive).flatten() else { break };
            let threads = kpt.threads(); // Costs a look at the poller when there are none, and so not without a message.
            if threads.is_stopping() {
                break;
            }
            match order {
                Order::Message(_) if parent.has_hung_up() => {}
                Order::Message(message) => state.on_message_with(message, threads),
                Order::Stop | Order::Gone => {
                    state.pre_stop(threads);
                    return Ok(Exit::Stopped);
                }
            }
        }
        match kpt.turn(state)? {
            None => {}
            Some(Exit::Stopped) => return Ok(Exit::Stopped),
            Some(Exit::Empty) if parent.has_hung_up() => return Ok(Exit::Empty),
            // No thread is left, but the parent may send a message.
            Some(Exit::Empty) => parent.ends().borrow_mut().drive(None)?,
        }
    }
}
