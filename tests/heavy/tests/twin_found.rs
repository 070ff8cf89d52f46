//! What `twin.rs` has found, each as a test of its own on both loops.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use kpt_core::sim::{Idle, SimPoller, World};
use kpt_core::{
    AddError, Exit, Instant, Interest, Readiness, Source, Thread, When,
    poller::{Poller, Ready, Unwatchable},
};
use kpt_tests::loops::{Shape, any_loop};

const SOURCE: Source = Source::new(7);

const BOTH: [Shape; 2] = [Shape::Small, Shape::Wheel(16, 8)];

/// The clock has gone on when a timer is refused for want of room, and then goes back: the large loop had read it, and
/// the small one had not.
#[test]
fn w01_an_add_that_finds_no_room_does_not_read_the_clock() {
    for shape in BOTH {
        let world: World = World::starting_at(Instant::from_micros(100));
        let mut kpt = any_loop::<_, (), ()>(SimPoller::new(&world), 1, shape);
        kpt.threads().add_execute("first", |_, _| {}, ()).unwrap();
        world.set_now(Instant::from_micros(200));
        let second = kpt.threads().add_timer("second", Duration::from_micros(1), |_, _| {}, ());
        assert!(matches!(second, Err(AddError::Full(()))));
        world.set_now(Instant::from_micros(150));
        assert_eq!(kpt.threads().now(), Instant::from_micros(150), "{shape:?}");
    }
}

/// What a poller panics in.
#[derive(Clone, Copy, PartialEq)]
enum Call {
    Now,
    Wait,
}

/// A poller that panics in that call, once, and what it watches.
struct Panicking<'w> {
    inner: SimPoller<'w>,
    panics: &'w Cell<Option<Call>>,
    watched: &'w Cell<Interest>,
}

impl Panicking<'_> {
    fn check(&self, call: Call) {
        if self.panics.get() == Some(call) {
            self.panics.set(None);
            panic!("as the test wants it");
        }
    }
}

impl Poller for Panicking<'_> {
    type Error = Idle;

    fn now(&mut self) -> Instant {
        self.check(Call::Now);
        self.inner.now()
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        self.watched.set(interest);
        self.inner.modify(source, interest)
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, Idle> {
        self.check(Call::Wait);
        self.inner.wait(until, ready)
    }
}

/// A source whose thread is cancelled may be closed, also after a wait in which the poller has panicked: the small loop
/// left it watched for ever.
#[test]
fn w02_a_poller_that_panics_in_a_wait_lets_go_in_a_cancel() {
    for shape in BOTH {
        let (world, panics, watched) = (World::new(), Cell::default(), Cell::default());
        let poller =
            Panicking { inner: SimPoller::new(&world), panics: &panics, watched: &watched };
        let mut kpt = any_loop::<_, (), ()>(poller, 4, shape);
        let reader = kpt.threads().add_read("reader", SOURCE, |_, _| {}, ()).unwrap();
        panics.set(Some(Call::Wait));
        catch_unwind(AssertUnwindSafe(|| kpt.turn(&mut ()))).unwrap_err();
        kpt.threads().cancel(reader).unwrap();
        assert_eq!(watched.get(), Interest::NONE, "{shape:?}");
        // And all goes on.
        kpt.threads().add_read("reader", SOURCE, |_, _| {}, ()).unwrap();
        world.set(SOURCE, Readiness::READABLE).unwrap();
        assert_eq!(kpt.run_verified(&mut ()), Ok(Exit::Empty));
    }
}

/// An argument that owns its source, and what was watched when it was dropped.
struct Owner<'w>(&'w Cell<Interest>, &'w Cell<Option<Interest>>);

impl Drop for Owner<'_> {
    fn drop(&mut self) {
        assert_eq!(self.1.replace(Some(self.0.get())), None, "dropped once");
    }
}

/// The clock panics when a reader is re-armed as a timer: its argument, already on its way back into the large loop, was
/// dropped before the thread had ended.
#[test]
fn w03_a_source_is_released_before_its_argument_is_dropped_when_the_clock_panics() {
    for shape in BOTH {
        let (world, panics, watched) = (World::new(), Cell::default(), Cell::default());
        let seen = Cell::new(None);
        let poller =
            Panicking { inner: SimPoller::new(&world), panics: &panics, watched: &watched };
        let mut kpt = any_loop::<_, (), Owner<'_>>(poller, 4, shape);
        let delay = |(): &mut (), thread: Thread<(), Owner<'_>>| {
            drop(thread.again_when(When::After(Duration::from_micros(1))));
        };
        kpt.threads().add_read("reader", SOURCE, delay, Owner(&watched, &seen)).unwrap();
        world.set(SOURCE, Readiness::READABLE).unwrap();
        panics.set(Some(Call::Now));
        catch_unwind(AssertUnwindSafe(|| kpt.turn(&mut ()))).unwrap_err();
        assert_eq!(seen.get(), Some(Interest::NONE), "{shape:?}");
        assert_eq!(kpt.threads().len(), 0);
        kpt.threads().verify().unwrap();
    }
}
