//! Which threads wait for a source: a hash table with chains whose heads are lodged in the links.
//!
//! As many buckets as slots, so that a chain has one thread on average. Descriptors and interrupt lines count up from 0: a
//! number that is also a slot's is its own bucket, so that theirs are next to each other and hold them alone. Larger numbers
//! are spread by a hash; those that are chosen to collide make each operation on them O(their number).

use crate::id::{Index, MAX_CAPACITY};
use crate::large::link::{Link, Links};
use crate::source::Source;

/// The link in which the head of the source's chain is lodged. `None` only if there are no links.
fn bucket(links: &[Link], source: Source) -> Option<Index> {
    let buckets = links.len().min(MAX_CAPACITY);
    if (source.number() as usize) < buckets {
        return Index::new(source.number() as usize);
    }
    // Fibonacci hashing; the product's high word picks one of the buckets without a division.
    let hash = source.number().wrapping_mul(0x9E37_79B9);
    let position = u64::from(hash).wrapping_mul(buckets as u64) >> 32;
    Index::new(position as usize).filter(|_| !links.is_empty())
}

/// The first thread of the chain in which the source's threads are; others may be in there as well.
#[inline]
pub(crate) fn first_in_chain(links: &[Link], source: Source) -> Option<Index> {
    // Most are a bucket's number, and the link is fetched with one look at the length.
    if (source.number() as usize) < MAX_CAPACITY
        && let Some(link) = links.get(source.number() as usize)
    {
        return link.bucket;
    }
    links.at(bucket(links, source)?).bucket
}

/// The source's threads, one after the other.
pub(crate) fn next_of(links: &[Link], source: Source, after: Option<Index>) -> Option<Index> {
    let mut at = match after {
        Some(after) => links.at(after).chain(),
        None => first_in_chain(links, source),
    };
    while let Some(index) = at {
        let link = links.at(index);
        if link.source() == source {
            break;
        }
        at = link.chain();
    }
    at
}

/// Takes in a reader or writer of `source`.
pub(crate) fn insert(links: &mut [Link], source: Source, index: Index) {
    let Some(bucket) = bucket(links, source) else { return };
    let first = links.at(bucket).bucket;
    links.edit(index, |link| link.set_chain(first));
    links.edit(bucket, |link| link.bucket = Some(index));
}

/// Gives up a reader or writer of `source`.
pub(crate) fn remove(links: &mut [Link], source: Source, index: Index) {
    let Some(bucket) = bucket(links, source) else { return };
    let after = links.at(index).chain();
    let mut at = links.at(bucket).bucket;
    if at == Some(index) {
        return links.edit(bucket, |link| link.bucket = after);
    }
    while let Some(before) = at {
        at = links.at(before).chain();
        if at == Some(index) {
            return links.edit(before, |link| link.set_chain(after));
        }
    }
    debug_assert!(false, "link {} is not in its source's chain", index.position());
}

/// Counts the threads in all chains. For `verify`.
pub(crate) fn verify(links: &[Link]) -> Result<usize, &'static str> {
    let mut count = 0_usize;
    for position in 0..links.len() {
        let Some(index) = Index::new(position) else { break };
        let mut at = links.at(index).bucket;
        while let Some(thread) = at {
            count = count.saturating_add(1);
            let link = links.at(thread);
            if bucket(links, link.source()) != Some(index) {
                return Err("a thread is in another source's chain");
            }
            if count > links.len() {
                return Err("a chain does not end");
            }
            at = link.chain();
        }
    }
    Ok(count)
}
