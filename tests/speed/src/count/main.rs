//! Does one operation a number of times, so that its instructions can be counted: `./ci.sh count`.
//!
//! Usage: count OPERATION SIZE TIMES     does it
//!        count list                     the rows of the table: an operation, a size, and what is subtracted (or -)

mod operations;
mod poller;

use std::process::ExitCode;

/// Does something of a size so many times.
type Operation = fn(usize, usize);

const OPERATIONS: [(&str, Operation); 7] = [
    ("cancel_add", operations::cancel_add),
    ("reschedule", operations::reschedule),
    ("timer_again", operations::timer_again),
    ("execute_again", operations::execute_again),
    ("fixed_execute_again", operations::fixed_execute_again),
    ("read_again", operations::read_again),
    ("wait", operations::wait),
];

/// The rows of the table.
const ROWS: [(&str, usize, &str); 9] = [
    ("cancel_add", 1_000, "-"),
    ("reschedule", 1_000, "-"),
    ("timer_again", 1, "-"),
    ("timer_again", 1_000, "-"),
    ("execute_again", 1, "-"),
    ("execute_again", 100, "-"),
    ("fixed_execute_again", 1, "-"),
    ("fixed_execute_again", 4, "-"),
    ("read_again", 1, "wait"),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["list"] => list(),
        [name, size, times] if run(name, size, times).is_some() => {}
        _ => {
            eprintln!("usage: count list | count OPERATION SIZE TIMES");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn list() {
    for (name, size, less) in ROWS {
        println!("{name} {size} {less}");
    }
}

/// Returns `None` if there is no such operation, or these are no numbers.
fn run(name: &str, size: &str, times: &str) -> Option<()> {
    let (size, times) = (size.parse().ok()?, times.parse().ok()?);
    let (_, operation) = OPERATIONS.iter().find(|(other, _)| *other == name)?;
    operation(size, times);
    Some(())
}
