//! The table of threads, as a value to print.

use core::fmt;

use crate::decimal::Decimal;
use crate::head::Head;
use crate::id::Index;
use crate::link::{Link, Links, Place};
use crate::source::Kind;
use crate::storage::Body;
use crate::time::Instant;

/// One line for each thread with id, kind, name, source, state and the time until it is due, or how late it is; then
/// how many threads there are, can be, and have been at most. From [`Threads::dump`](crate::Threads::dump).
///
/// ```text
/// id          kind     name             source  state    due in
/// 0.1         timer    tick             -       waiting  1.999873 s
/// 1.3         read     client           5       ready    -
/// 2.1         timer    flush            -       ready    late 0.001234 s
/// 3 of 64 threads, at most 4 so far
/// ```
pub struct Dump<'d, S, A> {
    pub(crate) head: &'d Head,
    pub(crate) links: &'d [Link],
    pub(crate) bodies: &'d [Body<S, A>],
    pub(crate) now: Instant,
}

/// The columns of one thread.
struct Row<'d> {
    index: Index,
    link: &'d Link,
    name: &'d str,
    is_running: bool,
}

/// When a thread is due, in microseconds from now.
enum Due {
    /// It is no timer.
    No,
    Never,
    In(u64),
    Late(u64),
}

impl Row<'_> {
    fn state(&self) -> &'static str {
        if self.is_running {
            return "running";
        }
        match self.link.place {
            Place::Vacant | Place::Retired => "vacant",
            Place::GivenUp | Place::Timers | Place::Untold | Place::Watched => "waiting",
            Place::ReadyToWrite | Place::ReadyToRead | Place::Due | Place::Pending => "ready",
        }
    }

    /// A reader's or writer's source.
    fn source(&self) -> Option<u32> {
        self.link.kind.has_source().then(|| self.link.source().number())
    }

    fn due(&self, now: Instant) -> Due {
        let deadline = self.link.deadline();
        if self.link.kind != Kind::Timer {
            Due::No
        } else if deadline == Instant::NEVER {
            Due::Never
        } else if deadline < now {
            Due::Late(now.as_micros().saturating_sub(deadline.as_micros()))
        } else {
            Due::In(deadline.as_micros().saturating_sub(now.as_micros()))
        }
    }
}

impl<S, A> Dump<'_, S, A> {
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.links.len()).filter_map(Index::new).filter_map(|index| {
            let link = self.links.at(index);
            let name = self.bodies.get(index.position()).and_then(|body| body.name).unwrap_or("");
            let is_used = !matches!(link.place, Place::Vacant | Place::Retired);
            is_used.then_some(Row { index, link, name, is_running: self.head.is_running(index) })
        })
    }

    fn write_row(&self, f: &mut fmt::Formatter<'_>, row: &Row<'_>) -> fmt::Result {
        let position = Decimal::new(row.index.position() as u64);
        let generation = Decimal::new(row.link.generation().number());
        let id = [position.as_str(), ".", generation.as_str()];
        write_column(f, &id, 12)?;
        write_column(f, &[row.link.kind.as_str()], 9)?;
        write_column(f, &[row.name], 17)?;
        let source = row.source().map(|number| Decimal::new(u64::from(number)));
        write_column(f, &[source.as_ref().map_or("-", Decimal::as_str)], 8)?;
        write_column(f, &[row.state()], 9)?;
        match row.due(self.now) {
            Due::No => f.write_str("-\n"),
            Due::Never => f.write_str("never\n"),
            Due::In(micros) => write_seconds(f, micros),
            Due::Late(micros) => {
                f.write_str("late ")?;
                write_seconds(f, micros)
            }
        }
    }
}

/// Writes the parts, and blanks up to the column's width.
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
    f.write_str(" s\n")
}

impl<S, A> fmt::Display for Dump<'_, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("id          kind     name             source  state    due in\n")?;
        for row in self.rows() {
            self.write_row(f, &row)?;
        }
        f.write_str(Decimal::new(u64::from(self.head.used)).as_str())?;
        f.write_str(" of ")?;
        f.write_str(Decimal::new(self.head.capacity(self.links) as u64).as_str())?;
        f.write_str(" threads, at most ")?;
        f.write_str(Decimal::new(u64::from(self.head.most_used)).as_str())?;
        f.write_str(" so far")?;
        if self.head.strays > 0 {
            f.write_str("; ")?;
            f.write_str(Decimal::new(u64::from(self.head.strays)).as_str())?;
            f.write_str(" events for sources without threads")?;
        }
        Ok(())
    }
}

#[cfg(feature = "defmt")]
impl<S, A> defmt::Format for Dump<'_, S, A> {
    fn format(&self, f: defmt::Formatter<'_>) {
        for row in self.rows() {
            let position = row.index.position();
            let generation = row.link.generation().number();
            let (kind, state) = (row.link.kind.as_str(), row.state());
            defmt::write!(
                f,
                "{=usize}.{=u64} {=str} {=str} source {} {=str} ",
                position,
                generation,
                kind,
                row.name,
                row.source(),
                state
            );
            match row.due(self.now) {
                Due::No => defmt::write!(f, "-\n"),
                Due::Never => defmt::write!(f, "never\n"),
                Due::In(micros) => defmt::write!(f, "due in {=u64} us\n", micros),
                Due::Late(micros) => defmt::write!(f, "late {=u64} us\n", micros),
            }
        }
        let capacity = self.head.capacity(self.links);
        defmt::write!(
            f,
            "{=u32} of {=usize} threads, at most {=u32} so far, {=u32} strays",
            self.head.used,
            capacity,
            self.head.most_used,
            self.head.strays
        );
    }
}
