//! What is outside of one loop: its world, its log, and what its poller watches.

use std::cell::{Cell, RefCell};

use kpt_core::sim::World;
use kpt_core::{Instant, Readiness};

use crate::event::{Entry, Event, Sources};
use crate::input::Case;

pub struct Outside {
    pub case: Case,
    pub is_large: bool,
    pub world: World,
    pub log: RefCell<Vec<Entry>>,
    /// What the poller's next wait finds in addition.
    pub pushed: RefCell<Vec<(u32, Readiness)>>,
    pub asked: Cell<Option<(u32, Readiness)>>,
    /// The poller's next wait fails.
    pub fails: Cell<bool>,
    /// The poller panics when it is next asked for the time, or to wait.
    pub panics: Cell<bool>,
    /// Hooks do nothing but end.
    pub is_calm: Cell<bool>,
    /// What the poller watches.
    pub watched: Cell<Sources>,
    /// By tag: what the thread has of sources.
    holds: RefCell<Vec<Sources>>,
    /// What all of them have.
    owned: Cell<Sources>,
    /// How often the poller was told of a source, and how often it may have been.
    pub told: Cell<u64>,
    pub may_tell: Cell<u64>,
    /// How many arguments are alive.
    pub alive: Cell<usize>,
    pub hooks: Cell<u64>,
    /// Those of this turn.
    pub hooks_of_turn: Cell<usize>,
    /// What has been found wrong where nothing may panic.
    pub fault: RefCell<Option<String>>,
}

impl Outside {
    pub fn new(case: Case, is_large: bool) -> Self {
        Self {
            case,
            is_large,
            world: World::starting_at(Instant::from_micros(case.start)),
            log: RefCell::default(),
            pushed: RefCell::default(),
            asked: Cell::default(),
            fails: Cell::default(),
            panics: Cell::default(),
            is_calm: Cell::default(),
            watched: Cell::default(),
            holds: RefCell::default(),
            owned: Cell::default(),
            told: Cell::default(),
            may_tell: Cell::default(),
            alive: Cell::default(),
            hooks: Cell::default(),
            hooks_of_turn: Cell::default(),
            fault: RefCell::default(),
        }
    }

    pub fn note(&self, event: Event) {
        self.log.borrow_mut().push(Entry { at: self.world.now(), event });
    }

    pub fn blame(&self, what: String) {
        self.fault.borrow_mut().get_or_insert(what);
    }

    /// A turn calls each thread that is there at most once in each of three steps.
    pub fn count_hook(&self) {
        self.hooks.set(self.hooks.get() + 1);
        self.hooks_of_turn.set(self.hooks_of_turn.get() + 1);
        assert!(self.hooks_of_turn.get() <= 3 * self.case.capacity, "a turn does not end");
    }

    /// What the poller can't watch.
    pub fn refused(&self) -> Sources {
        self.case.refused.map_or(Sources::default(), |(source, what)| Sources::of(source, what))
    }

    /// While no wait runs, the small loop's poller watches nothing, and the large one's no source without a thread. For
    /// what it watches a source may be out of date, when a thread has been re-armed for the other interest.
    pub fn check_watched(&self) {
        let allowed = if self.is_large { self.owned.get().whole() } else { Sources::default() };
        let wrong = self.watched.get().without(allowed);
        if !wrong.is_empty() {
            self.blame(format!("{wrong:?} is watched and has no thread, or hooks run"));
        }
    }

    /// When a wait begins, the poller watches what there are threads for. A source for which it can't watch all that, it
    /// does not watch at all.
    pub fn check_wait(&self) {
        let (watched, refused) = (self.watched.get(), self.refused());
        let owned = self.owned.get().wanted();
        let is_refused = !owned.common(refused).is_empty();
        let wanted = if is_refused { owned.without(refused.whole()) } else { owned };
        if watched != wanted {
            self.blame(format!("{watched:?} is watched in a wait, and should be {wanted:?}"));
        }
    }

    /// Each thread of a source costs the large loop's poller two calls, when it comes and when it leaves, and one for
    /// each error.
    pub fn check_told(&self) {
        let (told, most) = (self.told.get(), self.may_tell.get());
        if self.is_large && told > most {
            self.blame(format!("the poller was told {told} times, and {most} are enough"));
        }
    }

    /// A thread waits for this from now on, or has given up its source.
    pub fn rearm(&self, tag: u32, new: Sources) {
        let mut holds = self.holds.borrow_mut();
        let at = tag as usize;
        let length = holds.len().max(at + 1);
        holds.resize(length, Sources::default());
        let old = std::mem::replace(&mut holds[at], new);
        self.owned.set(self.owned.get().without(old).and(new));
        if !new.is_empty() {
            self.may_tell.set(self.may_tell.get() + 2);
        }
    }

    /// What the thread has of sources.
    pub fn holds(&self, tag: u32) -> Sources {
        self.holds.borrow().get(tag as usize).copied().unwrap_or_default()
    }

    /// A thread's argument is dropped. The poller has let go of its source.
    pub fn drop_arg(&self, tag: u32) {
        self.alive.set(self.alive.get() - 1);
        let watched = self.watched.get().common(self.holds(tag));
        if !watched.is_empty() {
            self.blame(format!("thread {tag}'s argument is dropped while {watched:?} is watched"));
        }
        self.rearm(tag, Sources::default());
        self.note(Event::Dropped(tag));
    }
}
