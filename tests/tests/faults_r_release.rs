//! Fault R7: however a thread ends, the poller has let go of its source before its argument is dropped, which may own the
//! source. Seen by the argument itself, on a poller that notes what it is told.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use kpt_std::{AgainError, Exit, Interest, Readiness, Source, Thread, When};
use kpt_tests::loops::{BoxedLoop, Shape, any_loop};
use kpt_tests::pollers::{Failed, Script, Scripted};

const SOURCE: Source = Source::new(7);
/// Has a reader and a writer that wait.
const OTHER: Source = Source::new(8);

/// A poller's script, and what it watched [`SOURCE`] for at the moment when each argument was dropped.
#[derive(Default)]
struct Stage {
    script: Script,
    watched: RefCell<Vec<Interest>>,
}

/// An argument that owns its source.
struct Owner<'s>(&'s Stage);

impl Drop for Owner<'_> {
    fn drop(&mut self) {
        self.0.watched.borrow_mut().push(self.0.script.interest(SOURCE.number()));
    }
}

type Loop<'s> = BoxedLoop<'s, (), Option<Owner<'s>>, Failed>;
type OwnerThread<'t, 's> = Thread<'t, (), Option<Owner<'s>>>;
type Hook = for<'t, 's> fn(&mut (), OwnerThread<'t, 's>);

/// Each kind of loop with a thread of that kind, whose source is ready and watched.
fn each(hook: Hook, test: impl Fn(&mut Loop<'_>)) {
    for shape in Shape::both() {
        for when in [When::Readable(SOURCE), When::Writable(SOURCE)] {
            let stage = Stage::default();
            let mut kpt: Loop<'_> = any_loop(Scripted::new(&stage.script), 4, shape);
            let waits: Hook = |(), _| panic!("not ready");
            kpt.threads().add_read("reader", OTHER, waits, None).unwrap();
            kpt.threads().add_write("writer", OTHER, waits, None).unwrap();
            kpt.threads().add("owner", when, hook, Some(Owner(&stage))).unwrap();
            let ready = (SOURCE.number(), Readiness::READABLE | Readiness::WRITABLE);
            stage.script.ready.borrow_mut().push(ready);
            test(&mut kpt);
            assert_eq!(*stage.watched.borrow(), [Interest::NONE], "{when:?}");
        }
    }
}

/// With a loop that has been turned until the hook has run.
fn each_run(hook: Hook) {
    each(hook, |kpt| {
        for _ in 0..3 {
            assert_eq!(kpt.turn(&mut ()), Ok(None));
        }
        assert_eq!(kpt.threads().len(), 2);
    });
}

#[test]
fn r07_a_source_is_released_before_its_argument_is_dropped_when_the_hook_returns() {
    each_run(|(), _| {});
    each_run(|(), _thread| {});
    each_run(|(), thread| drop(thread));
    // Ended by its source, and released once more when the hook returns.
    each_run(|(), mut thread| {
        let cancelled = thread.threads().cancel_source(SOURCE);
        assert!(cancelled.reader.is_none() && cancelled.writer.is_none(), "the hook has it");
    });
}

#[test]
fn r07_a_source_is_released_before_its_argument_is_dropped_when_the_hook_panics() {
    let hooks: [Hook; 3] = [
        |(), _| panic!("on purpose"),
        |(), _thread| panic!("on purpose"),
        |(), mut thread| {
            thread.threads().add_execute("new", |(), _| {}, None).unwrap();
            panic!("on purpose");
        },
    ];
    for hook in hooks {
        each(hook, |kpt| {
            catch_unwind(AssertUnwindSafe(|| drop(kpt.turn(&mut ())))).unwrap_err();
            kpt.threads().verify().unwrap();
        });
        // Nobody looks at the loop after that.
        each(hook, |kpt| {
            catch_unwind(AssertUnwindSafe(|| drop(kpt.run(&mut ())))).unwrap_err();
        });
    }
}

#[test]
fn r07_a_source_is_released_before_its_argument_is_dropped_by_end() {
    each_run(|(), thread| drop(thread.end()));
    each_run(|(), thread| {
        let (arg, mut threads) = thread.end();
        drop(arg);
        threads.add_execute("next", |(), _| {}, None).unwrap();
    });
}

#[test]
fn r07_a_source_is_released_before_its_argument_is_dropped_when_it_is_not_rearmed() {
    each_run(|(), mut thread| {
        thread.threads().cancel_source(SOURCE);
        assert!(matches!(thread.try_again(), Err(AgainError::SourceCancelled(_))));
    });
    each_run(|(), mut thread| {
        thread.threads().cancel_source(SOURCE);
        thread.again();
    });
    each_run(|(), mut thread| {
        thread.threads().cancel_source(SOURCE);
        assert!(matches!(thread.again_when(When::Now), Err(AgainError::SourceCancelled(_))));
    });
    each_run(|(), thread| {
        assert!(matches!(thread.again_when(When::Readable(OTHER)), Err(AgainError::Taken(_))));
    });
    each_run(|(), thread| {
        assert!(matches!(thread.again_when(When::Writable(OTHER)), Err(AgainError::Taken(_))));
    });
}

/// It keeps its argument, and drops it when it ends as a timer.
#[test]
fn r07_a_source_is_released_when_its_thread_waits_for_something_else() {
    fn drop_as_timer(_: &mut (), mut thread: OwnerThread<'_, '_>) {
        if thread.deadline().is_some() {
            drop(thread.arg.take());
        } else {
            thread.again_when(When::After(Duration::ZERO)).unwrap();
        }
    }
    each_run(drop_as_timer);
    // Refused, since it has no period.
    each_run(|(), thread| {
        if thread.deadline().is_some() {
            assert!(matches!(thread.try_again(), Err(AgainError::NoPeriod(_))));
        } else {
            thread.again_when(When::At(kpt_std::Instant::ZERO)).unwrap();
        }
    });
}

#[test]
fn r07_a_source_is_released_before_its_argument_is_returned() {
    each(
        |(), _| panic!("cancelled"),
        |kpt| {
            let cancelled = kpt.threads().cancel_source(SOURCE);
            assert!(cancelled.reader.is_some() != cancelled.writer.is_some());
        },
    );
    for turns in [0, 1] {
        let again: Hook = |(), thread| thread.again();
        each(again, |kpt| {
            for _ in 0..turns {
                kpt.turn(&mut ()).unwrap();
            }
            kpt.threads().cancel_source(SOURCE);
        });
    }
    // By another hook.
    each(
        |(), thread| thread.again(),
        |kpt| {
            let cancel: Hook = |(), mut thread| drop(thread.threads().cancel_source(SOURCE));
            kpt.threads().add_timer("cancel", Duration::ZERO, cancel, None).unwrap();
            kpt.turn(&mut ()).unwrap();
        },
    );
}

#[test]
fn r07_sources_are_released_before_arguments_are_dropped_with_the_loop() {
    let again: Hook = |(), thread| thread.again();
    for shape in Shape::both() {
        for turns in 0..3 {
            let stage = Stage::default();
            let mut kpt: Loop<'_> = any_loop(Scripted::new(&stage.script), 4, shape);
            kpt.threads().add_read("reader", SOURCE, again, Some(Owner(&stage))).unwrap();
            kpt.threads().add_write("writer", SOURCE, again, Some(Owner(&stage))).unwrap();
            for _ in 0..turns {
                let ready = (SOURCE.number(), Readiness::READABLE);
                stage.script.ready.borrow_mut().push(ready);
                assert_eq!(kpt.turn(&mut ()), Ok(None));
            }
            drop(kpt);
            assert_eq!(*stage.watched.borrow(), [Interest::NONE; 2], "{turns} turns");
        }
    }
    // Stopped, with one that was found ready and did not run.
    each(
        |(), _| panic!("stopped"),
        |kpt| {
            let stop: Hook = |(), mut thread| thread.threads().stop();
            kpt.threads().add_execute("stop", stop, None).unwrap();
            assert_eq!(kpt.turn(&mut ()), Ok(Some(Exit::Stopped)));
            kpt.threads().cancel_source(SOURCE);
        },
    );
}
