//! Compares the queue with a slow twin that is obviously right, and feeds what no task would send.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{LARGEST_MESSAGE, Outbox};
use super::*;

/// Reads all bytes so far from the start. Returns the frames, the error of the next one, and whether an unfinished
/// frame is left.
fn parse(
    mut bytes: &[u8],
    from: Sender,
    longest: usize,
) -> (Vec<Frame>, Option<ProtocolError>, bool) {
    let mut frames = Vec::new();
    let (mut is_ready, mut is_over, mut has_hung_up) = (false, false, false);
    while let [kind, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_le_bytes([*a, *b, *c, *d]);
        let (kind, most) = match (*kind, from) {
            (1, _) => (Kind::Message, longest),
            (2, Sender::Parent) => (Kind::Stop, 0),
            (3, Sender::Child) if !has_hung_up => (Kind::HangUp, 0),
            (4, Sender::Child) if !is_ready => (Kind::Ready, 0),
            (5, Sender::Child) => (Kind::Failed, 4_096),
            (6, Sender::Child) => (Kind::Panicked, 4_096),
            (kind, _) => return (frames, Some(ProtocolError::Unexpected { kind }), false),
        };
        if is_over {
            let kind = kind as u8;
            return (frames, Some(ProtocolError::Unexpected { kind }), false);
        }
        if length as usize > most {
            return (frames, Some(ProtocolError::TooLong { length }), false);
        }
        let Some((payload, rest)) = rest.split_at_checked(length as usize) else { break };
        is_ready |= kind == Kind::Ready;
        has_hung_up |= kind == Kind::HangUp;
        is_over = matches!(kind, Kind::Stop | Kind::Failed | Kind::Panicked);
        frames.push(Frame { kind, payload: payload.to_vec() });
        bytes = rest;
    }
    (frames, None, !bytes.is_empty())
}

/// Encodes a frame, valid or not.
fn frame(kind: u8, length: u32, payload: &[u8]) -> Vec<u8> {
    [&[kind], &length.to_le_bytes()[..], payload].concat()
}

fn whole(kind: Kind, payload: &[u8]) -> Vec<u8> {
    frame(kind as u8, payload.len() as u32, payload)
}

/// Splits the bytes at the given places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let starts = std::iter::once(0).chain(ends.clone());
    starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
}

fn take_all(inbox: &mut Inbox) -> Vec<Frame> {
    std::iter::from_fn(|| inbox.pop()).map(|(frame, _)| frame).collect()
}

/// Counts what the inbox holds: whole frames with their entries, and the unfinished frame.
fn held(inbox: &Inbox) -> (usize, usize) {
    let whole = inbox.frames.iter().map(|frame| frame.payload.len() + FRAME_COST).sum();
    let Partial::Payload { bytes, .. } = &inbox.partial else { return (whole, 0) };
    (whole, bytes.len())
}

fn senders() -> impl Strategy<Value = Sender> {
    prop_oneof![Just(Sender::Parent), Just(Sender::Child)]
}

/// Messages with lengths at and between the limits.
fn payloads(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    let lengths = prop_oneof![Just(0), Just(1), Just(longest), 0..=longest];
    (lengths, any::<u8>()).prop_map(|(length, byte)| vec![byte; length])
}

/// Bytes that look like frames for some time, or any bytes.
fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![6 => 0..40_u32, 1 => Just(4_096), 1 => Just(4_097), 1 => any::<u32>()];
    let piece =
        (prop_oneof![8 => 1..=9_u8, 1 => any::<u8>()], length).prop_flat_map(|(kind, length)| {
            let honest = frame(kind, length, &vec![kind; length.min(5_000) as usize]);
            prop_oneof![
                6 => Just(honest),
                1 => vec(any::<u8>(), 0..12).prop_map(move |payload| frame(kind, length, &payload)),
            ]
        });
    prop_oneof![
        4 => vec(piece, 0..12).prop_map(|pieces| pieces.concat()),
        1 => vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #[test]
    fn any_cut_of_the_bytes_gives_the_same_frames(
        messages in vec(payloads(50), 0..20),
        cuts in vec(any::<Index>(), 0..200),
    ) {
        let mut outbox = Outbox::new(50, 1 << 20, 0);
        outbox.push_control(Kind::Ready, "");
        for message in &messages {
            prop_assert_eq!(outbox.push_message(message), Ok(()));
        }
        outbox.push_control(Kind::Panicked, "no luck");
        let mut inbox = Inbox::new(Sender::Child, 50, 100, 0);
        let mut frames = Vec::new();
        for piece in pieces(outbox.unsent(), &cuts) {
            prop_assert_eq!(inbox.feed(piece, Passed::Nothing), Ok(()));
            frames.extend(take_all(&mut inbox));
        }
        prop_assert!(!inbox.is_partial());
        let first = Frame { kind: Kind::Ready, payload: Vec::new() };
        let last = Frame { kind: Kind::Panicked, payload: b"no luck".to_vec() };
        let messages = messages.into_iter().map(|payload| Frame { kind: Kind::Message, payload });
        let expected: Vec<_> = std::iter::once(first).chain(messages).chain([last]).collect();
        prop_assert_eq!(frames, expected);
    }

    #[test]
    fn whatever_comes_is_read_as_the_twin_reads_it(
        bytes in hostile_bytes(),
        cuts in vec(any::<Index>(), 0..40),
        from in senders(),
    ) {
        let mut inbox = Inbox::new(from, 30, 100, 0);
        let (mut fed, mut frames, mut first_error) = (0, Vec::new(), None);
        for piece in pieces(&bytes, &cuts) {
            let error = inbox.feed(piece, Passed::Nothing).err();
            fed += piece.len();
            if first_error.is_some() {
                prop_assert_eq!(error, first_error, "the first error stays");
            }
            first_error = first_error.or(error);
            prop_assert_eq!(inbox.used, held(&inbox).0);
            // Neither bytes that were not fed nor more than one frame may hold are stored.
            let kept: usize = inbox.frames.iter().map(|frame| frame.payload.len()).sum();
            prop_assert!(kept + held(&inbox).1 <= fed);
            prop_assert!(held(&inbox).1 < LONGEST_TEXT.max(30));
            frames.extend(take_all(&mut inbox));
            let (expected, expected_error, is_partial) = parse(&bytes[..fed], from, 30);
            prop_assert_eq!(&frames, &expected);
            prop_assert_eq!(first_error, expected_error);
            prop_assert_eq!(inbox.is_partial(), is_partial);
            prop_assert!(first_error.is_none() || !inbox.has_room(), "broken, it wants no more");
        }
    }

    /// One side feeds while there is room, the other takes frames at any time. All arrive, and never more is stored
    /// than the limit and one read.
    #[test]
    fn a_frame_that_has_begun_finds_its_end_within_the_bound(
        messages in vec(payloads(300), 0..30),
        limit in 0..1_000_usize,
        most_per_read in 1..400_usize,
        is_read_first in vec(any::<bool>(), 1..8),
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|it| whole(Kind::Message, it)).collect();
        let mut inbox = Inbox::new(Sender::Child, 300, limit, 0);
        let (mut coming, mut arrived) = (&bytes[..], Vec::new());
        let mut is_read_first = is_read_first.into_iter().cycle();
        while arrived.len() < messages.len() {
            let wants_more = inbox.has_room() && !coming.is_empty();
            prop_assert!(wants_more || inbox.peek().is_some(), "stuck");
            if wants_more && (is_read_first.next() == Some(true) || inbox.peek().is_none()) {
                let (read, rest) = coming.split_at(most_per_read.min(coming.len()));
                prop_assert_eq!(inbox.feed(read, Passed::Nothing), Ok(()));
                coming = rest;
                let (whole, partial) = held(&inbox);
                let one_read = most_per_read + (most_per_read / HEADER + 1) * FRAME_COST;
                prop_assert!(whole + partial <= limit.max(HEADER + 300) + one_read);
            } else if let Some((frame, _)) = inbox.pop() {
                arrived.push(frame.payload);
            }
        }
        prop_assert_eq!(arrived, messages);
        prop_assert!(!inbox.is_partial());
    }
}

/// Tries every first byte of a frame in every phase.
#[test]
fn only_what_the_table_says_may_come() {
    use Sender::{Child, Parent};
    let [hang_up, ready] = [Kind::HangUp, Kind::Ready].map(|kind| whole(kind, b""));
    let [failed, panicked] = [Kind::Failed, Kind::Panicked].map(|kind| whole(kind, b"x"));
    let message = whole(Kind::Message, b"x");
    let table: [(Sender, Vec<u8>, &[u8]); 9] = [
        (Parent, vec![], &[1, 2]),
        (Parent, message.clone(), &[1, 2]),
        (Parent, whole(Kind::Stop, b""), &[]),
        (Child, vec![], &[1, 3, 4, 5, 6]),
        (Child, [message, hang_up.clone()].concat(), &[1, 4, 5, 6]),
        (Child, ready.clone(), &[1, 3, 5, 6]),
        (Child, [ready.clone(), hang_up].concat(), &[1, 5, 6]),
        (Child, failed, &[]),
        (Child, [ready, panicked].concat(), &[]),
    ];
    for (from, before, allowed) in table {
        for kind in 0..=u8::MAX {
            let mut inbox = Inbox::new(from, 30, 100, 0);
            assert_eq!(inbox.feed(&before, Passed::Nothing), Ok(()));
            let result = inbox.feed(&frame(kind, 0, b""), Passed::Nothing);
            let error = ProtocolError::Unexpected { kind };
            let expected = if allowed.contains(&kind) { Ok(()) } else { Err(error) };
            assert_eq!(result, expected, "{from:?} after {before:?}");
            if result.is_err() {
                assert_eq!(
                    inbox.feed(&whole(Kind::Message, b""), Passed::Nothing),
                    Err(error),
                    "the first stays"
                );
                assert_eq!(inbox.feed(b"", Passed::Nothing), Err(error), "also for nothing");
            }
        }
    }
}

/// A length is refused, or no memory is allocated for it before its bytes arrive.
#[test]
fn a_length_is_checked_before_anything_is_kept() {
    for longest in [0, 1, 30, 5_000, LARGEST_MESSAGE] {
        let most = [(1, longest), (3, 0), (4, 0), (5, LONGEST_TEXT), (6, LONGEST_TEXT)];
        for (kind, most) in most.map(|(kind, most)| (kind, most as u32)) {
            for length in [0, 1, most, most + 1, 1 << 24, (1 << 24) + 1, 1 << 31, u32::MAX] {
                let mut inbox = Inbox::new(Sender::Child, longest, 0, 0);
                let result = inbox.feed(&frame(kind, length, b""), Passed::Nothing);
                let error = ProtocolError::TooLong { length };
                assert_eq!(result, if length > most { Err(error) } else { Ok(()) }, "kind {kind}");
                if let Partial::Payload { bytes, .. } = &inbox.partial {
                    assert_eq!(bytes.capacity(), 0, "{length} bytes are set aside");
                }
                let is_whole = length == 0;
                assert_eq!(inbox.pop().is_some(), is_whole);
                assert_eq!(inbox.is_partial(), result.is_ok() && !is_whole);
            }
        }
    }
}
