//! Calls that a process without privileges must not succeed with. Each does harm only where it is allowed.

use std::io;
use std::os::fd::RawFd;

use libc::{c_int, c_long, c_ulong, c_void};

/// Makes a function of each call, which returns its error. `parent` is the number of the parent process.
macro_rules! attempts {
    ($($name:ident = $call:expr;)*) => {$(
        #[doc = concat!("Tries `", stringify!($call), "`.\n\n# Errors\nReturns the system's error.")]
        pub fn $name() -> io::Result<()> {
            // SAFETY: each call below takes numbers, null pointers where the system refuses or allows them, and
            // pointers to constants or locals that outlive it. None writes to memory that it is not given.
            #[allow(clippy::unnecessary_cast, clippy::macro_metavars_in_unsafe)]
            let result = unsafe { ($call) as c_long };
            if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
        }
    )*};
}

const NULL: *const c_void = std::ptr::null();
const NULL_MUT: *mut c_void = std::ptr::null_mut();

/// The number of the parent process.
fn parent() -> c_int {
    // SAFETY: the call has no arguments and can't fail.
    unsafe { libc::getppid() }
}

/// A descriptor of the parent process; -1 where the system has none.
fn parent_descriptor() -> c_int {
    // SAFETY: the call takes two numbers.
    unsafe { libc::syscall(libc::SYS_pidfd_open, parent(), 0) as c_int }
}

const NO_LIMIT: libc::rlimit =
    libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };

/// All capabilities, for `capset`.
const ALL_CAPABILITIES: [u32; 6] = [u32::MAX; 6];
const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

attempts! {
    setuid_root = libc::setuid(0);
    seteuid_root = libc::seteuid(0);
    setreuid_root = libc::setreuid(0, 0);
    setresuid_root = libc::setresuid(0, 0, 0);
    setgid_root = libc::setgid(0);
    setresgid_root = libc::setresgid(0, 0, 0);
    setgroups_root = libc::setgroups(1, &0);
    take_capabilities =
        libc::syscall(libc::SYS_capset, CAPABILITY_HEADER.as_ptr(), ALL_CAPABILITIES.as_ptr());
    keep_capabilities_of_root =
        libc::prctl(libc::PR_SET_SECUREBITS, 1 as c_ulong, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong);

    open_passwd = libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY);
    open_passwd_above = libc::open(c"../../../../etc/passwd".as_ptr(), libc::O_RDONLY);
    open_passwd_of_init = libc::open(c"/proc/1/root/etc/passwd".as_ptr(), libc::O_RDONLY);
    open_passwd_of_parent = libc::open(c"/proc/self/../../etc/passwd".as_ptr(), libc::O_RDONLY);
    open_program = libc::open(c"/proc/self/exe".as_ptr(), libc::O_RDONLY);
    open_device = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
    create_file = libc::open(c"/new".as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600);
    make_device = libc::mknod(c"/device".as_ptr(), libc::S_IFBLK | 0o600, 0x0801);
    change_root_mode = libc::chmod(c"/".as_ptr(), 0o777);
    execute_shell = libc::execv(c"/bin/sh".as_ptr(), [c"/bin/sh".as_ptr(), std::ptr::null()].as_ptr());
    open_by_handle = libc::syscall(libc::SYS_open_by_handle_at, -100, [8_u32, 1, 2, 0].as_ptr(), 0);

    chdir_etc = libc::chdir(c"/etc".as_ptr());
    chdir_above_etc = libc::chdir(c"../etc".as_ptr());
    chroot_here = libc::chroot(c".".as_ptr());
    pivot_root = libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr());
    mount = libc::mount(c"none".as_ptr(), c"/".as_ptr(), c"tmpfs".as_ptr(), 0, NULL);
    unmount = libc::umount2(c"/".as_ptr(), libc::MNT_DETACH);
    unshare_mounts = libc::unshare(libc::CLONE_NEWNS);
    unshare_users = libc::unshare(libc::CLONE_NEWUSER);
    unshare_processes = libc::unshare(libc::CLONE_NEWPID);
    enter_namespaces_of_parent =
        libc::syscall(libc::SYS_setns, parent_descriptor(), libc::CLONE_NEWNS | libc::CLONE_NEWPID);

    attach_to_parent = libc::ptrace(libc::PTRACE_ATTACH, parent(), NULL_MUT, NULL_MUT);
    seize_parent = libc::ptrace(libc::PTRACE_SEIZE, parent(), NULL_MUT, NULL_MUT);
    read_parent = {
        let (mut byte, here) = (0_u8, parent as *const () as usize);
        let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let remote = libc::iovec { iov_base: here as *mut c_void, iov_len: 1 };
        libc::process_vm_readv(parent(), &local, 1, &remote, 1, 0)
    };
    take_descriptor_of_parent =
        libc::syscall(libc::SYS_pidfd_getfd, parent_descriptor(), 0 as c_int, 0 as c_int);
    ask_for_parent = libc::kill(parent(), 0);
    terminate_parent = libc::kill(parent(), libc::SIGTERM);
    kill_parent = libc::kill(parent(), libc::SIGKILL);
    stop_parent = libc::kill(parent(), libc::SIGSTOP);
    kill_parent_by_descriptor = libc::syscall(
        libc::SYS_pidfd_send_signal,
        parent_descriptor(),
        libc::SIGKILL,
        NULL,
        0 as c_int
    );
    limit_parent =
        libc::prlimit(parent(), libc::RLIMIT_NOFILE, &NO_LIMIT, std::ptr::null_mut());
    slow_parent = libc::setpriority(libc::PRIO_PROCESS, parent() as _, 19);
    kill_init = libc::kill(1, libc::SIGKILL);

    raise_processes = libc::setrlimit(libc::RLIMIT_NPROC, &NO_LIMIT);
    raise_files = libc::setrlimit(libc::RLIMIT_NOFILE, &NO_LIMIT);
    raise_file_size = libc::setrlimit(libc::RLIMIT_FSIZE, &NO_LIMIT);
    duplicate_beyond_limit = libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 64);
    lock_memory = libc::mlockall(libc::MCL_CURRENT);
    fork_a_process = {
        let own = libc::getpid();
        let child = libc::fork();
        if child == 0 {
            // Until the one that has forked it ends.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as c_ulong);
            if libc::getppid() == own {
                libc::pause();
            }
            libc::_exit(0);
        }
        child
    };
    map_beyond_limit = libc::mmap(
        NULL_MUT,
        1 << 40,
        libc::PROT_READ,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
        -1,
        0
    ) as isize;
    grow_file = {
        let file = libc::memfd_create(c"file".as_ptr(), libc::MFD_CLOEXEC);
        let result = libc::ftruncate(file, 1 << 20);
        let error = io::Error::last_os_error();
        libc::close(file);
        if result == -1 {
            return Err(error);
        }
        result
    };

    open_raw_socket = libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP);
    open_packet_socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
    set_clock = libc::clock_settime(libc::CLOCK_REALTIME, &libc::timespec { tv_sec: 0, tv_nsec: 0 });
    set_host_name = libc::sethostname(c"host".as_ptr(), 4);
    // Not by musl's function, which makes no call. A priority is all that the parameter has.
    be_real_time =
        libc::syscall(libc::SYS_sched_setscheduler, 0 as c_int, libc::SCHED_FIFO, &(1 as c_int));
    be_important = libc::setpriority(libc::PRIO_PROCESS, 0, -5);
    account = libc::acct(std::ptr::null());
    swap = libc::swapoff(c"/".as_ptr());
    load_module = libc::syscall(libc::SYS_init_module, NULL, 0 as c_ulong, c"".as_ptr());
    restart = libc::reboot(0x0123_4567);
}

/// Tries to read a descriptor of which only the number is known.
///
/// # Errors
/// Returns the system's error.
pub fn read_number(number: RawFd) -> io::Result<usize> {
    let mut byte = 0_u8;
    // SAFETY: the kernel writes at most one byte, which is borrowed until the call returns.
    let count = unsafe { libc::read(number, (&raw mut byte).cast(), 1) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
