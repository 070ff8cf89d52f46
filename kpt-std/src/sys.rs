//! Every call to the operating system, and all the unsafe code of kpt.
//!
//! Functions are safe to call with any arguments, except for the conditions that their docs name.

mod alone;
mod ancestry;
mod channel;
mod descriptors;
mod epoll;
mod guard;
mod handlers;
#[cfg(feature = "signals")]
mod inbox;
mod inherited;
mod memory;
mod net;
mod orphan;
mod output;
mod passing;
mod privileges;
mod process;
#[cfg(feature = "tape")]
mod shared;
mod status;
mod waiting;

use std::io;
use std::time::Duration;

use libc::c_int;

pub use alone::{Alone, alone};
pub use ancestry::generation;
pub use channel::{count_unread, receive, send};
pub use descriptors::{EventFd, above_standard, open_process};
pub use epoll::{EpollSet, Event, Timer};
pub use guard::Guard;
pub use handlers::{SignalsBlocked, reset_signals};
#[cfg(all(feature = "signals", feature = "sim"))]
pub use inbox::check_signal;
#[cfg(feature = "signals")]
pub use inbox::{Handler, Inbox};
pub use inherited::{close_all_but, is_directory, open_descriptors};
pub use memory::{LoopPages, Paged, Pages};
pub use net::{connect_tcp, connect_unix, is_of_connection, listen, send_parts};
pub use orphan::{ask_for_death_signal, die_after};
pub use output::{discard_output, flush_output, flush_output_fully};
pub use passing::{Received, receive_with, refuse_descriptors, send_with};
pub use privileges::{
    Resource, give_up_capabilities, groups, has_capabilities, set_group, set_limit,
    set_no_new_privs, set_supplementary_groups, set_user, supplementary_groups, users,
};
pub use process::{
    Ended, Forked, at_exit, exit_now, fork, has_rights_of_others, is_living_child, parent_id,
    process_id, real_user, reap, signal_descriptor, signal_number,
};
#[cfg(feature = "tape")]
pub use shared::SharedWords;
pub use status::{Actions, Status};
pub use waiting::{Bitmaps, Word, descriptor_limit, is_open, poll, select};

/// Returns the time of the monotonic clock.
pub fn monotonic_now() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for a timespec, borrowed until the call returns. The call can't fail: every Linux
    // has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
