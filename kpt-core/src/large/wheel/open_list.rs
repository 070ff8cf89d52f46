//! A first-in-first-out list of timers that is linked through their `Link`s, with two ends.
//!
//! Unlike in a circular [`List`](crate::large::list::List), the ends are visible in the links: the first timer has no
//! `previous`, and the last one no `next`. So a timer in the middle is removed without knowing its list, and adding one
//! touches a single neighbour, the one that was added before it. The price is a second word for each list.

use crate::id::Index;
use crate::large::link::{Link, Links};

/// A list with two ends. All operations except `iter` are O(1).
#[derive(Clone, Copy)]
pub(super) struct OpenList {
    first: Option<Index>,
    last: Option<Index>,
}

impl OpenList {
    pub(super) const EMPTY: Self = Self { first: None, last: None };

    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub(super) fn first(self) -> Option<Index> {
        self.first
    }

    #[inline]
    pub(super) fn last(self) -> Option<Index> {
        self.last
    }

    /// Appends `index`. Returns whether the list was empty.
    #[inline]
    pub(super) fn push_back(&mut self, links: &mut [Link], index: Index) -> bool {
        let previous = self.last.replace(index);
        links.edit(index, |link| {
            link.previous = previous;
            link.next = None;
        });
        match previous {
            Some(previous) => links.edit(previous, |link| link.next = Some(index)),
            None => self.first = Some(index),
        }
        previous.is_none()
    }

    /// Removes `index`, which must be in this list and at an end of it.
    pub(super) fn remove_end(&mut self, links: &mut [Link], index: Index) {
        let link = links.at(index);
        let (next, previous) = (link.next, link.previous);
        match next {
            Some(next) => links.edit(next, |link| link.previous = previous),
            None => self.last = previous,
        }
        match previous {
            Some(previous) => links.edit(previous, |link| link.next = next),
            None => self.first = next,
        }
    }

    /// Adds all of `other` at the end.
    pub(super) fn append(&mut self, links: &mut [Link], other: Self) {
        let Some(other_first) = other.first else { return };
        let Some(last) = self.last else {
            *self = other;
            return;
        };
        links.edit(last, |link| link.next = Some(other_first));
        links.edit(other_first, |link| link.previous = Some(last));
        self.last = other.last;
    }

    /// Removes all. The first and the last one are neighbours then, as in a circular list.
    pub(super) fn take_as_circle(&mut self, links: &mut [Link]) -> Option<Index> {
        let (first, last) = (self.first?, self.last?);
        links.edit(first, |link| link.previous = Some(last));
        links.edit(last, |link| link.next = Some(first));
        *self = Self::EMPTY;
        Some(first)
    }

    /// Reads the links of all timers from both ends, so that two at a time are fetched from memory, where a walk waits
    /// for each before it knows the next: a quarter less time for 100,000 timers that are due within 100 ms.
    #[inline]
    pub(super) fn look_ahead(self, links: &[Link]) {
        let (mut front, mut back) = (self.first, self.last);
        while front != back {
            front = front.and_then(|front| links.at(front).next);
            if front == back {
                break;
            }
            back = back.and_then(|back| links.at(back).previous);
        }
        core::hint::black_box(front);
    }

    /// Returns all, from the first to the last.
    pub(super) fn iter(self, links: &[Link]) -> impl Iterator<Item = Index> {
        core::iter::successors(self.first, move |&index| links.at(index).next)
    }

    /// Returns how many there are, or an error if a neighbour does not point back. For `verify`.
    pub(super) fn verify(self, links: &[Link]) -> Result<usize, &'static str> {
        let (mut count, mut before) = (0_usize, None);
        for index in self.iter(links) {
            count = count.saturating_add(1);
            if links.at(index).previous != before {
                return Err("a neighbour in a list does not point back");
            }
            if count > links.len() {
                return Err("a list does not end");
            }
            before = Some(index);
        }
        if self.last == before { Ok(count) } else { Err("a list's last is not its last") }
    }
}
