//! A poller for machines without an operating system: interrupt handlers set lines, and the loop sleeps until one is
//! set.

use core::convert::Infallible;

use super::lines::{Lines, line_bit};
use crate::poller::{Poller, Ready, Unwatchable};
use crate::source::{Interest, Readiness, Source};
use crate::time::Instant;

/// The board under a [`LinePoller`]: `N` lines, a clock, and a way to sleep.
pub trait Board<const N: usize> {
    /// The time between two ticks of the clock in microseconds, rounded up; 1 for a clock that counts microseconds or
    /// faster. A number that is too small makes timers early.
    const TICK_MICROS: u32;

    /// Returns the lines that the interrupt handlers set. MUST always return the same ones.
    ///
    /// The poller keeps no reference to them, so that a static loop is all zero bytes.
    fn lines(&self) -> &'static Lines<N>;

    /// Returns the time of the last tick. MUST NOT go back.
    fn now(&mut self) -> Instant;

    /// Sleeps until an interrupt comes, at the latest until `until` ([`Instant::NEVER`] for no deadline).
    ///
    /// MUST mask interrupts, then call `is_awake`, and sleep only if it returns false. An interrupt that comes in
    /// between is then pending, and ends the sleep at once (on Cortex-M, `WFI` does that with interrupts masked). MAY
    /// return at any time: a timer that can't count as far as `until` wakes earlier, and `sleep` is called again.
    ///
    /// A board whose counter wraps MUST return at least once per wrap, even if `until` is `NEVER`, so that `now` sees
    /// each wrap. [`Clock`](super::Clock) does that.
    fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool);
}

/// A poller that waits for the [`Lines`] of a board. A line that is set is readable and writable.
#[derive(Debug)]
pub struct LinePoller<B, const N: usize> {
    board: B,
}

impl<B: Board<N>, const N: usize> LinePoller<B, N> {
    /// Creates a poller for the lines of this board; all zero bytes if the board is.
    pub const fn new(board: B) -> Self {
        Self { board }
    }

    /// Returns the board.
    pub const fn board(&self) -> &B {
        &self.board
    }
}

impl<B: Board<N>, const N: usize> Poller for LinePoller<B, N> {
    type Error = Infallible;

    fn now(&mut self) -> Instant {
        Instant::from_micros(self.board.now().as_micros().saturating_add(u64::from(B::TICK_MICROS)))
    }

    /// Does nothing: each wait asks the loop which lines its threads wait for.
    fn modify(&mut self, _: Source, _: Interest) -> Result<(), Unwatchable> {
        Ok(())
    }

    fn wait(&mut self, until: Instant, ready: &mut Ready<'_>) -> Result<Instant, Infallible> {
        let lines = self.board.lines();
        loop {
            // Read before the lines, so that an event before a deadline is served before the timer of that deadline.
            let now = self.board.now();
            // A line that is set after this ends the sleep.
            let set = lines.mask();
            let is_any_ready = ready.ask(&mut |line, _| {
                if line.number() as usize >= N {
                    Readiness::ERROR
                } else if set & line_bit(line.number()) != 0 {
                    Readiness::READABLE | Readiness::WRITABLE
                } else {
                    Readiness::NONE
                }
            });
            if is_any_ready || until <= now {
                return Ok(now);
            }
            self.board.sleep(until, &|| lines.mask() != set);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::Waiting;
    use std::boxed::Box;
    use std::vec::Vec;

    const LINE: Source = Source::new(2);

    /// A board whose clock runs only in sleep, with one interrupt at a given moment.
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

        fn sleep(&mut self, until: Instant, is_awake: &dyn Fn() -> bool) {
            self.sleeps += 1;
            if is_awake() {
                return;
            }
            let until = until.as_micros().min(self.now + 1_000);
            if let Some(at) = self.interrupt.take_if(|&mut at| at <= until) {
                self.now = at;
                self.lines.set(LINE);
            } else {
                self.now = until;
            }
        }
    }

    /// Threads that wait for sources, and what was found for them.
    #[derive(Default)]
    struct Threads {
        wanted: Vec<(Source, Interest)>,
        found: Vec<(Source, Readiness)>,
    }

    impl Waiting for Threads {
        fn push(&mut self, source: Source, readiness: Readiness) {
            self.found.push((source, readiness));
        }

        fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
            for &(source, interest) in &self.wanted {
                let seen = answer(source, interest).seen_by(interest);
                self.found.extend((!seen.is_none()).then_some((source, seen)));
            }
            !self.found.is_empty()
        }
    }

    type Found = Vec<(Source, Readiness)>;

    fn wait_for(
        poller: &mut LinePoller<Bench, 4>,
        until: u64,
        wanted: &[(Source, Interest)],
    ) -> (u64, Found) {
        let mut threads = Threads { wanted: wanted.to_vec(), found: Vec::new() };
        let until = Instant::from_micros(until);
        let now = poller.wait(until, &mut Ready::new(&mut threads)).unwrap();
        (now.as_micros(), threads.found)
    }

    /// Returns a poller with lines of its own.
    fn poller(interrupt: Option<u64>) -> LinePoller<Bench, 4> {
        let lines = Box::leak(Box::new(Lines::new()));
        LinePoller::new(Bench { lines, now: 0, interrupt, sleeps: 0 })
    }

    const READER: [(Source, Interest); 1] = [(LINE, Interest::READABLE)];
    const READABLE: [(Source, Readiness); 1] = [(LINE, Readiness::READABLE)];

    #[test]
    fn a_wait_goes_on_where_the_timer_is_too_short() {
        let mut poller = poller(None);
        assert_eq!(wait_for(&mut poller, 3_500, &[]), (3_500, Vec::new()));
        assert_eq!(poller.board.sleeps, 4);
    }

    #[test]
    fn a_line_is_ready_until_it_is_cleared() {
        let mut poller = poller(Some(700));
        assert_eq!(wait_for(&mut poller, 3_500, &READER), (700, Vec::from(READABLE)));
        assert_eq!(wait_for(&mut poller, 3_500, &READER), (700, Vec::from(READABLE)));
        poller.board.lines.clear(LINE);
        assert_eq!(wait_for(&mut poller, 3_500, &READER), (3_500, Vec::new()));
    }

    #[test]
    fn a_line_without_threads_wakes_the_board_once_and_the_loop_never() {
        let mut poller = poller(Some(700));
        assert_eq!(wait_for(&mut poller, 2_000, &[]), (2_000, Vec::new()));
        assert_eq!(poller.board.sleeps, 3); // To 700, to 1,700, to 2,000.
        assert_eq!(wait_for(&mut poller, 3_000, &READER), (2_000, Vec::from(READABLE)));
        assert_eq!(wait_for(&mut poller, 3_000, &[]), (3_000, Vec::new()));
        assert_eq!(poller.board.sleeps, 4);
    }

    #[test]
    fn a_line_is_ready_for_its_reader_and_its_writer() {
        let mut poller = poller(None);
        poller.board.lines.set(LINE);
        let both = [(LINE, Interest::READABLE), (LINE, Interest::WRITABLE)];
        let found = [(LINE, Readiness::READABLE), (LINE, Readiness::WRITABLE)];
        assert_eq!(wait_for(&mut poller, 9, &both), (0, Vec::from(found)));
    }

    #[test]
    fn a_line_that_is_not_there_is_an_error() {
        let mut poller = poller(None);
        for line in [4, 31, 32, u32::MAX].map(Source::new) {
            let found = Vec::from([(line, Readiness::ERROR)]);
            assert_eq!(wait_for(&mut poller, 9, &[(line, Interest::READABLE)]), (0, found));
        }
        poller.board.lines.set(Source::new(77));
        assert!(!poller.board.lines.is_set(Source::new(77)));
    }
}
