//! Wake-ups and values from other OS threads.

use std::collections::HashSet;
use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{TryRecvError, TrySendError};
use std::thread;

use kpt_std::{Exit, Next, Receiver, Sender, Thread, Wakeups, channel, source, waker};
use kpt_tests::loops::{AnyLoop, BoxedLoop, real_loop};
use kpt_tests::process::all_in_own_process;
use kpt_tests::real::Real;

/// Runs until the loop would sleep.
fn poll<S>(kpt: &mut dyn AnyLoop<S, (), Error = Error>, state: &mut S) {
    while kpt.poll(state).unwrap() == Next::Again {}
}

#[test]
fn several_wake_ups_are_one() {
    struct App {
        wakeups: Wakeups,
        taken: u32,
        calls: u32,
    }
    fn on_wake(app: &mut App, thread: Thread<App>) {
        app.calls += 1;
        app.taken += u32::from(app.wakeups.take());
        thread.again();
    }
    for real in Real::all() {
        let (waker, wakeups) = waker().unwrap();
        let mut app = App { wakeups, taken: 0, calls: 0 };
        let mut kpt = real_loop::<App, ()>(1, real);
        kpt.threads().add_read("wake", source(&app.wakeups), on_wake, ()).unwrap();
        poll(&mut *kpt, &mut app);
        assert_eq!((app.calls, app.taken), (0, 0));
        waker.wake();
        waker.clone().wake();
        poll(&mut *kpt, &mut app);
        assert_eq!((app.calls, app.taken), (1, 1));
        assert!(!app.wakeups.take());
        waker.wake();
        poll(&mut *kpt, &mut app);
        assert_eq!((app.calls, app.taken), (2, 2));
    }
}

/// The steps of three senders and of a hook that takes one value at a time, of which all orders are tried. That each step
/// is seen at once by all is what the acquiring and releasing swaps are for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Model {
    flag: bool,
    is_readable: bool,
    /// How many values there are in all, and how many of them have been taken.
    values: u32,
    taken: u32,
    /// The next step of each sender: a value, the flag, the descriptor if the flag was not set.
    senders: [u32; 3],
    /// The next step of the hook, as in `nexts`.
    hook: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    /// As it is.
    Right,
    /// `Wakeups::take` clears the flag first.
    FlagFirst,
    /// `Receiver::try_recv` does not put the wake-up back when it finds a value after all.
    NotPutBack,
}

impl Model {
    const NEW: Self =
        Self { flag: false, is_readable: false, values: 0, taken: 0, senders: [0; 3], hook: 0 };

    /// What may be next.
    fn nexts(&self, variant: Variant) -> Vec<Self> {
        let mut nexts = Vec::new();
        for sender in 0..self.senders.len() {
            let mut next = self.clone();
            next.senders[sender] += 1;
            match self.senders[sender] {
                0 => next.values += 1,
                1 if self.flag => next.senders[sender] = 3,
                1 => next.flag = true,
                2 => next.is_readable = true,
                _ => continue,
            }
            nexts.push(next);
        }
        let mut next = self.clone();
        let has_value = self.taken < self.values;
        next.taken += u32::from(has_value && matches!(self.hook, 0 | 3));
        next.hook = match self.hook {
            0 if !self.is_readable => return nexts, // It sleeps.
            0 => u32::from(!has_value),
            // These two clear the descriptor and the flag.
            step @ (1 | 2) => {
                if (step == 1) == (variant == Variant::FlagFirst) {
                    next.flag = false;
                } else {
                    next.is_readable = false;
                }
                step + 1
            }
            3 if has_value && variant != Variant::NotPutBack => 4,
            3 => 0,
            4 if self.flag => 0,
            4 => {
                next.flag = true;
                5
            }
            _ => {
                next.is_readable = true;
                0
            }
        };
        nexts.push(next);
        nexts
    }

    /// Whether there is an order of steps after which the hook sleeps and has not taken a value.
    fn may_lose(variant: Variant) -> bool {
        let (mut known, mut open) = (HashSet::new(), vec![Self::NEW]);
        while let Some(model) = open.pop() {
            let nexts = model.nexts(variant);
            if nexts.is_empty() && model.taken != model.values {
                return true;
            }
            open.extend(nexts.into_iter().filter(|next| known.insert(next.clone())));
        }
        assert!(known.len() > 300, "{}", known.len());
        false
    }
}

#[test]
fn p05_in_no_order_of_steps_is_a_wake_up_lost() {
    assert!(!Model::may_lose(Variant::Right));
    assert!(Model::may_lose(Variant::FlagFirst), "the model finds what it is for");
    assert!(Model::may_lose(Variant::NotPutBack), "the model finds what it is for");
}

/// Each of them waits until it has been seen before it wakes again, so that none is replaced by a later one.
#[test]
fn p05_no_wake_up_of_four_os_threads_is_lost() {
    const WAKES: u64 = 20_000;
    #[derive(Default)]
    struct Counts {
        woken: AtomicU64,
        seen: AtomicU64,
    }
    struct App {
        wakeups: Wakeups,
        counts: Arc<Counts>,
    }
    fn on_wake(app: &mut App, thread: Thread<App>) {
        app.wakeups.take();
        let woken = app.counts.woken.load(Ordering::Relaxed);
        app.counts.seen.store(woken, Ordering::Relaxed);
        if woken < 4 * WAKES {
            thread.again();
        }
    }
    all_in_own_process("p05_no_wake_up_of_four_os_threads_is_lost", |real| {
        let (waker, wakeups) = waker().unwrap();
        let mut app = App { wakeups, counts: Arc::default() };
        let mut kpt = real_loop::<App, ()>(1, real);
        kpt.threads().add_read("wake", source(&app.wakeups), on_wake, ()).unwrap();
        let others = (0..4).map(|_| {
            let (waker, counts) = (waker.clone(), app.counts.clone());
            thread::spawn(move || {
                for _ in 0..WAKES {
                    // The order of the waker is all that makes it seen.
                    let woken = counts.woken.fetch_add(1, Ordering::Relaxed) + 1;
                    waker.wake();
                    while counts.seen.load(Ordering::Relaxed) < woken {
                        thread::yield_now();
                    }
                }
            })
        });
        let others: Vec<_> = others.collect();
        assert_eq!(kpt.run(&mut app).unwrap(), Exit::Empty);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

/// Each value is its sender's number and its own.
struct Values {
    receiver: Receiver<(usize, u64)>,
    received: [u64; 4],
    /// How many a hook takes at most.
    at_once: u32,
    has_ended: bool,
    /// Dropped when so many have come.
    last: Option<(Sender<(usize, u64)>, u64)>,
}

impl Values {
    fn new(receiver: Receiver<(usize, u64)>, at_once: u32) -> Self {
        Self { receiver, received: [0; 4], at_once, has_ended: false, last: None }
    }

    fn on_values(&mut self, thread: Thread<Values>) {
        for _ in 0..self.at_once {
            match self.receiver.try_recv() {
                Ok((sender, number)) => {
                    assert_eq!(number, self.received[sender], "in order");
                    self.received[sender] += 1;
                    let total: u64 = self.received.iter().sum();
                    self.last.take_if(|(_, count)| *count == total);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.has_ended = true;
                    return;
                }
            }
        }
        thread.again();
    }

    /// A loop that waits for them.
    fn wait<'p>(&self, real: Real) -> BoxedLoop<'p, Values, (), Error> {
        let mut kpt = real_loop::<Values, ()>(1, real);
        kpt.threads().add_read("values", source(&self.receiver), Self::on_values, ()).unwrap();
        kpt
    }
}

fn send_all(sender: &Sender<(usize, u64)>, number: usize, count: u64) {
    for value in 0..count {
        while let Err(error) = sender.try_send((number, value)) {
            assert!(matches!(error, TrySendError::Full(same) if same == (number, value)));
            thread::yield_now();
        }
    }
}

#[test]
fn p06_a_million_values_of_four_os_threads_arrive_in_order() {
    const EACH: u64 = 250_000;
    all_in_own_process("p06_a_million_values_of_four_os_threads_arrive_in_order", |real| {
        for (capacity, at_once, each) in [(1_024, u32::MAX, EACH), (64, 7, EACH / 4), (0, 1, 5_000)]
        {
            let (sender, receiver) = channel(capacity).unwrap();
            let mut values = Values::new(receiver, at_once);
            let mut kpt = values.wait(real);
            let others = (0..4).map(|number| {
                let sender = sender.clone();
                thread::spawn(move || send_all(&sender, number, each))
            });
            let others: Vec<_> = others.collect();
            // Its going would wake a loop that had lost a wake-up.
            values.last = Some((sender, 4 * each));
            assert_eq!(kpt.run(&mut values).unwrap(), Exit::Empty);
            assert_eq!(values.received, [each; 4]);
            others.into_iter().for_each(|other| other.join().unwrap());
        }
    });
}

#[test]
fn p07_a_hook_that_takes_some_of_the_values_is_called_for_the_others() {
    for real in Real::all() {
        let (sender, receiver) = channel(8).unwrap();
        let mut values = Values::new(receiver, 1);
        let mut kpt = values.wait(real);
        send_all(&sender, 0, 5);
        poll(&mut *kpt, &mut values);
        assert_eq!(values.received[0], 5);
        // For values that come while the channel is found empty, see the model of p05.
        assert_eq!(values.receiver.try_recv(), Err(TryRecvError::Empty));
    }
}

#[test]
fn p08_the_going_of_the_last_sender_is_told_after_its_values() {
    for real in Real::all() {
        let (sender, receiver) = channel(8).unwrap();
        let mut values = Values::new(receiver, u32::MAX);
        let mut kpt = values.wait(real);
        let other = sender.clone();
        drop(sender);
        poll(&mut *kpt, &mut values);
        assert!(!values.has_ended);
        send_all(&other, 0, 3);
        drop(other);
        poll(&mut *kpt, &mut values);
        assert_eq!((values.received[0], values.has_ended), (3, true));
        assert_eq!(values.receiver.try_recv(), Err(TryRecvError::Disconnected));
        // A thread that is added later is told as well.
        let mut kpt = values.wait(real);
        values.has_ended = false;
        assert_eq!(kpt.run(&mut values).unwrap(), Exit::Empty);
        assert!(values.has_ended);
    }
}

#[test]
fn what_is_not_sent_comes_back() {
    let (sender, receiver) = channel(2).unwrap();
    for value in ["one", "two"] {
        sender.try_send(value.to_owned()).unwrap();
    }
    assert_eq!(sender.try_send("three".to_owned()), Err(TrySendError::Full("three".to_owned())));
    assert_eq!(receiver.try_recv(), Ok("one".to_owned()));
    sender.try_send("three".to_owned()).unwrap();
    drop(receiver);
    let error = sender.try_send("four".to_owned());
    assert_eq!(error, Err(TrySendError::Disconnected("four".to_owned())));
}

#[test]
fn a_channel_that_finds_no_memory_is_an_error() {
    // The last one can be counted, and is more than can be addressed.
    for capacity in [usize::MAX, usize::MAX / 8, 1 << 60, 1 << 44] {
        let error = channel::<u64>(capacity).expect_err("no machine has that much");
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    }
    assert!(channel::<()>(1 << 10).is_ok());
}
