//! A poller that panics: what it has been told by then is put right before it can do harm (R6).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use kpt_std::{Interest, Readiness, Source, Thread, When};
use kpt_tests::loops::{BoxedLoop, Shape, any_loop};
use kpt_tests::pollers::{Failed, Script, Scripted};

const SOURCE: Source = Source::new(7);
const OTHER: Source = Source::new(8);

fn scripted(script: &Script, shape: Shape) -> BoxedLoop<'_, (), (), Failed> {
    any_loop(Scripted::new(script), 4, shape)
}

/// Runs something in which the poller panics when it is called about a source.
fn with_panic_at(script: &Script, source: Source, work: impl FnOnce()) {
    script.panics_at.set(Some(source));
    catch_unwind(AssertUnwindSafe(work)).unwrap_err();
}

/// Whatever has been told to a poller before it panicked: when the thread has been cancelled, its source may be closed.
#[test]
fn r06_a_poller_that_panics_in_a_wait_keeps_no_source_of_a_cancelled_thread() {
    for shape in Shape::both() {
        let script = Script::default();
        let mut kpt = scripted(&script, shape);
        let first = kpt.threads().add_read("first", SOURCE, |_, _| {}, ()).unwrap();
        kpt.threads().add_read("second", OTHER, |_, _| {}, ()).unwrap();
        with_panic_at(&script, OTHER, || drop(kpt.turn(&mut ())));
        assert_eq!(script.interest(7), Interest::READABLE, "told before the panic");
        kpt.threads().cancel(first).unwrap();
        assert_eq!(script.interest(7), Interest::NONE, "watched, and may be closed by now");
    }
}

/// A reader and a writer of one source; the poller panics when it is told that the writer has gone. A small loop's is not
/// told of that.
#[test]
fn r06_a_poller_that_panics_in_a_cancel_is_told_again() {
    let script = Script::default();
    let mut kpt = scripted(&script, Shape::HOST);
    kpt.threads().add_read("reader", SOURCE, |_, _| {}, ()).unwrap();
    let writer = kpt.threads().add_write("writer", SOURCE, |_, _| {}, ()).unwrap();
    kpt.turn(&mut ()).unwrap();
    assert_eq!(script.interest(7), Interest::BOTH);
    with_panic_at(&script, SOURCE, || _ = kpt.threads().cancel(writer));
    kpt.turn(&mut ()).unwrap();
    assert_eq!(script.interest(7), Interest::READABLE, "told again before the next wait");
}

/// A reader that can't be re-armed ends, and the poller panics when it is told that only the writer is left.
#[test]
fn c11_the_argument_of_a_refused_thread_is_dropped_when_the_poller_panics() {
    let script = Script::default();
    let mut kpt = any_loop(Scripted::new(&script), 4, Shape::HOST);
    let take_other = |_: &mut (), thread: Thread<(), Rc<()>>| {
        let _ = thread.again_when(When::Readable(OTHER));
    };
    let arg = Rc::new(());
    kpt.threads().add_read("reader", SOURCE, take_other, arg.clone()).unwrap();
    kpt.threads().add_write("writer", SOURCE, |_, _| {}, Rc::default()).unwrap();
    kpt.threads().add_read("other", OTHER, |_, _| {}, Rc::default()).unwrap();
    kpt.turn(&mut ()).unwrap();
    script.ready.borrow_mut().push((7, Readiness::READABLE));
    with_panic_at(&script, SOURCE, || drop(kpt.turn(&mut ())));
    drop(kpt);
    assert_eq!(Rc::strong_count(&arg), 1);
}
