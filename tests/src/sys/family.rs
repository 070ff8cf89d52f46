//! Who belongs to whom: orphans, sessions, users.

use std::{fs, io};

use libc::c_int;

use super::check;

/// A process, as its parent sees it.
#[derive(Clone, Debug)]
pub struct Relative {
    /// Its number.
    pub id: u32,
    /// The name of its program, or what it calls itself.
    pub name: String,
    state: char,
}

impl Relative {
    /// Returns whether it has ended, and waits to be reaped.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Returns the children of a process, by name.
pub fn children_of(parent: u32) -> Vec<Relative> {
    // The kernel's list may lack one while another one ends, so that an empty one says nothing.
    let mut children = relatives(listed_children_of(parent), parent);
    if children.is_empty() {
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        children = relatives(numbers.collect(), parent);
    }
    children.sort_by(|one, other| one.name.cmp(&other.name));
    children
}

/// Returns those that the kernel lists as children; not every kernel does.
fn listed_children_of(parent: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let numbers = |list: String| -> Vec<u32> {
        list.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    };
    lists.flat_map(numbers).collect()
}

/// Returns those of the processes that are children of `parent`.
fn relatives(numbers: Vec<u32>, parent: u32) -> Vec<Relative> {
    let relative = |id: u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (_, rest) = stat.split_once('(')?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        let is_child = fields.next()?.parse() == Ok(parent);
        is_child.then(|| Relative { id, name: name.to_owned(), state })
    };
    numbers.into_iter().filter_map(relative).collect()
}

/// Has this process be the parent of all processes that it starts, and those start, whose own parent has ended.
///
/// # Errors
/// Returns the system's error.
pub fn adopt_orphans() -> io::Result<()> {
    let on: libc::c_ulong = 1;
    // SAFETY: this operation takes a number and no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, on) }).map(drop)
}

/// Reaps a child of any kind that has ended. `None` if all children live.
///
/// # Errors
/// Returns the system's error: `ECHILD` if there is no child.
pub fn reap_any() -> io::Result<Option<u32>> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int, borrowed until the call returns.
    let child = check(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) })?;
    Ok(u32::try_from(child).ok().filter(|&child| child > 0))
}

/// Begins a session and a process group with this process as leader.
///
/// # Errors
/// Returns the system's error: it leads a group already.
pub fn begin_session() -> io::Result<()> {
    // SAFETY: the call has no arguments.
    check(unsafe { libc::setsid() }).map(drop)
}

/// Puts this process into a user namespace of its own.
///
/// # Errors
/// Returns the system's error: it may be forbidden.
pub fn unshare_users() -> io::Result<()> {
    // SAFETY: the call takes a number and no pointer.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).map(drop)
}

/// Makes this process one of another group, for ever.
///
/// # Errors
/// Returns the system's error: only root may do that.
pub fn become_group(group: u32) -> io::Result<()> {
    // SAFETY: the call takes numbers.
    check(unsafe { libc::setresgid(group, group, group) }).map(drop)
}

/// Makes this process one of root in all respects.
///
/// # Errors
/// Returns the system's error: it needs rights of root already.
pub fn become_root() -> io::Result<()> {
    // SAFETY: the call takes numbers.
    check(unsafe { libc::setresuid(0, 0, 0) }).map(drop)
}

/// Makes this process one of another user for some time: the real user stays.
///
/// # Errors
/// Returns the system's error: only root may do that.
pub fn set_effective_user(user: u32) -> io::Result<()> {
    // SAFETY: the call takes a number.
    check(unsafe { libc::seteuid(user) }).map(drop)
}

/// Returns whether this process has the rights of root, whoever has started it.
pub fn has_effective_rights_of_root() -> bool {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::geteuid() == 0 }
}

/// Returns whether this process has the rights of root's group.
pub fn has_effective_group_of_root() -> bool {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::getegid() == 0 }
}

/// Waits until a process that this one traces has ended.
pub(crate) fn wait_for_traced(process: c_int) {
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int, borrowed until the call returns.
    while unsafe { libc::waitpid(process, &mut status, libc::__WALL) } == process
        && libc::WIFSTOPPED(status)
    {}
}
