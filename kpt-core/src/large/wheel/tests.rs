//! The wheel's arithmetic in tables.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::vec::Vec;

use super::*;

const fn slot(level: u32, digit: u32) -> Home {
    Home::Slot(Cell { level, digit })
}

pub(super) fn index(position: usize) -> Index {
    Index::new(position).unwrap()
}

/// A wheel at a position, with timers of these deadlines.
fn wheel_at<const SLOTS: usize, const LEVELS: usize>(
    position: u64,
    deadlines: &[u64],
) -> (Wheel<SLOTS, LEVELS>, Vec<Link>)
where
    Slots<SLOTS>: Level,
{
    let mut wheel = Wheel::new();
    let mut links = std::vec![Link::VACANT; deadlines.len()];
    wheel.advance(&mut links, Instant::from_micros(position));
    for (position, &deadline) in deadlines.iter().enumerate() {
        links[position].set_deadline(Instant::from_micros(deadline));
        wheel.insert(&mut links, index(position));
    }
    (wheel, links)
}

#[test]
fn a_digit_is_that_many_bits_of_the_value() {
    for (value, level, bits, expected) in [
        (0, 0, 1, 0),
        (0b110, 0, 1, 0),
        (0b110, 1, 1, 1),
        (0b110, 2, 1, 1),
        (0b110, 3, 1, 0),
        (u64::MAX, 63, 1, 1),
        (0b11_10_01, 0, 2, 1),
        (0b11_10_01, 1, 2, 2),
        (0b11_10_01, 2, 2, 3),
        (0x1234_5678_9ABC_DEF0, 0, 4, 0x0),
        (0x1234_5678_9ABC_DEF0, 7, 4, 0x9),
        (0x1234_5678_9ABC_DEF0, 15, 4, 0x1),
        (63, 0, 6, 63),
        (64, 0, 6, 0),
        (64, 1, 6, 1),
        (u64::MAX, 9, 6, 63),
        // The tenth digit of six bits is cut off by the end of the word.
        (u64::MAX, 10, 6, 15),
    ] {
        assert_eq!(digit(value, level, bits), expected, "digit {level} of {value:#x}, {bits} bits");
    }
}

#[test]
fn a_slot_starts_where_its_digit_does() {
    for (position, level, digit, bits, expected) in [
        (0, 0, 1, 1, 1),
        (0b1000, 2, 1, 1, 0b1100),
        (0b01_10_11, 0, 3, 2, 0b01_10_11),
        (0b01_10_11, 1, 3, 2, 0b01_11_00),
        (0b01_10_11, 2, 3, 2, 0b11_00_00),
        (0x1234, 1, 0xF, 4, 0x12F0),
        (0x1234, 3, 0x2, 4, 0x2000),
        (0, 15, 0xF, 4, 0xF000_0000_0000_0000),
        (u64::MAX, 15, 0xF, 4, 0xF000_0000_0000_0000),
        (u64::MAX - 1, 0, 63, 6, u64::MAX),
        (0, 10, 15, 6, 0xF000_0000_0000_0000),
    ] {
        let start = slot_start(position, level, digit, bits);
        assert_eq!(start, expected, "slot {digit} of level {level} seen from {position:#x}");
    }
}

#[test]
fn home_is_the_highest_digit_that_differs() {
    // Three levels of four slots: a span of 64.
    for (position, deadline, expected) in [
        (0, 0, Home::Due),
        (0, 1, slot(0, 1)),
        (0, 3, slot(0, 3)),
        (0, 4, slot(1, 1)),
        (0, 15, slot(1, 3)),
        (0, 16, slot(2, 1)),
        (0, 63, slot(2, 3)),
        (0, 64, Home::Far),
        (0, u64::MAX, Home::Far),
        (5, 4, Home::Due),
        (5, 5, Home::Due),
        (5, 6, slot(0, 2)),
        (5, 8, slot(1, 2)),
        (15, 16, slot(2, 1)),
        (63, 64, Home::Far),
        (64, 65, slot(0, 1)),
        (64, 127, slot(2, 3)),
        (u64::MAX - 1, u64::MAX, slot(0, 3)),
    ] {
        let (wheel, _) = wheel_at::<4, 3>(position, &[]);
        assert_eq!(wheel.home(deadline), expected, "{deadline} seen from {position}");
    }
    let (whole, _) = wheel_at::<16, 16>(0, &[]);
    assert_eq!(whole.home(u64::MAX), slot(15, 15), "16 levels of 4 bits have no far list");
}

#[test]
fn the_next_stop_is_the_first_slot_of_the_lowest_level() {
    type Case = (u64, &'static [u64], Option<(u64, Home)>);
    let cases: [Case; 9] = [
        (0, &[], None),
        (0, &[3], Some((3, slot(0, 3)))),
        (0, &[3, 2, 5, 17, 100], Some((2, slot(0, 2)))),
        (0, &[11, 7, 17], Some((4, slot(1, 1)))),
        (0, &[50, 100], Some((48, slot(2, 3)))),
        (0, &[100], Some((64, Home::Far))),
        (70, &[1_000], Some((960, Home::Far))),
        (70, &[71, 1_000], Some((71, slot(0, 3)))),
        (u64::MAX - 4, &[u64::MAX], Some((u64::MAX - 3, slot(1, 3)))),
    ];
    for (position, deadlines, expected) in cases {
        let (wheel, _) = wheel_at::<4, 3>(position, deadlines);
        let expected = expected.map(|(at, home)| Stop { at, home });
        assert_eq!(wheel.next_stop(), expected, "{deadlines:?} seen from {position}");
    }
}

/// After a removal, and after the position has entered it, at each level. One stop at a time: were an emptied slot a
/// stop still, `advance` would not end.
#[test]
fn an_emptied_slot_is_no_stop() {
    for (stops, deadline) in [(1, 3), (2, 7), (3, 31)] {
        let (mut wheel, mut links) = wheel_at::<4, 3>(0, &[deadline]);
        wheel.remove(&mut links, index(0));
        assert_eq!(wheel.next_stop(), None, "{deadline} has been removed");
        assert_eq!(wheel.verify(&links), Ok(0));

        wheel.insert(&mut links, index(0));
        for stop in 1..=stops {
            let next = wheel.next_stop().unwrap();
            wheel.enter(&mut links, next);
            assert_eq!(wheel.verify(&links), Ok(1), "stop {stop} of {stops} to {deadline}");
        }
        assert_eq!(wheel.next_stop(), None, "{deadline} is due");
    }
}

#[test]
fn a_slot_is_searched_for_64_timers_and_not_for_more() {
    // The slot of 31 starts at 16. Far timers are not searched: the nearest was noted when it was added.
    for (deadline, count, expected) in
        [(31, 1, 31), (31, 64, 31), (31, 65, 16), (100, 64, 100), (100, 65, 100)]
    {
        let (wheel, links) = wheel_at::<4, 3>(0, &std::vec![deadline; count]);
        let next = wheel.next_deadline(&links).as_micros();
        assert_eq!(next, expected, "{count} timers for {deadline}");
    }
}

#[test]
fn far_timers_that_are_never_due_do_not_wake_the_loop() {
    let (wheel, links) = wheel_at::<4, 3>(0, &[u64::MAX; 100]);
    assert_eq!(wheel.next_deadline(&links), Instant::NEVER);
}

#[test]
fn a_crowded_slot_wakes_early_at_most_once_a_level() {
    // 100 timers in the last microsecond of each level's second slot, and in the span after the next.
    for deadline in [7, 31, 63, 3 * 64 - 1] {
        let (mut wheel, mut links) = wheel_at::<4, 3>(0, &[deadline; 100]);
        // One for each level; the last one is not early.
        let bound = 3;
        let mut wakes = 0;
        while wheel.due.is_empty() {
            let next = wheel.next_deadline(&links);
            assert!(next.as_micros() <= deadline, "woken at {next:?} for {deadline}");
            wheel.advance(&mut links, next);
            wakes += 1;
            assert!(wakes <= bound, "{wakes} wakes for {deadline}, at most {bound}");
        }
        assert_eq!(wheel.position, deadline);
    }
}
