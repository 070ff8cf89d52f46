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
        let (mut at, mut with_its_claim) = (None, None);
        while let Some(index) = queues.next_of(links, link.source(), at) {
            at = Some(index);
            if links.at(index).kind.claim().intersects(link.kind.claim())
                && with_its_claim.replace(index.position()).is_some()
            {
                return Err("two threads of a source wait for the same");
            }
        }
        if with_its_claim != Some(position) {
            return Err("a source does not know its thread");
        }
    }
    queues.verify(links)
}
