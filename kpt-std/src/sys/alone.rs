//! Whether this process has one OS thread.

use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// The time in which a thread that has been joined, or whose scope has ended, should leave the kernel's list.
const PATIENCE: Duration = Duration::from_millis(100);

/// The first pause between two looks, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(5)];

/// The proof that this process has one OS thread: it had when this was made, and the thread that holds this has not
/// started another one since.
#[derive(Debug)]
pub struct Alone(PhantomData<*const ()>);

/// Returns whether this process has one OS thread. Looks again for 100 ms if it seems to have more: a thread is listed
/// for a moment after it has been joined, on a busy machine for some milliseconds.
///
/// # Errors
/// Fails if the system can't tell: `unshare` is forbidden, and there is no `/proc`.
pub fn alone() -> io::Result<Option<Alone>> {
    let [mut pause, longest] = PAUSES;
    let mut waited = Duration::ZERO;
    while !has_one_thread()? {
        if waited >= PATIENCE {
            return Ok(None);
        }
        std::thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(longest);
    }
    Ok(Some(Alone(PhantomData)))
}

fn has_one_thread() -> io::Result<bool> {
    // SAFETY: the call takes a number and no pointer. With this flag alone, it changes nothing: it only fails if there
    // is another thread.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    // Several threads, most likely. A kernel before 4.3 also says so while another process looks at this one.
    let is_several = error.raw_os_error() == Some(libc::EINVAL);
    match listed_as_alone() {
        Err(_) if is_several => Ok(false),
        Err(no_list) => {
            let text = format!(
                "can't tell whether the process has one OS thread: unshare: {error}; /proc/self/task: {no_list}"
            );
            Err(io::Error::new(no_list.kind(), text))
        }
        answer => answer,
    }
}

/// Counts the links of the directory of the process's OS threads: one for each, and two more.
fn listed_as_alone() -> io::Result<bool> {
    match std::fs::metadata("/proc/self/task")?.nlink() {
        3 => Ok(true),
        4.. => Ok(false),
        // A kernel that does not count these links.
        _ => Ok(std::fs::read_dir("/proc/self/task")?.count() == 1),
    }
}
