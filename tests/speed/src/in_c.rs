//! The sides in C: a binding to `src/c`, which has the loops that are measured.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};
use std::ptr::NonNull;
use std::time::Duration;

use crate::contestants::Contestant;

/// The beginning of a contest in C, as in `src/c/contest.h`.
#[repr(C)]
struct Head {
    run: unsafe extern "C" fn(*mut Head, usize),
    late: Option<unsafe extern "C" fn(*mut Head, usize, *mut i64)>,
    free: unsafe extern "C" fn(*mut Head),
    random: u64,
    left: usize,
}

/// Two descriptors: what is read from the first is written to the second.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawLink {
    /// Where messages come from.
    pub input: c_int,
    /// Where they go.
    pub output: c_int,
}

// Each function keeps nothing of its arguments but the descriptors, and returns a contest that has no other owner, or null.
unsafe extern "C" {
    safe fn libev_about() -> *const c_char;
    safe fn libev_cancel_add(pending: usize) -> *mut Head;
    safe fn libev_fire(count: usize, slack: f64) -> *mut Head;
    safe fn libev_periodic(count: usize, slack: f64) -> *mut Head;
    safe fn libev_feed(width: usize) -> *mut Head;
    fn libev_relay(links: *const RawLink, count: usize, is_on_select: c_int) -> *mut Head;
    safe fn libevent_about() -> *const c_char;
    safe fn libevent_cancel_add(pending: usize) -> *mut Head;
    safe fn libevent_fire(count: usize) -> *mut Head;
    fn libevent_relay(links: *const RawLink, count: usize, is_on_select: c_int) -> *mut Head;
    safe fn libuv_about() -> *const c_char;
    safe fn libuv_cancel_add(pending: usize) -> *mut Head;
    safe fn libuv_fire(count: usize) -> *mut Head;
    fn libuv_relay(links: *const RawLink, count: usize) -> *mut Head;
}

/// A contestant, or none where the library is missing.
type Side = Option<Box<dyn Contestant>>;

/// A contestant in C.
struct InC {
    head: NonNull<Head>,
}

impl InC {
    fn side(head: *mut Head) -> Side {
        NonNull::new(head).map(|head| Box::new(Self { head }) as _)
    }
}

impl Contestant for InC {
    fn run(&mut self, times: usize) {
        let head = self.head.as_ptr();
        // SAFETY: the contest lives as long as `self`, which is borrowed alone; its callbacks touch nothing but it.
        unsafe { ((*head).run)(head, times) }
    }

    fn lateness(&mut self, times: usize) -> Vec<i64> {
        let head = self.head.as_ptr();
        // SAFETY: the contest lives as long as `self`.
        let Some(late) = (unsafe { (*head).late }) else { return Vec::new() };
        let mut nanos = vec![0; times];
        // SAFETY: as in `run`; the array has room for as many timers as are asked for, and is not kept.
        unsafe { late(head, times, nanos.as_mut_ptr()) };
        nanos
    }
}

impl Drop for InC {
    fn drop(&mut self) {
        let head = self.head.as_ptr();
        // SAFETY: it was made by one of the constructors, and nobody has it after this.
        unsafe { ((*head).free)(head) }
    }
}

/// A library in C.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// libev.
    Ev,
    /// libevent.
    Event,
    /// libuv.
    Uv,
}

impl Library {
    /// Which version it is, or why there is none.
    pub fn about(self) -> Result<String, String> {
        let (about, name) = match self {
            Self::Ev => (libev_about(), "libev-dev"),
            Self::Event => (libevent_about(), "libevent-dev"),
            Self::Uv => (libuv_about(), "libuv1-dev"),
        };
        if about.is_null() {
            return Err(format!("the C compiler found no header: install {name}"));
        }
        // SAFETY: it is a static string, and is written only by the call above.
        Ok(unsafe { CStr::from_ptr(about) }.to_string_lossy().into_owned())
    }

    /// Stops a timer and starts it with another deadline, while so many are pending.
    pub fn cancel_add(self, pending: usize) -> Side {
        InC::side(match self {
            Self::Ev => libev_cancel_add(pending),
            Self::Event => libevent_cancel_add(pending),
            Self::Uv => libuv_cancel_add(pending),
        })
    }

    /// Starts as many timers and runs until they have fired.
    pub fn fire(self, count: usize) -> Side {
        InC::side(match self {
            Self::Ev => libev_fire(count, 0.0),
            Self::Event => libevent_fire(count),
            Self::Uv => libuv_fire(count),
        })
    }

    /// Passes messages on, on epoll or on select. None where the library has no such backend.
    pub fn relay(self, links: &[RawLink], is_on_select: bool) -> Side {
        let (links, count, select) = (links.as_ptr(), links.len(), c_int::from(is_on_select));
        // SAFETY: the pointer is that of as many links; they are not kept.
        InC::side(unsafe {
            match self {
                Self::Ev => libev_relay(links, count, select),
                Self::Event => libevent_relay(links, count, select),
                Self::Uv if is_on_select => std::ptr::null_mut(),
                Self::Uv => libuv_relay(links, count),
            }
        })
    }
}

/// libev: starts as many timers and runs until they have fired, looking no more often than each `slack`.
pub fn libev_fire_with(count: usize, slack: Duration) -> Side {
    InC::side(libev_fire(count, slack.as_secs_f64()))
}

/// libev: runs as many timers that repeat, for one second.
pub fn libev_periodic_with(count: usize, slack: Duration) -> Side {
    InC::side(libev_periodic(count, slack.as_secs_f64()))
}

/// libev: runs callbacks that feed their own watcher again.
pub fn libev_feed_all(width: usize) -> Side {
    InC::side(libev_feed(width))
}
