//! Prints a tape of `kpt_std::tape`, or the ring of a flight recorder, also that of a microcontroller.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::Write;

use kpt_core::tape::Records;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let Some(path) = args.next().filter(|arg| arg != "--help" && arg != "-h") else {
        println!("Usage: tape FILE\nPrints a tape, or the memory of a ring, entry by entry.");
        return Ok(());
    };
    let bytes = std::fs::read(path)?;
    let records = Records::new(&bytes)?;
    let is_in_hook = records.is_in_hook();
    let mut out = std::io::stdout().lock();
    for record in records {
        writeln!(out, "{record}")?;
    }
    if is_in_hook {
        writeln!(out, "The run ended within the last hook.")?;
    }
    Ok(())
}
