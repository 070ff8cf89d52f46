//! Whether the tables agree with each other: for tests, and for nobody else.

use crate::large::head::Head;
use crate::large::link::{Link, Links, Place};
use crate::large::queues::Queues;
use crate::large::timers::Timers;

/// Walks all tables and checks that they agree; without debug assertions it looks at nothing, so that firmware does not
/// carry it.
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
        return Err("not as many slots are retired as were counted");
    }
    if count(|place| !matches!(place, Place::Vacant | Place::Retired)) != head.used as usize {
        return Err("not as many slots are used as were counted");
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
