//! A program without `std`: kpt-core and the C library, in one small static file.
//!
//! It ticks three times and sends back what is typed. When both have come to their end, no thread is left and the loop
//! returns.

#![no_std]
#![no_main]

mod poll;
mod sys;

use core::time::Duration;

use kpt_core::{AddError, FixedLoop, Source, Thread, Threads};
use libc::{EXIT_FAILURE, EXIT_SUCCESS, STDIN_FILENO, c_int};

use crate::poll::PollPoller;
use crate::sys::print;

const PERIOD: Duration = Duration::from_millis(500);
const TICKS: u32 = 3;
/// As many threads as there are at a time; the loop has the memory for them in itself.
const THREADS: usize = 3;
/// How many of them wait for a descriptor.
const DESCRIPTORS: usize = 1;

// SAFETY: the C library calls the function of this name, and there is no other one.
#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    let mut kpt = FixedLoop::<_, _, THREADS>::new(PollPoller::<DESCRIPTORS>);
    let has_started = App::start(kpt.threads()).is_ok();
    if has_started && kpt.run(&mut App { ticks: 0 }).is_ok() {
        print(b"done\n");
        EXIT_SUCCESS
    } else {
        EXIT_FAILURE
    }
}

struct App {
    ticks: u32,
}

impl App {
    fn start(mut threads: Threads<Self>) -> Result<(), AddError<()>> {
        threads.add_execute("hello", Self::on_start, ())?;
        threads.add_read("echo", Source::new(STDIN_FILENO as u32), Self::on_input, ())?;
        threads.add_timer("tick", PERIOD, Self::on_tick, ())?;
        Ok(())
    }

    fn on_start(&mut self, _thread: Thread<Self>) {
        print(b"type something; Ctrl-D ends it\n");
    }

    fn on_input(&mut self, thread: Thread<Self>) {
        match sys::read(STDIN_FILENO, &mut [0; 256]) {
            Ok([]) | Err(_) => print(b"end of input\n"),
            Ok(input) => {
                print(input);
                thread.again();
            }
        }
    }

    fn on_tick(&mut self, thread: Thread<Self>) {
        print(b"tick\n");
        self.ticks += 1;
        if self.ticks < TICKS {
            thread.again();
        }
    }
}

/// There must be one, but nothing here can panic, so it is not in the program.
#[panic_handler]
fn on_panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::abort()
}
