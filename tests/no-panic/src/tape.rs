//! Every public operation on tapes and rings, with bytes and entries that the compiler can't know.

use core::cell::RefCell;
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering};

use kpt_core::poller::{Poller, Ready};
use kpt_core::tape::{
    Call, Called, Encoder, Entry, Output, Recorder, Records, Ring, Seconds, Tape,
};
use kpt_core::{FixedLoop, Instant, Source};

use crate::{
    Anybody, Outside, Sink, State, exercise, see_next, seen, unknown, unknown_interest, use_threads,
};

static MEMORY: [AtomicU32; 300] = [const { AtomicU32::new(0) }; 300];
static SMALL: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

pub fn exercise(state: &mut State<'_>) {
    let shared = RefCell::new(Ring::new(&MEMORY[..]));
    exercise!(FixedLoop::<_, _, 2, u32>::new(Recorder::new(Outside, &shared)), state);
    seen(shared.try_borrow().map_or(0, |ring| ring.memory().len() as u64));
    exercise_recorder(Recorder::new(Outside, Ring::new(&MEMORY[..])));
    exercise_recorder(Recorder::new(Outside, Ring::new(&SMALL[..])));
    exercise_bytes();
}

fn exercise_recorder(mut poller: Recorder<Outside, Ring<&'static [AtomicU32]>>) {
    while unknown() != 0 {
        seen(poller.now().as_micros());
        let _ = poller.modify(Source::new(unknown() as u32), unknown_interest());
        let until = Instant::from_micros(unknown());
        let _ = poller.wait(until, &mut Ready::new(&mut Anybody));
        let _ = poller.prepare(until);
        poller.after_hook();
        let _ = poller.inner();
        seen(poller.tape().memory().len() as u64);
    }
}

/// Bytes of any length and contents, read as a tape and as a ring; and entries as bytes and as text.
fn exercise_bytes() {
    let mut bytes = [0_u8; 300];
    while unknown() != 0 {
        for (byte, word) in bytes.iter_mut().zip(&MEMORY) {
            *byte = word.load(Ordering::Relaxed) as u8 ^ unknown() as u8;
        }
        let Some(bytes) = bytes.get(..unknown() as usize) else { continue };
        let mut encoder = Encoder::<3>::new();
        match Records::new(bytes) {
            Ok(records) => {
                seen(u64::from(records.is_in_hook()));
                for record in records {
                    encoder.entry(&record.entry, &mut Sink);
                    let _ = write!(Sink, "{record}{}", record.entry);
                }
            }
            Err(error) => _ = write!(Sink, "{error}"),
        }
        let _ = write!(Sink, "{}{}", Seconds(encoder.time()), Call::Value);
        encoder.entry(&Entry::Called(Called::value(unknown() as u32, bytes)), &mut Sink);
        seen((&RefCell::new(Ring::new(&SMALL[..]))).value(unknown() as u32, unknown()));
    }
}

impl Output for Sink {
    fn byte(&mut self, byte: u8) {
        seen(u64::from(byte));
    }
}
