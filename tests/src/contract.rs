//! What every poller must do, as one suite: each MUST in the docs of [`Poller`], and that what a poller MAY do stays
//! within bounds.
//!
//! Write a [`Rig`] for what is outside of your poller, and call [`check`]. A poller may wake early, repeat itself and
//! find what is not there, so the suite asks again and again until it has seen what it must see; it never sleeps.

use std::time::Duration;

use kpt_core::{Instant, Interest, Poller, Readiness, Ready, Source};

/// How often a poller is asked for what it must find, or must not find each time. One that skips a source in every
/// fourth wait fails this by chance once in 10^38 times.
const PATIENCE: usize = 64;

/// A poller, and what it can be made to see.
pub trait Rig {
    /// What the suite is for.
    type Poller: Poller<Error: core::fmt::Debug>;

    /// The poller: the same one each time.
    fn poller(&mut self) -> &mut Self::Poller;

    /// A source that nobody watches: writable, not readable. At least four must be possible at a time.
    fn open(&mut self) -> Source;

    /// Gives up a source that nobody watches.
    fn close(&mut self, source: Source);

    /// Makes it readable, writable or hung up. What has hung up is only closed after that.
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
    the_clock_is_monotonic_and_rounded_up(rig);
    wait_never_claims_more_than_the_true_time(rig);
    a_wait_reaches_its_moment(rig);
    a_moment_that_has_passed_still_looks(rig);
    no_moment_is_too_far(rig);
    readiness_is_reported_as_long_as_it_lasts(rig);
    interest_is_replaced(rig);
    both_interests_are_seen(rig);
    none_ends_the_watch_at_once(rig);
    a_hang_up_reaches_any_interest(rig);
    any_call_is_taken_for_any_source(rig);
    a_broken_source_is_its_own_error(rig);
    what_cannot_be_watched_is_its_own_error(rig);
    a_number_may_be_another_source_by_now(rig);
}

/// One wait: what it found on `source`, and the time that it returned.
fn wait<R: Rig>(rig: &mut R, until: Option<Instant>, source: Source) -> (Readiness, Instant) {
    let mut found = Readiness::NONE;
    let mut sink = |other, readiness| {
        if other == source {
            found = found | readiness;
        }
    };
    let time = rig.poller().wait(until, &mut Ready::new(&mut sink)).expect("the wait works");
    (found, time)
}

/// Whether the poller finds any of `wanted` on the source, as somebody with that interest sees it.
fn finds<R: Rig>(rig: &mut R, source: Source, interest: Interest, wanted: Readiness) -> bool {
    (0..PATIENCE).any(|_| {
        let (found, _) = wait(rig, Some(Instant::ZERO), source);
        found.seen_by(interest).intersects(wanted)
    })
}

/// Whether a wait can last to its end without anything being found on the source.
fn is_quiet<R: Rig>(rig: &mut R, source: Source) -> bool {
    (0..PATIENCE).any(|_| {
        let until = rig.poller().now() + Duration::from_micros(200);
        let (found, time) = wait(rig, Some(until), source);
        found.is_none() && time >= until
    })
}

fn watch<R: Rig>(rig: &mut R, source: Source, interest: Interest) {
    rig.poller().modify(source, interest).expect("it can be watched");
}

/// Ends the watch and closes.
fn finish<R: Rig>(rig: &mut R, source: Source) {
    watch(rig, source, Interest::NONE);
    rig.close(source);
}

fn the_clock_is_monotonic_and_rounded_up<R: Rig>(rig: &mut R) {
    let mut last = Instant::ZERO;
    for round in 0..1_000 {
        let before = rig.true_time();
        let now = rig.poller().now();
        assert!(now >= last, "now went from {last:?} back to {now:?}");
        assert!(
            u128::from(now.as_micros()) * 1_000 >= before.as_nanos(),
            "now {now:?} is before the call, {before:?}"
        );
        last = now;
        if round % 50 == 0 {
            wait(rig, Some(now + Duration::from_micros(round)), Source::new(0));
        }
    }
}

fn wait_never_claims_more_than_the_true_time<R: Rig>(rig: &mut R) {
    for round in 0..200_u64 {
        let until = match round % 4 {
            0 => Instant::ZERO,
            _ => rig.poller().now() + Duration::from_micros(round % 4 * 37),
        };
        let (_, time) = wait(rig, Some(until), Source::new(0));
        let after = rig.true_time();
        assert!(
            u128::from(time.as_micros()) * 1_000 <= after.as_nanos(),
            "the wait claims {time:?} and it is {after:?}"
        );
    }
}

/// Also with timeouts of less than a millisecond, and of a fraction of one.
fn a_wait_reaches_its_moment<R: Rig>(rig: &mut R) {
    for micros in [1, 300, 999, 1_000, 1_001, 2_500] {
        let until = rig.poller().now() + Duration::from_micros(micros);
        let waits = (0..10_000).take_while(|_| wait(rig, Some(until), Source::new(0)).1 < until);
        assert!(waits.count() < 10_000, "spins and never gets to {micros} us from now");
        let time = rig.true_time();
        assert!(time.as_nanos() >= u128::from(until.as_micros()) * 1_000, "early: {time:?}");
    }
}

fn a_moment_that_has_passed_still_looks<R: Rig>(rig: &mut R) {
    let source = rig.open();
    rig.set(source, Readiness::READABLE);
    watch(rig, source, Interest::READABLE);
    assert!(finds(rig, source, Interest::READABLE, Readiness::READABLE));
    let now = rig.poller().now();
    assert!((0..PATIENCE).any(|_| wait(rig, Some(now), source).0.is_readable()));
    finish(rig, source);
}

/// No timeout overflows, is taken for a negative one, or refused by the system.
fn no_moment_is_too_far<R: Rig>(rig: &mut R) {
    let source = rig.open();
    rig.set(source, Readiness::READABLE);
    watch(rig, source, Interest::READABLE);
    let now = rig.poller().now();
    let day = Duration::from_secs(24 * 60 * 60);
    let delays = [day / 2, day, day * 25, day * 50, day * 365 * 200, Duration::MAX];
    let moments = delays.map(|delay| Some(now + delay));
    let last = Some(Instant::from_micros(u64::MAX - 1));
    for until in moments.into_iter().chain([last, Some(Instant::NEVER), None]) {
        let is_found = (0..PATIENCE).any(|_| wait(rig, until, source).0.is_readable());
        assert!(is_found, "until {until:?}");
    }
    finish(rig, source);
}

fn readiness_is_reported_as_long_as_it_lasts<R: Rig>(rig: &mut R) {
    let source = rig.open();
    watch(rig, source, Interest::READABLE);
    assert!(is_quiet(rig, source), "an idle source");
    rig.set(source, Readiness::READABLE);
    for round in 0..20 {
        let is_found = finds(rig, source, Interest::READABLE, Readiness::READABLE);
        assert!(is_found, "forgotten after {round} looks");
    }
    rig.clear(source, Readiness::READABLE);
    assert!(is_quiet(rig, source), "readable no more");
    rig.set(source, Readiness::READABLE);
    assert!(finds(rig, source, Interest::READABLE, Readiness::READABLE), "readable again");
    finish(rig, source);
}

fn interest_is_replaced<R: Rig>(rig: &mut R) {
    let source = rig.open();
    watch(rig, source, Interest::READABLE);
    assert!(is_quiet(rig, source), "writable only, and nobody wants to write");
    watch(rig, source, Interest::WRITABLE);
    assert!(finds(rig, source, Interest::WRITABLE, Readiness::WRITABLE), "now somebody does");
    rig.clear(source, Readiness::WRITABLE);
    assert!(is_quiet(rig, source), "full");
    rig.set(source, Readiness::READABLE);
    assert!(is_quiet(rig, source), "readable, and nobody wants to read");
    watch(rig, source, Interest::READABLE);
    assert!(finds(rig, source, Interest::READABLE, Readiness::READABLE));
    finish(rig, source);
}

fn both_interests_are_seen<R: Rig>(rig: &mut R) {
    let source = rig.open();
    watch(rig, source, Interest::BOTH);
    assert!(finds(rig, source, Interest::BOTH, Readiness::WRITABLE));
    rig.set(source, Readiness::READABLE);
    assert!(finds(rig, source, Interest::BOTH, Readiness::READABLE));
    assert!(finds(rig, source, Interest::BOTH, Readiness::WRITABLE));
    rig.clear(source, Readiness::WRITABLE);
    assert!(finds(rig, source, Interest::BOTH, Readiness::READABLE));
    rig.clear(source, Readiness::READABLE);
    assert!(is_quiet(rig, source));
    finish(rig, source);
}

fn none_ends_the_watch_at_once<R: Rig>(rig: &mut R) {
    let source = rig.open();
    let other = rig.open();
    rig.set(source, Readiness::READABLE);
    watch(rig, source, Interest::BOTH);
    watch(rig, other, Interest::READABLE);
    assert!(finds(rig, source, Interest::BOTH, Readiness::READABLE));
    watch(rig, source, Interest::NONE);
    assert!(is_quiet(rig, source), "ready, and nobody wants to know");
    watch(rig, source, Interest::READABLE);
    watch(rig, source, Interest::NONE);
    rig.close(source);
    assert!(is_quiet(rig, source), "closed after the watch has ended");
    rig.set(other, Readiness::READABLE);
    assert!(finds(rig, other, Interest::READABLE, Readiness::READABLE), "the other one stays");
    finish(rig, other);
}

fn a_hang_up_reaches_any_interest<R: Rig>(rig: &mut R) {
    let any = Readiness::READABLE | Readiness::WRITABLE | Readiness::HANGUP | Readiness::ERROR;
    for interest in [Interest::READABLE, Interest::WRITABLE, Interest::BOTH] {
        let source = rig.open();
        rig.clear(source, Readiness::WRITABLE);
        watch(rig, source, interest);
        assert!(is_quiet(rig, source), "full and empty");
        rig.set(source, Readiness::HANGUP);
        for _ in 0..10 {
            assert!(finds(rig, source, interest, any), "{interest:?} is not told of a hang-up");
        }
        finish(rig, source);
    }
}

fn any_call_is_taken_for_any_source<R: Rig>(rig: &mut R) {
    let source = rig.open();
    for number in [source.number(), 0, 1_000_000, u32::MAX / 2, u32::MAX] {
        for _ in 0..2 {
            let answer = rig.poller().modify(Source::new(number), Interest::NONE);
            assert_eq!(answer, Ok(()), "NONE for {number}, which is not watched");
        }
    }
    watch(rig, source, Interest::WRITABLE);
    watch(rig, source, Interest::WRITABLE);
    assert!(finds(rig, source, Interest::WRITABLE, Readiness::WRITABLE), "asked for twice");
    rig.close(source);
    watch(rig, source, Interest::NONE);
    watch(rig, source, Interest::NONE);
    assert!(is_quiet(rig, source), "closed while watched, then given up");
}

fn a_broken_source_is_its_own_error<R: Rig>(rig: &mut R) {
    let (broken, sound) = (rig.open(), rig.open());
    watch(rig, broken, Interest::READABLE);
    watch(rig, sound, Interest::READABLE);
    assert!(is_quiet(rig, broken));
    rig.break_it(broken);
    rig.set(sound, Readiness::READABLE);
    for round in 0..10 {
        assert!(finds_error(rig, broken, Interest::READABLE), "an error was lost, round {round}");
        let is_served = finds(rig, sound, Interest::READABLE, Readiness::READABLE);
        assert!(is_served, "the sound one is not served");
    }
    for round in 0..10 {
        // What a thread does that never gives up.
        assert!(finds_both(rig, broken, sound), "the broken one starves the sound one, {round}");
    }
    rig.clear(sound, Readiness::READABLE);
    watch(rig, broken, Interest::NONE);
    assert!(is_quiet(rig, broken), "nobody wants to know of the broken one");
    finish(rig, sound);
}

/// Asks anew, as the loop does after an error, and looks.
fn finds_error<R: Rig>(rig: &mut R, source: Source, interest: Interest) -> bool {
    rig.poller().modify(source, interest).is_err() || finds(rig, source, interest, Readiness::ERROR)
}

/// Whether one can be found although the other one is broken, and asked for anew before each wait.
fn finds_both<R: Rig>(rig: &mut R, broken: Source, sound: Source) -> bool {
    (0..PATIENCE).any(|_| {
        let _ = rig.poller().modify(broken, Interest::READABLE);
        wait(rig, Some(Instant::ZERO), sound).0.is_readable()
    })
}

fn what_cannot_be_watched_is_its_own_error<R: Rig>(rig: &mut R) {
    let sound = rig.open();
    watch(rig, sound, Interest::WRITABLE);
    for source in rig.unwatchable() {
        for interest in [Interest::READABLE, Interest::WRITABLE, Interest::BOTH] {
            assert!(finds_error(rig, source, interest), "{source:?} {interest:?}: no error");
            assert!(finds(rig, sound, Interest::WRITABLE, Readiness::WRITABLE), "{source:?}");
        }
        watch(rig, source, Interest::NONE);
        assert!(is_quiet_but(rig, source, sound), "{source:?} is watched after all");
    }
    finish(rig, sound);
}

/// The same as `is_quiet` while another source is ready all the time.
fn is_quiet_but<R: Rig>(rig: &mut R, source: Source, ready: Source) -> bool {
    watch(rig, ready, Interest::READABLE);
    let is_quiet = is_quiet(rig, source);
    watch(rig, ready, Interest::WRITABLE);
    is_quiet
}

/// Closed and opened again in between, a source of the same number is told to the poller anew, and works.
fn a_number_may_be_another_source_by_now<R: Rig>(rig: &mut R) {
    let mut source = rig.open();
    for _ in 0..10 {
        watch(rig, source, Interest::READABLE);
        assert!(is_quiet(rig, source));
        rig.set(source, Readiness::READABLE);
        assert!(finds(rig, source, Interest::READABLE, Readiness::READABLE));
        watch(rig, source, Interest::NONE);
        rig.close(source);
        source = rig.open();
    }
    rig.close(source);
}
