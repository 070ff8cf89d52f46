//! A transfer with its socket and its file. A server has one for each client, and a client has one.

use std::fmt;
use std::net::SocketAddr;

use kpt_std::{Address, Datagram, Instant, Source, ThreadId, source};

use crate::content::Content;
use crate::packet::{Code, Packet};
use crate::transfer::{End, Reply, Transfer};

/// Room for the largest datagram.
pub const BUFFER_BYTES: usize = 64 << 10;

/// One transfer.
pub struct Session {
    socket: Datagram,
    /// The other side. Its port identifies the transfer.
    peer: SocketAddr,
    /// Whether the other side has answered: a server does so from a port of its own.
    is_peer_known: bool,
    content: Box<dyn Content>,
    transfer: Transfer,
    /// The timer that sends a packet again, or gives up.
    pub timer: Option<ThreadId>,
}

impl Session {
    /// Creates the session of a server.
    pub fn to_client(
        socket: Datagram,
        client: SocketAddr,
        transfer: Transfer,
        content: Box<dyn Content>,
    ) -> Self {
        Self { socket, peer: client, is_peer_known: true, content, transfer, timer: None }
    }

    /// Creates the session of a client. The server will answer from another port.
    pub fn to_server(
        socket: Datagram,
        server: SocketAddr,
        transfer: Transfer,
        content: Box<dyn Content>,
    ) -> Self {
        let is_peer_known = false;
        Self { socket, peer: server, is_peer_known, content, transfer, timer: None }
    }

    /// Sends the first packet.
    pub fn begin(&mut self, now: Instant) -> Option<End> {
        let reply = self.transfer.begin(now, &mut *self.content);
        self.carry_out(reply)
    }

    /// Handles one datagram. Returns how the transfer has ended, if it has.
    pub fn on_readable(&mut self, buffer: &mut [u8], now: Instant) -> Option<End> {
        let (count, from) = match self.socket.recv_from(buffer) {
            Ok((count, from)) => (count, from.ip()?),
            // There is none, or a packet that was sent could not be delivered, which is as if it had been lost.
            Err(_) => return None,
        };
        // What is not a packet is as if it had been lost.
        let packet = Packet::parse(&buffer[..count]).ok()?;
        if !self.is_from_peer(from) {
            // An error is never answered, or two sides could do so for ever.
            if !matches!(packet, Packet::Error { .. }) {
                let refusal = Packet::error(Code::UnknownTransfer, "unknown transfer");
                self.send(&refusal.to_bytes(), from);
            }
            return None;
        }
        let reply = self.transfer.on_packet(&packet, now, &mut *self.content);
        self.carry_out(reply)
    }

    /// Sends again, or gives up, at the deadline.
    pub fn on_time(&mut self, now: Instant) -> Option<End> {
        let reply = self.transfer.on_time(now);
        self.carry_out(reply)
    }

    /// Returns whether `from` is the other side. For a client, that is the first port that answers from the server's host.
    fn is_from_peer(&mut self, from: SocketAddr) -> bool {
        if !self.is_peer_known && from.ip() == self.peer.ip() {
            self.is_peer_known = true;
            self.peer = from;
        }
        self.is_peer_known && from == self.peer
    }

    fn carry_out(&mut self, reply: Reply) -> Option<End> {
        if reply.send {
            self.send(self.transfer.outgoing(), self.peer);
        }
        reply.end
    }

    /// Sends a packet. One that can't be sent now is as one that was lost.
    fn send(&self, packet: &[u8], to: SocketAddr) {
        let _ = self.socket.send_to(packet, &Address::from(to));
    }

    /// Returns the other side.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns the transfer.
    pub fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// Returns its socket as a source.
    pub fn source(&self) -> Source {
        source(&self.socket)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("peer", &self.peer)
            .field("transfer", &self.transfer)
            .finish_non_exhaustive()
    }
}
