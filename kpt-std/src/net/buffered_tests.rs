//! Buffers against a twin that is slow and obviously right. A failure prints its seed, which `KPT_SEED=` replays.

use std::io::IoSlice;

use super::*;

/// The `xorshift64*` generator of S. Vigna.
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) as usize % bound
    }

    /// A small number more often than a large one, and the bound now and then.
    fn up_to(&mut self, bound: usize) -> usize {
        let limit = [1, 2, 20, bound, bound][self.below(5)].min(bound);
        if self.below(8) == 0 { limit } else { self.below(limit + 1) }
    }
}

/// The other side, which gives and takes by chance.
struct Wire {
    chance: Chance,
    /// Bytes that have been sent to this side and not been read, of an endless sequence, and whether there will be more.
    arrived: usize,
    is_ended: bool,
    /// How many bytes of the sequence have been read.
    read: usize,
    /// What it has been sent.
    taken: Vec<u8>,
    /// Why the last call was not followed by another.
    stopped: Option<ErrorKind>,
    is_short: bool,
    calls: usize,
    is_vectored: bool,
}

/// The byte at that place of what is sent to this side.
fn byte_at(place: usize) -> u8 {
    (place.wrapping_mul(0x9E37_79B1) >> 13) as u8
}

impl Wire {
    fn error(&mut self) -> Option<io::Error> {
        let kind = match self.chance.below(20) {
            0 | 1 => ErrorKind::WouldBlock,
            2 => ErrorKind::Interrupted,
            _ => return None,
        };
        self.stopped = Some(kind);
        Some(kind.into())
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!buffer.is_empty(), "a read of nothing looks like the end");
        self.calls += 1;
        (self.stopped, self.is_short) = (None, false);
        if let Some(error) = self.error() {
            return Err(error);
        }
        if self.arrived == 0 && self.is_ended {
            return Ok(0);
        }
        let most = self.arrived.min(buffer.len());
        let count = if self.chance.below(2) == 0 { most } else { self.chance.up_to(most) };
        if count == 0 {
            self.stopped = Some(ErrorKind::WouldBlock);
            return Err(ErrorKind::WouldBlock.into());
        }
        for (at, byte) in buffer[..count].iter_mut().enumerate() {
            *byte = byte_at(self.read + at);
        }
        self.is_short = count < buffer.len();
        self.read += count;
        self.arrived -= count;
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        assert!(!bytes.is_empty());
        self.calls += 1;
        self.stopped = None;
        if let Some(error) = self.error() {
            return Err(error);
        }
        let count = match self.chance.below(2) {
            0 => bytes.len(),
            _ => self.chance.up_to(bytes.len()).max(1),
        };
        self.taken.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_vectored {
            self.write(&parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<_>>())
        } else {
            self.write(&parts[0])
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the stream must hold.
struct Twin {
    stream: BufferedStream<Wire>,
    most_input: usize,
    most_output: usize,
    consumed: usize,
    queued: Vec<u8>,
    is_ended: bool,
    chance: Chance,
}

impl Twin {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let bounds = [1, 2, 10, 100, 1500, 5000, 20_000, 100_000];
        let most_input = bounds[chance.below(bounds.len())] + chance.below(2);
        let most_output = bounds[chance.below(bounds.len())] + chance.below(2);
        let wire = Wire {
            chance: Chance::new(!seed),
            arrived: 0,
            is_ended: false,
            read: 0,
            taken: Vec::new(),
            stopped: None,
            is_short: false,
            calls: 0,
            is_vectored: seed.is_multiple_of(2),
        };
        Self {
            stream: BufferedStream::new(wire, most_input, most_output),
            most_input,
            most_output,
            consumed: 0,
            queued: Vec::new(),
            is_ended: false,
            chance,
        }
    }

    fn step(&mut self) {
        match self.chance.below(12) {
            0..=2 => {
                let wire = self.stream.get_mut();
                if !wire.is_ended {
                    wire.arrived += self.chance.up_to(2 * self.most_input);
                    wire.is_ended = self.chance.below(100) == 0;
                }
            }
            3..=5 => self.fill(),
            6 | 7 => {
                let held = self.stream.input().len();
                let count = if self.chance.below(3) == 0 { held } else { self.chance.up_to(held) };
                self.stream.consume(count);
                self.consumed += count;
            }
            8 | 9 => self.queue(),
            _ => self.flush(),
        }
        self.check();
    }

    fn fill(&mut self) {
        let (before, calls) = (self.stream.get_ref().read, self.stream.get_ref().calls);
        let may_read = self.stream.wants().is_readable();
        let count = self.stream.fill().expect("no error but those that are no errors");
        let wire = self.stream.get_ref();
        assert_eq!(count, wire.read - before);
        assert!(may_read || wire.calls == calls, "reads though it is held up");
        self.is_ended |= may_read && self.stream.is_ended();
        let is_done = !self.stream.wants().is_readable();
        assert!(is_done || wire.is_short || wire.stopped == Some(ErrorKind::WouldBlock));
    }

    fn queue(&mut self) {
        let room = self.most_output - (self.queued.len() - self.stream.get_ref().taken.len());
        let length = self.chance.up_to(self.most_output + 1);
        let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + self.queued.len()) as u8).collect();
        let is_queued = match self.chance.below(3) {
            0 => self.stream.queue(&bytes).is_ok(),
            1 => self.stream.output().write_all(&bytes).is_ok(),
            _ => {
                let (front, rest) = bytes.split_at(length / 3);
                let (_, output) = self.stream.input_and_output();
                let both = |output: &mut Output| output.queue(front).and(output.queue(rest));
                output.queue_with(both).is_ok()
            }
        };
        assert_eq!(is_queued, length <= room);
        if is_queued {
            self.queued.extend_from_slice(&bytes);
        }
    }

    fn flush(&mut self) {
        let is_all = self.stream.flush().expect("no error but those that are no errors");
        assert_eq!(is_all, self.stream.unsent() == 0);
        assert!(is_all || self.stream.get_ref().stopped == Some(ErrorKind::WouldBlock));
    }

    /// What the stream says, and all of what it holds.
    fn check(&mut self) {
        let wire = self.stream.get_ref();
        let held = self.consumed..wire.read;
        assert!(held.len() <= self.most_input);
        assert!(self.stream.input().iter().copied().eq(held.clone().map(byte_at)), "input");
        assert_eq!(self.queued[..wire.taken.len()], wire.taken[..], "sent");
        let unsent = self.queued.len() - wire.taken.len();
        assert_eq!(self.stream.unsent(), unsent);
        assert_eq!(self.stream.output.room(), self.most_output - unsent);
        let is_readable =
            !self.is_ended && held.len() < self.most_input && unsent <= self.most_output / 2;
        assert_eq!(self.stream.wants().is_readable(), is_readable);
        assert_eq!(self.stream.wants().is_writable(), unsent > 0);
        assert_eq!(self.stream.is_input_full(), held.len() == self.most_input);
        assert_eq!(self.stream.is_ended(), self.is_ended);
        assert!(self.stream.input.memory() <= self.most_input + self.most_input / 2);
        assert!(self.stream.output.memory() <= self.most_output);
    }
}

#[test]
fn buffers_hold_what_a_slow_twin_holds() {
    let seed = std::env::var("KPT_SEED").ok().and_then(|seed| seed.parse().ok());
    let count = if std::env::var("KPT_DEEP").is_ok() { 10_000 } else { 400 };
    let seeds = seed.map_or(0..count, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let run = || {
            let mut twin = Twin::new(seed);
            (0..400).for_each(|_| twin.step());
        };
        if let Err(panic) = std::panic::catch_unwind(run) {
            println!("KPT_SEED={seed} shows it again");
            std::panic::resume_unwind(panic);
        }
    }
}

/// One that gives what it is asked for, and one byte only.
struct Drip(usize);

impl Read for Drip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(7);
        Ok(buffer.len().min(self.0))
    }
}

#[test]
fn memory_is_taken_when_needed_and_given_back() {
    let mut stream = BufferedStream::new(Drip(usize::MAX), 1 << 20, 1 << 20);
    assert_eq!((stream.input.memory(), stream.output.memory()), (0, 0));
    stream.fill().unwrap();
    stream.consume(1 << 20);
    assert!(stream.input.memory() >= 1 << 20);
    stream.stream.0 = 100;
    for _ in 0..20 {
        assert_eq!(stream.fill().unwrap(), 100);
        stream.consume(100);
    }
    assert_eq!(stream.input.memory(), 4096);

    let mut stream = BufferedStream::new(io::sink(), 1, 1 << 20);
    stream.queue(&vec![0; 1 << 20]).unwrap();
    assert_eq!(stream.output.memory(), 1 << 20);
    for _ in 0..20 {
        assert!(stream.flush().unwrap());
        stream.queue(&[0; 100]).unwrap();
    }
    assert_eq!(stream.output.memory(), 4096);
}

#[test]
fn a_batch_is_one_read_and_one_write() {
    struct Counted(usize, usize);
    impl Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            Ok(buffer.len().min(2_000))
        }
    }
    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut stream = BufferedStream::new(Counted(0, 0), 10_000, 10_000);
    for _ in 0..10 {
        assert_eq!(stream.fill().unwrap(), 2_000);
        stream.consume(2_000);
        (0..100).for_each(|_| stream.queue(b"answer").unwrap());
        assert!(stream.flush().unwrap());
    }
    assert_eq!((stream.stream.0, stream.stream.1), (10, 10));
}

#[test]
fn what_came_before_an_error_is_in_the_input() {
    struct Broken(bool);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(ErrorKind::ConnectionReset.into());
            }
            buffer.fill(1);
            Ok(buffer.len())
        }
    }
    let mut stream = BufferedStream::new(Broken(false), 1 << 20, 1);
    assert_eq!(stream.fill().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(!stream.input().is_empty() && stream.input().iter().all(|&byte| byte == 1));
}

#[test]
fn a_stream_that_takes_nothing_is_an_error_and_no_loop() {
    let mut nothing = [];
    let mut stream = BufferedStream::new(&mut nothing[..], 1, 10);
    stream.queue(b"x").unwrap();
    assert_eq!(stream.flush().unwrap_err().kind(), ErrorKind::WriteZero);
}
