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
    Write(Vec<u8>),
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

    /// Starts the thread. `report` is called at most once, with the first error of a write; lines
    /// after it are dropped.
    ///
    /// # Errors
    ///
    /// If there cannot be another thread.
    pub fn start(self, report: impl FnOnce(io::Error) + Send + 'static) -> io::Result<Log> {
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
        report: impl FnOnce(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, orders) = mpsc::sync_channel(QUEUE_BATCHES);
        let (finished, done) = mpsc::sync_channel(0);
        let thread = Builder::new().name("log".into()).spawn(move || {
            let outcome = write_all(Box::new(sink), path.as_deref(), &orders);
            // Workers see the queue closed before the report, and count what they drop.
            drop(orders);
            if let Err(error) = outcome {
                report(error);
            }
            drop(finished);
        })?;
        Ok(Self { writing: Some(Writing { queue, done, thread }), dropped: Arc::default() })
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

fn write_all(
    mut sink: Box<dyn Write>,
    path: Option<&Path>,
    orders: &Receiver<Order>,
) -> io::Result<()> {
    for order in orders {
        match (order, path) {
            (Order::Write(lines), _) => sink.write_all(&lines)?,
            (Order::Reopen, Some(path)) => match open(path) {
                Ok(opened) => sink = Box::new(opened),
                Err(error) => tracing::warn!("the log stays where it was: {error}"),
            },
            (Order::Reopen, None) => {}
        }
    }
    Ok(())
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
    use std::fs;
    use std::sync::mpsc::Sender;

    use super::*;

    /// A sink that says when it is written to, and takes nothing until it is let go.
    struct Stuck(Sender<()>, Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(()).map_err(io::Error::other)?;
            self.1.recv().map(|()| bytes.len()).map_err(io::Error::other)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn no_error(error: io::Error) {
        panic!("{error}");
    }

    fn add(lines: &mut Lines, line: &str) {
        lines.add(|batch| batch.extend_from_slice(line.as_bytes()));
    }

    #[test]
    fn a_sink_is_a_file_unless_it_is_one_of_two_words() {
        for (text, sink) in [
            ("off", Sink::Off),
            ("-", Sink::Stdout),
            ("./off", Sink::File("./off".into())),
            ("log", Sink::File("log".into())),
        ] {
            assert_eq!(Sink::from(OsString::from(text)), sink);
        }
    }

    #[test]
    fn lines_reach_the_end_of_a_file_and_follow_it_when_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        fs::write(&path, "before\n").unwrap();
        let log = OpenLog::open(&Sink::File(path.clone())).unwrap().start(no_error).unwrap();
        let mut lines = log.lines();
        add(&mut lines, "one");
        lines.flush();
        fs::rename(&path, &old).unwrap();
        log.reopen();
        add(&mut lines, "two");
        drop(lines);
        assert_eq!(log.close(), 0);
        assert_eq!(fs::read_to_string(&old).unwrap(), "before\none\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_log_that_is_off_takes_nothing() {
        let log = OpenLog::open(&Sink::Off).unwrap().start(no_error).unwrap();
        let mut lines = log.lines();
        assert!(!lines.is_on());
        add(&mut lines, "lost");
        assert!(lines.batch.is_empty());
        assert_eq!(log.close(), 0);
    }

    #[test]
    fn a_full_batch_goes_out_in_whole_lines_before_it_is_flushed() {
        let (written, writes) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let log = Log::to(Stuck(written, gate), None, no_error).unwrap();
        let mut lines = log.lines();
        while lines.batch.len() < BATCH_BYTES - 10 {
            add(&mut lines, "123456789");
        }
        assert_eq!(writes.try_recv(), Err(mpsc::TryRecvError::Empty));
        while !lines.batch.is_empty() {
            add(&mut lines, "123456789");
        }
        assert_eq!(writes.recv(), Ok(()));
        go.send(()).unwrap();
        drop(lines);
        assert_eq!(log.close(), 0);
    }

    #[test]
    fn a_stuck_sink_holds_up_no_one_and_what_it_loses_is_counted() {
        let (written, writes) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let log = Log::to(Stuck(written, gate), None, |_| {}).unwrap();
        let mut lines = log.lines();
        let mut record = |count: usize| {
            for _ in 0..count {
                add(&mut lines, "line");
                lines.flush();
            }
        };
        record(1);
        assert_eq!(writes.recv(), Ok(()), "the thread has taken one and is stuck");
        record(QUEUE_BATCHES + 3);
        assert_eq!(log.dropped(), 3);
        drop(go);
        drop(lines);
    }

    #[test]
    fn a_failing_sink_is_reported_once() {
        let (reports, reported) = mpsc::channel();
        let report = move |error: io::Error| reports.send(error.kind()).unwrap();
        let log = Log::to(Broken, None, report).unwrap();
        let mut lines = log.lines();
        add(&mut lines, "line");
        lines.flush();
        assert_eq!(reported.recv(), Ok(io::ErrorKind::BrokenPipe));
        add(&mut lines, "line");
        lines.flush();
        assert_eq!(log.dropped(), 1);
        drop(lines);
        assert_eq!(log.close(), 1);
        assert!(reported.recv().is_err(), "one report only");
    }
}
