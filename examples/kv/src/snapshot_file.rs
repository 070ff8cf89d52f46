//! The snapshot as a file: written beside the old one, and put in its place when all of it is on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kpt_std::Instant;

use crate::outside::{Outside, Pieces};
use crate::snapshot::{self, Record, Refused, WallMillis, Writer};
use crate::store::{Item, Store};

const BUFFER_BYTES: usize = 256 * 1024;

/// The same moment on both clocks: deadlines are those of the loop's, which can't be set, and in a file those of the
/// wall's.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    pub wall: WallMillis,
    pub now: Instant,
}

impl Clocks {
    pub fn at(now: Instant) -> Self {
        Self { wall: wall_millis(), now }
    }

    fn to_wall(self, deadline: Instant) -> WallMillis {
        let left = deadline.saturating_duration_since(self.now);
        self.wall.saturating_add(left.as_micros().div_ceil(1000) as u64)
    }

    /// Returns `None` for one that has passed.
    fn to_deadline(self, deadline: WallMillis) -> Option<Instant> {
        let left = deadline.checked_sub(self.wall).filter(|&left| left > 0)?;
        Some(self.now.saturating_add(Duration::from_millis(left)))
    }
}

/// Returns the time of the wall clock.
pub fn wall_millis() -> WallMillis {
    let since = || SystemTime::now().duration_since(UNIX_EPOCH);
    Outside::Wall.number(|| since().map_or(0, |since| since.as_millis() as u64))
}

/// A snapshot that is being written. Unless it is committed, nothing is left of it.
#[derive(Debug)]
pub struct SnapshotFile {
    writer: Option<Writer<BufWriter<File>>>,
    clocks: Clocks,
    path: PathBuf,
    temporary: PathBuf,
}

impl SnapshotFile {
    /// Begins a snapshot for `path`, which the process with this ID writes.
    ///
    /// # Errors
    /// Returns the system's error, as all methods do. The file at `path` is as it was.
    pub fn create(path: &Path, process: u32, clocks: Clocks) -> io::Result<Self> {
        let temporary = temporary(path, process);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        let to = BufWriter::with_capacity(BUFFER_BYTES, file);
        let mut this = Self { writer: None, clocks, path: path.into(), temporary };
        this.writer = Some(Writer::new(to, clocks.wall)?);
        Ok(this)
    }

    pub fn add(&mut self, item: &Item) -> io::Result<()> {
        let deadline = item.is_expiring().then(|| self.clocks.to_wall(item.deadline));
        let record = Record { key: &item.key[..], value: &item.value[..], deadline };
        self.writer.as_mut().map_or(Ok(()), |writer| writer.add(&record))
    }

    /// Returns how many keys are in it.
    pub fn keys(&self) -> u64 {
        self.writer.as_ref().map_or(0, Writer::keys)
    }

    /// Puts it in the place of the old one, when it is on the disk, and returns how many keys are in it.
    pub fn commit(mut self) -> io::Result<u64> {
        let writer = self.writer.take().expect("it is taken here only");
        let (to, keys) = writer.finish()?;
        to.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        if let Some(dir) = self.path.parent() {
            File::open(dir)?.sync_all()?; // Of which the name is a part.
        }
        Ok(keys)
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            drop(writer);
        }
        let _ = fs::remove_file(&self.temporary); // It is not there after a commit.
    }
}

/// Writes a snapshot at once, and returns how many keys are in it.
///
/// # Errors
/// Returns the system's error. The file at `path` is as it was.
pub fn save(store: &Store, path: &Path, clocks: Clocks) -> io::Result<u64> {
    let mut file = SnapshotFile::create(path, std::process::id(), clocks)?;
    store.items(0..usize::MAX).try_for_each(|item| file.add(item))?;
    file.commit()
}

/// Returns the keys of a snapshot, without those whose time has come. No file is no keys.
///
/// # Errors
/// Returns what is wrong with the file.
pub fn load(path: &Path, clocks: Clocks) -> Result<Store, Refused> {
    let mut store = Store::default();
    let mut file = None;
    let length = Outside::Snapshot.attempt(|| {
        let opened = file.insert(File::open(path)?);
        Ok(opened.metadata()?.len())
    });
    let length = match length {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(store),
        length => length.map_err(Refused::Io)?,
    };
    let from = Pieces::new(Outside::Snapshot, file);
    snapshot::read(from, length, |record| {
        let deadline = match record.deadline {
            None => Some(Instant::NEVER),
            Some(deadline) => clocks.to_deadline(deadline),
        };
        if let Some(deadline) = deadline {
            store.set(&record.key, &record.value, deadline, clocks.now);
        }
    })?;
    store.counts = Default::default();
    Ok(store)
}

/// Returns where a process writes.
pub fn temporary(path: &Path, process: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{process}.tmp"));
    name.into()
}

/// Removes what a process has left, if it has left something.
pub fn remove_temporary(path: &Path, process: u32) {
    let _ = Outside::Remove.attempt(|| fs::remove_file(temporary(path, process)).map(|()| 0));
}

/// Removes the files of processes that were killed. A process that still writes will not find its file, and so can't replace
/// a newer one by it.
pub fn remove_temporaries(path: &Path) -> io::Result<()> {
    Outside::Remove.attempt(|| remove_all_temporaries(path).map(|()| 0)).map(drop)
}

fn remove_all_temporaries(path: &Path) -> io::Result<()> {
    let Some((dir, name)) = path.parent().zip(path.file_name()) else { return Ok(()) };
    let name = format!("{}.", name.to_string_lossy());
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let found = entry.file_name().to_string_lossy().into_owned();
        let number = found.strip_prefix(&name).and_then(|rest| rest.strip_suffix(".tmp"));
        if number.is_some_and(|number| number.parse::<u32>().is_ok()) {
            log::info!("{found} is removed: the process that wrote it was killed");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
