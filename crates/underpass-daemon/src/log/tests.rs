//! The log: where lines go, and what becomes of them where they cannot.

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

/// A sink that is full this many times, and then hands on what it takes.
struct Full(u32, Sender<Vec<u8>>);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.0.checked_sub(1) else {
            return self.1.send(bytes.to_vec()).map(|()| bytes.len()).map_err(io::Error::other);
        };
        self.0 = left;
        Err(io::ErrorKind::StorageFull.into())
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
fn a_failing_sink_is_reported_once_and_tried_again() {
    let ((reports, reported), (writes, written)) = (mpsc::channel(), mpsc::channel());
    let report = move |error: io::Error| reports.send(error.kind()).unwrap();
    let log = Log::to(Full(2, writes), None, report).unwrap();
    let mut lines = log.lines();
    for line in ["one", "two", "three"] {
        add(&mut lines, line);
        lines.flush();
    }
    drop(lines);
    assert_eq!(log.close(), 2);
    assert_eq!(written.iter().collect::<Vec<_>>(), [b"\nthree\n"]);
    assert_eq!(reported.iter().collect::<Vec<_>>(), [io::ErrorKind::StorageFull]);
}
