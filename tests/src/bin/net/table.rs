//! The table of all tries.

use std::time::Duration;

use kpt_tests::chance::is_checked;

use super::row::{Expected, Outcome, Row, User};

/// Rows in the order in which they were first added.
pub struct Table<'r> {
    lines: Vec<Line<'r>>,
    /// How much later than they should be tasks may be gone, in milliseconds.
    patience: u64,
}

/// All tries of a row as one user.
struct Line<'r> {
    row: &'r Row,
    user: User,
    tries: Vec<Outcome>,
}

impl<'r> Table<'r> {
    pub fn new(patience: u64) -> Self {
        Self { lines: Vec::new(), patience }
    }

    pub fn add(&mut self, row: &'r Row, user: User, outcome: Outcome) {
        let is_same = |line: &&mut Line| line.row.name == row.name && line.user == user;
        match self.lines.iter_mut().find(is_same) {
            Some(line) => line.tries.push(outcome),
            None => self.lines.push(Line { row, user, tries: vec![outcome] }),
        }
    }

    /// Prints all rows. Returns whether each is as it should be.
    pub fn print(&self) -> bool {
        let mut wrong = Vec::new();
        let mut part = "";
        for line in &self.lines {
            if line.row.part != part {
                part = line.row.part;
                println!("{part:<58} {:<6} {:>5} {:>9} {:>9}", "as", "tries", "pre_stop", "gone");
            }
            let faults = line.print(self.patience);
            wrong.extend(faults.into_iter().map(|fault| format!("{}: {fault}", line.row.name)));
        }
        wrong.iter().for_each(|wrong| println!("WRONG {wrong}"));
        wrong.is_empty()
    }
}

impl Line<'_> {
    /// Prints the row with its worst times. Returns what is not as it should be.
    fn print(&self, patience: u64) -> Vec<String> {
        let (row, user) = (
            self.row,
            match self.user {
                User::Root => "root",
                User::Nobody => "65534",
                User::Own => "own",
            },
        );
        let mut faults = Vec::new();
        let (mut stopped, mut gone) = (None::<Duration>, None::<Duration>);
        let (mut words, mut tries) = (String::new(), 0);
        for outcome in &self.tries {
            match outcome {
                Outcome::Skipped(why) => words = format!("SKIPPED: {why}"),
                Outcome::Broken(why) => faults.push(format!("as {user}: {why}")),
                Outcome::Tried { pre_stops, gone: time, left } => {
                    tries += 1;
                    stopped = stopped.max(pre_stops.iter().max().copied());
                    gone = gone.max(*time);
                    if !left.is_empty() {
                        words = format!("LEFT: {}", left.join(", "));
                    }
                    let fault = row.fault(pre_stops, *time, left, patience);
                    faults.extend(fault.map(|fault| format!("as {user}: {fault}")));
                }
            }
        }
        let text = |time: Option<Duration>| {
            time.map_or_else(|| "-".to_owned(), |time| format!("{} ms", time.as_millis()))
        };
        println!(
            "  {:<56} {user:<6} {tries:>5} {:>9} {:>9} {words}{}",
            row.name,
            text(stopped),
            text(gone),
            if faults.is_empty() { "" } else { " WRONG" }
        );
        faults
    }
}

impl Row {
    /// Returns what is wrong, if anything is.
    fn fault(
        &self,
        pre_stops: &[Duration],
        gone: Option<Duration>,
        left: &[String],
        patience: u64,
    ) -> Option<String> {
        if pre_stops.len() != self.pre_stops {
            return Some(format!(
                "pre_stop in {} tasks, not in {}",
                pre_stops.len(),
                self.pre_stops
            ));
        }
        match (&self.expected, gone) {
            (Expected::Left(names), _) if left == *names => None,
            (Expected::Left(names), _) => {
                Some(format!("{left:?} are left, and the docs say {names:?}"))
            }
            (Expected::Gone(_), None) => Some(format!("{left:?} are left")),
            (Expected::Gone(range), Some(gone)) => {
                let time = u64::try_from(gone.as_millis()).unwrap_or(u64::MAX);
                let is_in_time = (range.start..range.end + patience).contains(&time);
                let is_right = is_checked() || is_in_time;
                (!is_right).then(|| format!("gone after {time} ms, not within {range:?}"))
            }
        }
    }
}
