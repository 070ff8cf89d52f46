//! Descriptors pass through both queues, with a socket between them that cuts as the system does, and slow twins that are
//! obviously right.

use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use kpt_core::Interest;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::Outbox;
use super::*;
use crate::ask::{Question, ask};

/// A socket of the system: the bytes of each call, and what was passed with the first of them.
#[derive(Default)]
struct Socket(VecDeque<(Vec<u8>, Passed)>);

impl Socket {
    /// Reads over the ends of calls, up to those of a call with a descriptor.
    fn read(&mut self, most: usize) -> (Vec<u8>, Passed) {
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
struct Maker {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Maker {
    fn new() -> Self {
        let (reader, writer) = pipe().expect("a pipe");
        Self { reader, writer }
    }

    fn make(&self) -> OwnedFd {
        self.writer.try_clone().expect("room for a descriptor").into()
    }

    fn are_all_closed(self) -> bool {
        drop(self.writer);
        let mut questions = [Question::new(self.reader.as_raw_fd(), Interest::READABLE)];
        ask(&mut questions, Some(Duration::ZERO)).expect("an answer");
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

/// What a slow twin makes of all that has come: the error, and how many messages with descriptors are whole before it.
fn judge(reads: &[(Vec<u8>, bool)]) -> (Option<ProtocolError>, usize) {
    let (mut bytes, mut came, mut at, mut whole) = (Vec::new(), 0, 0, 0);
    for (read, is_with) in reads {
        bytes.extend_from_slice(read);
        came += usize::from(*is_with);
        while let Some([kind, a, b, c, d]) = bytes.get(at..at + HEADER) {
            let length = u32::from_le_bytes([*a, *b, *c, *d]);
            match kind {
                1 | 8 => {}
                7 if came > whole => {}
                7 => return (Some(ProtocolError::Descriptor), whole),
                _ => return (Some(ProtocolError::Unexpected { kind: *kind }), whole),
            }
            if length > 4 {
                return (Some(ProtocolError::TooLong { length }), whole);
            }
            if bytes.len() < at + HEADER + length as usize {
                break;
            }
            whole += usize::from(*kind == 7);
            at += HEADER + length as usize;
        }
        if came > whole + usize::from(bytes.get(at) == Some(&7)) {
            return (Some(ProtocolError::Descriptor), whole);
        }
    }
    (None, whole)
}

/// Frames as a hostile sender makes them, with descriptors wherever it likes, in any pieces.
fn hostile_pieces() -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
    let kind = prop_oneof![3 => Just(1_u8), 9 => Just(7), 1 => Just(8), 1 => any::<u8>()];
    let length = prop_oneof![20 => 0..=4_u8, 1 => Just(5)];
    let frame = (kind, length, any::<bool>(), prop_oneof![8 => Just(true), 1 => Just(false)]);
    let frame = frame.prop_map(|(kind, length, is_with, is_honest)| {
        let bytes = [&[kind, length, 0, 0, 0], &vec![b'x'; usize::from(length)][..]].concat();
        (bytes, if is_honest { kind == 7 } else { is_with })
    });
    (vec(frame, 0..8), any::<Index>()).prop_map(|(mut frames, cut)| {
        if let Some(at) = (!frames.is_empty()).then(|| cut.index(frames.len())) {
            let length = frames[at].0.len();
            let rest = frames[at].0.split_off(cut.index(length));
            frames.insert(at + 1, (rest, false));
        }
        frames
    })
}

proptest! {
    /// Whatever is sent with whatever: the twin says the same, no more is held than may be, and all is closed.
    #[test]
    fn what_does_not_belong_together_is_refused_and_closed(
        pieces in hostile_pieces(),
        most in 1..4_usize,
        does_take in any::<bool>(),
    ) {
        let maker = Maker::new();
        let mut inbox = Inbox::new(Sender::Child, 4, 1_000, most);
        let (mut reads, mut popped) = (Vec::new(), 0);
        let mut socket = Socket::default();
        for (bytes, is_with) in pieces.into_iter().filter(|(bytes, _)| !bytes.is_empty()) {
            let passed = if is_with { Passed::Descriptor(maker.make()) } else { Passed::Nothing };
            socket.0.push_back((bytes, passed));
        }
        while !socket.0.is_empty() && inbox.has_room() {
            let (bytes, passed) = socket.read(inbox.most());
            reads.push((bytes.clone(), !matches!(passed, Passed::Nothing)));
            let result = inbox.feed(&bytes, passed);
            let (error, whole) = judge(&reads);
            prop_assert_eq!(result.err(), error);
            let came = reads.iter().filter(|(_, is_with)| *is_with).count();
            prop_assert!(error.is_some() || came - popped <= most);
            let held = if error.is_some() { whole } else { came };
            prop_assert_eq!(inbox.arrivals.unclaimed(), held - whole);
            while does_take && let Some((frame, passed)) = inbox.pop() {
                prop_assert_eq!(matches!(passed, Passed::Descriptor(_)), frame.kind == Kind::MessageWith);
                popped += usize::from(frame.kind == Kind::MessageWith);
            }
        }
        drop((inbox, socket));
        prop_assert!(maker.are_all_closed());
    }

    /// Messages that are dropped, and ends that are closed, in the middle of anything, leave no descriptor open.
    #[test]
    fn what_is_dropped_is_closed(lengths in vec(0..=4_usize, 1..6), cut in any::<Index>(), step in 0..4) {
        let maker = Maker::new();
        let mut outbox = Outbox::new(4, 1_000, 6);
        for length in lengths {
            prop_assert_eq!(outbox.push_with(&vec![b'x'; length], &mut Some(maker.make())), Ok(()));
        }
        let mut inbox = Inbox::new(Sender::Parent, 4, 1_000, 6);
        let mut left = cut.index(outbox.unsent().len() + 1);
        while left > 0 {
            let (bytes, descriptor) = outbox.next();
            let count = bytes.len().min(left);
            let passed = descriptor.map(|it| it.try_clone_to_owned().expect("room"));
            let passed = passed.map_or(Passed::Nothing, Passed::Descriptor);
            prop_assert_eq!(inbox.feed(&bytes[..count], passed), Ok(()));
            outbox.mark_sent(count);
            left -= count;
        }
        match step {
            0 => inbox.drop_messages(),
            1 => inbox.close_unfinished(),
            2 => inbox.clear(),
            _ => outbox.clear(),
        }
        if step < 3 {
            outbox.clear();
            let unfinished = inbox.arrivals.unclaimed();
            prop_assert!(unfinished <= 1 && (step != 1 || unfinished == 0));
        }
        let whole = std::iter::from_fn(|| inbox.pop()).count();
        prop_assert!(step == 1 || step == 3 || whole == 0);
        inbox.close_unfinished();
        if step < 3 {
            prop_assert!(maker.are_all_closed());
        }
    }
}
