//! The task that saves in the background: a forked process, whose memory is the server's at the moment of the fork.

use std::error::Error;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use kpt_std::{Child, Parent, Spawner, StartError, TaskConfig, TaskHandle, Thread, Threads};
use serde::{Deserialize, Serialize};

use crate::snapshot_file::{Clocks, SnapshotFile};
use crate::store::Store;

/// How many slots are written before the task looks for messages of its parent.
const SLOTS_PER_SLICE: usize = 256;
/// How often the task reports its progress.
const REPORT_PERIOD: Duration = Duration::from_millis(100);
/// The time that the task has to end by itself.
const GRACE: Duration = Duration::from_millis(200);

/// What the task tells its parent.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The number of keys that have been written so far.
    Written(u64),
    /// The snapshot is complete, with this number of keys.
    Saved(u64),
    /// Why there is no snapshot.
    Failed(String),
}

/// The state of the task. The keys are those of the parent, as they were.
struct Saver<S> {
    parent: Parent,
    store: S,
    path: PathBuf,
    clocks: Clocks,
    file: Option<SnapshotFile>,
    slot: usize,
}

/// Starts the task.
///
/// # Errors
/// Returns why it can't be started.
pub fn start(
    spawner: &Spawner,
    store: &Store,
    path: &Path,
    clocks: Clocks,
) -> Result<TaskHandle, StartError> {
    // Without the clients' connections: they notice when the server hangs up.
    let config = TaskConfig::new("snapshot").grace(GRACE).keep_only::<File>([]);
    // A simulated task is no copy of this process, so it has a copy of the keys.
    #[cfg(test)]
    let (store, start) = (std::rc::Rc::new(store.clone()), Spawner::start_owned);
    #[cfg(not(test))]
    let start = Spawner::start;
    let path = path.to_owned();
    start(spawner, config, |parent| Saver { parent, store, path, clocks, file: None, slot: 0 })
}

impl<S: Deref<Target = Store>> Child for Saver<S> {
    type Arg = ();

    fn pre_run(&mut self, mut threads: Threads<Self>) -> Result<(), Box<dyn Error>> {
        self.file = Some(SnapshotFile::create(&self.path, process::id(), self.clocks)?);
        threads.add_execute("write", Self::on_write, ())?;
        threads.add_timer("report", REPORT_PERIOD, Self::on_report, ())?;
        Ok(())
    }

    /// The server ends, or has ended: what has been written is removed.
    fn pre_stop(&mut self, _: Threads<Self>) {
        self.file = None;
    }
}

impl<S: Deref<Target = Store>> Saver<S> {
    /// Writes a slice, and gives way.
    fn on_write(&mut self, mut thread: Thread<Self>) {
        match self.write_slice() {
            Ok(None) => return thread.again(),
            Ok(Some(keys)) => self.report(&Report::Saved(keys)),
            Err(error) => self.report(&Report::Failed(error.to_string())),
        }
        thread.threads().stop();
    }

    /// Returns the number of keys when all are on the disk.
    fn write_slice(&mut self) -> io::Result<Option<u64>> {
        let Some(file) = &mut self.file else { return Err(io::Error::other("there is no file")) };
        let end = self.slot + SLOTS_PER_SLICE;
        self.store.items(self.slot..end).try_for_each(|item| file.add(item))?;
        self.slot = end;
        if self.slot < self.store.slots() {
            return Ok(None);
        }
        self.file.take().map(SnapshotFile::commit).transpose()
    }

    fn on_report(&mut self, thread: Thread<Self>) {
        if let Some(file) = &self.file {
            self.report(&Report::Written(file.keys()));
        }
        thread.again();
    }

    fn report(&self, report: &Report) {
        // There is always room for these few. Without a parent, they are not needed.
        let _ = self.parent.send_value(report);
    }
}
