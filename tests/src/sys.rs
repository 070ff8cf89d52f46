//! The calls to the operating system that tests need and the standard library lacks, and all their unsafe code.
//!
//! Each function here is safe to call with any arguments.

mod alarms;
pub mod attempts;
mod clocks;
mod datagrams;
mod descriptors;
pub mod family;
mod memory;
pub mod namespaces;
mod processes;
mod signals;
mod users;

use std::io;

use libc::c_int;

pub use alarms::{Alarms, alarms, start_alarms};
pub use clocks::{monotonic_time, sleeps, thread_cpu_time};
pub use datagrams::{queue_errors, take_queued_error};
pub use descriptors::{
    close_from, duplicate, duplicate_from, open_path, raise_descriptor_limit, replace,
    set_descriptor_limit, set_descriptor_limits, status_flags, without_standard_descriptors,
    write_byte,
};
pub use memory::{CountingAllocator, is_in_bss, resident_bytes};
pub use processes::{
    end_this_thread, exit_code, fork_and, fork_and_exit, group_exists, has_children, is_running,
    threads, unshare_processes, wait_for, wait_for_any, wait_until_ended, wait_until_stopped,
};
pub use signals::{
    block, catch, ignore, kill, kill_group, raise, reset, resume, signal, stop_myself,
};
pub use users::{become_nobody_with_processes, become_user, is_root, set_nice};

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
