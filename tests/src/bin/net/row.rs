//! A row of the matrix.

use std::io;
use std::ops::Range;
use std::time::Duration;

/// What is done before the parent ends, and what must be true after it.
pub struct Row {
    pub name: &'static str,
    /// The part of the matrix: what `net` takes as a word, too.
    pub part: &'static str,
    pub users: Users,
    /// Whether valgrind can run its processes.
    pub runs_under_valgrind: bool,
    /// What needs root, done in the process that becomes the parent.
    pub prepare: fn() -> io::Result<()>,
    /// In the parent: starts its tasks.
    pub parent: fn(),
    /// How the parent ends.
    pub end: End,
    /// The number of tasks that say that they are ready.
    pub ready: usize,
    /// The number of tasks in which `pre_stop` runs.
    pub pre_stops: usize,
    pub expected: Expected,
}

/// Who may try a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Users {
    Both,
    OnlyRoot,
    /// Prepared by root.
    OnlyNobody,
}

/// As whom a row is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    Root,
    Nobody,
    /// The user who runs this program, who is not root.
    Own,
}

/// How the parent ends.
#[derive(Clone, Copy)]
pub enum End {
    /// By SIGKILL.
    Killed,
    /// By what it does itself, when it is told to.
    Does(fn()),
}

/// What must be true when the parent has ended.
#[derive(Clone, PartialEq, Eq)]
pub enum Expected {
    /// Nobody is left after so many milliseconds.
    Gone(Range<u64>),
    /// Documented: these are left.
    Left(&'static [&'static str]),
}

/// Healthy tasks end by themselves.
pub const AT_ONCE: Expected = Expected::Gone(0..900);

/// Others have a second, and not more than two.
pub const IN_A_SECOND: Expected = Expected::Gone(950..1_900);

/// A task of a task outlives that by as much as it outlives its parent.
pub const IN_TWO_SECONDS: Expected = Expected::Gone(1_900..3_800);

/// A row of one task that does not end by itself, unless it is changed.
pub const fn row(part: &'static str, name: &'static str, parent: fn()) -> Row {
    Row {
        name,
        part,
        users: Users::Both,
        runs_under_valgrind: true,
        prepare: || Ok(()),
        parent,
        end: End::Killed,
        ready: 1,
        pre_stops: 0,
        expected: IN_A_SECOND,
    }
}

/// A row of one task that ends by itself.
pub const fn healthy(part: &'static str, name: &'static str, parent: fn()) -> Row {
    Row { pre_stops: 1, expected: AT_ONCE, ..row(part, name, parent) }
}

/// One that valgrind can't run: it has limits, descriptors and names of its own, and knows no descriptors of processes.
pub fn not_by_valgrind(row: Row) -> Row {
    Row { runs_under_valgrind: false, ..row }
}

/// What came of a try.
#[derive(Clone)]
pub enum Outcome {
    /// It can't be tried here.
    Skipped(String),
    /// It went wrong before the parent has ended.
    Broken(String),
    Tried {
        /// When `pre_stop` ran, after the end of the parent.
        pre_stops: Vec<Duration>,
        /// When nobody was left.
        gone: Option<Duration>,
        /// Who was left.
        left: Vec<String>,
    },
}
