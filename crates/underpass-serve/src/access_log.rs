//! The access log: one line an answer, in the combined format.
//!
//! A worker formats into its own buffer and hands full buffers to one thread, which writes them.
//! A log that nobody reads, or a slow disk, therefore never holds a worker: once the thread is
//! `QUEUE_BUFFERS` behind, lines are dropped and counted. A buffer holds whole lines and goes
//! out in one piece, so lines of two workers do not mix.
//!
//! Whatever a client sends is escaped: no control byte, quote or byte that is not ASCII reaches
//! the log as it is, so a line cannot be forged and a terminal not be driven.
//!
//! Source: Apache HTTP Server, mod_log_config ("combined", "Security Considerations"); write(2),
//! `O_APPEND`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, StatusCode, Version};

use crate::date;

/// A buffer goes out at this size: some 250 lines.
const BUFFER_BYTES: usize = 32 * 1024;

/// Buffers that may wait for the writing thread; with those of the workers, the log's memory.
const QUEUE_BUFFERS: usize = 64;

/// How long [`AccessLog::close`] waits for a sink that takes nothing.
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

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Stdout => f.write_str("on standard output"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The log of a server. One thread writes for all workers.
#[derive(Debug)]
pub struct AccessLog {
    writing: Option<Writing>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Writing {
    queue: SyncSender<Vec<u8>>,
    /// Closed when the thread has written what it got.
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

/// A worker's end of the log.
#[derive(Debug)]
pub struct LogBuffer {
    lines: Vec<u8>,
    line_count: u64,
    queue: Option<SyncSender<Vec<u8>>>,
    dropped: Arc<AtomicU64>,
    /// The second that was formatted last, and its text: the same for thousands of lines.
    second: (u64, String),
}

/// What one line says.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The client's address; a Unix socket has none.
    pub peer: Option<IpAddr>,
    /// When the request came.
    pub time: SystemTime,
    /// Its head.
    pub request: &'a Parts,
    /// What was answered.
    pub status: StatusCode,
    /// Bytes of content, without the head.
    pub content_bytes: u64,
}

impl AccessLog {
    /// Opens the sink and starts its thread. `report` is called at most once, with the first
    /// error of a write; lines after it are dropped.
    ///
    /// # Errors
    ///
    /// What opening the file or starting the thread answers.
    pub fn open(sink: &Sink, report: impl FnOnce(io::Error) + Send + 'static) -> io::Result<Self> {
        let file = match sink {
            Sink::Off => return Ok(Self { writing: None, dropped: Arc::default() }),
            Sink::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            Sink::File(path) => OpenOptions::new().append(true).create(true).open(path)?,
        };
        Self::to(file, report)
    }

    fn to(
        mut file: impl Write + Send + 'static,
        report: impl FnOnce(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, buffers) = mpsc::sync_channel::<Vec<u8>>(QUEUE_BUFFERS);
        let (finished, done) = mpsc::sync_channel(0);
        let thread = std::thread::Builder::new().name("access-log".into()).spawn(move || {
            let outcome = buffers.iter().try_for_each(|lines| file.write_all(&lines));
            // Workers see the queue closed before the report, and count what they drop.
            drop(buffers);
            if let Err(error) = outcome {
                report(error);
            }
            drop(finished);
        })?;
        let writing = Some(Writing { queue, done, thread });
        Ok(Self { writing, dropped: Arc::default() })
    }

    /// A buffer for one worker.
    #[must_use]
    pub fn buffer(&self) -> LogBuffer {
        LogBuffer {
            lines: Vec::new(),
            line_count: 0,
            queue: self.writing.as_ref().map(|writing| writing.queue.clone()),
            dropped: Arc::clone(&self.dropped),
            second: (u64::MAX, String::new()),
        }
    }

    /// Lines that never reached the sink.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was flushed is written, but at most a second if the sink takes nothing
    /// or a [`LogBuffer`] is still there. Gives the lines that never reached the sink.
    #[must_use]
    pub fn close(self) -> u64 {
        if let Some(Writing { queue, done, thread }) = self.writing {
            drop(queue);
            let is_over =
                done.recv_timeout(CLOSE_LIMIT) == Err(mpsc::RecvTimeoutError::Disconnected);
            if is_over && let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        self.dropped.load(Ordering::Relaxed)
    }
}

impl LogBuffer {
    /// Whether lines go anywhere; if not, [`LogBuffer::record`] does nothing.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Appends a line; hands the buffer on if it is full. Never waits.
    pub fn record(&mut self, line: &Line<'_>) {
        if self.queue.is_none() {
            return;
        }
        self.format(line);
        self.line_count += 1;
        if self.lines.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Hands on what there is. Never waits: lines are dropped if the sink is too slow.
    pub fn flush(&mut self) {
        let Some(queue) = &self.queue else { return };
        if self.lines.is_empty() {
            return;
        }
        let lines = std::mem::replace(&mut self.lines, Vec::with_capacity(BUFFER_BYTES + 1024));
        let line_count = std::mem::take(&mut self.line_count);
        match queue.try_send(lines) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(line_count, Ordering::Relaxed);
            }
        }
    }

    fn format(&mut self, line: &Line<'_>) {
        let secs = line.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.second.0 != secs {
            let date = i64::try_from(secs).ok().and_then(date::log_date);
            self.second = (secs, date.unwrap_or_else(|| "-".into()));
        }
        let Self { lines, second, .. } = self;
        match line.peer {
            Some(peer) => append(lines, format_args!("{peer}")),
            None => lines.push(b'-'),
        }
        append(lines, format_args!(" - - [{}] \"", second.1));
        escape(lines, line.request.method.as_str().as_bytes());
        lines.push(b' ');
        target(lines, line.request);
        lines.extend_from_slice(match line.request.version {
            Version::HTTP_10 => b" HTTP/1.0\" ",
            Version::HTTP_2 => b" HTTP/2.0\" ",
            _ => b" HTTP/1.1\" ",
        });
        append(lines, format_args!("{} {} \"", line.status.as_str(), line.content_bytes));
        field(lines, line.request.headers.get(REFERER));
        lines.extend_from_slice(b"\" \"");
        field(lines, line.request.headers.get(USER_AGENT));
        lines.extend_from_slice(b"\"\n");
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The target as it was sent, apart from a fragment.
fn target(lines: &mut Vec<u8>, request: &Parts) {
    match request.uri.path_and_query() {
        Some(path) if request.uri.authority().is_none() => escape(lines, path.as_str().as_bytes()),
        _ => escape(lines, request.uri.to_string().as_bytes()),
    }
}

fn field(lines: &mut Vec<u8>, value: Option<&HeaderValue>) {
    match value {
        Some(value) if !value.is_empty() => escape(lines, value.as_bytes()),
        _ => lines.push(b'-'),
    }
}

fn append(lines: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    lines.write_fmt(text).expect("writing to memory does not fail");
}

/// Control bytes, quotes, backslashes and what is not ASCII become `\xHH`.
fn escape(lines: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        if matches!(byte, b'"' | b'\\') || !(b' '..=b'~').contains(&byte) {
            append(lines, format_args!("\\x{byte:02X}"));
        } else {
            lines.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::Sender;

    use http::Request;

    use super::*;

    /// A sink in memory.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A sink that tells when it is written to, and takes nothing until it is let go.
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

    fn no_error(error: io::Error) {
        panic!("{error}");
    }

    fn request(target: &str, fields: &[(&str, &[u8])]) -> Parts {
        let mut request = Request::get(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn line(request: &Parts) -> Line<'_> {
        Line {
            peer: Some("192.0.2.7".parse().unwrap()),
            time: UNIX_EPOCH + Duration::from_secs(784_111_777),
            request,
            status: StatusCode::OK,
            content_bytes: 4096,
        }
    }

    fn logged(lines: &[Line<'_>]) -> String {
        let memory = Memory::default();
        let log = AccessLog::to(memory.clone(), no_error).unwrap();
        let mut buffer = log.buffer();
        lines.iter().for_each(|line| buffer.record(line));
        drop(buffer);
        assert_eq!(log.close(), 0);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_is_in_the_combined_format() {
        let curl = request("/a/b?c=d", &[("user-agent", b"curl/8"), ("referer", b"http://x/")]);
        let bare = request("http://host/%20", &[("user-agent", b"")]);
        let unix = Line { peer: None, status: StatusCode::NOT_FOUND, ..line(&bare) };
        assert_eq!(
            logged(&[line(&curl), unix]),
            "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /a/b?c=d HTTP/1.1\" 200 4096 \
             \"http://x/\" \"curl/8\"\n\
             - - - [06/Nov/1994:08:49:37 +0000] \"GET http://host/%20 HTTP/1.1\" 404 4096 \
             \"-\" \"-\"\n",
        );
    }

    #[test]
    fn nothing_a_client_sends_ends_a_line_or_a_quote() {
        let hostile =
            request("/\"\\", &[("user-agent", b"a\"b\\c\td\xff"), ("referer", b"\xc2\x9b")]);
        let text = logged(&[line(&hostile)]);
        assert!(text.contains("\"GET /\\x22\\x5C HTTP/1.1\""), "{text}");
        assert!(text.ends_with("\"\\xC2\\x9B\" \"a\\x22b\\x5Cc\\x09d\\xFF\"\n"), "{text}");
    }

    #[test]
    fn each_second_has_its_own_text() {
        let request = request("/", &[]);
        let later = Line { time: UNIX_EPOCH + Duration::from_secs(784_111_778), ..line(&request) };
        let text = logged(&[line(&request), later]);
        let seconds: Vec<_> = text.lines().map(|line| &line[33..35]).collect();
        assert_eq!(seconds, ["37", "38"]);
    }

    #[test]
    fn a_full_buffer_goes_out_in_whole_lines_before_it_is_flushed() {
        let (written, writes) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let log = AccessLog::to(Stuck(written, gate), no_error).unwrap();
        let request = request("/x", &[]);
        let mut buffer = log.buffer();
        while buffer.lines.len() < BUFFER_BYTES - 200 {
            buffer.record(&line(&request));
        }
        assert_eq!(writes.try_recv(), Err(mpsc::TryRecvError::Empty));
        while !buffer.lines.is_empty() {
            buffer.record(&line(&request));
        }
        assert_eq!(writes.recv(), Ok(()));
        go.send(()).unwrap();
        drop(buffer);
        assert_eq!(log.close(), 0);
    }

    #[test]
    fn a_stuck_sink_holds_nobody_and_what_it_loses_is_counted() {
        let (written, writes) = mpsc::channel();
        let (go, gate) = mpsc::channel();
        let log = AccessLog::to(Stuck(written, gate), |_| {}).unwrap();
        let request = request("/x", &[]);
        let mut buffer = log.buffer();
        let mut record = |count: usize| {
            for _ in 0..count {
                buffer.record(&line(&request));
                buffer.flush();
            }
        };
        record(1);
        assert_eq!(writes.recv(), Ok(()), "the thread has taken one and is stuck");
        record(QUEUE_BUFFERS + 3);
        assert_eq!(log.dropped(), 3);
        drop(go);
        drop(buffer);
    }

    #[test]
    fn a_failing_sink_is_reported_once() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (reports, reported) = mpsc::channel();
        let log = AccessLog::to(Broken, move |error| reports.send(error.kind()).unwrap()).unwrap();
        let request = request("/x", &[]);
        let mut buffer = log.buffer();
        buffer.record(&line(&request));
        buffer.flush();
        assert_eq!(reported.recv(), Ok(io::ErrorKind::BrokenPipe));
        buffer.record(&line(&request));
        buffer.flush();
        assert_eq!(log.dropped(), 1);
        drop(buffer);
        assert_eq!(log.close(), 1);
        assert!(reported.recv().is_err(), "one report only");
    }

    #[test]
    fn a_log_that_is_off_takes_nothing() {
        let log = AccessLog::open(&Sink::Off, no_error).unwrap();
        let mut buffer = log.buffer();
        assert!(!buffer.is_on());
        buffer.record(&line(&request("/", &[])));
        assert!(buffer.lines.is_empty());
        assert_eq!(log.close(), 0);
    }

    #[test]
    fn a_file_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        std::fs::write(&path, "before\n").unwrap();
        let log = AccessLog::open(&Sink::File(path.clone()), no_error).unwrap();
        log.buffer().record(&line(&request("/", &[])));
        assert_eq!(log.close(), 0);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!((text.lines().count(), text.lines().next()), (2, Some("before")));
    }
}
