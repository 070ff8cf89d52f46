//! What a task gives up before its code runs: limits, a root directory, a user, and what the application does itself.
//!
//! The order is the only one that works. Limits come first, since raising a hard one needs the rights of root; then the
//! root directory, which needs them as well; the groups before the group and both before the user, since only root may
//! change them; then `no_new_privs`, with which an unprivileged process may filter its own system calls; and last what
//! the application does, which may forbid all of these calls. Before that, the task checks that there is no way back.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::sys::{self, Resource};

/// The number of groups that an error names.
const MOST_NAMED: usize = 64;

/// The user with all rights.
const ROOT_USER: u32 = 0;

/// The result of an application's closure, and of what uses it.
type Outcome = Result<(), Box<dyn Error>>;

/// A closure of the application's, shared by the clones of a configuration.
#[derive(Clone)]
struct BeforeRun(Arc<dyn Fn() -> Outcome + Send + Sync>);

impl fmt::Debug for BeforeRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closure")
    }
}

/// What a task gives up.
#[derive(Clone, Debug, Default)]
pub struct Privileges {
    limits: Vec<Limit>,
    root: Option<PathBuf>,
    user: Option<User>,
    no_new_privs: bool,
    before_run: Vec<BeforeRun>,
}

#[derive(Clone, Debug)]
struct User {
    user: u32,
    group: u32,
    groups: Vec<u32>,
}

/// A limit on what a task uses, for [`TaskConfig::limits`](super::TaskConfig::limits). The system calls them
/// `RLIMIT_NOFILE` and so on; see setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// The size of its address space in bytes (`RLIMIT_AS`), with what it has from its parent. Beyond it, memory can't
    /// be allocated, which ends most programs.
    AddressSpace(u64),
    /// The size of a core file in bytes (`RLIMIT_CORE`): with 0, none is written.
    CoreFile(u64),
    /// The time for which it may use a CPU (`RLIMIT_CPU`), rounded up to seconds. After it, the system sends `SIGKILL`.
    CpuTime(Duration),
    /// The size of a file that it writes, in bytes (`RLIMIT_FSIZE`). Beyond it, the system sends `SIGXFSZ`, which ends
    /// it by default. That holds for a log as well, if it is 0, 1 or 2.
    FileSize(u64),
    /// The memory that it may lock, in bytes (`RLIMIT_MEMLOCK`).
    LockedMemory(u64),
    /// One more than the highest number of a descriptor that it may open (`RLIMIT_NOFILE`). Those that are open then
    /// stay open, also its channel and its loop's, and numbers that it may not use count as well: see
    /// [`TaskConfig::keep_only`](super::TaskConfig::keep_only). Beyond it, calls fail with `EMFILE`.
    OpenFiles(u64),
    /// The number of processes and OS threads of its user, with those that it has not started itself
    /// (`RLIMIT_NPROC`). Beyond it, it can't start any: calls fail with `EAGAIN`. Does not bind root.
    Processes(u64),
    /// The size of its stack in bytes (`RLIMIT_STACK`). Beyond it, the system sends `SIGSEGV`.
    Stack(u64),
}

impl Limit {
    /// Returns the system's number of the resource, the value in its unit, and a name for errors.
    fn parts(self) -> (Resource, u64, &'static str) {
        match self {
            Self::AddressSpace(bytes) => (libc::RLIMIT_AS as _, bytes, "the address space"),
            Self::CoreFile(bytes) => (libc::RLIMIT_CORE as _, bytes, "core files"),
            Self::CpuTime(time) => {
                let seconds = time.as_secs().saturating_add((time.subsec_nanos() > 0).into());
                (libc::RLIMIT_CPU as _, seconds, "the CPU time")
            }
            Self::FileSize(bytes) => (libc::RLIMIT_FSIZE as _, bytes, "the size of files"),
            Self::LockedMemory(bytes) => (libc::RLIMIT_MEMLOCK as _, bytes, "locked memory"),
            Self::OpenFiles(count) => (libc::RLIMIT_NOFILE as _, count, "open files"),
            Self::Processes(count) => (libc::RLIMIT_NPROC as _, count, "processes"),
            Self::Stack(bytes) => (libc::RLIMIT_STACK as _, bytes, "the stack"),
        }
    }
}

/// What the configuration sets.
impl Privileges {
    pub fn add_limits(&mut self, limits: impl IntoIterator<Item = Limit>) {
        self.limits.extend(limits);
    }

    pub fn set_root(&mut self, root: &Path) {
        self.root = Some(root.to_owned());
    }

    pub fn set_user(&mut self, user: u32, group: u32, groups: Vec<u32>) {
        self.user = Some(User { user, group, groups });
    }

    pub fn set_no_new_privs(&mut self) {
        self.no_new_privs = true;
    }

    pub fn add_before_run(&mut self, work: impl Fn() -> Outcome + Send + Sync + 'static) {
        self.before_run.push(BeforeRun(Arc::new(work)));
    }

    /// Returns whether the task gives up nothing.
    pub fn are_kept(&self) -> bool {
        !self.is_confined()
            && self.limits.is_empty()
            && !self.no_new_privs
            && self.before_run.is_empty()
    }

    /// Returns whether the task must have no descriptors of its parent's except those that are named.
    pub fn is_confined(&self) -> bool {
        self.root.is_some() || self.user.is_some()
    }
}

/// What the task does, in this order.
impl Privileges {
    /// Checks that nothing is open but 0, 1, 2 and `kept`, and, with another root directory, that none of them is a
    /// directory. MUST be called before the task opens anything of its own, and while `/proc` can be reached.
    pub fn check_descriptors(&self, kept: &[RawFd]) -> Outcome {
        if !self.is_confined() {
            return Ok(());
        }
        for descriptor in sys::open_descriptors()? {
            if descriptor > 2 && !kept.contains(&descriptor) {
                return Err(format!(
                    "descriptor {descriptor} is open, and keep_only does not name it"
                )
                .into());
            }
            if self.root.is_some() && sys::is_directory(descriptor) {
                let text = format!(
                    "descriptor {descriptor} is a directory, through which the task could leave its root directory"
                );
                return Err(text.into());
            }
        }
        Ok(())
    }

    /// Applies all but the application's closures, and checks the result.
    pub fn apply(&self) -> Outcome {
        for limit in &self.limits {
            let (resource, value, name) = limit.parts();
            let what = || format!("limit {name} to {value}");
            sys::set_limit(resource, value).map_err(|error| cannot(what(), &error))?;
        }
        if let Some(root) = &self.root {
            let what = || format!("make {} the root directory", root.display());
            enter_root(root).map_err(|error| cannot(what(), &error))?;
        }
        if let Some(user) = &self.user {
            user.become_user()?;
        }
        if self.root.is_some() && sys::has_capabilities()? {
            return Err("the task could leave its root directory, since it has rights of root; give it another \
                        user by TaskConfig::user".into());
        }
        if self.no_new_privs {
            sys::set_no_new_privs()
                .map_err(|error| cannot("set no_new_privs".to_owned(), &error))?;
        }
        Ok(())
    }

    /// Calls the application's closures.
    pub fn before_run(&self) -> Outcome {
        for BeforeRun(work) in &self.before_run {
            work().map_err(|error| format!("before_run: {error}"))?;
        }
        Ok(())
    }
}

impl User {
    /// Becomes that user for good. What is set already needs no rights.
    fn become_user(&self) -> Outcome {
        let (old_users, old_groups) = (sys::users()?, sys::groups()?);
        if !is_same_set(&sys::supplementary_groups()?, &self.groups) {
            let what = || match &self.groups[..] {
                // So many would leave no room for the reason.
                many if many.len() > MOST_NAMED => {
                    format!("set {} supplementary groups", many.len())
                }
                few => format!("set the supplementary groups {few:?}"),
            };
            sys::set_supplementary_groups(&self.groups).map_err(|error| cannot(what(), &error))?;
        }
        if old_groups != [self.group; 3] {
            let what = || format!("become group {}", self.group);
            sys::set_group(self.group).map_err(|error| cannot(what(), &error))?;
        }
        if old_users != [self.user; 3] {
            let what = || format!("become user {}", self.user);
            sys::set_user(self.user).map_err(|error| cannot(what(), &error))?;
        }
        if self.user != ROOT_USER {
            sys::give_up_capabilities()
                .map_err(|error| cannot("give up capabilities".to_owned(), &error))?;
            self.check_no_way_back(&old_users, &old_groups)?;
        }
        Ok(())
    }

    /// Tries to become root, and what the process was before.
    fn check_no_way_back(&self, old_users: &[u32], old_groups: &[u32]) -> Outcome {
        let is_other = |number: &&u32, own: u32| **number != own;
        for &user in old_users.iter().chain([&ROOT_USER]).filter(|user| is_other(user, self.user)) {
            if sys::set_user(user).is_ok() {
                return Err(format!("user {} can become user {user} again", self.user).into());
            }
        }
        for &group in old_groups.iter().filter(|group| is_other(group, self.group)) {
            if sys::set_group(group).is_ok() {
                return Err(format!("user {} can become group {group} again", self.user).into());
            }
        }
        let is_so = sys::users()? == [self.user; 3]
            && sys::groups()? == [self.group; 3]
            && is_same_set(&sys::supplementary_groups()?, &self.groups)
            && !sys::has_capabilities()?;
        if is_so { Ok(()) } else { Err(format!("did not become user {}", self.user).into()) }
    }
}

/// Makes a directory the root, goes there, and checks both.
fn enter_root(root: &Path) -> Outcome {
    let identity = |path: &Path| -> io::Result<(u64, u64)> {
        let metadata = std::fs::metadata(path)?;
        Ok((metadata.dev(), metadata.ino()))
    };
    let wanted = identity(root)?;
    std::os::unix::fs::chroot(root)?;
    std::env::set_current_dir("/")?;
    if [identity(Path::new("/"))?, identity(Path::new("."))?, identity(Path::new(".."))?]
        != [wanted; 3]
    {
        return Err("the path leads to another directory now".into());
    }
    Ok(())
}

fn is_same_set(some: &[u32], others: &[u32]) -> bool {
    // Sorted, as there may be 65,536.
    let set = |groups: &[u32]| groups.iter().copied().collect::<BTreeSet<_>>();
    set(some) == set(others)
}

fn cannot(what: String, error: &dyn fmt::Display) -> Box<dyn Error> {
    format!("can't {what}: {error}").into()
}
