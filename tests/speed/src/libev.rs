//! libev's side: a binding to `libev.c`, which has the loops that are measured.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::NonNull;
use std::time::Duration;

use crate::contestants::{Contestant, median};

/// A contest in C.
#[repr(C)]
struct Contest {
    _private: [u8; 0],
}

unsafe extern "C" {
    fn contest_cancel_add(pending: usize) -> *mut Contest;
    fn contest_fire(count: usize, slack: f64) -> *mut Contest;
    fn contest_periodic(count: usize, slack: f64) -> *mut Contest;
    fn contest_feed(width: usize) -> *mut Contest;
    fn contest_run(contest: *mut Contest, times: usize);
    fn contest_lateness(contest: *mut Contest, times: usize, micros: *mut u64);
    fn contest_backend(contest: *mut Contest) -> u32;
    fn contest_free(contest: *mut Contest);
    safe fn ev_version_major() -> c_int;
    safe fn ev_version_minor() -> c_int;
}

/// A contestant on libev.
struct Libev {
    contest: NonNull<Contest>,
    /// So many timers can be asked how late they are.
    timers: usize,
}

impl Libev {
    /// Of a contest that is not used elsewhere.
    fn new(contest: *mut Contest) -> Self {
        let contest = NonNull::new(contest).expect("libev has memory and a backend");
        Self { contest, timers: 0 }
    }

    fn boxed(self) -> Option<Box<dyn Contestant>> {
        Some(Box::new(self))
    }
}

impl Contestant for Libev {
    fn run(&mut self, times: usize) {
        // SAFETY: the contest lives as long as `self`, which is borrowed alone; its callbacks touch nothing but it.
        unsafe { contest_run(self.contest.as_ptr(), times) }
    }

    fn lateness(&mut self, times: usize) -> Option<Duration> {
        let mut micros = vec![0; times.min(self.timers)];
        if micros.is_empty() {
            return None;
        }
        // SAFETY: as in `run`; the array has room for as many timers as are asked for, and is not kept.
        unsafe { contest_lateness(self.contest.as_ptr(), micros.len(), micros.as_mut_ptr()) };
        median(&mut micros).map(Duration::from_micros)
    }
}

impl Drop for Libev {
    fn drop(&mut self) {
        // SAFETY: it was made by one of the constructors, and nobody has it after this.
        unsafe { contest_free(self.contest.as_ptr()) }
    }
}

/// Which libev this is, and on what its loops wait.
pub fn about() -> Result<String, &'static str> {
    // SAFETY: the function takes any number and keeps nothing.
    let some = Libev::new(unsafe { contest_feed(1) });
    // SAFETY: `some` lives.
    let backend = match unsafe { contest_backend(some.contest.as_ptr()) } {
        1 => "select",
        2 => "poll",
        4 => "epoll",
        _ => "another backend",
    };
    Ok(format!("libev {}.{} on {backend}", ev_version_major(), ev_version_minor()))
}

/// Stops a timer and starts it with another deadline, while so many are pending.
pub fn cancel_add(pending: usize) -> Option<Box<dyn Contestant>> {
    // SAFETY: the function takes any number and keeps nothing.
    Libev::new(unsafe { contest_cancel_add(pending) }).boxed()
}

/// Starts as many timers and runs until they have fired.
pub fn fire(count: usize, slack: Duration) -> Option<Box<dyn Contestant>> {
    // SAFETY: the function takes any numbers and keeps nothing.
    let mut contestant = Libev::new(unsafe { contest_fire(count, slack.as_secs_f64()) });
    contestant.timers = count;
    contestant.boxed()
}

/// Runs as many timers that repeat, for one second.
pub fn periodic(count: usize, slack: Duration) -> Option<Box<dyn Contestant>> {
    // SAFETY: the function takes any numbers and keeps nothing.
    Libev::new(unsafe { contest_periodic(count, slack.as_secs_f64()) }).boxed()
}

/// Runs callbacks that feed their own watcher again.
pub fn feed(width: usize) -> Option<Box<dyn Contestant>> {
    // SAFETY: the function takes any number and keeps nothing.
    Libev::new(unsafe { contest_feed(width) }).boxed()
}
