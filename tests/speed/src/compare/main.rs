//! kpt beside each loop that its users might take instead: `./ci.sh compare`.
//!
//! What counts is CPU time, the kernel's part included, as that is what a loop takes from others. Each contestant has a
//! process of its own; all are on one CPU, and take turns, so that what else the machine does hits all of them. Where a
//! library has no way to do something, it is left out.
//!
//! The same for all: buffers of 2 KiB, one `read` and one `write` for each message, and one wait for all that is ready.
//! Level-triggered where there is that: mio and tokio are edge-triggered.
//!
//! The table has the ratios of medians, to a floor, or to the same with fewer descriptors; and how far apart the ratios of
//! single rounds are, half of the distance between their quartiles. A limit that kpt does not hold ends the program with
//! status 1.
//!
//! Usage: compare [--write] [PART]
//!   --write    writes table and picture into the README and docs/compare.svg
//!   PART       only cases with this in the name; `picture` for those that are in none but the picture

mod cases;
mod libraries;
mod limits;
mod links;
mod measure;
mod picture;
mod relay;
mod side;
mod table;

use std::error::Error;
use std::process::{Command, ExitCode};

use cases::{Base, Case};
use libraries::ALL;
use measure::Outcome;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where the repository is.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Vec::from_iter(std::env::args().skip(1));
    if let [flag, indices @ ..] = &args[..]
        && flag == "--side"
    {
        let indices =
            indices.iter().map(|index| index.parse()).collect::<Result<Vec<usize>, _>>()?;
        serve(&indices);
        return Ok(ExitCode::SUCCESS);
    }
    raise_descriptor_limit();
    pin()?;
    let part = args.iter().find(|arg| !arg.starts_with('-')).map_or("", String::as_str);
    let (mut measured, mut is_good) = (Vec::new(), true);
    for (index, case) in cases::all().into_iter().enumerate() {
        if case.name.contains(part) || (case.name.is_empty() && part == "picture") {
            let outcomes = measure::measure(index, &case);
            is_good &= say(&case, &outcomes);
            measured.push((case, outcomes));
        }
    }
    if args.iter().any(|arg| arg == "--write") {
        picture::draw(&format!("{ROOT}/docs/compare.svg"), &measured)?;
        let text = format!("{}\n{}", about(), table::table(&measured));
        table::put_between_markers(&format!("{ROOT}/README.md"), &text)?;
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a process of a contestant does.
fn serve(indices: &[usize]) {
    let &[case, library, work] = indices else { return };
    let (Some(case), Some(&library)) = (cases::all().into_iter().nth(case), ALL.get(library))
    else {
        return;
    };
    match (case.base, work) {
        (Base::Own(own), 1) => side::serve(library, own),
        _ => side::serve(library, case.work),
    }
}

/// As far as it goes: the rings of pipes have thousands.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Has this process, and all that it starts, run on one CPU, the last of those that it may.
fn pin() -> Result<(), Box<dyn Error>> {
    let may = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| may.is_set(*cpu));
    let mut one = CpuSet::new();
    one.set(last.ok_or("there is no CPU")?);
    sched_setaffinity(None, &one)?;
    Ok(())
}

/// Prints what a case came to. Whether all limits hold.
fn say(case: &Case, outcomes: &[Outcome]) -> bool {
    let name = match case.plot {
        Some((cases::Plot::Event, count)) => format!("1 ready of {count}"),
        Some((cases::Plot::Timer, count)) => format!("cancel and add, {count} pending"),
        None => case.name.clone(),
    };
    println!("{name}");
    for outcome in outcomes {
        match &outcome.figures {
            Ok(_) => println!("    {:<10}{}", outcome.library.name(), table::cell(case, outcome)),
            Err(reason) => println!("    {:<10}left out: {reason}", outcome.library.name()),
        }
    }
    let limits = limits::check(case, outcomes);
    for (limit, is_held) in &limits {
        println!("  {} {limit}", if *is_held { "holds: " } else { "MISSED:" });
    }
    limits.iter().all(|(_, is_held)| *is_held)
}

/// Who took part, when and where.
fn about() -> String {
    let versions = ALL[1..].iter().filter_map(|library| library.about().ok());
    let first_line = |program: &str, arg: &str| {
        let output = Command::new(program).arg(arg).output().ok();
        let said = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        said.unwrap_or_default()
    };
    format!(
        "{}; {}, Linux {}, {}.\n",
        Vec::from_iter(versions).join(", "),
        first_line("date", "+%F"),
        first_line("uname", "-r"),
        first_line("rustc", "--version"),
    )
}
