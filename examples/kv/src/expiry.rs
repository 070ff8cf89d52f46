//! The timers of keys.
//!
//! Each key with a deadline has a timer of the loop. That costs O(1) for each change whatever their number, removes a key
//! when its time has come and not when a search finds it, and leaves no structure to be kept here: the loop is the
//! structure. (Redis looks at keys at random, ten times a second, and lets up to a quarter of those whose time has come
//! take memory. A heap here would cost O(log n), and less memory: 16 bytes a key, where a timer takes 72.)

use kpt_std::{Instant, ThreadId, When};

use crate::server::{Server, ServerThread, ServerThreads};
use crate::store::Store;

/// The timer of each slot whose key has a deadline.
#[derive(Debug, Default)]
pub struct Timers {
    of_slots: Vec<Option<ThreadId>>,
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

    /// Forgets the timer of a slot, which has run.
    fn has_run(&mut self, slot: u32) {
        self.of_slots[slot as usize] = None;
    }
}

impl Server {
    /// The time of a key has come. The argument is its slot.
    fn on_deadline(&mut self, thread: ServerThread) {
        let slot = thread.arg;
        let (_, mut threads) = thread.end();
        self.timers.has_run(slot);
        self.store.expire(slot, threads.turn_time());
        self.timers.follow(&mut self.store, threads.reborrow());
    }
}
