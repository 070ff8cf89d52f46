//! The log: lines through env_logger, to standard error or to a file that can be opened anew.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use log::LevelFilter;

/// The file of the log, if there is one.
#[derive(Debug)]
pub struct LogFile {
    path: Option<PathBuf>,
    shared: Arc<Mutex<Option<File>>>,
}

impl LogFile {
    /// Has the program's log go to a file, or to standard error without one. `RUST_LOG` may say more than `level`.
    ///
    /// # Errors
    /// Returns why the file can't be opened.
    pub fn start(path: Option<PathBuf>, level: LevelFilter) -> io::Result<Self> {
        let file = path.as_deref().map(open).transpose()?;
        let has_file = file.is_some();
        let log = Self { path, shared: Arc::new(Mutex::new(file)) };
        let mut builder = env_logger::Builder::new();
        // To the loop, a client that resets its connection is an error, and any client can do that.
        let of_loop = if level == LevelFilter::Trace { level } else { LevelFilter::Off };
        builder.filter_level(level).filter_module("kpt", of_loop).parse_default_env();
        if has_file {
            builder.target(env_logger::Target::Pipe(Box::new(ToFile(log.shared.clone()))));
        }
        builder.init();
        Ok(log)
    }

    /// Returns one that has no file, and leaves the program's log alone.
    #[cfg(test)]
    pub fn none() -> Self {
        Self { path: None, shared: Arc::default() }
    }

    /// Opens the file anew: whoever rotates logs has given it another name.
    ///
    /// # Errors
    /// Returns why it can't be opened. The log goes on in the old one.
    pub fn reopen(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let file = open(path)?;
        *self.shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(file);
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// A line of the log is one write.
struct ToFile(Arc<Mutex<Option<File>>>);

impl Write for ToFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
