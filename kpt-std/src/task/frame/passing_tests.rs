//! Descriptors pass through both queues, with a socket between them that cuts as the system does.

use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use kpt_core::Interest;

use super::super::{Outbox, Refused};
use super::*;
use crate::ask::{Question, ask};

/// A socket of the system: the bytes of each call, and what was passed with the first of them.
#[derive(Default)]
pub struct Socket(pub VecDeque<(Vec<u8>, Passed)>);

impl Socket {
    /// Reads over the ends of calls, up to those of a call with a descriptor.
    pub fn read(&mut self, most: usize) -> (Vec<u8>, Passed) {
        let (mut bytes, mut passed) = (Vec::new(), Passed::Nothing);
        while let Some((first, with)) = self.0.front_mut()
            && bytes.len() < most
            && matches!(passed, Passed::Nothing)
        {
            passed = std::mem::replace(with, Passed::Nothing);
            bytes.extend(first.drain(..first.len().min(most - bytes.len())));
            if first.is_empty() {
                self.0.pop_front();
            }
        }
        (bytes, passed)
    }
}

/// Makes descriptors, and tells whether all of them are closed.
pub struct Maker {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Maker {
    pub fn new() -> Self {
        let (reader, writer) = pipe().expect("a pipe");
        Self { reader, writer }
    }

    pub fn make(&self) -> OwnedFd {
        self.writer.try_clone().expect("room for a descriptor").into()
    }

    /// A process that another test starts meanwhile has copies for a moment.
    pub fn are_all_closed(self) -> bool {
        drop(self.writer);
        let mut questions = [Question::new(self.reader.as_raw_fd(), Interest::READABLE)];
        ask(&mut questions, Some(Duration::from_secs(5))).expect("an answer");
        questions[0].found.is_hangup()
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
enum Item {
    Plain(&'static str),
    With(&'static str),
    /// The system refuses to send the descriptor.
    Refused,
    /// The receiver has too many open.
    Lost,
}

const ITEMS: [Item; 6] = [
    Item::Plain(""),
    Item::Plain("ab"),
    Item::With(""),
    Item::With("c"),
    Item::Refused,
    Item::Lost,
];

/// How it is sent and received.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// The most bytes of a call.
    sent: usize,
    read: usize,
    /// Reads after each call that sends, and not after all.
    alternates: bool,
    /// Takes frames only when there is no more room.
    takes_late: bool,
    /// The most descriptors.
    most: usize,
}

/// What is known of a message: its bytes, and the number of its descriptor, or that it was lost.
type Seen = (Vec<u8>, Option<Option<RawFd>>);

fn seen((bytes, passed): &(Vec<u8>, Passed)) -> Seen {
    let descriptor = match passed {
        Passed::Nothing => None,
        Passed::Descriptor(descriptor) => Some(Some(descriptor.as_raw_fd())),
        Passed::Lost => Some(None),
    };
    (bytes.clone(), descriptor)
}

/// Both queues, and the socket between them.
struct Both {
    way: Way,
    outbox: Outbox,
    socket: Socket,
    inbox: Inbox,
    /// What becomes of each descriptor that is sent.
    fates: VecDeque<Item>,
    /// The numbers of those that are under way, or have come.
    numbers: Vec<RawFd>,
    /// How many the inbox holds.
    held: usize,
    came: Vec<(Vec<u8>, Passed)>,
}

impl Both {
    fn new(items: &[Item], way: Way, maker: &Maker) -> Self {
        let mut outbox = Outbox::new(4, 100, items.len());
        for item in items {
            let result = match item {
                Item::Plain(text) => outbox.push_message(text.as_bytes()),
                Item::With(text) => outbox.push_with(text.as_bytes(), &mut Some(maker.make())),
                Item::Refused | Item::Lost => outbox.push_with(b"d", &mut Some(maker.make())),
            };
            assert_eq!(result, Ok(()));
        }
        Self {
            way,
            outbox,
            socket: Socket::default(),
            inbox: Inbox::new(Sender::Child, 4, 30, way.most),
            fates: items.iter().copied().filter(|item| !matches!(item, Item::Plain(_))).collect(),
            numbers: Vec::new(),
            held: 0,
            came: Vec::new(),
        }
    }

    /// One call that sends.
    fn send(&mut self) {
        let (bytes, descriptor) = self.outbox.next();
        let bytes = bytes[..bytes.len().min(self.way.sent)].to_vec();
        let passed = match descriptor.map(|descriptor| (descriptor, self.fates.pop_front())) {
            None => Passed::Nothing,
            Some((_, Some(Item::Refused))) => return self.outbox.refuse_descriptor(),
            Some((_, Some(Item::Lost))) => Passed::Lost,
            Some((descriptor, _)) => {
                let copy = descriptor.try_clone_to_owned().expect("room for a descriptor");
                self.numbers.push(copy.as_raw_fd());
                Passed::Descriptor(copy)
            }
        };
        self.outbox.mark_sent(bytes.len());
        self.socket.0.push_back((bytes, passed));
    }

    /// One call that receives, if there is room.
    fn receive(&mut self) {
        let most = self.inbox.most().min(self.way.read);
        if most > 0 {
            let (bytes, passed) = self.socket.read(most);
            self.held += usize::from(!matches!(passed, Passed::Nothing));
            assert_eq!(self.inbox.feed(&bytes, passed), Ok(()));
        }
        assert!(self.held <= self.way.most, "{} in {:?}", self.held, self.way);
        if !self.way.takes_late || !self.inbox.has_room() {
            self.take();
        }
    }

    fn take(&mut self) -> bool {
        let Some((frame, passed)) = self.inbox.pop() else { return false };
        self.held -= usize::from(frame.kind == Kind::MessageWith);
        self.came.push((frame.payload, passed));
        true
    }
}

/// Sends these, and compares what comes.
fn run(items: &[Item], way: Way) {
    let maker = Maker::new();
    let mut both = Both::new(items, way, &maker);
    while !both.outbox.unsent().is_empty() || !both.socket.0.is_empty() {
        let is_sending = !both.outbox.unsent().is_empty();
        if is_sending {
            both.send();
        }
        if way.alternates || !is_sending {
            both.receive();
        }
    }
    while both.take() {}
    let mut numbers = both.numbers.iter().copied();
    let expected = items.iter().map(|item| match item {
        Item::Plain(text) => (text.as_bytes().to_vec(), None),
        Item::With(text) => (text.as_bytes().to_vec(), Some(numbers.next())),
        Item::Refused | Item::Lost => (b"d".to_vec(), Some(None)),
    });
    assert_eq!(both.came.iter().map(seen).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert!(!both.inbox.is_partial());
    drop(both);
    assert!(maker.are_all_closed());
}

/// All sequences of up to three messages, cut at each byte by whoever sends and whoever receives.
#[test]
fn however_they_are_cut_descriptors_come_with_their_messages() {
    let mut sequences = vec![vec![]];
    for length in 0..3 {
        let longer = sequences
            .iter()
            .filter(|it: &&Vec<_>| it.len() == length)
            .flat_map(|before| ITEMS.map(|item| before.iter().copied().chain([item]).collect()));
        sequences.extend(longer.collect::<Vec<_>>());
    }
    for items in &sequences {
        for (sent, read) in (1..=8).flat_map(|sent| (1..=8).map(move |read| (sent, read))) {
            for flags in 0..4 {
                let (alternates, takes_late) = (flags & 1 == 0, flags & 2 == 0);
                run(items, Way { sent, read, alternates, takes_late, most: 1 + sent % 2 });
            }
        }
    }
}

/// A message with a descriptor is refused when there are as many as there may be, and others are not.
#[test]
fn a_queue_with_all_its_descriptors_is_full() {
    let maker = Maker::new();
    let mut outbox = Outbox::new(4, 1_000, 2);
    for _ in 0..2 {
        assert!(outbox.has_room());
        assert_eq!(outbox.push_with(b"x", &mut Some(maker.make())), Ok(()));
    }
    let mut third = Some(maker.make());
    assert_eq!(outbox.push_with(b"x", &mut third), Err(Refused::Full));
    assert_eq!((third.is_some(), outbox.has_room()), (true, false));
    assert_eq!(outbox.push_with(b"12345", &mut third), Err(Refused::TooLong));
    assert_eq!(outbox.push_message(b"x"), Ok(()));
    outbox.mark_sent(1);
    assert!(outbox.has_room(), "the first byte takes the descriptor along");
    assert_eq!(outbox.push_with(b"x", &mut third), Ok(()));
    assert!(third.is_none());
}
