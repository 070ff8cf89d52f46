//! A transfer with its socket and its file: what a server has of each client, and a client of its server.

use std::fmt;
use std::io::ErrorKind;
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
    /// The other side. Its port is what a transfer is known by.
    peer: SocketAddr,
    /// Whether the other side has answered: a server does so from a port of its own.
    is_peer_known: bool,
    content: Box<dyn Content>,
    transfer: Transfer,
    /// Has it sent again, or given up.
    pub timer: Option<ThreadId>,
}

impl Session {
    /// Creates that of a server.
    pub fn to_client(
        socket: Datagram,
        client: SocketAddr,
        transfer: Transfer,
        content: Box<dyn Content>,
    ) -> Self {
        Self { socket, peer: client, is_peer_known: true, content, transfer, timer: None }
    }

    /// Creates that of a client, whose server will answer from another port.
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
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            // Of a packet that could not be delivered, which is as one that was lost.
            Err(_) => return None,
        };
        // What is not a packet is as if it had been lost.
        let packet = Packet::parse(&buffer[..count]).ok()?;
        if !self.is_from_peer(from) {
            // Nobody answers an error: two sides would do so for ever.
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

    /// Returns whether this is the other side. The first that answers from the server's address is.
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
