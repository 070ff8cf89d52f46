//! The matrix of the net under tasks: what a task, its parent and the system may do, and who is left when the parent has
//! gone. `./ci.sh net` runs it, and so do the tests in `tests/tasks_net.rs`.
//!
//! Usage: `net [--repeats N | --once] [WORD...]`. Tries the rows whose part is one of the words, or whose name contains one;
//! all rows, if there are none. Each is tried N times (once, if nothing is said) as root and as user 65534, with `--once` as
//! one of them. Without root, as the user who runs it, and without what needs root. Prints a line for each row, and fails
//! where one is not as it should be.
//!
//! Each try has an observer: a process that adopts all orphans, so that it knows when nobody is left. It runs this program
//! again as the parent of the row.

mod observer;
mod parent;
mod row;
mod rows;
mod table;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use kpt_tests::chance::is_checked;
use kpt_tests::sys;

use row::{Row, User, Users};
use table::Table;

/// The number of tries at a time. They wait for most of their time, unless they are checked.
const AT_ONCE: usize = 36;
/// With repeats, how late the slowest is counts for more than how long all take.
const AT_ONCE_IF_REPEATED: usize = 16;
const AT_ONCE_IF_CHECKED: usize = 4;

/// In the tests, beside which others run, tasks may be gone so many milliseconds later.
const PATIENCE_IF_ONCE: u64 = 2_000;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--parent", name] => {
            let row = rows::all().into_iter().find(|row| row.name == name);
            parent::be_parent(&row.expect("it was started with the name of a row"))
        }
        [parent::PROGRAM, what] => parent::be_program(what),
        ["--repeats", repeats, ref words @ ..] => {
            try_rows(repeats.parse().expect("a number of repeats"), usize::MAX, 0, words)
        }
        ["--once", ref words @ ..] => try_rows(1, 1, PATIENCE_IF_ONCE, words),
        ref words => try_rows(1, usize::MAX, 0, words),
    }
}

/// Tries the rows that the words ask for, as so many users at most.
fn try_rows(repeats: usize, most_users: usize, patience: u64, words: &[&str]) -> ExitCode {
    let all = rows::all();
    let is_part = |word: &str| all.iter().any(|row| row.part == word);
    let is_meant =
        |row: &Row, word: &str| row.part == word || !is_part(word) && row.name.contains(word);
    let is_wanted = |row: &&Row| words.is_empty() || words.iter().any(|word| is_meant(row, word));
    let rows: Vec<&Row> = all.iter().filter(is_wanted).collect();
    assert!(!rows.is_empty(), "no row has one of the words {words:?} in its name");
    let programs = parent::Programs::new().expect("this program can be copied");
    let tries: Vec<(&Row, User)> =
        rows.into_iter().flat_map(|row| users(row).take(most_users)).collect();
    let mut table = Table::new(patience);
    let repeated = |&(row, user)| std::iter::repeat_n((row, user), repeats);
    let all: Vec<_> = tries.iter().flat_map(repeated).collect();
    let at_once = match repeats {
        _ if is_checked() => AT_ONCE_IF_CHECKED,
        1 => AT_ONCE,
        _ => AT_ONCE_IF_REPEATED,
    };
    for some in all.chunks(at_once) {
        for (row, user, outcome) in observer::observe_all(some, &programs) {
            table.add(row, user, outcome);
        }
    }
    if table.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns a row with each user as whom it is tried.
fn users(row: &Row) -> impl Iterator<Item = (&Row, User)> {
    let users = match (sys::is_root(), row.users) {
        (true, Users::Both) => vec![User::Nobody, User::Root],
        (true, Users::OnlyRoot) => vec![User::Root],
        (true, Users::OnlyNobody) => vec![User::Nobody],
        (false, _) => vec![User::Own],
    };
    users.into_iter().map(move |user| (row, user))
}

/// The folder of the programs, for a row that executes one of them.
fn folder() -> PathBuf {
    PathBuf::from(env::var_os(parent::FOLDER).expect("the parent was started by this program"))
}
