//! A small sorted map with sources as keys.

use heapless::Vec;

use crate::source::Source;

/// Up to `N` sources with a value each, in the order of their numbers. Operations are O(`N`).
pub(super) struct SourceMap<T, const N: usize> {
    entries: Vec<(Source, T), N>,
}

impl<T: Copy, const N: usize> SourceMap<T, N> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    fn position(&self, source: Source) -> usize {
        self.entries.partition_point(|&(other, _)| other < source)
    }

    pub(super) fn get(&self, source: Source) -> Option<T> {
        let &(other, value) = self.entries.get(self.position(source))?;
        (other == source).then_some(value)
    }

    /// Sets the value of `source`, in place of the previous one. Returns the value if there is no room.
    pub(super) fn set(&mut self, source: Source, value: T) -> Result<(), T> {
        let position = self.position(source);
        match self.entries.get_mut(position).filter(|(other, _)| *other == source) {
            Some((_, old)) => *old = value,
            None => {
                insert(&mut self.entries, position, (source, value)).map_err(|(_, value)| value)?
            }
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, source: Source) {
        let position = self.position(source);
        let tail = self.entries.get_mut(position..).unwrap_or_default();
        if tail.first().is_some_and(|&(other, _)| other == source) {
            tail.rotate_left(1);
            self.entries.pop();
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Source, T)> {
        self.entries.iter().copied()
    }
}

/// Inserts `item` at `position`, or at the end if that is nearer. `Vec::insert` does the same and may panic.
pub(super) fn insert<T, const N: usize>(
    list: &mut Vec<T, N>,
    position: usize,
    item: T,
) -> Result<(), T> {
    list.push(item)?;
    let tail = list.get_mut(position..).unwrap_or_default();
    if !tail.is_empty() {
        tail.rotate_right(1);
    }
    Ok(())
}
