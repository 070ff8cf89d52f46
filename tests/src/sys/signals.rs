//! Signals: sending, ignoring, blocking.

use libc::c_int;

/// Kills all processes of a group.
pub fn kill_group(group: u32) {
    let Ok(group) = c_int::try_from(group) else { return };
    if group > 1 {
        // SAFETY: kill touches no memory of this process.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

/// Sends this process a signal.
pub fn raise(signal: c_int) {
    // SAFETY: raise touches no memory; what a handler of the test's does is its own matter.
    unsafe { libc::raise(signal) };
}

/// Sends a signal to a process that is a child of this one.
pub fn signal(process: u32, signal: c_int) {
    if let Ok(process) = c_int::try_from(process)
        && process > 1
    {
        // SAFETY: kill touches no memory of this process.
        unsafe { libc::kill(process, signal) };
    }
}

/// Has this process ignore a signal.
pub fn ignore(signal: c_int) {
    // SAFETY: SIG_IGN is no function, so that none can be called at the wrong time.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Has a signal do what it does by default.
pub fn reset(signal: c_int) {
    // SAFETY: SIG_DFL is no function, so that none can be called at the wrong time.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Has a signal call a handler that does nothing.
pub fn catch(signal: c_int) {
    extern "C" fn nothing(_: c_int) {}
    let handler: extern "C" fn(c_int) = nothing;
    // SAFETY: the handler does nothing, which may be done at any time.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
}

/// Blocks a signal.
pub fn block(signal: c_int) {
    // SAFETY: all zero bytes are a valid set; it is borrowed until the calls return.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&mut set, signal);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Kills a process that is a child of this one, or of one of its children.
pub fn kill(process: u32) {
    if let Ok(process) = c_int::try_from(process)
        && process > 1
    {
        // SAFETY: kill touches no memory of this process.
        unsafe { libc::kill(process, libc::SIGKILL) };
    }
}

/// Stops this process until another one calls [`resume`] for it.
pub fn stop_myself() {
    // SAFETY: raise touches no memory; SIGSTOP has no handler.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Lets a stopped child of this process go on.
pub fn resume(child: u32) {
    if let Ok(pid) = c_int::try_from(child)
        && pid > 1
    {
        // SAFETY: kill touches no memory of this process.
        unsafe { libc::kill(pid, libc::SIGCONT) };
    }
}
