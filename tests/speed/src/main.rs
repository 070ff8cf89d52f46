//! How fast kpt is, side by side with libev and with what std has, in one process: `./ci.sh speed`.
//!
//! Machines are noisy, so that the two sides run in turns, and what counts is the time that they have had of the CPU, the
//! kernel's part included: where loops sleep, waking up is most of it. The table has the ratio of the rounds in the middle,
//! which must not be above its limit, and of the best rounds. One that is above ends the program with status 1.
//!
//! libev waits with epoll, whose timeouts are whole milliseconds: it wakes less often than kpt, and its timers are later.
//! With `LIBEV_FLAGS=1` in the environment, it waits with select.
//!
//! Usage: speed [PART]     only cases with this in the name, or with this rival

mod cases;

use std::process::ExitCode;

use cases::Case;
use kpt_speed::in_c::Library;
use kpt_speed::stats::{self, Comparison};
use kpt_std::EventLoop;

fn main() -> ExitCode {
    let part = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    say_who_takes_part();
    println!(
        "{:<44}{:>9}  {:<13}{:>9}{:>9}{:>8}{:>7}",
        "CPU time in ns", "kpt", "rival", "", "medians", "minima", "limit"
    );
    let mut is_good = true;
    for case in cases::all() {
        if case.name.contains(&part) || case.rival.contains(&part) {
            is_good &= run(&case);
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say_who_takes_part() {
    let kpt = EventLoop::<()>::new().unwrap();
    let us = short_type(std::any::type_name_of_val(kpt.poller()));
    match Library::Ev.about() {
        Ok(libev) => println!("kpt on {us}, {libev}"),
        Err(reason) => {
            println!("kpt on {us}");
            eprintln!("\n*** THE COMPARISON WITH LIBEV IS MISSING: {reason} ***\n");
        }
    }
}

/// A type's name without the modules.
fn short_type(name: &str) -> String {
    let parts = name.split('<').map(|part| part.rsplit("::").next().unwrap_or(part));
    parts.collect::<Vec<_>>().join("<")
}

/// Makes a comparison and prints it. Whether kpt is within its limit.
fn run(case: &Case) -> bool {
    let (mut ours, mut rival) = (case.sides)();
    let comparison = Comparison::run(ours.as_mut(), rival.as_deref_mut(), case.rounds, case.times);
    print!("{:<44}{:>9.1}  {:<13}", case.name, comparison.ours.median, case.rival);
    let mut is_good = true;
    if let (Some(theirs), Some((medians, minima))) = (comparison.rival, comparison.ratios()) {
        is_good = medians <= case.limit;
        print!("{:>9.1}{medians:>9.2}{minima:>8.2}", theirs.median);
        if case.limit.is_finite() {
            print!("{:>7.2}  {}", case.limit, if is_good { "ok" } else { "TOO SLOW" });
        }
        println!();
    } else {
        println!("{:>9}{:>9}{:>8}{:>7.2}  missing", "-", "-", "-", case.limit);
    }
    let late = stats::lateness(ours.as_mut(), rival.as_deref_mut(), case.times);
    if let [Some(late), theirs] = late {
        let theirs = theirs.map_or(String::new(), |late| format!(", {} {late:?}", case.rival));
        println!("    late, in the middle: kpt {late:?}{theirs}");
    }
    is_good
}
