//! Checks that the tables agree with each other, for tests.

use crate::large::head::Head;
use crate::large::link::{Link, Links, Place};
use crate::large::queues::Queues;
use crate::large::timers::Timers;

/// Checks all tables, and returns the condition that does not hold. Without debug assertions, nothing is checked, so
/// that firmware does not contain this code.
pub(crate) fn verify(
    head: &Head,
    links: &[Link],
    queues: &Queues<impl Timers>,
) -> Result<(), &'static str> {
    if !cfg!(debug_assertions) {
        return Ok(());
    }
    let count =
        |is_meant: fn(Place) -> bool| links.iter().filter(|link| is_meant(link.place)).count();
    if count(|place| place == Place::Retired) != head.retired as usize {
        return Err("the count of retired slots is wrong");
    }
    if count(|place| !matches!(place, Place::Vacant | Place::Retired)) != head.used as usize {
        return Err("the count of used slots is wrong");
    }
    if count(|place| place == Place::GivenUp) > 1 {
        return Err("more than one thread has given up its source");
    }
    for (position, link) in links.iter().enumerate() {
        if !link.place.has_source() {
            continue;
        }
        let (mut at, mut of_its_kind) = (None, None);
        while let Some(index) = queues.next_of(links, link.source(), at) {
            at = Some(index);
            if links.at(index).kind == link.kind && of_its_kind.replace(index.position()).is_some()
            {
                return Err("a source has two threads of one kind");
            }
        }
        if of_its_kind != Some(position) {
            return Err("a source does not know its thread");
        }
    }
    queues.verify(links)
}
