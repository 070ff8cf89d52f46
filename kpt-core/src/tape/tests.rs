use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::code::Decoder;
use super::*;
use crate::id::ThreadId;
use crate::poller::HookCall;
use crate::source::{Kind, Readiness, Source};
use crate::time::Instant;

struct Bytes(Vec<u8>);

impl Output for Bytes {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }
}

fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn hook(name: &'static str, kind: Kind, slot: u64, due: u64) -> HookCall {
    let id = ThreadId::from_parts(slot, slot + 1).unwrap();
    HookCall { id, name, kind, due: at(due) }
}

/// An entry of each kind, twice some of them.
fn entries() -> Vec<Entry<'static>> {
    let called = |call, result, sent, bytes| {
        Entry::Called(Called { call, source: Source::new(300), sent, result, bytes })
    };
    Vec::from([
        Entry::Starts { look_after_hooks: 1_024 },
        Entry::Now(at(5_000_000)),
        Entry::Refused(Source::new(u32::MAX)),
        Entry::Sleeps(at(5_000_100)),
        Entry::Sleeps(Instant::NEVER),
        Entry::Ready(Source::new(7), Readiness::READABLE | Readiness::ERROR),
        Entry::Woke(at(4_999_999)),
        Entry::Awake(at(5_000_001)),
        Entry::Returned(at(5_000_001)),
        Entry::Failed,
        Entry::Prepared(Instant::NEVER),
        Entry::Prepared(at(6_000_000)),
        called(Call::Read, Ok(0), 0, b"hello"),
        called(Call::Read, Err(11), 0, b""),
        called(Call::Write, Ok(u32::MAX), 0xDEAD_BEEF, b""),
        called(Call::Value, Ok(7), 0, b"\x01\x02"),
        Entry::Now(at(u64::MAX)),
        Entry::Now(at(0)),
        Entry::End,
    ])
}

fn encoded() -> Vec<u8> {
    let (mut out, mut encoder) = (Bytes(Vec::new()), Encoder::<2>::new());
    for entry in entries() {
        encoder.entry(&entry, &mut out);
    }
    out.0
}

#[test]
fn entries_are_decoded_as_they_were_encoded() {
    let bytes = encoded();
    assert_eq!(Decoder::new(&bytes).collect::<Vec<_>>(), entries());
}

#[test]
fn hooks_have_their_names_however_many_there_are() {
    let names = ["one", "two", "three", "one", "a name that is longer than 31 bytes, ends ü"];
    let (mut out, mut encoder) = (Bytes(Vec::new()), Encoder::<2>::new());
    encoder.entry(&Entry::Woke(at(1_000)), &mut out);
    for (slot, name) in (0..).zip(names).cycle().take(12) {
        encoder.hook(&hook(name, Kind::Timer, slot, 990), &mut out);
    }
    let seen: Vec<String> = Decoder::new(&out.0).skip(1).map(|entry| entry.to_string()).collect();
    assert_eq!(seen.len(), 12);
    for ((slot, name), seen) in names.iter().enumerate().cycle().zip(&seen) {
        let name = &name[..name.len().min(31)];
        assert_eq!(*seen, format!("hook {name} {slot}.{}, timer, 10 us late", slot + 1));
    }
}

#[test]
fn a_tape_that_is_cut_ends_with_its_last_whole_entry() {
    let bytes = encoded();
    let mut before = 0;
    for end in 0..=bytes.len() {
        let found: Vec<_> = Decoder::new(&bytes[..end]).collect();
        assert_eq!(found[..], entries()[..found.len()], "cut at {end}");
        assert!(found.len() == before || found.len() == before + 1, "cut at {end}");
        before = found.len();
    }
}

/// Memory for a ring, as a test sees it.
fn memory(words: usize) -> Vec<AtomicU32> {
    (0..words).map(|_| AtomicU32::new(0x5555_5555)).collect()
}

fn dump(memory: &[AtomicU32]) -> Vec<u8> {
    memory.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect()
}

/// A block begins with a time of its own.
fn is_now(record: &Record<'_>) -> bool {
    matches!(record.entry, Entry::Now(_))
}

/// The times of what a ring has, which are those of its entries in these tests.
fn times(memory: &[AtomicU32]) -> Vec<u64> {
    let dump = dump(memory);
    let records = Records::new(&dump).unwrap();
    records.filter(is_now).map(|record| record.time.as_micros()).collect()
}

#[test]
fn a_ring_has_the_last_entries_after_each_one() {
    for words in [66, 100, 256, 1_000] {
        let memory = memory(words);
        let mut ring = Ring::new(&memory[..]);
        let mut most = 0;
        // More blocks than there are numbers for them.
        for time in 1..400_000_u64 {
            ring.put(&Entry::Now(at(time << 20)));
            if time % 4_099 != 0 && time > 2_000 {
                continue;
            }
            let times = times(&memory);
            let first = time + 1 - times.len() as u64;
            let expected: Vec<u64> = (first..=time).map(|time| time << 20).collect();
            assert_eq!(times, expected, "{words} words");
            most = most.max(times.len());
            // Of each block at most its end is unused, and one block has been given up for the next one.
            let least = (words - 2) * 4 * 3 / 4 / 5 - super::ring::block_size(words);
            assert!(times.len() >= least.min(time as usize), "{} of {words} words", times.len());
        }
        assert!(most >= (words - 2) * 4 * 3 / 4 / 5, "{most} of {words} words");
    }
}

#[test]
fn memory_that_is_too_small_has_no_entries() {
    for words in 0..34 {
        let memory = memory(words);
        let mut ring = Ring::new(&memory[..]);
        (0..99).for_each(|_| ring.put(&Entry::Failed));
        let dump = dump(&memory);
        assert!(Records::new(&dump).map_or(0, |records| records.count()) == 0, "{words}");
    }
}

#[test]
fn a_value_that_is_too_long_for_a_ring_is_left_out() {
    let memory = memory(66);
    let mut ring = Ring::new(&memory[..]);
    ring.put(&Entry::Now(at(7)));
    let (source, bytes) = (Source::new(1), &[0; 65][..]);
    ring.put(&Entry::Called(Called { call: Call::Value, source, sent: 0, result: Ok(0), bytes }));
    ring.put(&Entry::Now(at(8)));
    assert_eq!(times(&memory), [7, 8]);
}

#[test]
fn a_shared_ring_has_values_with_as_few_bytes_as_they_need() {
    let memory = memory(100);
    let shared = RefCell::new(Ring::new(&memory[..]));
    let mut tape = &shared;
    for value in [0, 1, 255, 256, u64::MAX] {
        assert_eq!(tape.value(7, value), value);
    }
    tape.hook(&hook("stuck", Kind::Read, 3, 0));
    // What is put on it while it is borrowed is lost.
    let borrowed = shared.borrow_mut();
    assert_eq!(tape.value(8, 8), 8);
    tape.hook_ended();
    drop(borrowed);
    let dump = dump(&memory);
    let records = Records::new(&dump).unwrap();
    assert!(records.is_in_hook());
    let lengths = records.filter_map(|record| match record.entry {
        Entry::Called(called) => Some((called.source.number(), called.bytes.len())),
        _ => None,
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [(7, 0), (7, 1), (7, 1), (7, 2), (7, 8)]);
}

/// Between the stores of an entry, what lies behind the valid bytes is anything, and so is a block that is begun.
#[test]
fn a_ring_is_valid_between_any_two_stores() {
    let memory = memory(2 + 4 * 32);
    let mut ring = Ring::new(&memory[..]);
    for time in 1..3_000 {
        let before = dump(&memory);
        ring.put(&Entry::Now(at(time << 13)));
        let after = dump(&memory);
        let words = |dump: &[u8]| -> Vec<[u8; 4]> {
            dump.chunks(4).map(|word| word.try_into().unwrap()).collect()
        };
        let (before, after) = (words(&before), words(&after));
        // Heads of blocks are stored last, but for the zero of a block that is begun, which is stored first.
        let is_head = |at: usize| at >= 2 && (at - 2).is_multiple_of(32);
        let mut now = before.clone();
        let changed = (0..now.len()).filter(|&at| before[at] != after[at]);
        let head = changed.clone().find(|&at| is_head(at)).unwrap();
        let is_new = after[head][2..] != before[head][2..];
        if is_new {
            now[head] = [0; 4];
            check(&now, time - 1);
        }
        for at in changed.filter(|&at| at != head) {
            now[at] = after[at];
            check(&now, time - 1);
        }
        now[head] = after[head];
        assert_eq!(now, after);
        check(&now, time);
    }

    fn check(words: &[[u8; 4]], last: u64) {
        let bytes = words.concat();
        let records = Records::new(&bytes).unwrap().filter(is_now);
        let times = records.map(|record| record.time.as_micros() >> 13);
        let times: Vec<u64> = times.collect();
        assert!(times.len() >= 48.min(last as usize), "{} of {last}", times.len());
        let first = last + 1 - times.len() as u64;
        assert_eq!(times, (first..=last).collect::<Vec<_>>());
    }
}

#[test]
fn a_hook_that_has_not_returned_is_told() {
    let memory = memory(100);
    let mut ring = Ring::new(&memory[..]);
    let is_in_hook = || Records::new(&dump(&memory)).unwrap().is_in_hook();
    assert!(!is_in_hook());
    ring.hook(&hook("stuck", Kind::Read, 3, 0));
    assert!(is_in_hook());
    ring.hook_ended();
    assert!(!is_in_hook());
}

#[test]
fn any_bytes_can_be_read() {
    let mut random = 7_u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as u8
    };
    for round in 0..20_000 {
        let magic = if round % 2 == 0 { TAPE } else { RING };
        let mut bytes = [magic, VERSION.to_le_bytes()].concat();
        let length = usize::from(next()) * 4;
        bytes.extend((0..length).map(|_| if round % 3 == 0 { next() & 0x7F } else { next() }));
        let records = Records::new(&bytes).unwrap();
        assert!(records.map(|record| record.to_string().len()).all(|length| length < 400));
    }
    assert_eq!(Records::new(b"KPTT\x02\0\0\0").err(), Some(NoTape::Version(2)));
    assert_eq!(Records::new(b"KPTT\x01\0\0").err(), Some(NoTape::Other));
    assert_eq!(Records::new(b"KPTX\x01\0\0\0").err(), Some(NoTape::Other));
}
