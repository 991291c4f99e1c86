//! The tokio driver: cancellation, fairness, cold files, every kind of end.

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use underpass::{ErrorKind, Method, Policy, Side, Sink, Source, Transfer};
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::payload::{difference, pattern, patterned_file};
use underpass_testkit::peer::{Way, collect, feed, set_nonblocking};
use underpass_testkit::require;

const LEN: u64 = 9_000_000;

fn runtimes() -> [Runtime; 2] {
    let build = |builder: &mut Builder| builder.enable_all().build().unwrap();
    let mut threads = Builder::new_multi_thread();
    [build(&mut Builder::new_current_thread()), build(threads.worker_threads(2))]
}

/// An end as tokio knows it.
enum End {
    Tcp(TcpStream),
    Unix(UnixStream),
    Sender(pipe::Sender),
    Receiver(pipe::Receiver),
    Other(AsyncFd<OwnedFd>),
    File(File),
}

impl End {
    /// `wrapped` chooses AsyncFd instead of tokio's own type.
    #[expect(deprecated, reason = "an OwnedFd stays what it is; `register` would need unsafe")]
    fn new(way: Way, fd: OwnedFd, is_source: bool, wrapped: bool) -> Self {
        set_nonblocking(&fd, true).unwrap();
        match way {
            _ if wrapped => Self::Other(AsyncFd::new(fd).unwrap()),
            Way::Tcp => Self::Tcp(TcpStream::from_std(fd.into()).unwrap()),
            Way::Unix => Self::Unix(UnixStream::from_std(fd.into()).unwrap()),
            Way::Pipe | Way::TinyPipe if is_source => {
                Self::Receiver(pipe::Receiver::from_owned_fd(fd).unwrap())
            }
            Way::Pipe | Way::TinyPipe => Self::Sender(pipe::Sender::from_owned_fd(fd).unwrap()),
        }
    }

    fn file(&self) -> Option<&File> {
        if let Self::File(file) = self { Some(file) } else { None }
    }

    fn source(&self) -> Source<'_> {
        match self {
            Self::Tcp(end) => Source::tokio(end),
            Self::Unix(end) => Source::tokio(end),
            Self::Sender(end) => Source::tokio(end),
            Self::Receiver(end) => Source::tokio(end),
            Self::Other(end) => Source::tokio(end),
            Self::File(end) => Source::file(end, ..).unwrap(),
        }
    }

    fn sink(&self) -> Sink<'_> {
        match self {
            Self::Tcp(end) => Sink::tokio(end),
            Self::Unix(end) => Sink::tokio(end),
            Self::Sender(end) => Sink::tokio(end),
            Self::Receiver(end) => Sink::tokio(end),
            Self::Other(end) => Sink::tokio(end),
            Self::File(end) => Sink::file(end, 0),
        }
    }
}

/// Drives a transfer to its end, giving up at every await: each future is polled once.
async fn drive_in_shreds(transfer: &mut Transfer<'_>) -> u64 {
    let mut given_up = 0;
    loop {
        let before = transfer.moved();
        match timeout(Duration::ZERO, transfer.drive()).await {
            Ok(moved) => {
                assert_eq!(moved.unwrap(), transfer.moved());
                return given_up;
            }
            Err(_) => given_up += 1,
        }
        assert!(transfer.moved() >= before);
        // Lets the runtime look at its descriptors, on which progress depends.
        tokio::task::yield_now().await;
    }
}

/// `None` is a file.
const ENDS: [Option<Way>; 5] =
    [None, Some(Way::Tcp), Some(Way::Unix), Some(Way::Pipe), Some(Way::TinyPipe)];

fn contents(file: &File) -> Vec<u8> {
    let mut got = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut got, 0).unwrap();
    got
}

async fn one_pair(from: Option<Way>, to: Option<Way>, wrapped: bool, shreds: bool) -> u64 {
    let (source_end, feeder) = match from {
        None => (End::File(patterned_file(LEN).unwrap()), None),
        Some(way) => {
            let (write, read) = way.connect().unwrap();
            (End::new(way, read, true, wrapped), Some(feed(write, pattern(0..LEN))))
        }
    };
    let (sink_end, arrived) = match to {
        None => (End::File(patterned_file(0).unwrap()), None),
        Some(way) => {
            let (write, read) = way.connect().unwrap();
            (End::new(way, write, false, wrapped), Some(collect(read)))
        }
    };
    let mut transfer = Transfer::new(source_end.source(), sink_end.sink());
    let given_up = if shreds {
        drive_in_shreds(&mut transfer).await
    } else {
        assert_eq!(transfer.drive().await, Ok(LEN));
        0
    };
    assert_eq!((transfer.moved(), transfer.buffered()), (LEN, 0), "{from:?} {to:?}");
    drop(transfer);
    let got = match arrived {
        None => contents(sink_end.file().unwrap()),
        Some(arrived) => {
            drop(sink_end);
            arrived.join().unwrap().unwrap()
        }
    };
    assert_eq!(difference(&got, 0, LEN), None, "{from:?} {to:?} {wrapped} {shreds}");
    if let Some(feeder) = feeder {
        feeder.join().unwrap().unwrap();
    }
    given_up
}

#[test]
fn every_pair_of_ends_arrives_whole_and_wakes_up_when_it_should() {
    for runtime in runtimes() {
        for from in ENDS {
            for to in ENDS {
                for wrapped in [false, true] {
                    let pair = one_pair(from, to, wrapped, false);
                    let done = runtime.block_on(async { timeout(PATIENCE, pair).await });
                    assert!(done.is_ok(), "{from:?} {to:?}: a wake-up was lost");
                }
            }
        }
    }
}

#[test]
fn a_future_dropped_at_every_await_loses_no_byte() {
    for runtime in runtimes() {
        for from in ENDS {
            for to in ENDS {
                // A far end that happens to keep up gives no await to drop the future at.
                let had_to_wait = (0..20).any(|_| {
                    let pair = one_pair(from, to, false, true);
                    let given_up = runtime.block_on(async { timeout(PATIENCE, pair).await });
                    given_up.expect("progress stops only with the runtime") > 0
                });
                assert!(had_to_wait, "{from:?} {to:?} never had to wait");
            }
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_full_sink_is_waited_for_and_not_asked_again_and_again() {
    let [runtime, _] = runtimes();
    for (from, to) in [(Way::Tcp, Way::TinyPipe), (Way::Pipe, Way::Unix), (Way::Tcp, Way::Tcp)] {
        runtime.block_on(async {
            let (write, read) = from.connect_small().unwrap();
            let (sink, unread) = to.connect_small().unwrap();
            let feeder = feed(write, pattern(0..4 * LEN));
            let ends = (End::new(from, read, true, false), End::new(to, sink, false, false));
            let mut transfer = Transfer::new(ends.0.source(), ends.1.sink());
            // Nothing is read: sooner or later both are full, and nothing is left to be done.
            let mut rounds = 0;
            while transfer.ledger().waits(Side::Sink) == 0 || rounds < 2 {
                let stuck = timeout(Duration::from_millis(150), transfer.drive());
                assert!(stuck.await.is_err(), "{from:?} {to:?}");
                rounds += 1;
            }
            // A wait that is over at once would be counted thousands of times by now.
            let waits = transfer.ledger().waits(Side::Sink);
            assert!(waits <= 20, "{from:?} {to:?}: {}", transfer.ledger());
            drop(transfer);
            drop((ends, unread));
            feeder.join().unwrap().unwrap_err();
        });
    }
}

#[test]
fn a_dropped_future_leaves_no_call_behind_it() {
    let [runtime, _] = runtimes();
    let (from, to) = (patterned_file(LEN).unwrap(), patterned_file(0).unwrap());
    let mut transfer = Transfer::new(Source::file(&from, ..).unwrap(), Sink::file(&to, 0));
    runtime.block_on(async {
        while transfer.moved() == 0 {
            let shred = timeout(Duration::ZERO, transfer.drive()).await;
            assert!(shred.is_err() || shred == Ok(Ok(LEN)));
        }
    });
    // What the transfer says is what the file has, at once and later.
    assert_eq!(to.metadata().unwrap().len(), transfer.moved());
    assert_eq!(transfer.run(), Ok(LEN));
    assert_eq!(difference(&contents(&to), 0, LEN), None);
}

/// Runs a transfer and a task that counts its turns, on one thread.
async fn turns_beside(work: impl Future<Output = ()>) -> (u32, Duration) {
    let ticker = async {
        let (mut turns, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
        loop {
            tokio::task::yield_now().await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
            turns += 1;
            SEEN.set((turns, longest));
        }
    };
    SEEN.set((0, Duration::ZERO));
    tokio::select! {
        biased;
        () = work => SEEN.get(),
        () = ticker => unreachable!("the ticker never ends"),
    }
}

thread_local! {
    static SEEN: Cell<(u32, Duration)> = const { Cell::new((0, Duration::ZERO)) };
}

#[test]
fn a_peer_that_takes_everything_at_once_does_not_keep_others_from_their_turn() {
    const LONG: u64 = 128 << 20;
    let [runtime, _] = runtimes();
    let file = patterned_file(LONG).unwrap();
    let null = File::options().write(true).open("/dev/null").unwrap();
    // /dev/null is always ready, so nothing but the driver's own turns lets others run.
    let (turns, _) = runtime.block_on(turns_beside(async {
        let source = Source::file(&file, ..).unwrap();
        let mut transfer = Transfer::new(source, Sink::stream(&null));
        transfer.drive().await.unwrap();
        assert_eq!(transfer.ledger().waits(Side::Sink), 0);
    }));
    assert!(turns >= 31, "{turns} turns during 128 MiB");
}

/// The longest that others waited for their turn while a cold file was sent, and how long it took.
fn longest_turn_beside(file: &File, method: Method) -> (Duration, Duration) {
    Disk::evict(file).unwrap();
    let [runtime, _] = runtimes();
    let started = Instant::now();
    let (_, longest) = runtime.block_on(turns_beside(async {
        let (write, read) = Way::Tcp.connect().unwrap();
        let end = End::new(Way::Tcp, write, false, false);
        let got = collect(read);
        let source = Source::file(file, ..).unwrap();
        let mut transfer = Transfer::new(source, end.sink()).policy(Policy::Only(method));
        transfer.drive().await.unwrap();
        assert!(transfer.ledger().cold() > 0, "{method}: {}", transfer.ledger());
        drop(transfer);
        drop(end);
        let got = tokio::task::spawn_blocking(|| got.join().unwrap().unwrap()).await.unwrap();
        assert_eq!(difference(&got, 0, 6 << 20), None, "{method}");
    }));
    (longest, started.elapsed())
}

#[test]
fn a_cold_file_holds_up_nobody_else() {
    let mut disk = require!(Disk::new(FileSystem::Ext4, 64 << 20));
    require!(disk.throttle_reads(4 << 20));
    let file = disk.cold_file(6 << 20).unwrap();
    for method in [Method::Sendfile, Method::Splice, Method::MmapWrite, Method::Copy] {
        // A busy machine takes the processor away now and then; a disk is waited for each time.
        let is_held = (0..5).all(|_| {
            let (longest, whole) = longest_turn_beside(&file, method);
            assert!(whole > Duration::from_millis(500), "{method}: the disk was fast: {whole:?}");
            longest >= whole / 5
        });
        assert!(!is_held, "{method}: a turn took a fifth of the whole, five times");
    }
}

#[test]
fn zero_copy_sends_are_kept_from_sockets_that_tokio_watches() {
    let [runtime, _] = runtimes();
    runtime.block_on(async {
        let (write, read) = Way::Tcp.connect().unwrap();
        let end = End::new(Way::Tcp, write, false, false);
        let got = collect(read);
        let memory = Bytes::from(pattern(0..LEN));
        let new = |policy| Transfer::new(Source::bytes(memory.clone()), end.sink()).policy(policy);
        let mut refused = new(Policy::Only(Method::ZeroCopySend));
        let error = refused.drive().await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Unsupported { .. }), "{error}");
        assert_eq!(error.moved, 0);
        drop(refused);
        let mut preferred = new(Policy::Prefer(Method::ZeroCopySend));
        preferred.drive().await.unwrap();
        assert_eq!(preferred.ledger().fallbacks()[0].errno, Some(Errno::OPNOTSUPP));
        drop(preferred);
        drop(end);
        assert_eq!(difference(&got.join().unwrap().unwrap(), 0, LEN), None);
    });
}

#[test]
fn tokio_takes_a_completion_for_the_end_of_writing() {
    // Why the refusal above: were this to fail, it could go.
    let [runtime, _] = runtimes();
    runtime.block_on(async {
        let (write, _read) = Way::Tcp.connect().unwrap();
        set_nonblocking(&write, true).unwrap();
        let twin = write.try_clone().unwrap();
        let socket = TcpStream::from_std(write.into()).unwrap();
        let memory = Bytes::from(pattern(0..20_000));
        let mut transfer = Transfer::new(Source::bytes(memory), Sink::stream(&twin))
            .policy(Policy::Only(Method::ZeroCopySend));
        transfer.step().unwrap();
        // Lets tokio see what epoll has for it.
        timeout(PATIENCE, socket.ready(tokio::io::Interest::ERROR)).await.unwrap().unwrap();
        drop(transfer);
        let full = vec![0; 1 << 20];
        while socket.try_write(&full).is_ok() {}
        // The socket is full, and tokio still says that it is writable.
        let ready = timeout(PATIENCE, socket.writable()).await;
        assert!(ready.is_ok());
        assert_eq!(socket.try_write(&full).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    });
}

#[test]
fn a_stream_that_tokio_does_not_watch_is_refused_before_the_first_byte() {
    let [runtime, _] = runtimes();
    for is_blocking in [false, true] {
        let (write, read) = Way::Pipe.connect().unwrap();
        set_nonblocking(&write, !is_blocking).unwrap();
        let file = patterned_file(LEN).unwrap();
        let mut out = Transfer::new(Source::file(&file, ..).unwrap(), Sink::stream(&write));
        let error = runtime.block_on(out.drive()).unwrap_err();
        assert_eq!((error.kind, error.moved), (ErrorKind::NotWatched(Side::Sink), 0));
        assert!(error.to_string().contains("Sink::tokio"), "{error}");
        let mut came =
            Transfer::new(Source::bytes("head"), Sink::file(&file, 0)).chain(Source::stream(&read));
        let error = runtime.block_on(came.drive()).unwrap_err();
        assert_eq!((error.kind, error.moved), (ErrorKind::NotWatched(Side::Source), 0));
        assert!(error.to_string().contains("Source::tokio"), "{error}");
    }
}
