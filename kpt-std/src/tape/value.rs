//! What an application receives otherwise than through the loop and its sockets.

use std::os::fd::AsFd;

use kpt_core::Source;
use kpt_core::tape::Call;

use super::here;
use super::socket::{record, replay};
use crate::source;

/// Returns a value that does not come from the loop or its sockets, such as a random number or the time of day: that of
/// `get`, or in a replay that on the tape. `name` says which value it is, so that a replay that asks for another one is
/// noticed.
///
/// ```
/// let seed = kpt_std::tape::value(1, || std::process::id().into());
/// # assert_eq!(seed, u64::from(std::process::id()));
/// ```
///
/// A replay that has diverged, or whose tape is at its end, returns 0.
pub fn value(name: u32, get: impl FnOnce() -> u64) -> u64 {
    let name = Source::new(name);
    if here::is_replaying() {
        let back = here::with_player(|player| player.value(name)).flatten();
        return back.and_then(|bytes| bytes[..].try_into().ok()).map_or(0, u64::from_le_bytes);
    }
    let value = get();
    if here::is_recording() {
        record(Call::Value, name, &[], Ok(0), &value.to_le_bytes());
    }
    value
}

/// Notes that the application has opened a file that threads wait for, other than kpt's own sockets: in a replay, what
/// the tape says of that file is said of this one. What is read from it is up to the application: see [`value`].
pub fn opened(file: &impl AsFd) {
    let here = source(file);
    if here::is_replaying() {
        if let Ok((number, _)) = replay(Call::Bind, None, &[]) {
            here::with_player(|player| player.is_here(Source::new(number), here));
        }
    } else if here::is_recording() {
        record(Call::Bind, Source::new(0), &[], Ok(here.number()), &[]);
    }
}
