//! A log of lines that never makes a writer wait.
//!
//! A worker collects lines and hands full batches to one thread, which writes them. A pipe that
//! is not read, or a slow disk, therefore holds up no worker: once the thread is `QUEUE_BATCHES`
//! behind, lines are dropped and counted. A batch holds whole lines and goes out in one piece,
//! so lines of two workers do not mix.
//!
//! Source: write(2), `O_APPEND`.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// A batch goes out at this size: some 200 lines.
const BATCH_BYTES: usize = 32 << 10;

/// Batches that may wait for the writing thread; with those of the workers, the log's memory.
const QUEUE_BATCHES: usize = 64;

/// How long [`Log::close`] waits for a sink that takes nothing.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sink {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// The end of this file, which is made if it is not there.
    File(PathBuf),
}

impl From<OsString> for Sink {
    /// A sink as it is typed: `off`, `-` for standard output, or a file.
    fn from(text: OsString) -> Self {
        match text.to_str() {
            Some("off") => Self::Off,
            Some("-") => Self::Stdout,
            _ => Self::File(text.into()),
        }
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Stdout => f.write_str("on standard output"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What the writing thread is to do.
enum Order {
    /// Whole lines, and how many.
    Write(Vec<u8>, u64),
    Reopen,
}

/// The log of a server. One thread writes for all workers.
#[derive(Debug)]
pub struct Log {
    writing: Option<Writing>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Writing {
    queue: SyncSender<Order>,
    /// Closed when the thread has written what it got.
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

/// A worker's end of a log.
#[derive(Debug)]
pub struct Lines {
    batch: Vec<u8>,
    count: u64,
    queue: Option<SyncSender<Order>>,
    dropped: Arc<AtomicU64>,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// A log that is open and written by no thread yet.
#[derive(Debug)]
pub struct OpenLog {
    file: Option<File>,
    /// What to open again.
    path: Option<PathBuf>,
}

impl OpenLog {
    /// Opens the sink.
    ///
    /// # Errors
    ///
    /// What opening the file answers.
    pub fn open(sink: &Sink) -> io::Result<Self> {
        Ok(match sink {
            Sink::Off => Self { file: None, path: None },
            Sink::Stdout => {
                Self { file: Some(io::stdout().as_fd().try_clone_to_owned()?.into()), path: None }
            }
            Sink::File(path) => Self { file: Some(open(path)?), path: Some(path.clone()) },
        })
    }

    /// Starts the thread. `report` is called with an error of a write after which lines are lost,
    /// and not again before a write has succeeded.
    ///
    /// # Errors
    ///
    /// If there cannot be another thread.
    pub fn start(self, report: impl FnMut(io::Error) + Send + 'static) -> io::Result<Log> {
        match self.file {
            None => Ok(Log { writing: None, dropped: Arc::default() }),
            Some(file) => Log::to(file, self.path, report),
        }
    }
}

impl Log {
    fn to(
        sink: impl Write + Send + 'static,
        path: Option<PathBuf>,
        report: impl FnMut(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, orders) = mpsc::sync_channel(QUEUE_BATCHES);
        let (finished, done) = mpsc::sync_channel(0);
        let dropped = Arc::<AtomicU64>::default();
        let lost = Arc::clone(&dropped);
        let thread = Builder::new().name("log".into()).spawn(move || {
            write_all(Box::new(sink), path.as_deref(), &orders, &lost, report);
            drop(finished);
        })?;
        Ok(Self { writing: Some(Writing { queue, done, thread }), dropped })
    }

    /// A worker's end.
    #[must_use]
    pub fn lines(&self) -> Lines {
        let queue = self.writing.as_ref().map(|writing| writing.queue.clone());
        Lines { batch: Vec::new(), count: 0, queue, dropped: Arc::clone(&self.dropped) }
    }

    /// Opens a file again, which may have been renamed.
    pub fn reopen(&self) {
        if let Some(writing) = &self.writing
            && writing.queue.try_send(Order::Reopen).is_err()
        {
            tracing::warn!("the log is too far behind to be opened again");
        }
    }

    /// Lines that never reached the sink.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was flushed is written, but at most a second if the sink takes nothing
    /// or there still are [`Lines`]. Gives the lines that never reached the sink.
    #[must_use]
    pub fn close(self) -> u64 {
        if let Some(Writing { queue, done, thread }) = self.writing {
            drop(queue);
            let is_over = done.recv_timeout(CLOSE_LIMIT) == Err(RecvTimeoutError::Disconnected);
            if is_over && let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Writes until all writers are gone. A sink that fails, such as a full disk, is tried again.
fn write_all(
    mut sink: Box<dyn Write>,
    path: Option<&Path>,
    orders: &Receiver<Order>,
    lost: &AtomicU64,
    mut report: impl FnMut(io::Error),
) {
    let mut is_broken = false;
    for order in orders {
        match (order, path) {
            (Order::Write(mut lines, count), _) => {
                if is_broken {
                    // The sink may have taken part of a line.
                    lines.insert(0, b'\n');
                }
                let written = sink.write_all(&lines);
                let was_broken = std::mem::replace(&mut is_broken, written.is_err());
                if let Err(error) = written {
                    lost.fetch_add(count, Ordering::Relaxed);
                    if !was_broken {
                        report(error);
                    }
                }
            }
            (Order::Reopen, Some(path)) => match open(path) {
                Ok(opened) => (sink, is_broken) = (Box::new(opened), false),
                Err(error) => tracing::warn!("the log stays where it was: {error}"),
            },
            (Order::Reopen, None) => {}
        }
    }
}

impl Lines {
    /// Whether lines go anywhere; if not, [`Lines::add`] does nothing.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Adds what `format` appends, which is a line; hands the batch on if it is full. Never
    /// waits.
    pub fn add(&mut self, format: impl FnOnce(&mut Vec<u8>)) {
        if self.queue.is_none() {
            return;
        }
        format(&mut self.batch);
        self.batch.push(b'\n');
        self.count += 1;
        if self.batch.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands on what there is. Never waits: lines are dropped if the sink is too slow.
    pub fn flush(&mut self) {
        let Some(queue) = &self.queue else { return };
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_BYTES + 1024));
        let count = std::mem::take(&mut self.count);
        if queue.try_send(Order::Write(batch, count)).is_err() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests;
