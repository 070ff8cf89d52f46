//! The floors: as little as can be done with the functions of the C library.
#![allow(unsafe_code)]

use std::mem::zeroed;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::null_mut;

use kpt_speed::contestants::Contestant;
use libc::{EPOLL_CTL_ADD, EPOLLIN, FD_ISSET, FD_SET, epoll_event, fd_set};

use crate::links::Link;
use crate::relay::{Looping, Relay, relaying};

/// Waits for the only link in `read`.
struct Blocking;

impl Looping for Blocking {
    fn run(&mut self, relay: &mut Relay) {
        while relay.left > 0 {
            relay.pass_on(0);
        }
    }
}

pub fn blocking(links: Vec<Link>) -> Box<dyn Contestant> {
    relaying(Relay::new(links), Blocking)
}

/// A level-triggered set.
struct Epoll {
    set: RawFd,
    events: [epoll_event; 1_024],
}

impl Looping for Epoll {
    fn run(&mut self, relay: &mut Relay) {
        while relay.left > 0 {
            let (events, room) = (self.events.as_mut_ptr(), self.events.len() as i32);
            // SAFETY: the kernel writes at most as many events as there is room for.
            let count = unsafe { libc::epoll_wait(self.set, events, room, -1) };
            let count = usize::try_from(count).expect("the wait works");
            for event in &self.events[..count] {
                relay.pass_on(event.u64 as usize);
            }
        }
    }
}

pub fn epoll(links: Vec<Link>) -> Box<dyn Contestant> {
    // SAFETY: the call takes a number and no pointer.
    let set = unsafe { libc::epoll_create1(0) };
    for (u64, link) in (0..).zip(&links) {
        let mut event = epoll_event { events: EPOLLIN as u32, u64 };
        // SAFETY: the event is borrowed until the call returns.
        let result =
            unsafe { libc::epoll_ctl(set, EPOLL_CTL_ADD, link.input.as_raw_fd(), &mut event) };
        assert_eq!(result, 0, "there is room in the set");
    }
    relaying(Relay::new(links), Epoll { set, events: [epoll_event { events: 0, u64: 0 }; 1_024] })
}

/// A bitmap that is copied for each wait.
struct Select {
    wanted: fd_set,
    /// One more than the highest descriptor.
    descriptors: i32,
    /// The links by their descriptors.
    links: Vec<usize>,
}

impl Looping for Select {
    fn run(&mut self, relay: &mut Relay) {
        while relay.left > 0 {
            let (mut found, none) = (self.wanted, null_mut());
            // SAFETY: the set has room for all descriptors, and is borrowed until the call returns.
            let mut count =
                unsafe { libc::select(self.descriptors, &mut found, none, none, null_mut()) };
            assert!(count > 0, "the wait works");
            for descriptor in 0..self.descriptors {
                // SAFETY: the set has room for the descriptor.
                if unsafe { FD_ISSET(descriptor, &found) } {
                    relay.pass_on(self.links[descriptor as usize]);
                    count -= 1;
                    if count == 0 {
                        break;
                    }
                }
            }
        }
    }
}

pub fn on_select(links: Vec<Link>) -> Box<dyn Contestant> {
    let highest = links.iter().map(|link| link.input.as_raw_fd()).max().expect("there are links");
    assert!((highest as usize) < libc::FD_SETSIZE, "the set has room for all");
    let descriptors = highest + 1;
    let mut by_descriptor = vec![0; descriptors as usize];
    // SAFETY: a set of zero bytes is an empty one.
    let mut wanted: fd_set = unsafe { zeroed() };
    for (at, link) in links.iter().enumerate() {
        let descriptor = link.input.as_raw_fd();
        // SAFETY: the set has room for the descriptor, as was asserted.
        unsafe { FD_SET(descriptor, &mut wanted) };
        by_descriptor[descriptor as usize] = at;
    }
    relaying(Relay::new(links), Select { wanted, descriptors, links: by_descriptor })
}
