//! The server: its state, and the hooks of its clients.
//!
//! A request costs no memory, and shares one read and one write with the others of its batch: a batch is what one read
//! brings, into a buffer that all clients share; its requests are parsed in place, and their replies go into another shared
//! buffer. A client owns memory only for an unfinished request, and for replies that are unsent.

use std::{io, mem};

use kpt_std::{Instant, Listener, Readiness, Signals, Thread, Threads, When};

use crate::client::{Client, Clients, Leaving};
use crate::commands::{self, Asked, Call, Refusal, Run};
use crate::config::Config;
use crate::expiry::Timers;
use crate::logging::LogFile;
use crate::planted::{self, Fault};
use crate::reply::Reply;
use crate::request::Args;
use crate::saves::Saves;
use crate::store::Store;

/// The largest number of bytes of one read.
const BATCH_BYTES: usize = 64 * 1024;
/// The number of bytes of replies that are sent before the end of their batch.
const SEND_BYTES: usize = 64 * 1024;
/// The memory that the shared buffer of replies keeps, in bytes.
const KEPT_BYTES: usize = 1 << 20;

/// The state of the loop.
pub struct Server {
    pub config: Config,
    pub store: Store,
    pub timers: Timers,
    pub clients: Clients,
    pub saves: Saves,
    pub log_file: LogFile,
    pub listener: Listener,
    pub signals: Signals,
    pub started: Instant,
    pub counts: Counts,
    /// The memory of all clients.
    pub client_bytes: usize,
    input: Vec<u8>,
    reply: Reply,
}

/// What a server is made of.
pub struct Parts {
    pub config: Config,
    pub store: Store,
    pub saves: Saves,
    pub log_file: LogFile,
    pub listener: Listener,
    pub signals: Signals,
}

/// What INFO says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub connections: u64,
    pub rejected: u64,
    pub commands: u64,
    pub dropped: u64,
}

/// The argument is the number of a client, the slot of a key, or means nothing.
pub type ServerThread<'t> = Thread<'t, Server, u32>;
pub type ServerThreads<'t> = Threads<'t, Server, u32>;

impl Server {
    pub fn new(parts: Parts, now: Instant) -> Self {
        let Parts { config, store, saves, log_file, listener, signals } = parts;
        Self {
            config,
            store,
            timers: Timers::default(),
            clients: Clients::default(),
            saves,
            log_file,
            listener,
            signals,
            started: now,
            counts: Counts::default(),
            client_bytes: 0,
            input: vec![0; BATCH_BYTES],
            reply: Reply::default(),
        }
    }

    /// Returns the memory that counts for `maxmemory`.
    pub fn used_memory(&self) -> usize {
        self.store.bytes() + self.client_bytes
    }
}

/// The hooks of clients.
impl Server {
    /// One thread for each client: it waits for requests, and for the client to take replies while some are unsent.
    pub fn on_client(&mut self, mut thread: ServerThread) {
        let number = thread.arg;
        let found = thread.readiness();
        // Taken out of the state, of which the commands use the rest.
        let (mut input, mut reply) = (mem::take(&mut self.input), mem::take(&mut self.reply));
        let served = match self.send_rest(number, found) {
            Ok(()) if found == Readiness::WRITABLE => Ok(()),
            Ok(()) => self.serve(number, &mut input, &mut reply, thread.threads()),
            Err(why) => Err(why),
        };
        reply.shrink(KEPT_BYTES);
        (self.input, self.reply) = (input, reply);
        let client = self.clients.get_mut(number);
        let wants = client.wants();
        let is_same = mem::replace(&mut client.waits_for, wants) == wants;
        let source = client.source();
        match served {
            Ok(()) if is_same => thread.again(),
            Ok(()) => {
                if let Err(error) = thread.again_when(When::Ready(source, wants)) {
                    log::error!("a client can't be waited for: {error}");
                }
            }
            Err(why) => {
                let (_, threads) = thread.end();
                self.remove_client(number, &why, threads);
            }
        }
    }

    /// Ends a client that was idle for too long. For one that was served meanwhile, the timer waits for the rest of its
    /// time, so that a batch only notes the time. Rescheduling this timer in each batch instead takes 7 % more CPU for a
    /// pipelined PING (510 and 477 ns, medians of 5 rounds).
    pub fn on_idle(&mut self, mut thread: ServerThread) {
        let number = thread.arg;
        let client = self.clients.get_mut(number);
        let end = client.last_active.saturating_add(self.config.timeout);
        if end > thread.threads().turn_time() {
            let again = thread.again_when(When::At(end));
            debug_assert!(again.is_ok(), "a timer can always be set");
            return;
        }
        let (_, threads) = thread.end();
        self.remove_client(number, &Leaving::Idle, threads);
    }
}

impl Server {
    /// Serves what one read brings.
    fn serve(
        &mut self,
        number: u32,
        input: &mut [u8],
        reply: &mut Reply,
        mut threads: ServerThreads,
    ) -> Result<(), Leaving> {
        let client = self.clients.get_mut(number);
        let Some(count) = client.receive(input)? else { return Ok(()) };
        // A key whose deadline comes later than this is there for the whole batch: its requests have been sent, and no
        // reply has been received.
        let now = threads.now();
        let was_active = mem::replace(&mut client.last_active, now);
        reply.restart(client.room(self.config.output_limit));
        let mut unread = mem::take(&mut client.unread);
        let received = &input[..count];
        let bytes = if unread.is_empty() {
            received
        } else {
            unread.extend_from_slice(received);
            &unread[..]
        };
        let done = self.run_batch(number, bytes, reply, now, threads.reborrow())?;
        let client = self.clients.get_mut(number);
        client.unread = if unread.is_empty() {
            received[done..].to_vec()
        } else if done == unread.len() {
            Vec::new()
        } else {
            unread.drain(..done);
            unread
        };
        if client.unread.len() > self.config.query_limit {
            return Err(Leaving::TooLong(self.config.query_limit));
        }
        self.send(number, reply)?;
        let client = self.clients.get_mut(number);
        if client.unsent_bytes() > 0 && planted::has(Fault::IdleNotPutOff) {
            client.last_active = was_active;
        }
        self.timers.follow(&mut self.store, threads);
        self.count_memory(number);
        self.clients.get_mut(number).check_leaving()
    }

    /// Runs the whole requests that `bytes` begin with, and returns how many bytes they are.
    fn run_batch(
        &mut self,
        number: u32,
        bytes: &[u8],
        reply: &mut Reply,
        now: Instant,
        mut threads: ServerThreads,
    ) -> Result<usize, Leaving> {
        let mut parser = mem::take(&mut self.clients.get_mut(number).parser);
        let mut done = 0;
        while done < bytes.len() && !self.clients.get_mut(number).is_leaving {
            match parser.parse(&bytes[done..], self.config.limits.longest_value) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    let args = parser.args(&bytes[done..]);
                    if args.len() > 0 {
                        self.run(number, args, reply, now, threads.reborrow());
                    }
                    parser.finish();
                    done += length;
                }
                Err(garbled) => {
                    log::info!("client {}: {garbled}", self.clients.get_mut(number).id);
                    reply.error(format_args!("ERR {garbled}"));
                    self.clients.get_mut(number).is_leaving = true;
                }
            }
            if reply.bytes().len() > SEND_BYTES {
                self.send(number, reply)?;
            }
            if reply.is_over() {
                return Err(Leaving::TooSlow(self.config.output_limit));
            }
        }
        let client = self.clients.get_mut(number);
        client.parser = parser;
        Ok(if client.is_leaving { bytes.len() } else { done })
    }

    fn run(
        &mut self,
        number: u32,
        args: Args,
        reply: &mut Reply,
        now: Instant,
        threads: ServerThreads,
    ) {
        self.counts.commands += 1;
        let result = match commands::find(&args[0]) {
            None => Err(commands::unknown(args)),
            Some(command) if !command.takes(args.len()) => {
                Err(Refusal::Arity(command.name.to_ascii_lowercase()))
            }
            Some(command) if command.grows && self.is_out_of_memory(args) => {
                Err(Refusal::OutOfMemory)
            }
            Some(command) => {
                self.clients.get_mut(number).last_command = command.name;
                match command.run {
                    Run::Keys(run) => {
                        let (store, limits) = (&mut self.store, &self.config.limits);
                        run(&mut Call { args, store, now, reply, limits })
                    }
                    Run::Server(run) => {
                        run(self, &mut Asked { args, client: number, now, reply, threads })
                    }
                }
            }
        };
        if let Err(refusal) = result {
            reply.error(refusal);
        }
    }

    /// Returns whether a command with these arguments could exceed `maxmemory`.
    fn is_out_of_memory(&self, args: Args) -> bool {
        let most = self.config.maxmemory;
        most > 0 && {
            let more: usize = args.iter_from(1).map(<[u8]>::len).sum();
            self.used_memory() + more > most
        }
    }

    /// Sends replies. What the client does not take waits for it, within its bound.
    fn send(&mut self, number: u32, reply: &mut Reply) -> Result<(), Leaving> {
        if reply.is_over() {
            return Err(Leaving::TooSlow(self.config.output_limit));
        }
        let client = self.clients.get_mut(number);
        client.send(reply.bytes())?;
        reply.restart(client.room(self.config.output_limit));
        Ok(())
    }

    /// Sends unsent replies, if the client accepts some. Returns an error if the client was leaving and has all of them.
    fn send_rest(&mut self, number: u32, found: Readiness) -> Result<(), Leaving> {
        if found.is_error() && !found.is_readable() {
            return Err(Leaving::Broken(io::Error::other("the connection can't be waited for")));
        }
        let client = self.clients.get_mut(number);
        if found.is_writable() && client.unsent_bytes() > 0 {
            client.send_rest()?;
            self.count_memory(number);
        }
        self.clients.get_mut(number).check_leaving()
    }

    pub fn count_memory(&mut self, number: u32) {
        let client = self.clients.get_mut(number);
        let memory = client.memory();
        self.client_bytes = self.client_bytes + memory - client.counted;
        client.counted = memory;
    }

    /// Ends a client's threads, and the connection.
    pub fn remove_client(&mut self, number: u32, why: &Leaving, mut threads: ServerThreads) {
        let Some(client) = self.clients.remove(number) else { return };
        let is_broken = matches!(why, Leaving::Broken(_));
        let idle = client.idle.filter(|_| !is_broken || !planted::has(Fault::StaleId));
        for thread in [client.thread, idle].into_iter().flatten() {
            let _ = threads.cancel(thread); // It has ended if it is the one that runs.
        }
        if is_broken && planted::has(Fault::DoubleClose) {
            self.clients.give_back(number);
        }
        self.client_bytes -= client.counted;
        let Client { id, address, .. } = client;
        match why {
            Leaving::HungUp | Leaving::Asked => log::debug!("client {id} {address}: has left"),
            Leaving::Killed => log::info!("client {id} {address}: killed by CLIENT KILL"),
            Leaving::Idle => log::info!("client {id} {address}: idle, dropped"),
            Leaving::Broken(error) => log::debug!("client {id} {address}: {error}"),
            Leaving::TooSlow(limit) => {
                self.counts.dropped += 1;
                log::warn!(
                    "client {id} {address}: has not received {limit} bytes of replies; dropped"
                );
            }
            Leaving::TooLong(limit) => {
                self.counts.dropped += 1;
                log::warn!("client {id} {address}: a request of more than {limit} bytes; dropped");
            }
        }
        // What the batch did before is done.
        self.timers.follow(&mut self.store, threads);
    }

    /// Drops the clients for which `is_meant` holds, and returns how many. The client that asks leaves after its reply.
    pub fn kill_clients(
        &mut self,
        is_meant: impl Fn(&Client) -> bool,
        asking: u64,
        mut threads: ServerThreads,
    ) -> usize {
        let numbers = self.clients.numbers(is_meant);
        for &number in &numbers {
            let client = self.clients.get_mut(number);
            if client.id == asking {
                client.is_leaving = true;
            } else {
                self.remove_client(number, &Leaving::Killed, threads.reborrow());
            }
        }
        numbers.len()
    }
}
