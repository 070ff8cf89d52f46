//! The descriptors as a poller has registered them with the kernel.

use kpt_core::Interest;

/// A table by descriptor. Memory is reserved for all descriptors up to the limit, when the first is watched at the latest,
/// and written only up to the highest that has been watched: a forked process pays for each page that it touches.
pub struct Table {
    told: Vec<Told>,
    limit: usize,
}

/// The registration of one descriptor.
#[derive(Clone, Copy, Default)]
pub struct Told {
    /// Tells the current registration of a number from earlier ones, where the kernel may still have several.
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
    /// Always ready, and of a kind that the kernel's set refuses.
    Always,
    /// Found to be closed while it was watched. Its threads have yet to be told.
    Lost,
}

impl Table {
    /// Creates a table for the descriptors below `limit`.
    pub fn new(limit: usize) -> Self {
        Self { told: Vec::new(), limit }
    }

    /// Reserves the memory, unless it is there.
    pub fn reserve(&mut self) {
        if self.told.capacity() == 0 {
            self.told.reserve_exact(self.limit);
        }
    }

    /// Returns whether the descriptor is below the limit.
    pub fn has_room_for(&self, descriptor: u32) -> bool {
        (descriptor as usize) < self.limit
    }

    /// Returns one more than the highest watched descriptor, or a slightly larger number.
    pub fn end(&self) -> u32 {
        self.told.len() as u32
    }

    #[inline]
    pub fn get(&self, descriptor: u32) -> Told {
        self.told.get(descriptor as usize).copied().unwrap_or_default()
    }

    /// Sets the entry of a descriptor, which must be below the limit.
    pub fn set(&mut self, descriptor: u32, told: Told) {
        let at = descriptor as usize;
        if at >= self.told.len() {
            self.reserve();
            self.told.resize(at + 1, Told::default());
        }
        self.told[at] = told;
    }

    /// Sets the state of a descriptor. Does nothing if the table has no entry for it.
    #[inline]
    pub fn set_state(&mut self, descriptor: u32, state: State) {
        if let Some(told) = self.told.get_mut(descriptor as usize) {
            told.state = state;
        }
    }

    /// Removes the entries above the highest watched descriptor.
    pub fn trim(&mut self) {
        let highest = self.told.iter().rposition(|told| told.state != State::Unwatched);
        self.told.truncate(highest.map_or(0, |at| at + 1));
    }
}
