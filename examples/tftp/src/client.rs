//! The client: one transfer, and its hooks.

use std::net::SocketAddr;

use kpt_std::{AddError, Datagram, Thread, Threads, When};

use crate::content::Content;
use crate::packet::Request;
use crate::session::{BUFFER_BYTES, Session};
use crate::transfer::{End, Timing, Transfer};

/// The threads of a client: its reader, and its timer.
pub const THREADS: usize = 2;

/// The state of a client.
#[derive(Debug)]
pub struct Client {
    session: Session,
    buffer: Vec<u8>,
    end: Option<End>,
}

impl Client {
    /// Creates a client that asks a server for a file, or sends it one.
    pub fn new(
        socket: Datagram,
        server: SocketAddr,
        request: &Request,
        content: Box<dyn Content>,
        timing: Timing,
    ) -> Self {
        let transfer = Transfer::ask(request, timing);
        let session = Session::to_server(socket, server, transfer, content);
        Self { session, buffer: vec![0; BUFFER_BYTES], end: None }
    }

    /// Sends the request, and adds the threads. The loop is empty when the transfer has ended.
    ///
    /// # Errors
    /// Returns that of the loop if it has no room.
    pub fn add_threads(&mut self, mut threads: Threads<Self>) -> Result<(), AddError<()>> {
        self.end = self.session.begin(threads.now());
        let deadline = When::At(self.session.transfer().deadline());
        threads.add_read("packets", self.session.source(), Self::on_packet, ())?;
        self.session.timer = Some(threads.add("timer", deadline, Self::on_time, ())?);
        Ok(())
    }

    fn on_packet(&mut self, mut thread: Thread<Self>) {
        self.end = self.session.on_readable(&mut self.buffer, thread.threads().now());
        let Some(timer) = self.session.timer else { return };
        if self.end.is_some() {
            let _ = thread.threads().cancel(timer);
            return;
        }
        let deadline = When::At(self.session.transfer().deadline());
        let _ = thread.threads().reschedule(timer, deadline);
        thread.again();
    }

    fn on_time(&mut self, mut thread: Thread<Self>) {
        self.end = self.session.on_time(thread.threads().now());
        if self.end.is_some() {
            thread.threads().cancel_source(self.session.source());
            return;
        }
        let deadline = When::At(self.session.transfer().deadline());
        let _ = thread.again_when(deadline); // A timer is never refused.
    }

    /// Returns how the transfer has ended, if it has.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Returns the transfer.
    pub fn transfer(&self) -> &Transfer {
        self.session.transfer()
    }
}
