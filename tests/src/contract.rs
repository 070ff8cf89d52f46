//! What every poller must do, as one suite: each MUST in the docs of [`Poller`], and that what a poller MAY do stays
//! within bounds.
//!
//! Write a [`Rig`] for what is outside of your poller, and call [`check`]. A poller may wake early, repeat itself and
//! find what is not there, so the suite asks again where that is allowed; it never sleeps.
//!
//! The suite stands in for a loop: it tells the poller what to watch, and answers it when it asks. So it holds for
//! pollers that keep a set of sources and for those that keep nothing. That a poller around another one forwards
//! everything is a suite of its own, [`wrapper`](crate::wrapper).

use std::time::Duration;

use kpt_core::{
    Instant, Interest, Readiness, Source,
    poller::{Poller, Ready, Unwatchable},
};

use crate::waiting::Threads;

/// A wait may return before its moment with nothing, whether or not something is ready. The next one or the one after
/// finds it.
const WAITS: usize = 3;

/// How often a poller may find what is not there, or return early, before a wait is quiet. One that does so in every
/// fourth wait fails this by chance once in 10^38 times.
const PATIENCE: usize = 64;

/// A poller, and what it can be made to see.
pub trait Rig {
    /// What the suite is for.
    type Poller: Poller<Error: core::fmt::Debug>;

    /// The poller: the same one each time.
    fn poller(&mut self) -> &mut Self::Poller;

    /// What its sources can be; whatever else one of a poller's sources can be is left out.
    fn can_be(&self) -> Readiness {
        Readiness::READABLE | Readiness::WRITABLE | Readiness::HANGUP | Readiness::ERROR
    }

    /// An unwatched source: not readable, and writable if it can be. At least four must be possible at a time.
    fn open(&mut self) -> Source;

    /// Gives up an unwatched source.
    fn close(&mut self, source: Source);

    /// Makes it readable, writable or hung up, if it can be that. What has hung up is only closed after that.
    fn set(&mut self, source: Source, readiness: Readiness);

    /// Makes it neither readable nor writable, as said.
    fn clear(&mut self, source: Source, readiness: Readiness);

    /// Breaks a source while it is watched: closes it behind the poller's back. It is not used any more after that.
    fn break_it(&mut self, source: Source);

    /// Sources that the poller can't watch.
    fn unwatchable(&self) -> Vec<Source>;

    /// The time on the poller's clock, as exact as it gets and not rounded, from a clock that is always right.
    fn true_time(&mut self) -> Duration;
}

/// Runs the whole suite.
///
/// # Panics
/// If the poller breaks its contract.
pub fn check<R: Rig>(rig: &mut R) {
    let mut suite = Suite { rig, threads: Vec::new() };
    suite.the_clock_is_monotonic_and_rounded_up();
    suite.wait_never_claims_more_than_the_true_time();
    suite.a_wait_reaches_its_moment();
    suite.a_moment_that_has_passed_still_looks();
    suite.no_moment_is_too_far();
    suite.readiness_is_reported_as_long_as_it_lasts();
    suite.interest_is_replaced();
    suite.both_interests_are_seen();
    suite.none_ends_the_watch_at_once();
    suite.a_hang_up_reaches_any_interest();
    suite.any_call_is_taken_for_any_source();
    suite.a_broken_source_is_its_own_error();
    suite.what_cannot_be_watched_is_its_own_error();
    suite.a_number_may_be_another_source_by_now();
    assert_eq!(suite.threads, [], "the suite itself has forgotten to end a watch");
}

/// The suite stands in for a loop: it has a thread for each interest in a source.
struct Suite<'r, R> {
    rig: &'r mut R,
    threads: Vec<(Source, Interest)>,
}

/// What the suite does.
impl<R: Rig> Suite<'_, R> {
    /// One wait: what it found on `source`, and the time that it returned.
    fn wait(&mut self, until: Instant, source: Source) -> (Readiness, Instant) {
        let mut threads = Threads::new(&self.threads);
        let time = self.rig.poller().wait(until, &mut Ready::new(&mut threads));
        (threads.found_on(source), time.expect("the wait works"))
    }

    /// Whether the poller finds any of `wanted` on the source, as a thread with that interest sees it. It need not wait
    /// for that, so it must not miss it.
    fn finds(&mut self, source: Source, interest: Interest, wanted: Readiness) -> bool {
        let (found, _) = self.wait(Instant::ZERO, source);
        found.seen_by(interest).intersects(wanted)
    }

    fn finds_readable(&mut self, source: Source) -> bool {
        self.finds(source, Interest::READABLE, Readiness::READABLE)
    }

    /// Whether a wait can last to its end without anything being found on the source.
    fn is_quiet(&mut self, source: Source) -> bool {
        (0..PATIENCE).any(|_| {
            let until = self.rig.poller().now() + Duration::from_micros(200);
            let (found, time) = self.wait(until, source);
            found.is_none() && time >= until
        })
    }

    /// Tells the poller, and keeps the threads in mind whatever it answers, as a loop does.
    fn try_watch(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        self.threads.retain(|&(other, _)| other != source);
        let wants = |bit: &Interest| *bit | interest == interest;
        let bits = [Interest::READABLE, Interest::WRITABLE].into_iter().filter(wants);
        self.threads.extend(bits.map(|bit| (source, bit)));
        self.rig.poller().modify(source, interest)
    }

    fn watch(&mut self, source: Source, interest: Interest) {
        self.try_watch(source, interest).expect("it can be watched");
    }

    /// Ends the watch and closes.
    fn finish(&mut self, source: Source) {
        self.watch(source, Interest::NONE);
        self.rig.close(source);
    }

    fn open_readable(&mut self) -> Source {
        let source = self.rig.open();
        self.rig.set(source, Readiness::READABLE);
        source
    }

    /// Whether a source of this poller can be all that.
    fn can_be(&self, readiness: Readiness) -> bool {
        self.rig.can_be() & readiness == readiness
    }
}

/// What it looks at: time.
impl<R: Rig> Suite<'_, R> {
    fn the_clock_is_monotonic_and_rounded_up(&mut self) {
        let mut last = Instant::ZERO;
        for round in 0..1_000 {
            let before = self.rig.true_time();
            let now = self.rig.poller().now();
            assert!(now >= last, "now went from {last:?} back to {now:?}");
            assert!(
                u128::from(now.as_micros()) * 1_000 >= before.as_nanos(),
                "now {now:?} is before the call, {before:?}"
            );
            last = now;
            if round % 50 == 0 {
                self.wait(now + Duration::from_micros(round), Source::new(0));
            }
        }
    }

    fn wait_never_claims_more_than_the_true_time(&mut self) {
        for round in 0..200_u64 {
            let until = match round % 4 {
                0 => Instant::ZERO,
                _ => self.rig.poller().now() + Duration::from_micros(round % 4 * 37),
            };
            let (_, time) = self.wait(until, Source::new(0));
            let after = self.rig.true_time();
            assert!(
                u128::from(time.as_micros()) * 1_000 <= after.as_nanos(),
                "the wait claims {time:?} and it is {after:?}"
            );
        }
    }

    /// Also with timeouts of less than a millisecond, and of a fraction of one.
    fn a_wait_reaches_its_moment(&mut self) {
        for micros in [1, 300, 999, 1_000, 1_001, 2_500] {
            let until = self.rig.poller().now() + Duration::from_micros(micros);
            let waits = (0..10_000).take_while(|_| self.wait(until, Source::new(0)).1 < until);
            assert!(waits.count() < 10_000, "spins and never gets to {micros} us from now");
            let time = self.rig.true_time();
            assert!(time.as_nanos() >= u128::from(until.as_micros()) * 1_000, "early: {time:?}");
        }
    }

    fn a_moment_that_has_passed_still_looks(&mut self) {
        let source = self.open_readable();
        self.watch(source, Interest::READABLE);
        assert!(self.finds_readable(source));
        let now = self.rig.poller().now();
        assert!((0..WAITS).any(|_| self.wait(now, source).0.is_readable()));
        self.finish(source);
    }

    /// No timeout overflows, is taken for a negative one, or refused by the system.
    fn no_moment_is_too_far(&mut self) {
        let source = self.open_readable();
        self.watch(source, Interest::READABLE);
        let now = self.rig.poller().now();
        let day = Duration::from_secs(24 * 60 * 60);
        let delays = [day / 2, day, day * 25, day * 50, day * 365 * 200, Duration::MAX];
        let last = [Instant::from_micros(u64::MAX - 1), Instant::NEVER];
        for until in delays.map(|delay| now + delay).into_iter().chain(last) {
            let is_found = (0..WAITS).any(|_| self.wait(until, source).0.is_readable());
            assert!(is_found, "until {until:?}");
        }
        self.finish(source);
    }
}

/// What it looks at: sources that are as they should be.
impl<R: Rig> Suite<'_, R> {
    fn readiness_is_reported_as_long_as_it_lasts(&mut self) {
        let source = self.rig.open();
        self.watch(source, Interest::READABLE);
        assert!(self.is_quiet(source), "an idle source");
        self.rig.set(source, Readiness::READABLE);
        for round in 0..20 {
            assert!(self.finds_readable(source), "forgotten after {round} looks");
        }
        self.rig.clear(source, Readiness::READABLE);
        assert!(self.is_quiet(source), "readable no more");
        self.rig.set(source, Readiness::READABLE);
        assert!(self.finds_readable(source), "readable again");
        self.finish(source);
    }

    fn interest_is_replaced(&mut self) {
        if !self.can_be(Readiness::WRITABLE) {
            return;
        }
        let source = self.rig.open();
        self.watch(source, Interest::READABLE);
        assert!(self.is_quiet(source), "writable only, and nobody wants to write");
        self.watch(source, Interest::WRITABLE);
        assert!(self.finds(source, Interest::WRITABLE, Readiness::WRITABLE), "now somebody does");
        self.rig.clear(source, Readiness::WRITABLE);
        assert!(self.is_quiet(source), "full");
        self.rig.set(source, Readiness::READABLE);
        assert!(self.is_quiet(source), "readable, and nobody wants to read");
        self.watch(source, Interest::READABLE);
        assert!(self.finds_readable(source));
        self.finish(source);
    }

    fn both_interests_are_seen(&mut self) {
        if !self.can_be(Readiness::WRITABLE) {
            return;
        }
        let source = self.rig.open();
        self.watch(source, Interest::BOTH);
        assert!(self.finds(source, Interest::BOTH, Readiness::WRITABLE));
        self.rig.set(source, Readiness::READABLE);
        assert!(self.finds(source, Interest::BOTH, Readiness::READABLE));
        assert!(self.finds(source, Interest::BOTH, Readiness::WRITABLE));
        self.rig.clear(source, Readiness::WRITABLE);
        assert!(self.finds(source, Interest::BOTH, Readiness::READABLE));
        self.rig.clear(source, Readiness::READABLE);
        assert!(self.is_quiet(source));
        self.finish(source);
    }

    fn none_ends_the_watch_at_once(&mut self) {
        let source = self.open_readable();
        let other = self.rig.open();
        self.watch(source, Interest::BOTH);
        self.watch(other, Interest::READABLE);
        assert!(self.finds(source, Interest::BOTH, Readiness::READABLE));
        self.watch(source, Interest::NONE);
        assert!(self.is_quiet(source), "ready, and nobody wants to know");
        self.watch(source, Interest::READABLE);
        self.watch(source, Interest::NONE);
        self.rig.close(source);
        assert!(self.is_quiet(source), "closed after the watch has ended");
        self.rig.set(other, Readiness::READABLE);
        assert!(self.finds_readable(other), "the other one stays");
        self.finish(other);
    }

    fn a_hang_up_reaches_any_interest(&mut self) {
        if !self.can_be(Readiness::WRITABLE | Readiness::HANGUP) {
            return;
        }
        let any = Readiness::READABLE | Readiness::WRITABLE | Readiness::HANGUP | Readiness::ERROR;
        for interest in [Interest::READABLE, Interest::WRITABLE, Interest::BOTH] {
            let source = self.rig.open();
            self.rig.clear(source, Readiness::WRITABLE);
            self.watch(source, interest);
            assert!(self.is_quiet(source), "full and empty");
            self.rig.set(source, Readiness::HANGUP);
            for _ in 0..10 {
                assert!(self.finds(source, interest, any), "{interest:?}: no hang-up");
            }
            self.finish(source);
        }
    }

    fn any_call_is_taken_for_any_source(&mut self) {
        let source = self.open_readable();
        for number in [source.number(), 0, 1_000_000, u32::MAX / 2, u32::MAX] {
            for _ in 0..2 {
                let answer = self.try_watch(Source::new(number), Interest::NONE);
                assert_eq!(answer, Ok(()), "NONE for {number}, which is not watched");
            }
        }
        self.watch(source, Interest::READABLE);
        self.watch(source, Interest::READABLE);
        assert!(self.finds_readable(source), "asked for twice");
        self.rig.close(source);
        self.watch(source, Interest::NONE);
        self.watch(source, Interest::NONE);
        assert!(self.is_quiet(source), "closed while watched, then given up");
    }

    /// Closed and opened again in between, a source of the same number is told to the poller anew, and works.
    fn a_number_may_be_another_source_by_now(&mut self) {
        let mut source = self.rig.open();
        for _ in 0..10 {
            self.watch(source, Interest::READABLE);
            assert!(self.is_quiet(source));
            self.rig.set(source, Readiness::READABLE);
            assert!(self.finds_readable(source));
            self.watch(source, Interest::NONE);
            self.rig.close(source);
            source = self.rig.open();
        }
        self.rig.close(source);
    }
}

/// What it looks at: sources that are broken.
impl<R: Rig> Suite<'_, R> {
    fn a_broken_source_is_its_own_error(&mut self) {
        if !self.can_be(Readiness::ERROR) {
            return;
        }
        let (broken, sound) = (self.rig.open(), self.rig.open());
        self.watch(broken, Interest::READABLE);
        self.watch(sound, Interest::READABLE);
        assert!(self.is_quiet(broken));
        self.rig.break_it(broken);
        self.rig.set(sound, Readiness::READABLE);
        for round in 0..10 {
            assert!(self.finds_error(broken, Interest::READABLE), "lost, round {round}");
            assert!(self.finds_readable(sound), "the sound one is not served");
        }
        for round in 0..10 {
            // What a thread does that never gives up.
            assert!(
                self.finds_both(broken, sound),
                "the broken one starves the sound one, {round}"
            );
        }
        self.rig.clear(sound, Readiness::READABLE);
        self.watch(broken, Interest::NONE);
        assert!(self.is_quiet(broken), "nobody wants to know of the broken one");
        self.finish(sound);
    }

    /// Asks anew, as the loop does after an error, and looks.
    fn finds_error(&mut self, source: Source, interest: Interest) -> bool {
        self.try_watch(source, interest).is_err() || self.finds(source, interest, Readiness::ERROR)
    }

    /// Whether one can be found although the other one is broken, and asked for anew before each wait.
    fn finds_both(&mut self, broken: Source, sound: Source) -> bool {
        let _ = self.try_watch(broken, Interest::READABLE);
        self.finds_readable(sound)
    }

    fn what_cannot_be_watched_is_its_own_error(&mut self) {
        let sound = self.open_readable();
        self.watch(sound, Interest::READABLE);
        for source in self.rig.unwatchable() {
            for interest in [Interest::READABLE, Interest::WRITABLE, Interest::BOTH] {
                assert!(self.finds_error(source, interest), "{source:?} {interest:?}: no error");
                assert!(self.finds_readable(sound), "{source:?}");
            }
            self.watch(source, Interest::NONE);
            self.rig.clear(sound, Readiness::READABLE);
            assert!(self.is_quiet(source), "{source:?} is watched after all");
            self.rig.set(sound, Readiness::READABLE);
        }
        self.finish(sound);
    }
}
