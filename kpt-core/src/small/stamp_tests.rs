//! The numbers of moves wrap after 2^32 of them. These tests start a loop shortly before that.
#![allow(clippy::unwrap_used)]

use core::time::Duration;
use std::vec::Vec;

use crate::sim::{SimPoller, World};
use crate::{Exit, FixedLoop, Thread};

#[test]
fn the_order_of_arming_survives_that_stamps_wrap() {
    for left in 0..12 {
        let world = World::<32>::new();
        let mut kpt = FixedLoop::<_, Vec<u32>, 8, u32>::new(SimPoller::new(&world));
        kpt.start_stamps_at(u32::MAX - left);
        let hook = |ran: &mut Vec<u32>, mut thread: Thread<'_, Vec<u32>, u32>| {
            ran.push(thread.arg);
            thread.arg += 10;
            if thread.arg < 30 {
                thread.again();
            }
        };
        let mut threads = kpt.threads();
        for number in 0..4 {
            threads.add_timer("timer", Duration::from_micros(5), hook, number).unwrap();
        }
        for number in 4..8 {
            threads.add_execute("execute", hook, number).unwrap();
        }
        let mut ran = Vec::new();
        assert_eq!(kpt.run(&mut ran), Ok(Exit::Empty));
        let executes = [4, 5, 6, 7, 14, 15, 16, 17, 24, 25, 26, 27];
        let timers = [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23];
        assert_eq!(ran, [executes, timers].concat(), "{left} moves before the wrap");
    }
}
