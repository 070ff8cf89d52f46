//! New clients.

use std::io::{self, Write};
use std::time::Duration;

use kpt_std::{AddError, Stream, When};

use crate::client::{Client, Leaving};
use crate::planted::{self, Fault};
use crate::server::{Server, ServerThread, ServerThreads};

/// The most threads of a client: its own, and the timer of its idle time.
pub const THREADS_PER_CLIENT: usize = 2;

impl Server {
    pub fn on_connection(&mut self, mut thread: ServerThread) {
        loop {
            match self.listener.accept() {
                Ok(Some(stream)) => self.admit(stream, thread.threads()),
                Ok(None) => break,
                Err(_) if planted::has(Fault::DescriptorsFatal) => return,
                Err(error) => log::warn!("no new clients for now: {error}"),
            }
        }
        if let Err(error) = thread.again_when(self.listener.when()) {
            log::error!("no new clients any more: {error}");
        }
    }

    fn admit(&mut self, stream: Stream, mut threads: ServerThreads) {
        if self.clients.len() >= self.config.maxclients {
            self.counts.rejected += 1;
            reject(stream);
            return;
        }
        self.counts.connections += 1;
        let client = Client::new(self.counts.connections, stream, threads.now());
        log::debug!("client {} {}: has come", client.id, client.address);
        let number = self.clients.insert(client);
        if let Err(error) = self.add_threads(number, threads.reborrow()) {
            self.remove_client(number, &Leaving::Broken(io::Error::other(error)), threads);
        }
    }

    fn add_threads(
        &mut self,
        number: u32,
        mut threads: ServerThreads,
    ) -> Result<(), AddError<u32>> {
        self.count_memory(number);
        let client = self.clients.get_mut(number);
        let when = When::Ready(client.source(), client.waits_for);
        client.thread = Some(threads.add("client", when, Self::on_client, number)?);
        if self.config.timeout > Duration::ZERO {
            let timeout = self.config.timeout;
            client.idle = Some(threads.add_timer("idle", timeout, Self::on_idle, number)?);
        }
        Ok(())
    }
}

/// Says why, if that can be said at once.
fn reject(mut stream: Stream) {
    let _ = stream.write_all(b"-ERR max number of clients reached\r\n");
}
