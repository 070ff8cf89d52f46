//! Faults R11 and R13: lines and clocks of microcontrollers.

use std::hint;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use kpt_core::{Lines, Source};

/// Rounds of R11; each has a line of its own in a batch.
const ROUNDS: u32 = 2_000_000;
const BATCH: u32 = 32;

/// One OS thread writes data and then sets a line, another one clears the line and then looks at the data. If it has not
/// seen the data, then the line is still set.
///
/// In the literature on memory models this is the litmus test R, two writes against a write and a read: a processor with
/// store buffers may read before others see its write.
#[test]
fn r11_what_is_set_while_a_line_is_cleared_is_not_lost() {
    static LINES: Lines<{ BATCH as usize }> = Lines::new();
    static DATA: [AtomicU32; BATCH as usize] = [const { AtomicU32::new(0) }; BATCH as usize];
    static MEETING: Meeting = Meeting::new();

    let setter = thread::spawn(|| {
        for batch in 1..=ROUNDS / BATCH {
            MEETING.meet(2 * batch - 1);
            for (line, data) in (0..).zip(&DATA) {
                data.store(batch, Ordering::Relaxed);
                LINES.set(Source::new(line));
            }
            MEETING.meet(2 * batch);
        }
    });
    let mut lost = 0;
    for batch in 1..=ROUNDS / BATCH {
        MEETING.meet(2 * batch - 1);
        let seen: Vec<_> = (0..)
            .zip(&DATA)
            .map(|(line, data)| {
                LINES.clear(Source::new(line));
                data.load(Ordering::Relaxed) == batch
            })
            .collect();
        MEETING.meet(2 * batch);
        lost += (0..)
            .zip(seen)
            .filter(|&(line, seen)| !seen && !LINES.is_set(Source::new(line)))
            .count();
    }
    setter.join().unwrap();
    assert_eq!(lost, 0, "wake-ups lost in {ROUNDS} rounds");
}

/// Where two OS threads wait for each other: none goes on before the other is there.
struct Meeting {
    arrivals: AtomicU32,
}

impl Meeting {
    const fn new() -> Self {
        Self { arrivals: AtomicU32::new(0) }
    }

    /// The `number`-th time, counted from 1.
    fn meet(&self, number: u32) {
        self.arrivals.fetch_add(1, Ordering::AcqRel);
        let mut looks = 0;
        while self.arrivals.load(Ordering::Acquire) < 2 * number {
            looks += 1;
            if looks % 1_000 == 0 { thread::yield_now() } else { hint::spin_loop() }
        }
    }
}
