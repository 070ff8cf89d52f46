//! Timers with what std has: heaps of deadlines.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};
use std::hint::black_box;

use super::Contestant;
use super::timers::HORIZON;
use crate::random::Random;

/// Hook and argument.
pub type Call = (fn(&mut (), u32), u32);

/// A heap of deadlines.
pub trait Heap {
    /// What a timer is cancelled by.
    type Id: Copy;

    /// Room for so many.
    fn with_capacity(timers: usize) -> Self;
    /// Adds a timer.
    fn add(&mut self, deadline: u64, call: Call) -> Self::Id;
    /// Cancels one that is pending.
    fn cancel(&mut self, id: Self::Id);
    /// What comes up next, so that no compiler takes the calls for unused.
    fn peek(&self) -> Option<Call>;
}

/// Cancels a timer of such a heap and adds another in its place.
pub struct HeapTimers<H: Heap> {
    heap: H,
    ids: Vec<H::Id>,
    random: Random,
}

impl<H: Heap> HeapTimers<H> {
    /// While so many are pending.
    pub fn new(pending: usize) -> Self {
        let (mut heap, mut random) = (H::with_capacity(pending), Random::new());
        let ids =
            (0..pending).map(|_| heap.add(1 + random.below(HORIZON), (|_, _| {}, 0))).collect();
        Self { heap, ids, random }
    }
}

impl<H: Heap> Contestant for HeapTimers<H> {
    fn run(&mut self, times: usize) {
        for _ in 0..times {
            let victim = self.random.below(self.ids.len() as u64) as usize;
            let deadline = 1 + self.random.below(HORIZON);
            self.heap.cancel(self.ids[victim]);
            self.ids[victim] = self.heap.add(deadline, (|_, _| {}, victim as u32));
        }
        black_box(self.heap.peek());
    }
}

/// The timers of all who write their own with what std has: a heap whose entries carry hook and argument, and a set of
/// the ids that were cancelled, whose entries are passed over when they come up. When more than half of the entries are
/// dead, they are cleared out. It can't give an argument back.
pub struct LazyHeap {
    heap: BinaryHeap<Entry>,
    cancelled: HashSet<u64>,
    capacity: usize,
    last_id: u64,
}

struct Entry {
    deadline: u64,
    id: u64,
    call: Call,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.deadline, other.id).cmp(&(self.deadline, self.id))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Entry {}

impl Heap for LazyHeap {
    type Id = u64;

    fn with_capacity(timers: usize) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(2 * timers + 1),
            cancelled: HashSet::with_capacity(timers + 1),
            capacity: timers,
            last_id: 0,
        }
    }

    fn add(&mut self, deadline: u64, call: Call) -> u64 {
        self.last_id += 1;
        self.heap.push(Entry { deadline, id: self.last_id, call });
        self.last_id
    }

    fn cancel(&mut self, id: u64) {
        self.cancelled.insert(id);
        if self.heap.len() > 2 * self.capacity {
            self.heap.retain(|entry| !self.cancelled.contains(&entry.id));
            self.cancelled.clear();
        }
    }

    fn peek(&self) -> Option<Call> {
        self.heap.peek().map(|next| next.call)
    }
}

/// The same with a slab for hooks and arguments: an id is a slot and its generation, and a dead entry of the heap is
/// one whose generation has passed. It gives arguments back, and is about the best that a heap can do; shown beside,
/// without a limit.
pub struct SlabHeap {
    heap: BinaryHeap<Reverse<(u64, u64, Id)>>,
    slab: Vec<(u32, Option<Call>)>,
    free: Vec<u32>,
    sequence: u64,
}

/// Slot and generation.
pub type Id = (u32, u32);

impl Heap for SlabHeap {
    type Id = Id;

    fn with_capacity(timers: usize) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(2 * timers + 1),
            slab: vec![(0, None); timers],
            free: (0..timers as u32).collect(),
            sequence: 0,
        }
    }

    fn add(&mut self, deadline: u64, call: Call) -> Id {
        let slot = self.free.pop().expect("room for one");
        let (generation, tenant) = &mut self.slab[slot as usize];
        *tenant = Some(call);
        let id = (slot, *generation);
        self.sequence += 1;
        self.heap.push(Reverse((deadline, self.sequence, id)));
        id
    }

    fn cancel(&mut self, id: Id) {
        black_box(self.take_arg(id).expect("it is pending"));
    }

    fn peek(&self) -> Option<Call> {
        let Reverse((_, _, (slot, _))) = *self.heap.peek()?;
        self.slab[slot as usize].1
    }
}

impl SlabHeap {
    fn take_arg(&mut self, (slot, generation): Id) -> Option<u32> {
        let (current, call) = self.slab.get_mut(slot as usize)?;
        if *current != generation {
            return None;
        }
        let (_, arg) = call.take()?;
        *current += 1;
        self.free.push(slot);
        if self.heap.len() > 2 * self.slab.len() {
            let slab = &self.slab;
            self.heap.retain(|Reverse((_, _, (slot, generation)))| {
                slab[*slot as usize].0 == *generation
            });
        }
        Some(arg)
    }
}
