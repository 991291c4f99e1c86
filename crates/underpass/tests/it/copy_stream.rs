//! File-backed bytes through a transport that reads them: rustls in user space.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio_rustls::TlsAcceptor;
use underpass::{CopyStream, Error, ErrorKind, FileBytes, Stability};
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::payload::{difference, pattern, patterned_file};
use underpass_testkit::skip::Capability;
use underpass_testkit::tls::{Identity, NAME};
use underpass_testkit::{require, wait};

/// More than the sockets and TLS hold together.
const LEN: u64 = 3 << 20;

#[expect(unsafe_code, reason = "bytes of files that change are what is tested")]
fn map(file: &File, stability: Stability) -> Bytes {
    let mapped = FileBytes::map(file.try_clone().unwrap(), .., stability).unwrap();
    // SAFETY: `FileBytes::into_bytes`, "no one reads the bytes": a `CopyStream` reads the file.
    unsafe { mapped.into_bytes() }
}

/// Sends a head and `bytes` by TLS to a client that reads nothing until `meanwhile` has happened:
/// how that ended, what the client got of the bytes, and whether it was told of an end.
fn send_around(bytes: &Bytes, meanwhile: impl FnOnce()) -> (io::Result<()>, Vec<u8>, bool) {
    let identity = Identity::new().unwrap();
    let kind = (&rustls::version::TLS13, "");
    let (server, client) = (identity.server(kind).unwrap(), identity.client(kind).unwrap());
    let (writer, reader) = std::os::unix::net::UnixStream::pair().unwrap();
    let (go, may_read) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        let name = ServerName::try_from(NAME).unwrap();
        let session = ClientConnection::new(Arc::clone(&client), name).unwrap();
        let mut tls = StreamOwned::new(session, reader);
        tls.conn.complete_io(&mut tls.sock).unwrap();
        may_read.recv().unwrap();
        let mut got = Vec::new();
        let end = io::Read::read_to_end(&mut tls, &mut got);
        (got, end.is_ok())
    });
    writer.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sent = runtime.block_on(async {
        let socket = UnixStream::from_std(writer).unwrap();
        let tls = TlsAcceptor::from(server).accept(socket).await.unwrap();
        let mut stream = CopyStream::new(tls);
        let mut rest = bytes.clone();
        let slices = [IoSlice::new(b"head"), IoSlice::new(&rest)];
        let n = stream.write_vectored(&slices).await?;
        drop(rest.split_to(n - 4));
        // A write that is pending has met a full buffer.
        while let Ok(n) = tokio::time::timeout(Duration::ZERO, stream.write(&rest)).await {
            drop(rest.split_to(n?));
        }
        assert!(!rest.is_empty(), "the buffers hold all of it");
        meanwhile();
        go.send(()).unwrap();
        stream.write_all(&rest).await?;
        stream.shutdown().await
    });
    let (got, is_ended) = reading.join().unwrap();
    assert_eq!(&got[..4], b"head");
    (sent, got[4..].to_vec(), is_ended)
}

fn reason(error: &io::Error) -> ErrorKind {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    inner.unwrap_or_else(|| panic!("not of a file: {error:?}")).kind
}

/// KiB of the mapping that this process has touched: proc_pid_smaps(5), "Rss".
fn touched_kib(bytes: &Bytes) -> u64 {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let start = format!("{:x}-", bytes.as_ptr().addr());
    let lines = smaps.lines().skip_while(|line| !line.starts_with(&start));
    let rss = lines.into_iter().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    rss.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_file_goes_whole_through_tls_and_no_page_of_its_mapping_is_touched() {
    let file = patterned_file(LEN).unwrap();
    let bytes = map(&file, Stability::Guard);
    let (sent, got, is_ended) = send_around(&bytes, || {});
    sent.unwrap();
    assert!(is_ended);
    assert_eq!(difference(&got, 0, LEN), None);
    assert_eq!(touched_kib(&bytes), 0);
    assert_eq!(bytes[5_000..5_010], pattern(5_000..5_010), "the mapping is there");
    assert!(touched_kib(&bytes) > 0, "and a touch is seen");
}

#[test]
fn a_file_truncated_in_mid_send_is_cut_and_has_no_zeros() {
    for stability in [Stability::None, Stability::Guard, Stability::Copy] {
        for size in [100, LEN - 1] {
            let file = patterned_file(LEN).unwrap();
            let bytes = map(&file, stability);
            let (sent, got, is_ended) = send_around(&bytes, || file.set_len(size).unwrap());
            let reason = reason(&sent.unwrap_err());
            let is_cut = matches!(reason, ErrorKind::Truncated { .. } | ErrorKind::Changed);
            assert!(is_cut && !is_ended, "{stability} {size}: {reason:?}");
            assert_eq!(difference(&got, 0, got.len() as u64), None, "{stability} {size}");
        }
    }
}

#[test]
fn a_file_overwritten_in_mid_send_is_cut() {
    let file = patterned_file(LEN).unwrap();
    wait::until_file_times_move();
    let bytes = map(&file, Stability::Guard);
    let (sent, got, is_ended) = send_around(&bytes, || {
        file.write_all_at(b"torn", LEN - 4).unwrap();
    });
    assert_eq!((reason(&sent.unwrap_err()), is_ended), (ErrorKind::Changed, false));
    assert_eq!(difference(&got, 0, got.len() as u64), None, "the last bytes were held back");
}

/// While a cold file comes from a disk that takes a second for it, the thread does other work.
#[test]
fn a_cold_file_does_not_hold_the_thread_of_a_copying_stream() {
    require!(Capability::Root);
    let mut disk = require!(Disk::new(FileSystem::Ext4, 64 << 20));
    let file = disk.cold_file(1 << 20).unwrap();
    require!(disk.throttle_reads(1 << 20));
    let bytes = map(&file, Stability::Guard);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (got, ticks) = runtime.block_on(async {
        let mut stream = CopyStream::new(Vec::new());
        let mut ticks = 0;
        let other = async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ticks += 1;
            }
        };
        tokio::select! {
            end = stream.write_all(&bytes) => end.unwrap(),
            () = other => {}
        }
        (stream.into_inner(), ticks)
    });
    assert_eq!(difference(&got, 0, 1 << 20), None);
    assert!(ticks > 50, "{ticks} ticks while the disk was read");
}
