//! Compares the queue with a slow twin that is obviously right.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn whole(kind: Kind, payload: &[u8]) -> Vec<u8> {
    [&[kind as u8], &(payload.len() as u32).to_le_bytes()[..], payload].concat()
}

#[derive(Clone, Debug)]
enum Step {
    Message(usize),
    Control(usize),
    Sent(Index),
    Clear,
}

fn steps(longest: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => prop_oneof![0..=longest, Just(longest), Just(longest + 1)].prop_map(Step::Message),
        2 => (0..10_000_usize).prop_map(Step::Control),
        20 => any::<Index>().prop_map(Step::Sent),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #[test]
    fn what_goes_out_is_what_went_in_within_the_bound(
        steps in vec(steps(80), 0..200),
        limit in 0..1_000_usize,
    ) {
        let mut outbox = Outbox::new(80, limit, 0);
        let limit = limit.max(2 * 85);
        let mut twin: Vec<u8> = Vec::new();
        let (mut sent, mut moved) = (0, 0);
        for step in steps {
            let (before, controls) = (sent, matches!(step, Step::Control(_)));
            match step {
                Step::Message(length) => {
                    let message = vec![length as u8; length];
                    let expected = match twin.len() + 5 + length <= limit {
                        _ if length > 80 => Err(Refused::TooLong),
                        true => Ok(()),
                        false => Err(Refused::Full),
                    };
                    let had_room = outbox.has_room();
                    let result = outbox.push_message(&message);
                    prop_assert_eq!(result, expected);
                    prop_assert!(!had_room || result != Err(Refused::Full));
                    if result.is_ok() {
                        twin.extend(whole(Kind::Message, &message));
                    }
                }
                Step::Control(length) => {
                    let text = "ä".repeat(length / 2);
                    outbox.push_control(Kind::Failed, &text);
                    twin.extend(whole(Kind::Failed, &text.as_bytes()[..text.len().min(4_096)]));
                }
                Step::Sent(count) => {
                    let count = count.index(twin.len() + 1);
                    outbox.mark_sent(count);
                    twin.drain(..count);
                    sent += count;
                }
                Step::Clear => {
                    outbox.clear();
                    twin.clear();
                }
            }
            prop_assert_eq!(outbox.unsent(), &twin[..]);
            prop_assert_eq!(outbox.has_room(), twin.len() + 5 + 80 <= limit);
            if sent > before && outbox.sent == 0 {
                moved += twin.len();
            }
            // At most one byte is moved for each byte sent.
            prop_assert!(moved <= sent);
            let newest = if controls { 4_101 } else { 85 };
            prop_assert!(outbox.bytes.len() <= 2 * (twin.len() + newest));
        }
    }

    #[test]
    fn a_text_is_cut_between_characters(text in "\\PC{0,40}", most in 0..60_usize) {
        let cut = cut(&text, most);
        prop_assert!(text.starts_with(cut) && cut.len() <= most);
        let next = text[cut.len()..].chars().next();
        prop_assert!(next.is_none_or(|next| cut.len() + next.len_utf8() > most));
    }
}

/// Sending a few bytes at a time from a queue that is refilled does not move the whole queue each time.
#[test]
fn a_slow_reader_does_not_make_queueing_dear() {
    let mut outbox = Outbox::new(100, 100_000, 0);
    let (mut sent, mut moved) = (0, 0);
    for _ in 0..100_000 {
        let _ = outbox.push_message(&[0; 100]);
        outbox.mark_sent(37);
        sent += 37;
        if outbox.sent == 0 {
            moved += outbox.unsent().len();
        }
    }
    assert!(moved <= sent, "{moved} bytes moved for {sent} that were sent");
    assert!(outbox.bytes.capacity() <= 4 * 100_000);
}
