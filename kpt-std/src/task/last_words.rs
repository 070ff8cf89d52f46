//! What a task sends at its end, however that comes: what is queued, and the reason.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::{Arc, Once, PoisonError, RwLock};

use super::child::Parent;
use super::frame::Kind;
use crate::sys;

thread_local! {
    /// The parent of this process, if this is a task. Never freed.
    static PARENT: Cell<Option<&'static Parent>> = const { Cell::new(None) };
    /// The process of that task, to tell it from processes that it has forked by hand.
    static TASK: Cell<libc::pid_t> = const { Cell::new(0) };
    /// The text of the last panic.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Registers a handler that sends queued messages when a task ends by `std::process::exit`, and does once what each task
/// would otherwise do itself. Called before each fork; does nothing after the first time, also in forked processes.
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

/// Makes this process a task of `parent`, which is told of its panics by a [`Keeper`].
pub fn begin(parent: Box<Parent>) -> &'static Parent {
    let parent = Box::leak(parent);
    PARENT.set(Some(parent));
    TASK.set(sys::process_id());
    parent
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// Keeps the text of a panic for the parent. Made before the fork, since a process that allocates memory for the first
/// time copies several pages.
pub struct Keeper {
    hook: Hook,
    /// The hook that there was, which prints.
    print: Arc<RwLock<Option<Hook>>>,
}

impl Keeper {
    pub fn new() -> Self {
        let print = Arc::new(RwLock::new(None::<Hook>));
        let shared = print.clone();
        let hook = Box::new(move |info: &PanicHookInfo<'_>| {
            PANIC.set(info.to_string());
            if cfg!(panic = "abort") {
                last_words(Kind::Panicked, &info.to_string());
                sys::flush_output_fully();
            }
            if let Some(print) = &*shared.read().unwrap_or_else(PoisonError::into_inner) {
                print(info);
            }
        });
        Self { hook, print }
    }

    /// Begins with it. A panic is printed as before.
    pub fn install(self) {
        *self.print.write().unwrap_or_else(PoisonError::into_inner) = Some(panic::take_hook());
        panic::set_hook(self.hook);
    }
}

/// Returns the parent of this process, unless this process was forked by hand from the task.
fn own_parent() -> Option<&'static Parent> {
    PARENT.get().filter(|_| TASK.get() == sys::process_id())
}

/// Sends the text of a panic to the parent before anything is dropped: a drop may panic, too, and a second panic
/// aborts.
pub fn with_last_words<R>(work: impl FnOnce() -> R) -> R {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        say_panic();
        panic::resume_unwind(payload)
    })
}

/// Sends the text of the last panic to the parent, once.
pub fn say_panic() {
    let text = PANIC.take();
    if !text.is_empty() {
        last_words(Kind::Panicked, &text);
    }
}

/// Sends the reason for the end of the task, after all that is queued.
pub fn last_words(kind: Kind, text: &str) {
    if let Some(parent) = own_parent() {
        parent.say_last(kind, text);
        parent.flush();
    }
}

/// Sends all that is queued.
pub fn flush_parent() {
    if let Some(parent) = own_parent() {
        parent.flush();
    }
}
