//! A poller for machines without an operating system: interrupt handlers set lines, the loop sleeps until one is set.

use core::convert::Infallible;

use super::lines::{Lines, line_bit};
use crate::poller::{Poller, Ready, Unwatchable};
use crate::source::{Interest, Readiness, Source};
use crate::time::Instant;

/// What a [`LinePoller`] needs of a board: `N` lines, a clock, and a way to sleep.
pub trait Board<const N: usize> {
    /// The time between two ticks of the clock in microseconds, rounded up; 1 for a clock that counts microseconds or
    /// faster. What is too little here makes timers early.
    const TICK_MICROS: u32;

    /// The lines that the interrupt handlers set. Always the same.
    ///
    /// The poller keeps no reference to them, so that a static loop is all zero bytes.
    fn lines(&self) -> &'static Lines<N>;

    /// The time of the last tick. MUST NOT go back.
    fn now(&mut self) -> Instant;

    /// Sleeps until an interrupt comes, at the latest until `until` (`None`: for ever).
    ///
    /// MUST mask interrupts, then ask `is_awake`, and sleep only if it says no: an interrupt that comes in between is
    /// then pending and ends the sleep at once (on Cortex-M, `WFI` does that with interrupts masked). MAY return at any
    /// time; a timer that can't count as far as `until` wakes in between, and is asked again.
    ///
    /// A board whose counter wraps MUST return at least once per wrap, even if `until` is `None`, so that `now` sees each.
    /// [`Clock`](super::Clock) does.
    fn sleep(&mut self, until: Option<Instant>, is_awake: &dyn Fn() -> bool);
}

/// Waits for the [`Lines`] of a board. A line that is set is readable and writable.
#[derive(Debug)]
pub struct LinePoller<B, const N: usize> {
    board: B,
    /// The lines that somebody waits for.
    watched: u32,
}

impl<B: Board<N>, const N: usize> LinePoller<B, N> {
    /// A poller of this board's lines; of zero bytes, if the board is.
    pub const fn new(board: B) -> Self {
        Self { board, watched: 0 }
    }

    /// The board.
    pub const fn board(&self) -> &B {
        &self.board
    }
}

impl<B: Board<N>, const N: usize> Poller for LinePoller<B, N> {
    type Error = Infallible;

    fn now(&mut self) -> Instant {
        Instant::from_micros(self.board.now().as_micros().saturating_add(u64::from(B::TICK_MICROS)))
    }

    fn modify(&mut self, source: Source, interest: Interest) -> Result<(), Unwatchable> {
        let bit = if (source.number() as usize) < N { line_bit(source.number()) } else { 0 };
        if interest.is_none() {
            self.watched &= !bit;
            return Ok(());
        }
        self.watched |= bit;
        if bit == 0 { Err(Unwatchable) } else { Ok(()) }
    }

    fn wait(
        &mut self,
        until: Option<Instant>,
        ready: &mut Ready<'_>,
    ) -> Result<Instant, Infallible> {
        let (lines, watched) = (self.board.lines(), self.watched);
        loop {
            let set = lines.mask() & watched;
            for line in (0..N as u32).filter(|&line| set & line_bit(line) != 0) {
                ready.push(Source::new(line), Readiness::READABLE | Readiness::WRITABLE);
            }
            let now = self.board.now();
            if set != 0 || until.is_some_and(|until| until <= now) {
                return Ok(now);
            }
            self.board.sleep(until, &|| lines.mask() & watched != 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;
    use std::vec::Vec;

    const LINE: Source = Source::new(2);

    /// A clock that runs only in sleep, and an interrupt that comes at a moment.
    struct Bench {
        lines: &'static Lines<4>,
        now: u64,
        interrupt: Option<u64>,
        sleeps: u32,
    }

    impl Board<4> for Bench {
        const TICK_MICROS: u32 = 1;

        fn lines(&self) -> &'static Lines<4> {
            self.lines
        }

        fn now(&mut self) -> Instant {
            Instant::from_micros(self.now)
        }

        fn sleep(&mut self, until: Option<Instant>, is_awake: &dyn Fn() -> bool) {
            self.sleeps += 1;
            if is_awake() {
                return;
            }
            let until = until.map_or(u64::MAX, Instant::as_micros).min(self.now + 1_000);
            if let Some(at) = self.interrupt.take_if(|&mut at| at <= until) {
                self.now = at;
                self.lines.set(LINE);
            } else {
                self.now = until;
            }
        }
    }

    fn wait(poller: &mut LinePoller<Bench, 4>, until: u64) -> (u64, Vec<Source>) {
        let mut found = Vec::new();
        let mut push = |source, _| found.push(source);
        let now =
            poller.wait(Some(Instant::from_micros(until)), &mut Ready::new(&mut push)).unwrap();
        (now.as_micros(), found)
    }

    /// A poller on lines of its own.
    fn poller(interrupt: Option<u64>) -> LinePoller<Bench, 4> {
        let lines = Box::leak(Box::new(Lines::new()));
        LinePoller::new(Bench { lines, now: 0, interrupt, sleeps: 0 })
    }

    #[test]
    fn a_wait_goes_on_where_the_timer_is_too_short() {
        let mut poller = poller(None);
        assert_eq!(wait(&mut poller, 3_500), (3_500, Vec::new()));
        assert_eq!(poller.board.sleeps, 4);
    }

    #[test]
    fn a_line_is_ready_until_it_is_cleared() {
        let mut poller = poller(Some(700));
        poller.modify(LINE, Interest::READABLE).unwrap();
        assert_eq!(wait(&mut poller, 3_500), (700, Vec::from([LINE])));
        assert_eq!(wait(&mut poller, 3_500), (700, Vec::from([LINE])));
        poller.board.lines.clear(LINE);
        assert_eq!(wait(&mut poller, 3_500), (3_500, Vec::new()));
    }

    #[test]
    fn lines_that_nobody_watches_wake_nobody() {
        let mut poller = poller(Some(700));
        assert_eq!(wait(&mut poller, 2_000), (2_000, Vec::new()));
        poller.modify(LINE, Interest::READABLE).unwrap();
        assert_eq!(wait(&mut poller, 2_000), (2_000, Vec::from([LINE])));
        poller.modify(LINE, Interest::NONE).unwrap();
        assert_eq!(wait(&mut poller, 2_000), (2_000, Vec::new()));
    }

    #[test]
    fn a_line_is_ready_for_its_reader_and_its_writer() {
        for interest in [Interest::READABLE, Interest::WRITABLE, Interest::BOTH] {
            let mut poller = poller(None);
            poller.modify(LINE, interest).unwrap();
            poller.board.lines.set(LINE);
            let mut found = Vec::new();
            let mut push = |source, readiness| found.push((source, readiness));
            poller.wait(None, &mut Ready::new(&mut push)).unwrap();
            assert_eq!(found, [(LINE, Readiness::READABLE | Readiness::WRITABLE)]);
        }
    }

    #[test]
    fn only_a_line_that_is_there_can_be_watched() {
        let mut poller = poller(None);
        for line in [4, 31, 32, u32::MAX].map(Source::new) {
            assert_eq!(poller.modify(line, Interest::READABLE), Err(Unwatchable));
            assert_eq!(poller.modify(line, Interest::WRITABLE), Err(Unwatchable));
            assert_eq!(poller.modify(line, Interest::NONE), Ok(()));
        }
        assert_eq!(poller.watched, 0);
        poller.board.lines.set(Source::new(77));
        assert!(!poller.board.lines.is_set(Source::new(77)));
    }
}
