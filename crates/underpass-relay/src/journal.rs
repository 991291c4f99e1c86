//! The log: a line a connection, written when it ends.
//!
//! A worker collects lines and hands them to one thread, which writes them. A sink that takes
//! nothing never holds a worker: once the thread is `QUEUE_BUFFERS` behind, lines are dropped
//! and counted. A batch goes out in one write, so lines of two workers do not mix.
//!
//! Source: write(2), `O_APPEND`; RFC 3339 §5.6.

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
const BUFFER_BYTES: usize = 32 << 10;

/// Batches that may wait for the writing thread.
const QUEUE_BUFFERS: usize = 64;

/// How long the end waits for a sink that takes nothing.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sink {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// The end of this file, which is made if it is not there, and opened anew on a reload.
    File(PathBuf),
}

enum Order {
    Write(Vec<u8>),
    Reopen,
}

/// The log of a relay. One thread writes for all workers.
#[derive(Debug)]
pub(crate) struct Journal {
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

/// A worker's end of the log.
#[derive(Debug)]
pub(crate) struct Lines {
    batch: Vec<u8>,
    count: u64,
    queue: Option<SyncSender<Order>>,
    dropped: Arc<AtomicU64>,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

impl Journal {
    /// Opens the sink and starts its thread.
    pub(crate) fn open(sink: &Sink) -> io::Result<Self> {
        let (file, path) = match sink {
            Sink::Off => return Ok(Self { writing: None, dropped: Arc::default() }),
            Sink::Stdout => (File::from(io::stdout().as_fd().try_clone_to_owned()?), None),
            Sink::File(path) => (open(path)?, Some(path.clone())),
        };
        let (queue, orders) = mpsc::sync_channel(QUEUE_BUFFERS);
        let (finished, done) = mpsc::sync_channel(0);
        let thread = Builder::new().name("relay-log".into()).spawn(move || {
            if let Err(error) = write_all(file, path.as_deref(), orders) {
                tracing::error!("the log ends here: {error}");
            }
            drop(finished);
        })?;
        Ok(Self { writing: Some(Writing { queue, done, thread }), dropped: Arc::default() })
    }

    /// A worker's end.
    pub(crate) fn lines(&self) -> Lines {
        let queue = self.writing.as_ref().map(|writing| writing.queue.clone());
        Lines { batch: Vec::new(), count: 0, queue, dropped: Arc::clone(&self.dropped) }
    }

    /// Opens a file anew, which somebody may have renamed.
    pub(crate) fn reopen(&self) {
        if let Some(writing) = &self.writing
            && writing.queue.try_send(Order::Reopen).is_err()
        {
            tracing::warn!("the log is too far behind to be opened anew");
        }
    }

    /// Waits until everything is written, but at most a second; gives the lines that were lost.
    pub(crate) fn close(self) -> u64 {
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

fn write_all(mut file: File, path: Option<&Path>, orders: Receiver<Order>) -> io::Result<()> {
    for order in orders {
        match (order, path) {
            (Order::Write(lines), _) => file.write_all(&lines)?,
            (Order::Reopen, Some(path)) => match open(path) {
                Ok(opened) => file = opened,
                Err(error) => tracing::warn!("the log stays where it was: {error}"),
            },
            (Order::Reopen, None) => {}
        }
    }
    Ok(())
}

impl Lines {
    /// Whether lines go anywhere.
    pub(crate) const fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Appends a line, and hands the batch on if it is full. Never waits.
    pub(crate) fn add(&mut self, line: fmt::Arguments<'_>) {
        if self.queue.is_none() {
            return;
        }
        self.batch.write_fmt(line).expect("writing to memory does not fail");
        self.batch.push(b'\n');
        self.count += 1;
        if self.batch.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Hands on what there is. Never waits: lines are dropped if the sink is too slow.
    pub(crate) fn flush(&mut self) {
        let Some(queue) = &self.queue else { return };
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let count = std::mem::take(&mut self.count);
        if queue.try_send(Order::Write(batch)).is_err() {
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
mod tests {
    use super::*;

    #[test]
    fn lines_reach_the_file_whole_and_follow_it_when_it_is_opened_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let journal = Journal::open(&Sink::File(path.clone())).unwrap();
        let mut lines = journal.lines();
        lines.add(format_args!("one={}", 1));
        lines.flush();
        std::fs::rename(&path, &old).unwrap();
        journal.reopen();
        lines.add(format_args!("two=2"));
        drop(lines);
        assert_eq!(journal.close(), 0);
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "one=1\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two=2\n");
    }
}
