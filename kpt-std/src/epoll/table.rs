//! What a poller has told the kernel of each descriptor.

use kpt_core::Interest;

/// By descriptor. The memory is there for all that may come, and is written only up to the highest that has: a forked
/// process pays for each page that it touches.
pub struct Table {
    told: Vec<Told>,
    limit: usize,
}

/// What is known of one descriptor.
#[derive(Clone, Copy, Default)]
pub struct Told {
    /// Which of the registrations of that number the kernel has, where it may have several.
    pub generation: u32,
    pub interest: Interest,
    pub state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Unwatched,
    /// In the kernel's set.
    Watched,
    /// Of a kind that the kernel's set does not take, as it is always ready.
    Always,
    /// Watched until it was found to be closed, of which its threads are to be told.
    Lost,
}

impl Table {
    /// Returns one for the descriptors below `limit`.
    pub fn new(limit: usize) -> Self {
        Self { told: Vec::with_capacity(limit), limit }
    }

    /// Whether there may be a descriptor of that number.
    pub fn has_room_for(&self, descriptor: u32) -> bool {
        (descriptor as usize) < self.limit
    }

    /// One more than the highest descriptor that is watched, or a little more.
    pub fn end(&self) -> u32 {
        self.told.len() as u32
    }

    #[inline]
    pub fn get(&self, descriptor: u32) -> Told {
        self.told.get(descriptor as usize).copied().unwrap_or_default()
    }

    /// Of a descriptor that there is room for.
    pub fn set(&mut self, descriptor: u32, told: Told) {
        let at = descriptor as usize;
        if at >= self.told.len() {
            self.told.resize(at + 1, Told::default());
        }
        self.told[at] = told;
    }

    /// Does nothing for one of which nothing is known.
    #[inline]
    pub fn set_state(&mut self, descriptor: u32, state: State) {
        if let Some(told) = self.told.get_mut(descriptor as usize) {
            told.state = state;
        }
    }

    /// Gives up what is beyond the highest that is watched.
    pub fn trim(&mut self) {
        let highest = self.told.iter().rposition(|told| told.state != State::Unwatched);
        self.told.truncate(highest.map_or(0, |at| at + 1));
    }
}
