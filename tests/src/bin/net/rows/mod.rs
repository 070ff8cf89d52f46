//! All rows, by who does what.

mod documented;
mod parents;
mod systems;
mod tasks;

use super::row::Row;

pub fn all() -> Vec<Row> {
    [tasks::rows(), parents::rows(), systems::rows(), documented::rows()]
        .into_iter()
        .flatten()
        .collect()
}
