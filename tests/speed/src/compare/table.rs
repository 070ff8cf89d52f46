//! The table of the README.

use crate::cases::{Base, Case};
use crate::libraries::ALL;
use crate::measure::{Figures, Outcome};

/// A row for each case that has a name.
pub fn table(measured: &[(Case, Vec<Outcome>)]) -> String {
    let heads = ALL.map(|library| format!(" {} |", library.name())).concat();
    let mut table = format!("| |{heads}\n|---|{}\n", "---|".repeat(ALL.len()));
    for (case, outcomes) in measured.iter().filter(|(case, _)| !case.name.is_empty()) {
        let cells = outcomes.iter().map(|outcome| format!(" {} |", cell(case, outcome)));
        table += &format!("| {} |{}\n", case.name, cells.collect::<String>());
    }
    table
}

/// What a cell says. The floor's is the time that the ratios are of.
pub fn cell(case: &Case, outcome: &Outcome) -> String {
    match (outcome.figures.as_ref(), case.base) {
        (Err(_), _) => "-".to_owned(),
        (Ok(&Figures::Late { median, p99, early: 0 }), _) => format!("{median:.0} / {p99:.0} µs"),
        (Ok(&Figures::Late { median, p99, early }), _) => {
            format!("{median:.0} / {p99:.0} µs, {early} early")
        }
        (Ok(&Figures::Time { nanos, spread, .. }), Base::Nothing) => {
            format!("{nanos:.0} ±{spread:.0} ns")
        }
        (Ok(&Figures::Time { nanos, .. }), Base::Floor) if outcome.library == ALL[0] => {
            format!("{nanos:.0} ns")
        }
        (Ok(&Figures::Time { ratio, spread, .. }), _) => format!("{ratio:.2} ±{spread:.2}"),
    }
}

/// Puts a text between the markers of a file.
pub fn put_between_markers(file: &str, text: &str) -> std::io::Result<()> {
    const BEGIN: &str = "<!-- written by ./ci.sh compare --write -->\n";
    const END: &str = "<!-- to here -->";
    let all = std::fs::read_to_string(file)?;
    let parts =
        all.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    let Some((before, (_, after))) = parts else {
        return Err(std::io::Error::other(format!("{file} has no markers")));
    };
    std::fs::write(file, format!("{before}{BEGIN}{text}{END}{after}"))
}
