//! SAVE, BGSAVE and the snapshot at the end. Whatever becomes of a save, the server goes on, and the old snapshot is there
//! until the new one is complete.

use std::time::Duration;

use kpt_std::{Instant, Spawner, TaskEvent, TaskHandle, ThreadId};

use crate::outside::Outside;
use crate::planted::{self, Fault};
use crate::saver::{self, Report};
use crate::server::{Server, ServerThread, ServerThreads};
use crate::snapshot::WallMillis;
use crate::snapshot_file::{self, Clocks};

/// What has been saved, and what is being saved.
pub struct Saves {
    spawner: Spawner,
    running: Option<Running>,
    /// When the last snapshot was complete.
    pub last_save: WallMillis,
    /// The changes of the store that are in it.
    pub saved_changes: u64,
    /// Of the last one in the background: why it has failed, if it has, and how long it took.
    pub last_error: Option<String>,
    pub last_duration: Option<Duration>,
}

/// A task that saves.
#[derive(Debug)]
pub struct Running {
    task: TaskHandle,
    reader: Option<ThreadId>,
    limit: Option<ThreadId>,
    pub started: Instant,
    /// The store's changes at its start.
    changes: u64,
    /// How many keys it has written.
    pub keys: u64,
    result: Option<Result<u64, String>>,
    is_given_up: bool,
}

impl Saves {
    pub fn new(spawner: Spawner) -> Self {
        Self {
            spawner,
            running: None,
            last_save: snapshot_file::wall_millis(),
            saved_changes: 0,
            last_error: None,
            last_duration: None,
        }
    }

    /// Returns the one that is being written in the background.
    pub fn running(&self) -> Option<&Running> {
        self.running.as_ref()
    }
}

impl Server {
    /// Starts a save in the background.
    ///
    /// # Errors
    /// Returns why it does not start.
    pub fn start_save(&mut self, mut threads: ServerThreads) -> Result<(), String> {
        if self.saves.running.is_some() {
            return Err("Background save already in progress".into());
        }
        let now = threads.now();
        let path = self.config.snapshot();
        let task = saver::start(&self.saves.spawner, &self.store, &path, Clocks::at(now));
        let task = task.map_err(|error| {
            log::error!("no snapshot in the background: {error}");
            self.saves.last_error = Some(error.to_string());
            format!("Background save failed: {error}")
        })?;
        log::info!("{}: started, process {}", task.name(), task.id());
        let reader = threads.add_read("snapshot", task.source(), Self::on_save_event, 0);
        let timeout = self.config.save_timeout;
        let limit = if planted::has(Fault::HungSave) {
            None
        } else {
            threads.add_timer("snapshot's limit", timeout, Self::on_save_late, 0).ok()
        };
        self.saves.running = Some(Running {
            task,
            reader: reader.ok(),
            limit,
            started: now,
            changes: self.store.counts.changes,
            keys: 0,
            result: None,
            is_given_up: false,
        });
        Ok(())
    }

    fn on_save_event(&mut self, mut thread: ServerThread) {
        let Some(running) = &mut self.saves.running else { return };
        let Some(event) = running.task.receive() else { return thread.again() };
        match event.decode() {
            Ok(TaskEvent::Message(Report::Written(keys))) => running.keys = keys,
            Ok(TaskEvent::Message(Report::Saved(keys))) => running.result = Some(Ok(keys)),
            Ok(TaskEvent::Message(Report::Failed(why))) => running.result = Some(Err(why)),
            Ok(TaskEvent::Exit(exit)) => {
                let now = thread.threads().now();
                // The thread goes before the handle, whose source it waits for.
                let (_, threads) = thread.end();
                return self.finish_save(&exit.to_string(), now, threads);
            }
            Ok(TaskEvent::Ready) => {}
            Err(error) => running.result = Some(Err(error.to_string())),
        }
        thread.again();
    }

    /// The task has ended: with a snapshot, or without.
    fn finish_save(&mut self, exit: &str, now: Instant, mut threads: ServerThreads) {
        let Some(running) = self.saves.running.take() else { return };
        if let Some(limit) = running.limit {
            let _ = threads.cancel(limit); // It may have run.
        }
        let duration = now.saturating_duration_since(running.started);
        self.saves.last_duration = Some(duration);
        let result = running.result.unwrap_or_else(|| {
            let why = if running.is_given_up { ", as it took too long" } else { "" };
            Err(format!("{exit}{why}"))
        });
        match &result {
            Ok(keys) => {
                log::info!("snapshot: {keys} keys in {} ms", duration.as_millis());
                self.saves.last_save = snapshot_file::wall_millis();
                self.saves.saved_changes = running.changes;
            }
            Err(why) => {
                log::error!("no snapshot, the old one stays: {why}");
                // One that was killed could not do this itself.
                let process = running.task.id();
                snapshot_file::remove_temporary(&self.config.snapshot(), process);
            }
        }
        self.saves.last_error = result.err();
    }

    fn on_save_late(&mut self, _: ServerThread) {
        if let Some(running) = &mut self.saves.running {
            log::error!("snapshot: not done after {:?}, killed", self.config.save_timeout);
            running.is_given_up = true;
            running.limit = None;
            let _ = running.task.kill(); // What follows is its exit event.
        }
    }

    /// Saves now and in this process, for which all clients wait.
    ///
    /// # Errors
    /// Returns why there is no new snapshot.
    pub fn save_now(&mut self, now: Instant) -> Result<(), String> {
        if self.saves.running.is_some() {
            return Err("Background save already in progress".into());
        }
        let (path, clocks) = (self.config.snapshot(), Clocks::at(now));
        match Outside::Save.attempt(|| snapshot_file::save(&self.store, &path, clocks)) {
            Ok(keys) => {
                log::info!("snapshot: {keys} keys");
                self.saves.last_save = snapshot_file::wall_millis();
                self.saves.saved_changes = self.store.counts.changes;
                Ok(())
            }
            Err(error) => {
                log::error!("no snapshot, the old one stays: {error}");
                Err(error.to_string())
            }
        }
    }

    /// Saves before the end, in place of a save in the background that may be under way.
    ///
    /// # Errors
    /// Returns why there is no new snapshot: the server should go on then.
    pub fn save_last(&mut self, mut threads: ServerThreads) -> Result<(), String> {
        self.give_up_save(threads.reborrow());
        self.save_now(threads.now())
    }

    /// Gives up a save in the background, without waiting for its end.
    pub fn give_up_save(&mut self, mut threads: ServerThreads) {
        if let Some(running) = self.saves.running.take() {
            log::info!("snapshot: given up");
            let _ = running.task.kill();
            for thread in [running.reader, running.limit].into_iter().flatten() {
                let _ = threads.cancel(thread);
            }
            let process = running.task.id();
            snapshot_file::remove_temporary(&self.config.snapshot(), process);
        }
    }

    /// Starts a save if something has changed.
    pub fn on_save_time(&mut self, mut thread: ServerThread) {
        let has_changed = self.store.counts.changes != self.saves.saved_changes;
        if has_changed && self.saves.running.is_none() {
            let _ = self.start_save(thread.threads()); // Logged; the next time it may succeed.
        }
        thread.again();
    }
}
