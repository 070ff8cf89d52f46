//! The store beside a slow one: a list of keys, looked through from its start.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Get(u8),
    Set(u8, Vec<u8>, Option<u64>),
    Append(u8, Vec<u8>),
    Remove(u8),
    SetDeadline(u8, Option<u64>),
    Clear,
    /// So many microseconds later.
    Wait(u64),
    /// The timers of the loop run.
    RunTimers,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..8_u8;
    let value = || vec(any::<u8>(), 0..200);
    let life = || proptest::option::of(0..50_u64);
    prop_oneof![
        4 => key().prop_map(Step::Get),
        8 => (key(), value(), life()).prop_map(|(key, value, life)| Step::Set(key, value, life)),
        4 => (key(), value()).prop_map(|(key, value)| Step::Append(key, value)),
        4 => key().prop_map(Step::Remove),
        4 => (key(), life()).prop_map(|(key, life)| Step::SetDeadline(key, life)),
        1 => Just(Step::Clear),
        4 => (0..30_u64).prop_map(Step::Wait),
        2 => Just(Step::RunTimers),
    ]
}

/// The slow twin. Keys whose time has come are not in it.
#[derive(Debug, Default)]
struct Twin {
    items: Vec<(Vec<u8>, Vec<u8>, Instant)>,
}

impl Twin {
    fn find(&mut self, key: &[u8]) -> Option<&mut (Vec<u8>, Vec<u8>, Instant)> {
        self.items.iter_mut().find(|item| item.0 == key)
    }
}

fn after(now: Instant, life: Option<u64>) -> Instant {
    life.map_or(Instant::NEVER, |life| Instant::from_micros(now.as_micros() + life))
}

/// The timers that the loop would have, by slot.
fn follow(store: &mut Store, timers: &mut Vec<Instant>) {
    for slot in store.take_changed() {
        timers.resize(store.slots().max(timers.len()), Instant::NEVER);
        timers[slot as usize] = store.deadline(slot);
    }
}

fn check(store: &mut Store, twin: &Twin, timers: &[Instant], now: Instant) {
    let is_there = |item: &&Item| item.deadline > now;
    let mut found: Vec<_> = store
        .items(0..usize::MAX)
        .filter(is_there)
        .map(|item| (item.key.to_vec(), item.value.clone(), item.deadline))
        .collect();
    let mut expected = twin.items.clone();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let items = || store.items(0..usize::MAX);
    assert_eq!(store.len(), items().count());
    assert_eq!(store.bytes(), items().map(Item::bytes).sum::<usize>());
    assert_eq!(store.expiring(), items().filter(|item| item.is_expiring()).count());
    // A timer for each key that ends, and no other.
    for (slot, &timer) in timers.iter().enumerate() {
        assert_eq!(timer, store.deadline(slot as u32));
    }
    assert_eq!(timers.iter().filter(|&&at| at != Instant::NEVER).count(), store.expiring());
}

fn run(steps: Vec<Step>) {
    let (mut store, mut twin) = (Store::default(), Twin::default());
    let (mut timers, mut now) = (Vec::new(), Instant::from_micros(1000));
    for step in steps {
        let name = |key: u8| vec![key; usize::from(key)];
        match step {
            Step::Get(key) => {
                let key = name(key);
                let found = store.get(&key, now).map(|item| item.value.clone());
                assert_eq!(found, twin.find(&key).map(|item| item.1.clone()));
            }
            Step::Set(key, value, life) => {
                let (key, deadline) = (name(key), after(now, life));
                store.set(&key, &value, deadline, now);
                twin.items.retain(|item| item.0 != key);
                twin.items.push((key, value, deadline));
            }
            Step::Append(key, more) => {
                let key = name(key);
                store.update(&key, now, |value| value.extend(&more));
                match twin.find(&key) {
                    Some(item) => item.1.extend(more),
                    None => twin.items.push((key, more, Instant::NEVER)),
                }
            }
            Step::Remove(key) => {
                let key = name(key);
                let removed = store.remove(&key, now).is_some();
                assert_eq!(removed, twin.find(&key).is_some());
                twin.items.retain(|item| item.0 != key);
            }
            Step::SetDeadline(key, life) => {
                let (key, deadline) = (name(key), after(now, life));
                let is_there = store.set_deadline(&key, deadline, now);
                assert_eq!(is_there, twin.find(&key).map(|item| item.2 = deadline).is_some());
            }
            Step::Clear => {
                store.clear();
                twin.items.clear();
            }
            Step::Wait(micros) => now = after(now, Some(micros)),
            Step::RunTimers => {
                let due = timers.iter().enumerate().filter(|&(_, &timer)| timer <= now);
                due.for_each(|(slot, _)| store.expire(slot as u32, now));
                follow(&mut store, &mut timers);
                assert!(store.items(0..usize::MAX).all(|item| item.deadline > now));
            }
        }
        follow(&mut store, &mut timers);
        twin.items.retain(|item| item.2 > now);
        check(&mut store, &twin, &timers, now);
    }
}

proptest! {
    #[test]
    fn it_does_what_a_list_does(steps in vec(step(), 1..100)) {
        run(steps);
    }
}

#[test]
fn a_slot_is_used_again_and_a_key_stays_in_its_slot() {
    let (mut store, now) = (Store::default(), Instant::ZERO);
    for number in 0..1000_u32 {
        store.set(&number.to_le_bytes(), b"v", Instant::NEVER, now);
    }
    let before: Vec<_> = store.items(500..600).map(|item| item.key.clone()).collect();
    for number in 0..500_u32 {
        store.remove(&number.to_le_bytes(), now);
    }
    for number in 2000..2500_u32 {
        store.set(&number.to_le_bytes(), b"v", Instant::NEVER, now);
    }
    assert_eq!(store.slots(), 1000);
    assert!(store.items(500..600).map(|item| &item.key).eq(&before));
}

#[test]
fn a_large_value_gives_its_memory_back_when_a_small_one_takes_its_place() {
    let (mut store, now) = (Store::default(), Instant::ZERO);
    store.set(b"k", &vec![0; 1 << 20], Instant::NEVER, now);
    assert!(store.bytes() > 1 << 20);
    store.set(b"k", b"small", Instant::NEVER, now);
    assert!(store.bytes() < 300, "{}", store.bytes());
}
