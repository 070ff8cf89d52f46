//! Clients that follow a script.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use kpt_core::Instant;

use super::Sim;
use super::script::{Script, Step};
use super::world::Actor;

/// A client that does its steps one after the other, and receives meanwhile. [`Sim::client`] makes it.
///
/// It connects when it first sends, expects something, or [`connect`](Self::connect)s. Steps may be added while the
/// simulation runs. Clones are the same client.
///
/// ```
/// use kpt_std::sim::Sim;
/// use kpt_std::{Builder, Listener, Stream, Thread, source};
/// use std::io::{Read, Write};
///
/// // A server for one client, which sends back what it receives.
/// fn on_connection(listener: &mut Listener, mut thread: Thread<Listener, Option<Stream>>) {
///     if let Ok(Some(stream)) = listener.accept() {
///         let _ = thread.threads().add_read("client", source(&stream), on_client, Some(stream));
///     }
/// }
///
/// fn on_client(_: &mut Listener, mut thread: Thread<Listener, Option<Stream>>) {
///     let mut buffer = [0; 100];
///     let Some(stream) = &mut thread.arg else { return };
///     match stream.read(&mut buffer) {
///         Ok(count) if count > 0 => drop(stream.write_all(&buffer[..count])),
///         _ => return,
///     }
///     thread.again();
/// }
///
/// let sim = Sim::new();
/// let client = sim.client(7).send("hello").expect("hello").hang_up();
/// let mut listener = sim.listen(7)?;
/// let mut kpt = Builder::new().threads(4).build_on(sim.poller())?;
/// kpt.threads().add_read("accept", source(&listener), on_connection, None)?;
/// kpt.run(&mut listener)?;
/// assert!(client.is_done());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client(Rc<RefCell<Script>>);

impl Client {
    fn step(self, step: Step) -> Self {
        let mut script = self.0.borrow_mut();
        script.steps.push_back(step);
        script.has_news = true;
        drop(script);
        self
    }

    /// Waits for `time`.
    pub fn wait(self, time: Duration) -> Self {
        self.step(Step::Wait(time))
    }

    /// Waits until the moment `at`.
    pub fn wait_until(self, at: Instant) -> Self {
        self.step(Step::WaitUntil(at))
    }

    /// Connects. A client that sends or expects something connects without this.
    pub fn connect(self) -> Self {
        self.step(Step::Connect)
    }

    /// Sends these bytes, as far as the other side accepts them, and goes on when all have been sent.
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Waits until it has received these bytes, after those that it expected before. Other bytes fail the run.
    pub fn expect(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Expect(bytes.as_ref().to_vec()))
    }

    /// Waits until it has received these bytes, and skips all that comes before them: for clients that also receive what
    /// others send, as in a chat. The next [`expect`](Self::expect) begins after them.
    pub fn skip_to(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::SkipTo(bytes.as_ref().to_vec()))
    }

    /// Waits until the other side has closed its end, or has broken the connection. Bytes that were not expected before
    /// fail the run.
    pub fn expect_end(self) -> Self {
        self.step(Step::ExpectEnd)
    }

    /// Reads nothing until [`resume_reading`](Self::resume_reading).
    pub fn pause_reading(self) -> Self {
        self.step(Step::Read(false))
    }

    /// Reads again.
    pub fn resume_reading(self) -> Self {
        self.step(Step::Read(true))
    }

    /// Sets how many bytes it accepts that it has not read: 64 KiB by default. With a smaller number, the application's
    /// writes are partial.
    pub fn room(self, bytes: usize) -> Self {
        self.step(Step::Room(bytes))
    }

    /// Shuts down its sending direction, and goes on receiving.
    pub fn shut_down(self) -> Self {
        self.step(Step::Shutdown)
    }

    /// Closes its connection. If it has not read all that it has received, this resets the connection.
    pub fn hang_up(self) -> Self {
        self.step(Step::HangUp)
    }

    /// Resets its connection.
    pub fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    /// Calls `action`, which may add further steps.
    pub fn call(self, action: impl FnOnce(&Sim) + 'static) -> Self {
        self.step(Step::Call(Box::new(action)))
    }

    /// Returns what it has received.
    pub fn received(&self) -> Vec<u8> {
        self.0.borrow().received.clone()
    }

    /// Returns what it has received, as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow().received).into_owned()
    }

    /// Returns whether it has done all of its steps, and the other side has accepted all that it has sent.
    pub fn is_done(&self) -> bool {
        let script = self.0.borrow();
        script.steps.is_empty() && script.unsent.is_empty()
    }

    /// Returns the moment at which it has noticed that the other side has closed or broken the connection; `None` before.
    pub fn closed_at(&self) -> Option<Instant> {
        self.0.borrow().closed_at
    }

    /// Returns whether the connection ended with an error: it was reset, or refused.
    pub fn is_broken(&self) -> bool {
        self.0.borrow().is_broken
    }

    /// Returns whether the other side has closed the connection, or has broken it.
    pub fn is_closed(&self) -> bool {
        self.closed_at().is_some()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(script) = self.0.try_borrow() else { return f.write_str("Client") };
        f.debug_struct("Client")
            .field("port", &script.port)
            .field("steps", &script.steps.len())
            .field("received", &script.received.len())
            .field("closed_at", &script.closed_at)
            .finish_non_exhaustive()
    }
}

impl Sim {
    /// Returns a client of the application's listener at this port, which does nothing yet. Decisions about its connection
    /// have the number of the client, counted from 1.
    pub fn client(&self, port: u16) -> Client {
        let who = self.world().next_client();
        let client = Client(Rc::new(RefCell::new(Script::new(port, who))));
        self.world().push_actor(Box::new(client.clone()));
        client
    }
}

impl Actor for Client {
    fn is_runnable(&self, sim: &Sim) -> bool {
        let script = self.0.borrow();
        script.has_news && script.until <= sim.now()
            || script.conn.is_some_and(|key| {
                sim.world()
                    .net
                    .borrow()
                    .conns
                    .get(&key)
                    .is_some_and(|conn| conn.ends[0].has_changed)
            })
    }

    fn standing(&self) -> Option<String> {
        self.0.borrow().standing()
    }

    fn deadline(&self) -> Instant {
        let script = self.0.borrow();
        if script.until == Instant::ZERO { Instant::NEVER } else { script.until }
    }

    fn turn(&mut self, sim: &Sim) -> bool {
        let mut script = self.0.borrow_mut();
        script.has_news = false;
        if script.until <= sim.now() {
            script.until = Instant::ZERO;
        }
        while let Some(call) = script.go_on(sim) {
            drop(script); // It may add steps.
            call(sim);
            script = self.0.borrow_mut();
        }
        true
    }
}
