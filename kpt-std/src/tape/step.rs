//! The entries of a tape that a replay needs.

use std::rc::Rc;

use kpt_core::tape::{Call, Called, Entry, Record};
use kpt_core::{Instant, Kind, Readiness, Source, ThreadId};

use super::here;

/// An entry that a replay needs, with bytes of its own.
#[derive(Clone, Debug)]
pub enum Step {
    /// `time` is the latest time on the tape up to there.
    Hook {
        name: Rc<str>,
        kind: Kind,
        id: ThreadId,
        late: u64,
        time: Instant,
    },
    Ready(Source, Readiness),
    Woke(Instant),
    Failed,
    Now(Instant),
    Refused(Source),
    Prepared(Instant),
    Called {
        call: Call,
        source: Source,
        sent: u32,
        result: Result<u32, i32>,
        bytes: Rc<[u8]>,
    },
}

impl Step {
    /// Returns `None` for an entry that a replay does not need.
    pub fn new(record: Record<'_>, names: &mut Vec<Rc<str>>) -> Option<Self> {
        let Record { time, entry } = record;
        Some(match entry {
            Entry::Hook { name, kind, id, late } => {
                let known = names.iter().find(|known| &***known == name).cloned();
                let name = known.unwrap_or_else(|| {
                    let new: Rc<str> = name.into();
                    names.push(Rc::clone(&new));
                    new
                });
                Self::Hook { name, kind, id, late, time }
            }
            Entry::Ready(source, readiness) => Self::Ready(source, readiness),
            Entry::Woke(time) => Self::Woke(time),
            Entry::Failed => Self::Failed,
            Entry::Now(time) => Self::Now(time),
            Entry::Refused(source) => Self::Refused(source),
            Entry::Prepared(until) => Self::Prepared(until),
            Entry::Called(Called { call, source, sent, result, bytes }) => {
                Self::Called { call, source, sent, result, bytes: bytes.into() }
            }
            _ => return None,
        })
    }

    /// Returns a hash of this step and those before, without ids.
    pub fn mix(&self, before: u64) -> u64 {
        let mix = |hash, bytes: &[u8]| here::mix(hash, bytes);
        match self {
            Self::Hook { name, kind, late, .. } => {
                let hash = mix(before, name.as_bytes());
                mix(mix(hash, kind.as_str().as_bytes()), &late.to_le_bytes())
            }
            Self::Ready(source, _) | Self::Refused(source) => {
                mix(before, &source.number().to_le_bytes())
            }
            Self::Woke(time) | Self::Now(time) | Self::Prepared(time) => {
                mix(before, &time.as_micros().to_le_bytes())
            }
            Self::Failed => mix(before, b"failed"),
            Self::Called { call, source, sent, bytes, .. } => {
                let hash = mix(before, call.as_str().as_bytes());
                let hash = mix(hash, &source.number().to_le_bytes());
                mix(mix(hash, &sent.to_le_bytes()), bytes)
            }
        }
    }

    pub fn entry(&self) -> Entry<'_> {
        match self {
            Self::Hook { name, kind, id, late, .. } => {
                Entry::Hook { name, kind: *kind, id: *id, late: *late }
            }
            Self::Ready(source, readiness) => Entry::Ready(*source, *readiness),
            Self::Woke(time) => Entry::Woke(*time),
            Self::Failed => Entry::Failed,
            Self::Now(time) => Entry::Now(*time),
            Self::Refused(source) => Entry::Refused(*source),
            Self::Prepared(until) => Entry::Prepared(*until),
            Self::Called { call, source, sent, result, bytes } => Entry::Called(Called {
                call: *call,
                source: *source,
                sent: *sent,
                result: *result,
                bytes,
            }),
        }
    }
}
