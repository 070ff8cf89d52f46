//! How fast the tables are, side by side with rivals in one run: `./ci.sh speed`.
//!
//! - Timers: cancel one and add another through the public API while a number of them is pending, against a
//!   `BinaryHeap` with lazy cancel whose entries carry hook and argument, as most loops have it; and, to be seen and
//!   without a limit, against a heap with a slab, which is hard to beat.
//! - Execute threads: a ring of threads that re-arm themselves, against a queue of function pointers.
//!
//! Machines are noisy, so both sides run in turns, and the best round of each is compared. Ratios above their limit
//! end it with status 1.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::hint::black_box;
use std::time::Instant as Stopwatch;

use kpt_core::sim::{SimPoller, World};
use kpt_core::{
    Instant, Thread, ThreadId, When,
    large::{Allocate, EventLoop},
};
use kpt_std::HeapStorage;

const ROUNDS: usize = 60;

/// Deadlines lie up to 100 s ahead.
const HORIZON: u64 = 100_000_000;

type SimLoop<'w, S> = EventLoop<SimPoller<'w>, S, u32, HeapStorage<S, u32>>;

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut is_good = true;
    for (pending, limit) in [(1_000, 0.6), (100_000, 1.3), (1_000_000, 5.0)] {
        let name = format!("cancel + add, {pending} timers pending");
        if !name.contains(&wanted) {
            continue;
        }
        is_good &= compare(
            &name,
            &mut KptTimers::new(pending),
            &mut RivalTimers::<LazyHeap>::new(pending),
            limit,
        );
        compare(
            "  the same against a heap with a slab",
            &mut KptTimers::new(pending),
            &mut RivalTimers::<SlabHeap>::new(pending),
            f64::INFINITY,
        );
    }
    let name = "execute thread that re-arms itself, 100 wide";
    if name.contains(&wanted) {
        is_good &= compare(name, &mut KptRing::new(), &mut QueueRing::new(), 4.0);
    }
    if !is_good {
        std::process::exit(1);
    }
}

/// Something that can be done so many times.
trait Contender {
    fn run(&mut self, times: usize);
}

const TIMES: usize = 200_000;

/// Nanoseconds for one time.
fn round(contender: &mut dyn Contender) -> f64 {
    let start = Stopwatch::now();
    contender.run(TIMES);
    start.elapsed().as_nanos() as f64 / TIMES as f64
}

fn compare(name: &str, ours: &mut dyn Contender, rival: &mut dyn Contender, limit: f64) -> bool {
    let (ours, rival) = (0..ROUNDS)
        .map(|_| (round(ours), round(rival)))
        .fold((f64::INFINITY, f64::INFINITY), |best, round| {
            (best.0.min(round.0), best.1.min(round.1))
        });
    let ratio = ours / rival;
    let verdict = if ratio <= limit { "ok" } else { "TOO SLOW" };
    println!(
        "{name:<48} kpt {ours:6.1} ns  rival {rival:6.1} ns  ratio {ratio:4.2} of {limit:3.1}  {verdict}"
    );
    ratio <= limit
}

/// xorshift64* of Vigna: cheap, and the same for both sides.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((u128::from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)) * u128::from(bound)) >> 64) as u64
    }
}

struct KptTimers {
    kpt: SimLoop<'static, ()>,
    ids: Vec<ThreadId>,
    random: Random,
    next: u32,
}

impl KptTimers {
    fn new(pending: usize) -> Self {
        let world = Box::leak(Box::new(World::new()));
        let mut kpt =
            SimLoop::with_storage(SimPoller::new(world), HeapStorage::with_capacity(pending));
        let mut random = Random(1);
        let ids = (0..pending)
            .map(|_| {
                kpt.threads()
                    .add("timer", deadline(&mut random), |_, _| {}, 0)
                    .expect("room for all")
            })
            .collect();
        Self { kpt, ids, random, next: 0 }
    }
}

fn deadline(random: &mut Random) -> When {
    When::At(Instant::from_micros(1 + random.below(HORIZON)))
}

impl Contender for KptTimers {
    fn run(&mut self, times: usize) {
        let mut threads = self.kpt.threads();
        for _ in 0..times {
            let victim = self.random.below(self.ids.len() as u64) as usize;
            let when = deadline(&mut self.random);
            black_box(threads.cancel(self.ids[victim]).expect("it is pending"));
            self.next = self.next.wrapping_add(1);
            self.ids[victim] =
                threads.add("timer", when, |_, _| {}, self.next).expect("room for one");
        }
    }
}

type Call = (fn(&mut (), u32), u32);

/// A rival: a heap of deadlines.
trait Heap {
    type Id: Copy;

    fn with_capacity(timers: usize) -> Self;
    fn add(&mut self, deadline: u64, call: Call) -> Self::Id;
    fn cancel(&mut self, id: Self::Id);
    /// What comes up next, so that no compiler takes the calls for unused.
    fn peek(&self) -> Option<Call>;
}

struct RivalTimers<H: Heap> {
    heap: H,
    ids: Vec<H::Id>,
    random: Random,
}

impl<H: Heap> RivalTimers<H> {
    fn new(pending: usize) -> Self {
        let (mut heap, mut random) = (H::with_capacity(pending), Random(1));
        let ids =
            (0..pending).map(|_| heap.add(1 + random.below(HORIZON), (|_, _| {}, 0))).collect();
        Self { heap, ids, random }
    }
}

impl<H: Heap> Contender for RivalTimers<H> {
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
struct LazyHeap {
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
struct SlabHeap {
    heap: BinaryHeap<Reverse<(u64, u64, Id)>>,
    slab: Vec<(u32, Option<Call>)>,
    free: Vec<u32>,
    sequence: u64,
}

/// Slot and generation.
type Id = (u32, u32);

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

const WIDTH: usize = 100;

struct KptRing {
    kpt: SimLoop<'static, Count>,
    count: Count,
}

struct Count {
    left: usize,
}

impl KptRing {
    fn new() -> Self {
        let world = Box::leak(Box::new(World::new()));
        let mut kpt =
            SimLoop::with_storage(SimPoller::new(world), HeapStorage::with_capacity(WIDTH));
        for arg in 0..WIDTH as u32 {
            kpt.threads().add_execute("ring", step, arg).expect("room for all");
        }
        Self { kpt, count: Count { left: 0 } }
    }
}

fn step(count: &mut Count, mut thread: Thread<'_, Count, u32>) {
    if count.left == 1 {
        thread.threads().stop();
    }
    count.left = count.left.wrapping_sub(1);
    black_box(thread.arg);
    thread.again();
}

impl Contender for KptRing {
    fn run(&mut self, times: usize) {
        self.count.left = times;
        self.kpt.run(&mut self.count).expect("the ring is pending");
    }
}

type Step = fn(&mut Count, u32) -> bool;

struct QueueRing {
    queue: VecDeque<(Step, u32)>,
    count: Count,
}

impl QueueRing {
    fn new() -> Self {
        let step: Step = |count, arg| {
            count.left = count.left.wrapping_sub(1);
            black_box(arg);
            true
        };
        Self { queue: (0..WIDTH as u32).map(|arg| (step, arg)).collect(), count: Count { left: 0 } }
    }
}

impl Contender for QueueRing {
    fn run(&mut self, times: usize) {
        self.count.left = times;
        while self.count.left != 0 {
            let Some((step, arg)) = self.queue.pop_front() else { return };
            if black_box(step)(&mut self.count, arg) {
                self.queue.push_back((step, arg));
            }
        }
    }
}
