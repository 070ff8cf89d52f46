//! What is logged as an error: faults that would otherwise go unnoticed. A refusal that the caller receives is not
//! logged as one (fault R9).

use core::time::Duration;
use std::cell::RefCell;
use std::string::{String, ToString};
use std::vec::Vec;

use crate::sim::{SimPoller, World};
use crate::*;

std::thread_local! {
    /// The lines that the test of this OS thread has logged as errors.
    static ERRORS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// All lines that it has logged.
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Logger;

impl ::log::Log for Logger {
    fn enabled(&self, _: &::log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &::log::Record<'_>) {
        LINES.with_borrow_mut(|lines| lines.push(record.args().to_string()));
        if record.level() == ::log::Level::Error {
            ERRORS.with_borrow_mut(|errors| errors.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Keeps the lines of this test from here on. The first call sets the logger for all tests.
fn listen() {
    let _ = ::log::set_logger(&Logger);
    ::log::set_max_level(::log::LevelFilter::Trace);
}

const SOURCE: Source = Source::new(1);

fn ends(_: &mut (), _: Thread<'_, ()>) {}

/// The same tests on a loop for three threads.
macro_rules! tests {
    ($new_loop:expr) => {
        use super::*;

        #[test]
        fn r09_a_refusal_is_not_logged_as_an_error() {
            listen();
            let world = World::new();
            let mut kpt = $new_loop(SimPoller::new(&world));
            let mut threads = kpt.threads();
            threads.add_read("reader", SOURCE, ends, ()).unwrap();
            let same = threads.add_read("same", SOURCE, ends, ());
            assert!(matches!(same, Err(AddError::Taken(()))));
            let id = threads.add_execute("second", ends, ()).unwrap();
            threads.add_execute("third", ends, ()).unwrap();
            for when in [When::Now, When::After(Duration::ZERO), When::Writable(SOURCE)] {
                assert!(matches!(threads.add("full", when, ends, ()), Err(AddError::Full(()))));
            }
            threads.cancel(id).unwrap();
            assert_eq!(threads.cancel(id), Err(Stale));
            threads.cancel_source(Source::new(99));
            assert_eq!(ERRORS.take(), [""; 0]);
        }

        #[test]
        fn r09_what_try_again_returns_is_not_logged_as_an_error() {
            listen();
            let world = World::new();
            let mut kpt = $new_loop(SimPoller::new(&world));
            kpt.threads().add_read("reader", SOURCE, ends, ()).unwrap();
            let try_again = |_: &mut (), thread: Thread<'_, ()>| {
                assert!(matches!(thread.try_again(), Err(AgainError::NoPeriod(()))));
            };
            kpt.threads().add("no period", When::At(Instant::ZERO), try_again, ()).unwrap();
            let again_when = |_: &mut (), thread: Thread<'_, ()>| {
                let refused = thread.again_when(When::Readable(SOURCE));
                assert!(matches!(refused, Err(AgainError::Taken(()))));
            };
            kpt.threads().add_execute("taken", again_when, ()).unwrap();
            kpt.turn(&mut ()).unwrap();
            assert_eq!(kpt.threads().len(), 1);
            assert_eq!(ERRORS.take(), [""; 0]);
        }

        #[test]
        fn what_nobody_gets_is_logged_as_an_error() {
            listen();
            let world = World::new();
            let mut kpt = $new_loop(SimPoller::new(&world));
            let again = |_: &mut (), thread: Thread<'_, ()>| thread.again();
            kpt.threads().add("timer", When::At(Instant::ZERO), again, ()).unwrap();
            kpt.turn(&mut ()).unwrap();
            let refused = "has ended, since it can't be re-armed: the timer has no period; \
                           re-arm it with again_when";
            assert_eq!(ERRORS.take(), ["thread timer 0.1: ".to_string() + refused]);
            world.set(SOURCE, Readiness::ERROR).unwrap();
            kpt.threads().add_read("reader", SOURCE, ends, ()).unwrap();
            kpt.turn(&mut ()).unwrap();
            let broken = "source 1 is closed or broken, or can't be watched; \
                          its hook should end the thread";
            assert_eq!(ERRORS.take(), ["thread reader 0.2: ".to_string() + broken]);
            // A connection that was reset. Any client can do that, so it is no error in the log.
            world.set(SOURCE, Readiness::ERROR | Readiness::READABLE).unwrap();
            kpt.threads().add_read("reader", SOURCE, ends, ()).unwrap();
            kpt.turn(&mut ()).unwrap();
            assert_eq!(ERRORS.take(), [""; 0]);
        }

        #[test]
        fn lines_have_units_and_show_arguments_as_the_application_says() {
            listen();
            let world = World::new();
            let mut kpt = $new_loop(SimPoller::new(&world));
            kpt.show_args(|(), f| f.write_str("client 7"));
            LINES.take();
            let id = kpt.threads().add_timer("idle", Duration::from_millis(2), ends, ()).unwrap();
            kpt.threads().reschedule(id, When::At(Instant::from_micros(5_000))).unwrap();
            kpt.threads().add_read("reader", SOURCE, ends, ()).unwrap();
            kpt.threads().cancel(id).unwrap();
            let _ = kpt.threads().add_read("same", SOURCE, ends, ());
            world.set(SOURCE, Readiness::ERROR).unwrap();
            kpt.turn(&mut ()).unwrap();
            let lines = LINES.take();
            let expected = [
                "thread idle 0.1 (client 7): added, timer in 2000 us",
                "thread idle 0.1 (client 7): rescheduled, timer at 5000 us of the loop's clock",
                "thread reader 1.1 (client 7): added, read source 1",
                "thread idle 0.1 (client 7): cancelled",
                "thread same (client 7): not added, read source 1: another thread waits for the same of \
                 this source; cancel that one first (threads in the loop: 1)",
                "thread reader 1.1 (client 7): source 1 is closed or broken, or can't be watched; \
                 its hook should end the thread",
                "thread reader 1.1: ended",
            ];
            assert_eq!(lines, expected);
            ERRORS.take();
        }
    };
}

mod small {
    tests!(FixedLoop::<SimPoller<'_>, (), 3>::new);
}

#[cfg(feature = "large")]
mod large {
    tests!(crate::large::LargeLoop::<SimPoller<'_>, (), 3>::new);
}
