//! Panics of a test, which are expected: they are caught with their locations, and not printed.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// A panic that was caught.
pub(super) struct Caught {
    pub(super) message: String,
    /// File, line and column; empty if the panic was resumed (`resume_unwind`).
    pub(super) place: String,
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Does `work`, and catches its panic, which is not printed. Panics of other OS threads are printed as before.
pub(super) fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Caught> {
    silence();
    let was_quiet = IS_QUIET.replace(true);
    PLACE.take();
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    IS_QUIET.set(was_quiet);
    result.map_err(|payload| Caught { message: text_of(&*payload), place: PLACE.take() })
}

/// Puts a panic hook before that of the process, once.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A thread that is about to end has no such variables any more.
            if IS_QUIET.try_with(Cell::get) != Ok(true) {
                return print(info);
            }
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let _ = PLACE.try_with(|it| it.replace(place));
        }));
    });
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no text)").to_owned()
}
