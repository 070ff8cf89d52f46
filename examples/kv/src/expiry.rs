//! The timers of keys.
//!
//! Each key with a deadline has a timer of the loop. That costs O(1) for each change whatever their number, removes a key
//! when its time has come and not when a search finds it, and leaves no structure to be kept here: the loop is the
//! structure. (Redis looks at keys at random, ten times a second, and lets up to a quarter of those whose time has come
//! take memory. A heap here would cost O(log n), and less memory: 16 bytes a key, where a timer takes 72.)
//!
//! All timers that are due run in one turn, so their hook does next to nothing: it notes the slot. An execute thread
//! removes the keys, and gives way to clients as execute threads do.

use kpt_std::{Instant, ThreadId, When};

use crate::planted::{self, Fault};
use crate::server::{Server, ServerThread, ServerThreads};
use crate::store::Store;

/// How many keys are removed before others may get their turn.
const KEYS_PER_SLICE: usize = 64;

/// The timer of each slot whose key has a deadline.
#[derive(Debug, Default)]
pub struct Timers {
    of_slots: Vec<Option<ThreadId>>,
    /// The slots whose timer has run, with the keys still in them.
    due: Vec<u32>,
}

impl Timers {
    /// Sets, moves and cancels timers, as the deadlines of keys have changed since the last call.
    pub fn follow(&mut self, store: &mut Store, mut threads: ServerThreads) {
        let changed = store.take_changed();
        if changed.is_empty() {
            return;
        }
        self.of_slots.resize(store.slots(), None);
        // Timers that are not needed any more go first: there is room for as many as keys may have deadlines.
        for &slot in &changed {
            if store.deadline(slot) == Instant::NEVER
                && let Some(timer) = self.of_slots[slot as usize].take()
                && !planted::has(Fault::TimerKept)
            {
                let _ = threads.cancel(timer); // The one that runs now ends by itself.
            }
        }
        for &slot in &changed {
            let deadline = store.deadline(slot);
            if deadline != Instant::NEVER {
                self.set(slot, deadline, threads.reborrow());
            }
        }
    }

    fn set(&mut self, slot: u32, deadline: Instant, mut threads: ServerThreads) {
        let timer = &mut self.of_slots[slot as usize];
        let is_set =
            timer.is_some_and(|timer| threads.reschedule(timer, When::At(deadline)).is_ok());
        if !is_set {
            match threads.add("expire", When::At(deadline), Server::on_deadline, slot) {
                Ok(id) => *timer = Some(id),
                Err(error) => log::error!("a key has no timer, and goes when it is read: {error}"),
            }
        }
    }
}

impl Server {
    /// The time of a key has come. The argument is its slot.
    fn on_deadline(&mut self, thread: ServerThread) {
        let slot = thread.arg;
        let (_, mut threads) = thread.end();
        self.timers.of_slots[slot as usize] = None;
        self.timers.due.push(slot);
        if self.timers.due.len() == 1 {
            let added = threads.add_execute("remove keys", Self::on_due, 0);
            debug_assert!(added.is_ok(), "a thread has just ended");
        }
    }

    /// Removes keys whose time has come, a slice of them. As an execute thread, it gives way when it has run for long
    /// enough: clients don't wait for all keys that end at the same moment.
    fn on_due(&mut self, mut thread: ServerThread) {
        let now = thread.threads().turn_time();
        let rest = self.timers.due.len().saturating_sub(KEYS_PER_SLICE);
        for slot in self.timers.due.drain(rest..) {
            self.store.expire(slot, now); // Unless a client has found that it has ended, and the slot has another.
        }
        self.timers.follow(&mut self.store, thread.threads());
        if rest > 0 {
            thread.again();
        }
    }
}
