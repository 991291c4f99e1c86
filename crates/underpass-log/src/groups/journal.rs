//! The journal, as those share it who commit: what they hand in within the time of one fdatasync
//! is written and synced together by a thread, and counts when that is done.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::Refusal;
use super::entry::Entry;
use super::journal_file::{JournalError, JournalFile};
use super::offsets::Offsets;

/// An entry, and who waits for it.
type Submitted = (Entry, oneshot::Sender<Result<(), Refusal>>);

/// Whether an entry is on the disk, once that is known.
pub(super) type Written = oneshot::Receiver<Result<(), Refusal>>;

/// What connections share with the thread that writes.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    queue: Mutex<Queue>,
    filled: Condvar,
    offsets: Mutex<Offsets>,
}

/// Its length is bounded by connections, which wait for what they submit, and by groups.
#[derive(Debug, Default)]
struct Queue {
    submitted: Vec<Submitted>,
    is_closed: bool,
}

/// The journal.
#[derive(Debug)]
pub(super) struct Journal {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens or creates the journal, and reads what it says.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let (file, offsets, cut) = JournalFile::open(path)?;
        if let Some(cut) = cut {
            tracing::warn!(
                file = %path.display(), at = cut.at, bytes = cut.bytes,
                "the journal of group offsets had an unfinished end, which was cut off"
            );
        }
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            queue: Mutex::default(),
            filled: Condvar::new(),
            offsets: Mutex::new(offsets),
        });
        let writer = thread::Builder::new().name("group-offsets".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.write(file)
        });
        let writer = writer.map_err(|error| JournalError::Io(path.to_owned(), error))?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Has an entry written behind those submitted before.
    pub(super) fn submit(&self, entry: Entry) -> Written {
        let (reply, written) = oneshot::channel();
        lock(&self.shared.queue).submitted.push((entry, reply));
        self.shared.filled.notify_one();
        written
    }

    /// What is on the disk.
    pub(super) fn offsets(&self) -> MutexGuard<'_, Offsets> {
        lock(&self.shared.offsets)
    }
}

impl Drop for Journal {
    /// Waits for what was submitted to be written.
    fn drop(&mut self) {
        lock(&self.shared.queue).is_closed = true;
        self.shared.filled.notify_one();
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread that writes the journal of group offsets panicked");
        }
    }
}

impl Shared {
    fn write(&self, mut file: JournalFile) {
        let mut is_failing = false;
        while let Some(submitted) = self.next() {
            let result = self.write_all(&mut file, submitted);
            // Consumers ask again many times a second: the first and the last of it are told.
            match &result {
                Err(error) if !is_failing => self.tell(error),
                Ok(()) if is_failing => tracing::info!("group offsets are written again"),
                Err(_) | Ok(()) => {}
            }
            is_failing = result.is_err();
        }
    }

    fn tell(&self, error: &io::Error) {
        tracing::error!(
            file = %self.path.display(), %error,
            "committed offsets cannot be written, so that commits are refused: make room on the \
             disk, or replace it"
        );
    }

    /// All that has been submitted since; `None` at the end.
    fn next(&self) -> Option<Vec<Submitted>> {
        let queue = lock(&self.queue);
        let wait = |queue: &mut Queue| queue.submitted.is_empty() && !queue.is_closed;
        let mut queue = self.filled.wait_while(queue, wait).unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::take(&mut queue.submitted)).filter(|submitted| !submitted.is_empty())
    }

    fn write_all(&self, file: &mut JournalFile, submitted: Vec<Submitted>) -> io::Result<()> {
        let entries = submitted.iter().map(|(entry, _)| entry);
        let result = self.mend(file).and_then(|()| file.append(entries));
        let answer = result.as_ref().map_err(|_| Refusal::Unavailable).copied();
        for (entry, reply) in submitted {
            if answer.is_ok() {
                lock(&self.offsets).apply(entry);
            }
            // The connection may have gone.
            reply.send(answer).ok();
        }
        if result.is_ok() && file.is_mostly_dead(&lock(&self.offsets)) {
            self.rewrite(file)?;
        }
        result
    }

    fn mend(&self, file: &mut JournalFile) -> io::Result<()> {
        if file.is_broken() { self.rewrite(file) } else { Ok(()) }
    }

    /// The lock is not held while the disk is waited for: this thread alone changes the offsets.
    fn rewrite(&self, file: &mut JournalFile) -> io::Result<()> {
        let bytes = JournalFile::bytes_of(&lock(&self.offsets));
        file.rewrite(&bytes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
