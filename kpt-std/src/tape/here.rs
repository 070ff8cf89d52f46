//! What this OS thread does: it records, it replays, or neither.

use std::cell::{Cell, RefCell};
use std::{io, mem};

use kpt_core::Source;

use super::player::Player;
use super::recording::{Mask, Writer};

/// What this OS thread does.
pub(super) enum Here {
    Nothing,
    Records(Box<Writer>),
    Replays(Box<Player>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nothing,
    Records,
    /// It records, but not what it does now.
    Pauses,
    Replays,
}

thread_local! {
    /// The kind of `HERE`, so that asking for it takes one load.
    static MODE: Cell<Mode> = const { Cell::new(Mode::Nothing) };
    static HERE: RefCell<Here> = const { RefCell::new(Here::Nothing) };
}

#[inline]
pub(super) fn is_recording() -> bool {
    MODE.get() == Mode::Records
}

#[inline]
pub(super) fn is_replaying() -> bool {
    MODE.get() == Mode::Replays
}

/// Begins to record or to replay.
pub(super) fn start(what: Here) -> io::Result<()> {
    if MODE.get() != Mode::Nothing {
        return Err(io::Error::other("this OS thread records or replays already"));
    }
    MODE.set(if matches!(what, Here::Records(_)) { Mode::Records } else { Mode::Replays });
    HERE.set(what);
    Ok(())
}

pub(super) fn stop_recording() -> Option<Box<Writer>> {
    if let Here::Records(writer) = stop() { Some(writer) } else { None }
}

pub(super) fn stop() -> Here {
    // At the end of the OS thread, there may be nothing left.
    let _ = MODE.try_with(|mode| mode.set(Mode::Nothing));
    HERE.try_with(|here| here.replace(Here::Nothing)).unwrap_or(Here::Nothing)
}

/// Calls `work` with the tape that is recorded, if there is one. Does nothing within such a call, so that streams that a
/// mask or a file uses itself are not recorded, and nothing in a forked process, whose parent has the tape.
pub(super) fn with_writer<R>(work: impl FnOnce(&mut Writer) -> R) -> Option<R> {
    HERE.with(|here| {
        let here = &mut *here.try_borrow_mut().ok()?;
        let Here::Records(writer) = here else { return None };
        if writer.is_inherited() {
            MODE.set(Mode::Nothing);
            // What it has not written is for the other process to write.
            mem::forget(mem::replace(here, Here::Nothing));
            return None;
        }
        Some(work(writer))
    })
}

/// Does `work`, of which nothing is recorded: the caller records its result.
pub(super) fn unrecorded<R>(work: impl FnOnce() -> R) -> R {
    /// Resumes the recording when it is dropped, unless that has ended.
    struct Pause;

    impl Drop for Pause {
        fn drop(&mut self) {
            if MODE.get() == Mode::Pauses {
                MODE.set(Mode::Records);
            }
        }
    }

    if MODE.get() != Mode::Records {
        return work();
    }
    MODE.set(Mode::Pauses);
    let _pause = Pause;
    work()
}

/// Calls `work` with the tape that is replayed, if there is one.
pub(super) fn with_player<R>(work: impl FnOnce(&mut Player) -> R) -> Option<R> {
    HERE.with(|here| match &mut *here.try_borrow_mut().ok()? {
        Here::Replays(player) => Some(work(player)),
        _ => None,
    })
}

/// Returns the digest of bytes that are sent, after the mask was applied to a copy of them.
pub(super) fn digest(
    source: Source,
    parts: &[&[u8]],
    mask: Option<&mut Mask>,
    copy: &mut Vec<u8>,
) -> u32 {
    let [part] = parts else {
        copy.clear();
        parts.iter().for_each(|part| copy.extend_from_slice(part));
        if let Some(mask) = mask {
            mask(source, copy);
        }
        return hash(copy);
    };
    let Some(mask) = mask else { return hash(part) };
    copy.clear();
    copy.extend_from_slice(part);
    mask(source, copy);
    hash(copy)
}

/// Returns a hash of bytes. It belongs to the format of tapes.
fn hash(bytes: &[u8]) -> u32 {
    mix(0, bytes) as u32
}

/// Returns a hash of bytes and of what was hashed before, eight bytes at a time.
pub(super) fn mix(before: u64, bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(FACTOR);
        mixed ^ mixed >> 32
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = before ^ bytes.len() as u64;
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(mix(hash, u64::from_le_bytes(last)), 0)
}
