//! Faults that are known and not mended: minimal tests that fail. One that passes moves to where it belongs.

use kpt_core::sim::Faults;
use kpt_core::{Instant, Interest, Poller, Readiness, Ready, Source, Waiting};
use kpt_tests::bench::Machine;

const LINE: Source = Source::new(1);

/// One reader of a line.
struct Reader(Readiness);

impl Waiting for Reader {
    fn push(&mut self, _: Source, readiness: Readiness) {
        self.0 = self.0 | readiness;
    }

    fn ask(&mut self, answer: &mut dyn FnMut(Source, Interest) -> Readiness) -> bool {
        let seen = answer(LINE, Interest::READABLE);
        self.push(LINE, seen);
        !seen.is_none()
    }
}

/// `Filtered` answers the inner poller's question with what the outer one lets through: a poller that asks goes to
/// sleep although a line is set, if the outer one keeps the event for after the wait.
#[test]
fn faults_around_lines_sleep_although_a_line_is_set() {
    let machine = Machine::new();
    machine.lines.set(LINE);
    machine.may_sleep.set(false);
    let mut poller = Faults::new(machine.poller::<1>(), 0);
    let mut reader = Reader(Readiness::NONE);
    for _ in 0..64 {
        poller.wait(Instant::NEVER, &mut Ready::new(&mut reader)).unwrap();
    }
    assert!(reader.0.is_readable());
}
