//! What a process may do: its user and groups, its capabilities, its limits, and whether `exec` can give it more.

use std::io;

use libc::{c_int, c_long, c_ulong};

use super::check;

/// The number that the system takes for "leave it as it is", so that no user and no group can have it.
const AS_IT_IS: u32 = u32::MAX;

/// The version of the structures of `capset` for 64 capabilities.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// A resource with a limit, such as `RLIMIT_NOFILE`.
pub type Resource = c_int;

/// Sets the soft and the hard limit of a resource.
pub fn set_limit(resource: Resource, value: u64) -> io::Result<()> {
    // The highest number means that there is no limit.
    let value = libc::rlim_t::try_from(value).unwrap_or(libc::RLIM_INFINITY);
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `limit` is valid and borrowed until the call returns. A number that is no resource is an error.
    check(unsafe { libc::setrlimit(resource as _, &limit) }).map(drop)
}

/// Returns the real, the effective and the saved user of this process.
pub fn users() -> io::Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [0; 3];
    // SAFETY: the three are valid places for a uid, borrowed until the call returns.
    check(unsafe { libc::getresuid(&mut real, &mut effective, &mut saved) })?;
    Ok([real, effective, saved])
}

/// Returns the real, the effective and the saved group of this process.
pub fn groups() -> io::Result<[u32; 3]> {
    let [mut real, mut effective, mut saved] = [0; 3];
    // SAFETY: the three are valid places for a gid, borrowed until the call returns.
    check(unsafe { libc::getresgid(&mut real, &mut effective, &mut saved) })?;
    Ok([real, effective, saved])
}

/// Sets the real, the effective and the saved user of this process.
pub fn set_user(user: u32) -> io::Result<()> {
    is_possible(user)?;
    // SAFETY: the call takes numbers and no pointer.
    check(unsafe { libc::setresuid(user, user, user) }).map(drop)
}

/// Sets the real, the effective and the saved group of this process.
pub fn set_group(group: u32) -> io::Result<()> {
    is_possible(group)?;
    // SAFETY: the call takes numbers and no pointer.
    check(unsafe { libc::setresgid(group, group, group) }).map(drop)
}

fn is_possible(number: u32) -> io::Result<()> {
    if number == AS_IT_IS { Err(io::Error::from_raw_os_error(libc::EINVAL)) } else { Ok(()) }
}

/// Returns the supplementary groups of this process.
pub fn supplementary_groups() -> io::Result<Vec<u32>> {
    // SAFETY: for a size of 0, nothing is written, and the number of groups is returned.
    let count = check(unsafe { libc::getgroups(0, std::ptr::null_mut()) })?;
    let mut groups = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the kernel writes at most `count` numbers, for which `groups` has room; it is borrowed until the call
    // returns.
    let written = check(unsafe { libc::getgroups(count, groups.as_mut_ptr()) })?;
    groups.truncate(usize::try_from(written).unwrap_or(0));
    Ok(groups)
}

/// Sets the supplementary groups of this process.
pub fn set_supplementary_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the kernel reads as many numbers as the slice has, which are borrowed until the call returns.
    check(unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) }).map(drop)
}

/// A header of `capget` and `capset`; 0 is this process.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    process: c_int,
}

/// The lower or upper 32 capabilities of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up all capabilities, also those that a program would inherit in an `exec`.
pub fn give_up_capabilities() -> io::Result<()> {
    // A kernel before 4.3 has no ambient capabilities, and says that the number is wrong.
    match prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong) {
        Err(error) if error.raw_os_error() != Some(libc::EINVAL) => return Err(error),
        _ => {}
    }
    let header = CapabilityHeader { version: CAPABILITY_VERSION_3, process: 0 };
    let none = [CapabilityData::default(); 2];
    // SAFETY: this version of the header is followed by two structures of data; the kernel reads both, which are
    // borrowed until the call returns.
    check_long(unsafe { libc::syscall(libc::SYS_capset, &header, none.as_ptr()) })
}

/// Returns whether this process has any capability, or could give itself one.
pub fn has_capabilities() -> io::Result<bool> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION_3, process: 0 };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: as above; the kernel writes to both, which are borrowed until the call returns.
    check_long(unsafe { libc::syscall(libc::SYS_capget, &mut header, data.as_mut_ptr()) })?;
    Ok(data.iter().any(|data| data.effective | data.permitted != 0))
}

/// Makes sure that no `exec` gives this process, and those that it starts, a right that it does not have.
pub fn set_no_new_privs() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Calls `prctl` with one number, which is no pointer for the operations that are used here.
fn prctl(operation: c_int, argument: c_ulong) -> io::Result<()> {
    let zero: c_ulong = 0;
    // SAFETY: the operations of the callers take numbers and no pointer.
    check(unsafe { libc::prctl(operation, argument, zero, zero, zero) }).map(drop)
}

fn check_long(result: c_long) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
