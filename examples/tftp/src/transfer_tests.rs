//! Two sides of a transfer, packet by packet, and in all ways in which a few packets can be lost, come twice or late.

use std::collections::VecDeque;

use super::*;
use crate::packet::Mode;

const MILLI: Duration = Duration::from_millis(1);
const TIMING: Timing = Timing { first: Duration::from_millis(100), repeats: 5 };

/// A file in memory.
#[derive(Default)]
struct Memory {
    bytes: Vec<u8>,
    read: usize,
    is_finished: bool,
}

impl Content for Memory {
    fn read(&mut self, size: usize, to: &mut Vec<u8>) -> io::Result<()> {
        let end = self.bytes.len().min(self.read + size);
        to.extend_from_slice(&self.bytes[self.read..end]);
        self.read = end;
        Ok(())
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        assert!(!self.is_finished, "a block after the last one");
        self.bytes.extend_from_slice(block);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.is_finished = true;
        Ok(())
    }
}

fn request(is_write: bool, options: Options) -> Request<'static> {
    Request { is_write, name: b"f", mode: Mode::Octet, options }
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

/// One side, with its file.
struct Side {
    transfer: Transfer,
    file: Memory,
    end: Option<End>,
}

impl Side {
    fn new(transfer: Transfer, bytes: Vec<u8>) -> Self {
        Self { transfer, file: Memory { bytes, ..Memory::default() }, end: None }
    }

    /// Sets the end. Returns what it sends.
    fn take(&mut self, reply: Reply) -> Option<Vec<u8>> {
        if self.end.is_none() {
            self.end = reply.end;
        }
        reply.send.then(|| self.transfer.outgoing().to_vec())
    }

    fn begin(&mut self, now: Instant) -> Vec<u8> {
        let reply = self.transfer.begin(now, &mut self.file);
        self.take(reply).expect("a first packet")
    }

    fn on_packet(&mut self, bytes: &[u8], now: Instant) -> Option<Vec<u8>> {
        let packet = Packet::parse(bytes).expect("a packet");
        let reply = self.transfer.on_packet(&packet, now, &mut self.file);
        self.take(reply)
    }

    fn on_time(&mut self, now: Instant) -> Option<Vec<u8>> {
        let reply = self.transfer.on_time(now);
        self.take(reply)
    }
}

/// A server that has been asked for a file of so many bytes.
fn server(bytes: usize, accepted: &Options) -> Side {
    let file = (0..bytes).map(|at| (at / 7) as u8).collect();
    Side::new(
        Transfer::answer(&request(false, Options::NONE), accepted, TIMING, Rules::Rfc1123),
        file,
    )
}

#[test]
fn a_file_goes_over_block_by_block() {
    let mut side = server(1024, &Options::NONE);
    assert_eq!(side.begin(at(0))[..4], [0, 3, 0, 1]);
    assert_eq!(side.on_packet(b"\0\x04\0\x01", at(1)).expect("a block").len(), 516);
    // The file ends with an empty block, as the last one is full.
    assert_eq!(side.on_packet(b"\0\x04\0\x02", at(2)), Some(b"\0\x03\0\x03".to_vec()));
    assert_eq!((side.on_packet(b"\0\x04\0\x03", at(3)), side.end), (None, Some(End::Complete)));
}

#[test]
fn an_acknowledgement_that_comes_twice_is_ignored() {
    for (rules, is_answered) in [(Rules::Rfc1123, false), (Rules::Rfc783, true)] {
        let mut side = server(5_000, &Options::NONE);
        side.transfer.rules = rules;
        side.begin(at(0));
        side.on_packet(b"\0\x04\0\x01", at(1));
        assert_eq!(side.on_packet(b"\0\x04\0\x01", at(2)).is_some(), is_answered, "{rules:?}");
        assert_eq!(side.transfer.deadline(), at(101), "that one moves nothing");
    }
}

#[test]
fn a_packet_is_sent_again_with_longer_and_longer_pauses_and_then_given_up() {
    let mut side = server(10, &Options::NONE);
    let first = side.begin(at(0));
    let mut now = at(0);
    for pause in [100, 200, 400, 800, 1_600] {
        assert_eq!(side.on_time(now + MILLI * (pause - 1)), None);
        now = now + MILLI * pause;
        assert_eq!(side.on_time(now), Some(first.clone()), "{pause}");
    }
    now = now + MILLI * 3_200;
    assert_eq!((side.on_time(now), side.end), (None, Some(End::TimedOut)));
}

#[test]
fn a_long_timeout_that_was_agreed_on_is_kept() {
    let mut side = server(10, &Options { timeout: Some(60), ..Options::NONE });
    side.begin(at(0));
    assert_eq!(side.transfer.deadline(), at(60_000));
    side.on_time(at(60_000));
    assert_eq!(side.transfer.deadline(), at(120_000));
}

#[test]
fn what_was_not_asked_for_is_refused() {
    let asked = Options { block_size: Some(100), ..Options::NONE };
    let answers: [&[u8]; 3] =
        [b"\0\x06blksize\x00101\0", b"\0\x06timeout\x001\0", b"\0\x06windowsize\x002\0"];
    for answer in answers {
        let mut side = Side::new(Transfer::ask(&request(false, asked.clone()), TIMING), vec![]);
        side.begin(at(0));
        let error = side.on_packet(answer, at(1)).expect("an error");
        assert_eq!(error[..4], [0, 5, 0, 8]);
        assert!(matches!(side.end, Some(End::Failed(Code::Options, _))));
    }
}

#[test]
fn a_server_without_options_is_understood() {
    let asked = Options { block_size: Some(1428), size: Some(0), ..Options::NONE };
    let mut reader = Side::new(Transfer::ask(&request(false, asked.clone()), TIMING), vec![]);
    reader.begin(at(0));
    let block = [&b"\0\x03\0\x01"[..], &[7; 512]].concat();
    assert_eq!(reader.on_packet(&block, at(1)), Some(b"\0\x04\0\x01".to_vec()));
    let mut writer = Side::new(Transfer::ask(&request(true, asked), TIMING), vec![7; 600]);
    writer.begin(at(0));
    assert_eq!(writer.on_packet(b"\0\x04\0\0", at(1)).expect("a block").len(), 516);
}

#[test]
fn packets_that_can_not_come_end_it_and_wrong_numbers_do_not() {
    let mut side = server(5_000, &Options::NONE);
    side.begin(at(0));
    for number in [0, 2, 300, 65_535_u16] {
        let ack = [&[0, 4][..], &number.to_be_bytes()].concat();
        assert_eq!((side.on_packet(&ack, at(1)), &side.end), (None, &None));
    }
    assert_eq!(side.on_packet(b"\0\x03\0\x01x", at(1)).expect("an error")[..4], [0, 5, 0, 4]);
    assert!(matches!(side.end, Some(End::Failed(Code::Illegal, _))));
    assert_eq!(side.on_packet(b"\0\x04\0\x01", at(2)), None, "it is over");
    assert_eq!(side.transfer.deadline(), Instant::NEVER);

    let mut reader = Side::new(Transfer::ask(&request(false, Options::NONE), TIMING), vec![]);
    reader.begin(at(0));
    let long = [&b"\0\x03\0\x01"[..], &[7; 513]].concat();
    assert_eq!(reader.on_packet(&long, at(1)).expect("an error")[..4], [0, 5, 0, 4]);

    let mut reader = Side::new(Transfer::ask(&request(false, Options::NONE), TIMING), vec![]);
    reader.begin(at(0));
    assert_eq!(reader.on_packet(b"\0\x05\0\x01no\x1b\0", at(1)), None, "an error is not answered");
    assert_eq!(reader.end, Some(End::Refused(1, "no\x1b".into())));
}

/// Two sides and the packets between them, in virtual time.
struct Net {
    sides: [Side; 2],
    /// When, to whom, what.
    flying: VecDeque<(Instant, usize, Vec<u8>)>,
    now: Instant,
    sent: u32,
}

/// What happens to the packet with a number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Lost,
    Twice,
    Late,
}

impl Net {
    fn new(is_write: bool, bytes: usize, options: &Options, rules: Rules) -> Self {
        let request = request(is_write, options.clone());
        let file: Vec<u8> = (0..bytes).map(|at| (at / 7) as u8).collect();
        let (ours, theirs) = if is_write { (file, vec![]) } else { (vec![], file) };
        let mut client = Transfer::ask(&request, TIMING);
        client.rules = rules;
        let client = Side::new(client, ours);
        let server = Side::new(Transfer::answer(&request, options, TIMING, rules), theirs);
        Self { sides: [client, server], flying: VecDeque::new(), now: at(0), sent: 0 }
    }

    /// A request goes to the well-known port. The server has it already, and ignores one that comes again.
    fn is_request(packet: &[u8]) -> bool {
        matches!(Packet::parse(packet), Ok(Packet::Request(_)))
    }

    fn send(&mut self, to: usize, packet: Vec<u8>, faults: &[(u32, Fault)]) {
        if Self::is_request(&packet) {
            return;
        }
        let fault = faults.iter().find(|(number, _)| *number == self.sent).map(|(_, fault)| *fault);
        self.sent += 1;
        let arrives = self.now + MILLI * 10;
        match fault {
            Some(Fault::Lost) => return,
            Some(Fault::Twice) => self.flying.push_back((arrives, to, packet.clone())),
            Some(Fault::Late) => {
                return self.flying.push_back((self.now + MILLI * 150, to, packet));
            }
            None => {}
        }
        self.flying.push_back((arrives, to, packet));
    }

    /// Runs until both have ended.
    fn run(&mut self, faults: &[(u32, Fault)]) {
        let first = self.sides[0].begin(self.now);
        assert!(Net::is_request(&first));
        let answer = self.sides[1].begin(self.now);
        self.send(0, answer, faults);
        while self.sides.iter().any(|side| side.end.is_none()) {
            let due = self.sides.iter().map(|side| side.transfer.deadline()).min();
            let next = self.flying.iter().map(|(at, ..)| *at).min();
            self.now = due.into_iter().chain(next).min().expect("a deadline or a packet");
            assert!(self.sent < 1_000, "no end");
            let arrived = self.flying.iter().position(|(at, ..)| *at <= self.now);
            if let Some((_, to, packet)) = arrived.and_then(|at| self.flying.remove(at)) {
                if let Some(answer) = self.sides[to].on_packet(&packet, self.now) {
                    self.send(1 - to, answer, faults);
                }
                continue;
            }
            for side in 0..2 {
                if let Some(again) = self.sides[side].on_time(self.now) {
                    self.send(1 - side, again, faults);
                }
            }
        }
    }

    fn sender(&self) -> &Side {
        self.sides.iter().find(|side| side.transfer.is_sending).expect("one sends")
    }

    fn receiver(&self) -> &Side {
        self.sides.iter().find(|side| !side.transfer.is_sending).expect("one receives")
    }
}

const BLOCKS: usize = 5;

/// Runs a transfer of five blocks. Returns how many blocks were sent.
fn run(is_write: bool, options: &Options, rules: Rules, faults: &[(u32, Fault)]) -> u64 {
    let mut net = Net::new(is_write, BLOCKS * 512 - 100, options, rules);
    net.run(faults);
    let (sender, receiver) = (net.sender(), net.receiver());
    assert_eq!(receiver.end, Some(End::Complete), "{faults:?}");
    assert!(receiver.file.is_finished && receiver.file.bytes == sender.file.bytes, "{faults:?}");
    assert_eq!(sender.end, Some(End::Complete), "{faults:?}");
    sender.transfer.blocks_sent()
}

/// All ways in which up to two of the first packets can go wrong.
fn all_faults() -> Vec<Vec<(u32, Fault)>> {
    let kinds = [Fault::Lost, Fault::Twice, Fault::Late];
    let ones: Vec<_> = (0..14).flat_map(|number| kinds.map(move |kind| (number, kind))).collect();
    let mut all = vec![vec![]];
    all.extend(ones.iter().map(|&one| vec![one]));
    for (at, &one) in ones.iter().enumerate() {
        all.extend(ones[at + 1..].iter().filter(|two| two.0 != one.0).map(|&two| vec![one, two]));
    }
    all
}

#[test]
fn the_file_is_whole_and_each_fault_costs_a_constant_whatever_goes_wrong() {
    let options = Options { size: Some(0), timeout: None, ..Options::NONE };
    for faults in all_faults() {
        for is_write in [false, true] {
            for options in [&Options::NONE, &options] {
                let sent = run(is_write, options, Rules::Rfc1123, &faults);
                let most = (BLOCKS + 2 * faults.len()) as u64;
                assert!(sent <= most, "{sent} blocks, {is_write}, {faults:?}");
            }
        }
    }
}

/// The fault of RFC 783: one packet is late, and from there on each goes over the network twice.
#[test]
fn the_sorcerers_apprentice_doubles_all_blocks() {
    let options = Options::NONE;
    let worst = |rules| {
        let faults = all_faults();
        let ones = faults.iter().filter(|faults| faults.len() == 1);
        ones.map(|faults| run(false, &options, rules, faults)).max().expect("some")
    };
    assert!(worst(Rules::Rfc1123) <= BLOCKS as u64 + 1);
    assert!(worst(Rules::Rfc783) >= 2 * BLOCKS as u64 - 2, "{}", worst(Rules::Rfc783));
}

/// More blocks than a packet can count.
#[test]
fn numbers_begin_anew_after_65_535() {
    let options = Options { block_size: Some(8), ..Options::NONE };
    let mut net = Net::new(false, 8 * 70_000, &options, Rules::Rfc1123);
    let mut answer = Some(net.sides[1].begin(at(0)));
    net.sides[0].begin(at(0));
    let mut to = 0;
    while let Some(packet) = answer {
        answer = net.sides[to].on_packet(&packet, at(1));
        to = 1 - to;
    }
    assert_eq!(net.sides[1].end, Some(End::Complete));
    assert_eq!(net.sides[0].transfer.bytes(), 560_000);
    assert!(net.sides[0].file.bytes == net.sides[1].file.bytes);
}
