//! A first-in-first-out list of threads that is linked through their `Link`s. It takes one word, and allocates nothing.

use crate::id::Index;
use crate::large::link::{Link, Links};

/// A circular list: `previous` of the first thread is the last one. All operations except `iter` are O(1).
#[derive(Clone, Copy)]
pub(crate) struct List {
    first: Option<Index>,
}

impl List {
    pub(crate) const EMPTY: Self = Self { first: None };

    /// Returns a list of what is linked in a circle already.
    pub(crate) fn of_circle(first: Option<Index>) -> Self {
        Self { first }
    }

    #[inline]
    pub(crate) fn first(self) -> Option<Index> {
        self.first
    }

    #[inline]
    pub(crate) fn last(self, links: &[Link]) -> Option<Index> {
        self.first.and_then(|first| links.at(first).previous)
    }

    #[inline]
    pub(crate) fn push_back(&mut self, links: &mut [Link], index: Index) {
        let Some(first) = self.first else {
            return self.start(links, index);
        };
        self.squeeze_in(links, first, index);
    }

    /// Adds `index` between `next` and the one before it, in the circle.
    #[inline]
    fn squeeze_in(&mut self, links: &mut [Link], next: Index, index: Index) {
        let mut previous = None;
        links.edit(next, |link| previous = link.previous.replace(index));
        links.edit(index, |link| {
            link.previous = previous;
            link.next = Some(next);
        });
        links.edit(previous.unwrap_or(next), |link| link.next = Some(index));
    }

    #[inline]
    fn start(&mut self, links: &mut [Link], index: Index) {
        links.edit(index, |link| {
            link.previous = Some(index);
            link.next = Some(index);
        });
        self.first = Some(index);
    }

    /// Removes `index`, which must be in this list.
    #[inline]
    pub(crate) fn remove(&mut self, links: &mut [Link], index: Index) {
        let link = links.at(index);
        let (Some(next), Some(previous)) = (link.next, link.previous) else {
            debug_assert!(false, "link {} is in no list", index.position());
            return;
        };
        if next == index {
            self.first = None;
        } else {
            links.edit(previous, |link| link.next = Some(next));
            links.edit(next, |link| link.previous = Some(previous));
            if self.first == Some(index) {
                self.first = Some(next);
            }
        }
    }

    /// Moves the first thread to the end. `next` is the one after it, or itself if it is alone.
    #[inline]
    pub(crate) fn rotate(&mut self, next: Option<Index>) {
        self.first = next;
    }

    /// Adds all of `other` at the end.
    pub(crate) fn append(&mut self, links: &mut [Link], other: List) {
        let (Some(first), Some(last)) = (self.first, self.last(links)) else {
            self.first = other.first;
            return;
        };
        let (Some(other_first), Some(other_last)) = (other.first, other.last(links)) else {
            return;
        };
        links.edit(last, |link| link.next = Some(other_first));
        links.edit(other_first, |link| link.previous = Some(last));
        links.edit(other_last, |link| link.next = Some(first));
        links.edit(first, |link| link.previous = Some(other_last));
    }

    /// Returns all, from the first to the last.
    pub(crate) fn iter(self, links: &[Link]) -> impl Iterator<Item = Index> {
        let mut at = self.first;
        core::iter::from_fn(move || {
            let index = at?;
            at = links.at(index).next.filter(|&next| Some(next) != self.first);
            Some(index)
        })
    }

    /// Returns how many there are, or an error if a neighbour does not point back. For `verify`.
    pub(crate) fn verify(self, links: &[Link]) -> Result<usize, &'static str> {
        let mut count = 0_usize;
        for index in self.iter(links) {
            count = count.saturating_add(1);
            let next = links.at(index).next.ok_or("a list breaks off")?;
            if links.at(next).previous != Some(index) {
                return Err("a neighbour in a list does not point back");
            }
            if count > links.len() {
                return Err("a list does not close");
            }
        }
        Ok(count)
    }
}
