//! Each contestant has a process of its own: none has the others' memory or descriptors, and one that fails is left out.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use kpt_speed::stats;
use rustix::time::ClockId;

use crate::cases::Work;
use crate::libraries::Library;

/// A contestant in another process.
pub struct Side {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Side {
    /// Starts one for the case, library and work of these indices. Or says why there is none.
    pub fn start(indices: [usize; 3]) -> Result<Self, String> {
        let mut command = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
        command.arg("--side").args(indices.map(|index| index.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|error| error.to_string())?;
        let orders = process.stdin.take().expect("it is piped");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut this = Self { process, orders, answers };
        match this.answer()?.as_str() {
            "ready" => Ok(this),
            reason => Err(reason.to_owned()),
        }
    }

    /// Nanoseconds of the CPU for each of so many operations.
    pub fn run(&mut self, times: usize) -> Result<f64, String> {
        let nanos = self.order("run", times)?;
        nanos.parse().map_err(|_| nanos)
    }

    /// By how many nanoseconds each of so many timers was late.
    pub fn lateness(&mut self, times: usize) -> Result<Vec<i64>, String> {
        let nanos = self.order("late", times)?;
        nanos.split(' ').map(str::parse).collect::<Result<_, _>>().map_err(|_| nanos)
    }

    fn order(&mut self, what: &str, times: usize) -> Result<String, String> {
        writeln!(self.orders, "{what} {times}").map_err(|error| error.to_string())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(0) => Err("it ended before it was done".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // It may be about to end, or in a loop that does not.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What such a process does until its orders end.
pub fn serve(library: Library, work: Work) {
    let mut contestant = match library.side(work) {
        Ok(contestant) => contestant,
        Err(reason) => return println!("{reason}"),
    };
    // What the other end of a ping-pong takes is the same for all, and most of it is what the kernel takes for both.
    let is_all_measured = matches!(work, Work::PingPong { .. });
    let clock = if is_all_measured { ClockId::ProcessCPUTime } else { ClockId::ThreadCPUTime };
    println!("ready");
    for order in std::io::stdin().lines().map_while(Result::ok) {
        let Some((what, times)) = order.split_once(' ') else { return };
        let times = times.parse().expect("a number");
        if what == "run" {
            println!("{}", stats::round(contestant.as_mut(), times, clock));
        } else {
            let nanos = contestant.lateness(times);
            println!("{}", Vec::from_iter(nanos.iter().map(i64::to_string)).join(" "));
        }
    }
}
