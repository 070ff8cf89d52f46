//! The threads by source: a hash table with chains whose heads are stored in the links.
//!
//! There are as many buckets as slots, so that a chain has one thread on average. Descriptors and interrupt lines count
//! up from 0: a number below the number of slots is its own bucket, so that small numbers are next to each other and
//! share no chain among themselves. Larger numbers are hashed. If they are chosen to collide, each operation on them is
//! linear in their number.

use crate::id::{Index, MAX_CAPACITY};
use crate::large::link::{Link, Links};
use crate::source::Source;

/// Returns the position of the link that stores the head of the source's chain. `None` only if there are no links.
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

/// Returns the first thread of the source's chain, which may also contain threads of other sources.
#[inline]
pub(crate) fn first_in_chain(links: &[Link], source: Source) -> Option<Index> {
    // Most numbers are their own bucket, and one comparison with the length is enough.
    if (source.number() as usize) < MAX_CAPACITY
        && let Some(link) = links.get(source.number() as usize)
    {
        return link.bucket;
    }
    links.at(bucket(links, source)?).bucket
}

/// Returns the thread of a source that follows `after` in its chain, or the first one if `after` is `None`.
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

/// Adds a reader or writer of `source`.
pub(crate) fn insert(links: &mut [Link], source: Source, index: Index) {
    let Some(bucket) = bucket(links, source) else { return };
    let first = links.at(bucket).bucket;
    links.edit(index, |link| link.set_chain(first));
    links.edit(bucket, |link| link.bucket = Some(index));
}

/// Removes a reader or writer of `source`.
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
