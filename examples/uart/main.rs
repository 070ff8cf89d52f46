//! A receiver of frames on a UART whose states are hooks, in virtual time: `receiver.rs` is the one to read.

#![forbid(unsafe_code)]

mod receiver;
mod simulated;

use std::error::Error;
use std::time::Duration;

use kpt_core::FixedLoop;
use kpt_core::sim::{SimPoller, World};
use kpt_examples::Args;

use receiver::{Receiver, THREADS};
use simulated::Uart;

const HELP: &str = "
Receives what comes on a simulated UART, prints the frames that were whole, and
when, and counts the others.

Usage: uart";

fn main() -> Result<(), Box<dyn Error>> {
    Args::new(HELP).finish();

    let world = World::new();
    let mut uart = Uart::new(&world);
    uart.send_at(Duration::from_millis(1), b"\x7E\x05hello\x14")?;
    uart.send_at(Duration::from_millis(10), b"noise\x7E\x09half a ")?;
    uart.send_at(Duration::from_millis(20), b"\x7E\x05world\x28")?;

    let mut kpt = FixedLoop::<_, _, THREADS>::new(SimPoller::new(&world));
    let mut receiver = Receiver::new(uart);
    receiver.add_reader(kpt.threads())?;
    let _idle = kpt.run(&mut receiver); // Until nothing can ever happen.
    for (at, payload) in &receiver.frames {
        println!("{} us: {}", at.as_micros(), payload.escape_ascii());
    }
    println!("{} given up", receiver.given_up);
    Ok(())
}
