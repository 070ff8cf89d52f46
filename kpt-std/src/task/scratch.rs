//! The buffer for reads from channels.

use std::io;
use std::os::fd::BorrowedFd;

use super::rest::LARGEST_READ;
use crate::sys::{self, Received};

/// The buffer for reads. Allocated at the first use, since many tasks never read, and written only as far as it is
/// used, since a fork copies each page that was written.
#[derive(Default)]
pub struct Scratch(Vec<u8>);

impl Scratch {
    /// Reads once, at most `most` bytes. Takes a descriptor that comes with them only if `has_descriptors`; without it,
    /// the system closes those that come.
    pub fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        most: usize,
        has_descriptors: bool,
    ) -> io::Result<(&[u8], Received)> {
        self.0.clear();
        self.0.reserve_exact(LARGEST_READ);
        let received = if has_descriptors {
            sys::receive_with(&socket, &mut self.0, most)?
        } else {
            sys::receive(&socket, &mut self.0, most)?;
            Received::default()
        };
        Ok((&self.0, received))
    }
}
