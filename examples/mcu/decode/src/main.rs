//! Prints the defmt log that comes in at the standard input. Usage: kpt-decode FIRMWARE

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use defmt_decoder::{DecodeError, Table};

fn main() -> Result<()> {
    let path = env::args_os().nth(1).context("usage: kpt-decode FIRMWARE <LOG")?;
    let table = Table::parse(&fs::read(path)?)?.context("the firmware has no defmt log")?;
    let mut log = Vec::new();
    io::stdin().read_to_end(&mut log)?;

    let mut decoder = table.new_stream_decoder();
    decoder.received(&log);
    loop {
        match decoder.decode() {
            Ok(frame) => match frame.level() {
                Some(level) => println!("{} {}", level.as_str(), frame.display_message()),
                None => println!("{}", frame.display_message()),
            },
            Err(DecodeError::UnexpectedEof) => return Ok(()),
            Err(DecodeError::Malformed) => bail!("the log is broken"),
        }
    }
}
