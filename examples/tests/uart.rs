//! The receiver of frames, in virtual time: it finds each whole frame, whatever came before.

#[path = "../uart/receiver.rs"]
mod receiver;
#[path = "../uart/simulated.rs"]
mod simulated;

use std::time::Duration;

use kpt_core::sim::{Faults, SimPoller, World};
use kpt_core::{FixedLoop, Instant, Readiness, poller::Poller};

use receiver::{MOST, Receiver, START, THREADS, TIMEOUT, sum_of};
use simulated::Uart;

const RUNS: u64 = 2_000;

/// The payloads received, and how many frames were given up, when these bytes are sent from these milliseconds on.
fn receive(sent: &[(u64, &[u8])]) -> (Vec<Vec<u8>>, u32) {
    let world = World::new();
    receive_by(&world, SimPoller::new(&world), sent)
}

fn receive_by(
    world: &World<512>,
    poller: impl Poller,
    sent: &[(u64, &[u8])],
) -> (Vec<Vec<u8>>, u32) {
    let mut uart = Uart::new(world);
    for &(millis, bytes) in sent {
        uart.send_at(Duration::from_millis(millis), bytes).expect("room in the script");
    }
    let mut receiver = Receiver::new(uart);
    let mut kpt = FixedLoop::<_, _, THREADS>::new(poller);
    receiver.add_reader(kpt.threads()).expect("room for a reader");
    assert!(kpt.run(&mut receiver).is_err(), "a reader is left, for which nothing comes");
    kpt.threads().verify().unwrap();
    let payloads = receiver.frames.into_iter().map(|(_, payload)| payload);
    (payloads.collect(), receiver.given_up)
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&[START, payload.len() as u8], payload, &[sum_of(payload)]].concat()
}

#[test]
fn a_frame_is_received_and_the_next_right_behind_it() {
    let longest = [7; MOST as usize];
    let sent = [frame(b"one"), frame(&longest), frame(b"\x7E\x7E")].concat();
    let received = vec![b"one".to_vec(), longest.to_vec(), b"\x7E\x7E".to_vec()];
    assert_eq!(receive(&[(1, &sent)]), (received, 0));
}

#[test]
fn what_cannot_be_a_frame_costs_no_other_one() {
    let one = || vec![b"one".to_vec()];
    let behind = |noise: &[u8]| receive(&[(1, &[noise, &frame(b"one")].concat())]);
    assert_eq!(behind(b"noise"), (one(), 0));
    assert_eq!(behind(b"\x7E"), (one(), 0), "a second START");
    assert_eq!(behind(b"\x7E\x00"), (one(), 1), "a length of nothing");
    assert_eq!(behind(b"\x7E\x21"), (one(), 1), "too long");
    assert_eq!(behind(b"\x7E\x02ab\x00"), (one(), 1), "a wrong sum");
}

#[test]
fn a_frame_whose_rest_does_not_come_is_given_up_in_time() {
    let whole = frame(b"hello");
    for sent in 1..whole.len() {
        let half = &whole[..sent];
        let next = 1 + TIMEOUT.as_millis() as u64 + 1;
        let expected = (vec![b"next".to_vec()], 1);
        assert_eq!(receive(&[(1, half), (next, &frame(b"next"))]), expected, "{sent} bytes");
    }
}

#[test]
fn a_frame_that_is_there_is_received_by_a_loop_that_is_late() {
    let world = World::new();
    let mut uart = Uart::new(&world);
    uart.send_at(Duration::ZERO, &frame(b"hello")).unwrap();
    let mut receiver = Receiver::new(uart);
    let mut kpt = FixedLoop::<_, _, THREADS>::new(SimPoller::new(&world));
    receiver.add_reader(kpt.threads()).unwrap();
    kpt.turn(&mut receiver).unwrap();
    world.advance(TIMEOUT * 2); // After `START`, and the rest comes meanwhile.
    let _idle = kpt.run(&mut receiver);
    assert_eq!((receiver.frames.len(), receiver.given_up), (1, 0));
}

#[test]
fn a_wake_up_for_nothing_changes_nothing() {
    let world = World::new();
    for micros in (0..2_000).step_by(20) {
        world.at(Instant::from_micros(micros), Uart::SOURCE, Readiness::READABLE).unwrap();
    }
    let received = receive_by(&world, SimPoller::new(&world), &[(1, &frame(b"hello"))]);
    assert_eq!(received, (vec![b"hello".to_vec()], 0));
}

/// With all that a poller may do: wake early, find what is not there, hold events back, repeat them.
#[test]
fn after_any_noise_and_a_pause_a_frame_is_received() {
    let first = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("a number"));
    for seed in first..first + RUNS {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let noise: Vec<u8> = (0..200).map(|_| noise_byte(&mut random)).collect();
        // 18 ms of noise, and what follows is later than the timeout.
        let sent: [(u64, &[u8]); 2] = [(1, &noise), (30, &frame(b"found"))];
        let world = World::new();
        let (received, _) = receive_by(&world, Faults::new(SimPoller::new(&world), seed), &sent);
        assert_eq!(received.last(), Some(&b"found".to_vec()), "SEED={seed} noise {noise:02x?}");
    }
}

/// More of what matters than by chance alone. Marsaglia's xorshift of 64 bits.
fn noise_byte(random: &mut u64) -> u8 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    let byte = (*random >> 32) as u8;
    match *random >> 60 {
        0..4 => START,
        4..8 => byte % (MOST + 2),
        _ => byte,
    }
}
