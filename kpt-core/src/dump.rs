//! The table of threads, as a value to print.

use core::cell::RefCell;
use core::fmt;

use crate::decimal::Decimal;
use crate::id::Index;
use crate::row::Row;
use crate::tables::Tables;
use crate::time::Instant;

/// The state of all threads, to print. Returned by [`Threads::dump`](crate::Threads::dump).
///
/// The text has one line for each thread, with id, kind, name, source, state, and the time until it is due or by which
/// it is late. The last line has the number of threads, the capacity, and the largest number of threads so far; and if
/// there were any, the number of events for sources without threads.
///
/// ```text
/// id          kind     name             source  state    due in
/// 0.1         timer    tick             -       waiting  1.999873 s
/// 1.3         read     client           5       ready    -
/// 2.1         timer    flush            -       ready    late 0.001234 s
/// 3 of 64 threads, at most 4 so far
/// ```
pub struct Dump<'d, S, A> {
    pub(crate) tables: Tables<'d, S, A>,
    pub(crate) now: Instant,
}

const HEADER: &str = "id          kind     name             source  state    due in\n";

/// The time until a thread is due, in microseconds.
enum Due {
    /// The thread is not a timer.
    No,
    Never,
    In(u64),
    Late(u64),
}

impl Due {
    fn of(row: &Row, now: Instant) -> Self {
        let Some(deadline) = row.deadline() else { return Self::No };
        if deadline == Instant::NEVER {
            Due::Never
        } else if deadline < now {
            Due::Late(now.as_micros().saturating_sub(deadline.as_micros()))
        } else {
            Due::In(deadline.as_micros().saturating_sub(now.as_micros()))
        }
    }
}

impl<S, A> Dump<'_, S, A> {
    fn rows(&self) -> impl Iterator<Item = Row> {
        let slots = (0..self.tables.slots()).filter_map(Index::new);
        slots.filter_map(|index| self.tables.row(index))
    }

    fn write_row(&self, f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
        let position = Decimal::new(row.id.position() as u64);
        let generation = Decimal::new(row.id.generation());
        let id = [position.as_str(), ".", generation.as_str()];
        write_column(f, &id, 12)?;
        write_column(f, &[row.kind.as_str()], 9)?;
        write_column(f, &[row.name], 17)?;
        let source = row.source().map(|source| Decimal::new(u64::from(source.number())));
        write_column(f, &[source.as_ref().map_or("-", Decimal::as_str)], 8)?;
        write_column(f, &[row.state.as_str()], 9)?;
        match Due::of(row, self.now) {
            Due::No => f.write_str("-"),
            Due::Never => f.write_str("never"),
            Due::In(micros) => write_seconds(f, micros),
            Due::Late(micros) => {
                f.write_str("late ")?;
                write_seconds(f, micros)
            }
        }
    }

    /// Writes the number of threads, the capacity, and the largest number of threads so far.
    fn write_summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Decimal::new(self.tables.len() as u64).as_str())?;
        f.write_str(" of ")?;
        f.write_str(Decimal::new(self.tables.capacity() as u64).as_str())?;
        f.write_str(" threads, at most ")?;
        f.write_str(Decimal::new(u64::from(self.tables.most_used())).as_str())?;
        f.write_str(" so far")?;
        if self.tables.strays() > 0 {
            f.write_str("; ")?;
            f.write_str(Decimal::new(u64::from(self.tables.strays())).as_str())?;
            f.write_str(" events for sources without threads")?;
        }
        Ok(())
    }
}

/// Writes the parts, and then blanks up to the width of the column.
fn write_column(f: &mut fmt::Formatter<'_>, parts: &[&str], width: usize) -> fmt::Result {
    let mut length = 0_usize;
    for part in parts {
        f.write_str(part)?;
        length = length.saturating_add(part.chars().count());
    }
    f.write_str(" ")?;
    for _ in length.saturating_add(1)..width {
        f.write_str(" ")?;
    }
    Ok(())
}

fn write_seconds(f: &mut fmt::Formatter<'_>, micros: u64) -> fmt::Result {
    let digits = Decimal::with_width(micros, 7);
    let (seconds, fraction) = digits
        .as_str()
        .split_at_checked(digits.as_str().len().saturating_sub(6))
        .unwrap_or_default();
    f.write_str(seconds)?;
    f.write_str(".")?;
    f.write_str(fraction)?;
    f.write_str(" s")
}

impl<S, A> fmt::Display for Dump<'_, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        for row in self.rows() {
            self.write_row(f, &row)?;
            f.write_str("\n")?;
        }
        self.write_summary(f)
    }
}

/// A [`Dump`] that also shows arguments. Returned by [`Threads::dump_with`](crate::Threads::dump_with).
pub struct DumpWith<'d, S, A, F> {
    // Reading an argument requires mutable access to the tables.
    dump: RefCell<Dump<'d, S, A>>,
    show: F,
}

impl<'d, S, A, F> DumpWith<'d, S, A, F> {
    pub(crate) fn new(dump: Dump<'d, S, A>, show: F) -> Self {
        Self { dump: RefCell::new(dump), show }
    }
}

impl<S, A, F> fmt::Display for DumpWith<'_, S, A, F>
where
    F: Fn(&A, &mut fmt::Formatter<'_>) -> fmt::Result,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut dump = self.dump.try_borrow_mut().map_err(|_| fmt::Error)?;
        f.write_str(HEADER)?;
        for index in (0..dump.tables.slots()).filter_map(Index::new) {
            let Some(row) = dump.tables.row(index) else { continue };
            dump.write_row(f, &row)?;
            if let Some(arg) = dump.tables.arg(index) {
                f.write_str("  ")?;
                (self.show)(arg, f)?;
            }
            f.write_str("\n")?;
        }
        dump.write_summary(f)
    }
}

impl<S, A> fmt::Debug for Dump<'_, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "defmt")]
impl<S, A> defmt::Format for Dump<'_, S, A> {
    fn format(&self, f: defmt::Formatter<'_>) {
        for row in self.rows() {
            defmt::write!(
                f,
                "{} {=str} {=str} source {} {=str} ",
                row.id,
                row.kind.as_str(),
                row.name,
                row.source().map(|source| source.number()),
                row.state.as_str()
            );
            match Due::of(&row, self.now) {
                Due::No => defmt::write!(f, "-\n"),
                Due::Never => defmt::write!(f, "never\n"),
                Due::In(micros) => defmt::write!(f, "due in {=u64} us\n", micros),
                Due::Late(micros) => defmt::write!(f, "late {=u64} us\n", micros),
            }
        }
        defmt::write!(
            f,
            "{=usize} of {=usize} threads, at most {=u32} so far; \
             {=u32} events for sources without threads",
            self.tables.len(),
            self.tables.capacity(),
            self.tables.most_used(),
            self.tables.strays()
        );
    }
}
