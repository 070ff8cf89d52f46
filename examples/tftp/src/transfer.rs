//! One side of a transfer, as a state machine without I/O: packets and the time come in, and what is to be sent goes
//! out.
//!
//! A file is sent in blocks, one at a time: each is acknowledged before the next. Whoever waits for too long sends
//! again what it has sent last. What comes twice, or late, must do no harm:
//!
//! - One that **receives** acknowledges a block again that comes again: the first acknowledgement may have been lost.
//!   After the last block it stays for a while, to do the same.
//! - One that **sends** ignores an acknowledgement that comes again. By the rules of RFC 783 it sent the block again.
//!   So one packet that came late doubled all packets after it, to the end of the file: the "sorcerer's apprentice",
//!   which RFC 1123 forbids. [`Rules::Rfc783`] has that fault, for tests that find it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use kpt_std::Instant;

use crate::content::Content;
use crate::options::Options;
use crate::packet::{Code, DEFAULT_BLOCK, Packet, Request};
pub use crate::rules::{Rules, Timing};

/// What is to be done after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Reply {
    /// [`Transfer::outgoing`] is to be sent.
    pub send: bool,
    /// The transfer is over.
    pub end: Option<End>,
}

/// How a transfer has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The receiver has all of the file.
    Complete,
    /// The other side does not answer.
    TimedOut,
    /// The other side has sent this error.
    Refused(u16, String),
    /// This side has sent this error.
    Failed(Code, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The last block has been sent or received. Its receiver stays, since its acknowledgement may be lost.
    Last,
    Over,
}

/// One side of a transfer.
#[derive(Debug)]
pub struct Transfer {
    is_client: bool,
    is_sending: bool,
    rules: Rules,
    timing: Timing,
    stage: Stage,
    /// What a client has asked for, until the server has answered.
    asked: Option<Options>,
    block_size: usize,
    /// The last block that was sent or received. Packets carry its lower 16 bits.
    block: u64,
    bytes: u64,
    outgoing: Vec<u8>,
    blocks_sent: u64,
    /// How often `outgoing` was sent again.
    repeats: u32,
    deadline: Instant,
}

const NOTHING: Reply = Reply { send: false, end: None };
const SEND: Reply = Reply { send: true, end: None };

/// The beginning.
impl Transfer {
    /// Creates the side of a client, whose first packet is its request. For both sides, [`begin`](Self::begin) is next.
    pub fn ask(request: &Request, timing: Timing) -> Self {
        let asked = Some(request.options.clone());
        let mut transfer = Self { asked, ..Self::new(true, request.is_write, timing) };
        Packet::Request(request.clone()).encode(&mut transfer.outgoing);
        transfer
    }

    /// Creates the side of a server that accepts these options of a request.
    pub fn answer(request: &Request, accepted: &Options, timing: Timing, rules: Rules) -> Self {
        let mut transfer = Self { rules, ..Self::new(false, !request.is_write, timing) };
        transfer.agree(accepted);
        if !accepted.is_empty() {
            Packet::OptionAck(accepted.clone()).encode(&mut transfer.outgoing);
        }
        transfer
    }

    fn new(is_client: bool, is_sending: bool, timing: Timing) -> Self {
        Self {
            is_client,
            is_sending,
            rules: Rules::default(),
            timing,
            stage: Stage::Open,
            asked: None,
            block_size: DEFAULT_BLOCK,
            block: 0,
            bytes: 0,
            outgoing: Vec::new(),
            blocks_sent: 0,
            repeats: 0,
            deadline: Instant::NEVER,
        }
    }

    /// Sends the first packet.
    pub fn begin(&mut self, now: Instant, content: &mut dyn Content) -> Reply {
        if self.outgoing.is_empty() {
            return if self.is_sending {
                self.send_next(now, content)
            } else {
                self.acknowledge(0, now)
            };
        }
        self.rest(now);
        SEND
    }

    fn agree(&mut self, options: &Options) {
        if let Some(size) = options.block_size {
            self.block_size = size.into();
        }
        if let Some(seconds) = options.timeout {
            self.timing.first = Duration::from_secs(seconds.into());
        }
    }
}

/// Events.
impl Transfer {
    /// Handles a packet of the other side.
    pub fn on_packet(&mut self, packet: &Packet, now: Instant, content: &mut dyn Content) -> Reply {
        match packet {
            _ if self.stage == Stage::Over => NOTHING,
            Packet::Error { .. } if self.has_all() => self.end(End::Complete),
            Packet::Error { code, text } => {
                self.end(End::Refused(*code, String::from_utf8_lossy(text).into_owned()))
            }
            Packet::Data { block, bytes } if !self.is_sending => {
                self.on_data(*block, bytes, now, content)
            }
            Packet::Ack { block } if self.is_sending => self.on_ack(*block, now, content),
            Packet::OptionAck(options) if self.is_client => {
                self.on_option_ack(options, now, content)
            }
            _ => self.fail(Code::Illegal, "unexpected packet"),
        }
    }

    /// Handles the passing of time. Call it at the [`deadline`](Self::deadline).
    pub fn on_time(&mut self, now: Instant) -> Reply {
        if self.stage == Stage::Over || now < self.deadline {
            return NOTHING;
        }
        if self.has_all() {
            return self.end(End::Complete);
        }
        if self.repeats == self.timing.repeats {
            return self.end(End::TimedOut);
        }
        self.repeats += 1;
        self.deadline = now + self.timing.pause(self.repeats);
        self.send_again()
    }

    fn on_ack(&mut self, block: u16, now: Instant, content: &mut dyn Content) -> Reply {
        if block != self.block as u16 {
            // It has come before, or belongs to no block.
            return if self.rules == Rules::Rfc783 { self.send_again() } else { NOTHING };
        }
        self.asked = None;
        match self.stage {
            Stage::Last => self.end(End::Complete),
            _ => self.send_next(now, content),
        }
    }

    fn on_data(
        &mut self,
        block: u16,
        bytes: &[u8],
        now: Instant,
        content: &mut dyn Content,
    ) -> Reply {
        if bytes.len() > self.block_size {
            return self.fail(Code::Illegal, "the block is longer than agreed");
        }
        if self.block > 0 && block == self.block as u16 {
            return self.send_again();
        }
        if self.stage == Stage::Last || block != (self.block + 1) as u16 {
            return NOTHING;
        }
        self.asked = None;
        let is_last = bytes.len() < self.block_size;
        let written = content.write(bytes);
        if let Err(error) = written.and_then(|()| if is_last { content.finish() } else { Ok(()) }) {
            return self.fail_by(&error);
        }
        self.bytes += bytes.len() as u64;
        if is_last {
            self.stage = Stage::Last;
        }
        self.acknowledge(self.block + 1, now)
    }

    fn on_option_ack(
        &mut self,
        options: &Options,
        now: Instant,
        content: &mut dyn Content,
    ) -> Reply {
        let Some(asked) = self.asked.take() else {
            // It has come before, and was answered: by an acknowledgement that may be lost, or by a block.
            let is_lost = !self.is_sending && self.block == 0;
            return if is_lost { self.send_again() } else { NOTHING };
        };
        if !asked.allow(options) {
            return self.fail(Code::Options, "options that were not asked for");
        }
        self.agree(options);
        if self.is_sending { self.send_next(now, content) } else { self.acknowledge(0, now) }
    }
}

/// The state of a transfer.
impl Transfer {
    /// Returns the packet that was sent last, and is sent again.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// Returns the moment at which to call [`on_time`](Self::on_time).
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns whether all of the file has been received. The transfer goes on for a while, in case its last
    /// acknowledgement is lost.
    pub fn has_all(&self) -> bool {
        !self.is_sending && self.stage == Stage::Last
    }

    /// Returns whether the other side has not answered yet.
    pub fn is_unanswered(&self) -> bool {
        let first = if self.is_sending { 1 } else { 0 };
        self.block <= first && self.stage != Stage::Over
    }

    /// Returns the bytes of the blocks that were sent or received, each once.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns how many blocks were sent, with those that were sent again.
    pub fn blocks_sent(&self) -> u64 {
        self.blocks_sent
    }
}

impl Transfer {
    fn send_next(&mut self, now: Instant, content: &mut dyn Content) -> Reply {
        self.block += 1;
        self.outgoing.clear();
        Packet::Data { block: self.block as u16, bytes: &[] }.encode(&mut self.outgoing);
        let header = self.outgoing.len();
        if let Err(error) = content.read(self.block_size, &mut self.outgoing) {
            return self.fail_by(&error);
        }
        let length = self.outgoing.len() - header;
        self.bytes += length as u64;
        if length < self.block_size {
            self.stage = Stage::Last;
        }
        self.rest(now);
        self.blocks_sent += 1;
        SEND
    }

    fn acknowledge(&mut self, block: u64, now: Instant) -> Reply {
        self.block = block;
        self.outgoing.clear();
        Packet::Ack { block: block as u16 }.encode(&mut self.outgoing);
        self.rest(now);
        SEND
    }

    fn send_again(&mut self) -> Reply {
        self.blocks_sent += u64::from(self.is_sending && self.block > 0);
        SEND
    }

    /// Waits for an answer to a packet.
    fn rest(&mut self, now: Instant) {
        self.repeats = 0;
        // A receiver that has all waits for the first two pauses of the sender.
        let pauses = if self.has_all() { 3 } else { 1 };
        self.deadline = now + self.timing.first.saturating_mul(pauses);
    }

    fn fail_by(&mut self, error: &io::Error) -> Reply {
        let code = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Code::Full
            }
            ErrorKind::AlreadyExists => Code::Exists,
            ErrorKind::PermissionDenied => Code::Forbidden,
            _ => Code::Other,
        };
        self.fail(code, &error.to_string())
    }

    /// Ends the transfer, and has the other side told.
    fn fail(&mut self, code: Code, text: &str) -> Reply {
        self.outgoing.clear();
        Packet::error(code, text).encode(&mut self.outgoing);
        Reply { send: true, ..self.end(End::Failed(code, text.to_owned())) }
    }

    fn end(&mut self, end: End) -> Reply {
        self.stage = Stage::Over;
        self.deadline = Instant::NEVER;
        Reply { send: false, end: Some(end) }
    }
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
