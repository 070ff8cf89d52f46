//! Compares what the queue of incoming frames makes of descriptors with a slow twin, whatever is sent with whatever.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::Outbox;
use super::passing_tests::{Maker, Socket};
use super::*;

/// What a slow twin makes of all that has come: the error, and how many messages with descriptors are whole before it.
fn judge(reads: &[(Vec<u8>, bool)]) -> (Option<ProtocolError>, usize) {
    let (mut bytes, mut came, mut at, mut whole) = (Vec::new(), 0, 0, 0);
    for (read, is_with) in reads {
        bytes.extend_from_slice(read);
        came += usize::from(*is_with);
        while let Some([kind, a, b, c, d]) = bytes.get(at..at + HEADER) {
            let length = u32::from_le_bytes([*a, *b, *c, *d]);
            let error = match kind {
                1 | 7 | 8 if length > 4 => Some(ProtocolError::TooLong { length }),
                7 if came == whole => Some(ProtocolError::Descriptor),
                1 | 7 | 8 => None,
                _ => Some(ProtocolError::Unexpected { kind: *kind }),
            };
            if error.is_some() {
                return (error, whole);
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
    // The last are of frames that no parent sends.
    let kind =
        prop_oneof![6 => Just(1_u8), 18 => Just(7), 2 => Just(8), 1 => 3..7_u8, 1 => 9..=255_u8];
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
        let mut inbox = Inbox::new(Sender::Parent, 4, 1_000, most);
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
