//! Streams under faults: files that change, peers that go, pages that are not there.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use underpass::{
    BlockingStream, COPY_MAX_BYTES, Errno, Error, ErrorKind, FileBytes, Method, Policy, Sent, Sink,
    Source, Stability, Stream, Transfer,
};
use underpass_testkit::disk::{Disk, FileSystem, disk_dir};
use underpass_testkit::payload::{difference, pattern, patterned_file};
use underpass_testkit::peer::{Way, collect};
use underpass_testkit::skip::Capability;
use underpass_testkit::strace::{self, Strace};
use underpass_testkit::{require, test_name};

/// More than a Unix socket and its peer hold together.
const LEN: u64 = 3 << 20;

/// Each way a file-backed slice can go.
const POLICIES: [Policy; 3] =
    [Policy::Auto, Policy::Only(Method::Sendfile), Policy::Only(Method::Copy)];

#[expect(unsafe_code, reason = "bytes of files that change are what is tested")]
fn map(file: &File, stability: Stability) -> Bytes {
    let mapped = FileBytes::map(file.try_clone().unwrap(), .., stability).unwrap();
    // SAFETY: `FileBytes::into_bytes`, "no one reads the bytes": they are only sent.
    unsafe { mapped.into_bytes() }
}

fn outgoing(error: &io::Error) -> Error {
    let inner = error.get_ref().unwrap_or_else(|| panic!("a bare {error:?}"));
    *inner.downcast_ref().unwrap_or_else(|| panic!("not of a file: {inner:?}"))
}

/// Sends `bytes` until the peer's buffer is full, runs `meanwhile`, and sends the rest to a
/// reader: what came of it, and what the peer got.
fn send_around(bytes: &Bytes, meanwhile: impl FnOnce()) -> (io::Result<()>, Vec<u8>) {
    let (writer, reader) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::UnixStream::from_std(writer).unwrap();
        let mut stream = Stream::new(socket).with_policy(Policy::Prefer(Method::Sendfile));
        let mut rest = bytes.clone();
        // A write that is pending has met a full buffer.
        while let Ok(n) = tokio::time::timeout(Duration::ZERO, stream.write(&rest)).await {
            drop(rest.split_to(n.unwrap()));
        }
        assert!(!rest.is_empty(), "the peer's buffer holds all of it");
        meanwhile();
        let got = collect(reader.into());
        let end = stream.write_all(&rest).await;
        drop(stream);
        (end, got.join().unwrap().unwrap())
    })
}

#[test]
fn a_file_truncated_in_mid_send_is_an_error_and_not_an_end() {
    for stability in [Stability::None, Stability::Guard] {
        let file = patterned_file(LEN).unwrap();
        let (end, got) = send_around(&map(&file, stability), || file.set_len(100).unwrap());
        let error = end.unwrap_err();
        assert!((got.len() as u64) < LEN, "{} bytes under {stability}", got.len());
        let kind = outgoing(&error).kind;
        let is_changed = kind == ErrorKind::Changed && stability == Stability::Guard;
        let is_cut = matches!(kind, ErrorKind::Truncated { missing } if missing > 0);
        assert!(is_changed || is_cut, "{error:?}");
    }
}

#[test]
fn a_file_rewritten_in_mid_send_is_cut_under_guard_and_whole_without() {
    for (stability, is_cut) in [(Stability::Guard, true), (Stability::None, false)] {
        let file = patterned_file(LEN).unwrap();
        underpass_testkit::wait::until_file_times_move();
        let bytes = map(&file, stability);
        let (end, got) = send_around(&bytes, || file.write_all_at(b"torn", LEN - 4).unwrap());
        assert_eq!(end.is_err(), is_cut, "{stability}: {end:?}");
        assert_eq!((got.len() as u64) < LEN, is_cut, "{stability}");
        if let Err(error) = end {
            assert_eq!(outgoing(&error).kind, ErrorKind::Changed);
        } else {
            assert_eq!(&got[got.len() - 4..], b"torn", "what the policy is there against");
        }
    }
}

#[test]
fn a_copied_piece_of_a_rewritten_file_is_cut_too() {
    let file = patterned_file(1_000).unwrap();
    underpass_testkit::wait::until_file_times_move();
    let bytes = map(&file, Stability::Guard);
    file.write_all_at(b"torn", 0).unwrap();
    let (writer, reader) = UnixStream::pair().unwrap();
    let error = BlockingStream::new(writer).write(&bytes).unwrap_err();
    let message = "source changed while it was sent, at byte 0 of the file";
    assert_eq!(error.to_string(), message);
    assert_eq!(outgoing(&error).wanted, Some(1_000), "all of it was held back");
    assert_eq!(collect(reader.into()).join().unwrap().unwrap(), b"");
}

#[test]
fn a_file_whose_lease_is_broken_in_mid_send_is_cut() {
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let path = dir.path().join("leased");
    let bytes = map(&crate::unwritten(&path, LEN), Stability::Lease);
    let (end, got) = send_around(&bytes, || {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        let refused = rustix::fs::open(&path, flags, rustix::fs::Mode::empty());
        assert_eq!(refused.unwrap_err(), Errno::AGAIN, "the writer has to wait");
    });
    assert_eq!(outgoing(&end.unwrap_err()).kind, ErrorKind::Changed);
    assert!((got.len() as u64) < LEN);
    drop(bytes);
    let writer = File::options().write(true).open(&path);
    writer.expect("the lease went with the bytes");
}

#[test]
fn every_byte_arrives_however_often_the_write_is_cancelled() {
    let file = patterned_file(LEN).unwrap();
    let bytes = map(&file, Stability::Guard);
    for policy in POLICIES {
        let (writer, reader) = Way::Tcp.connect().unwrap();
        let got = collect(reader);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let socket = std::net::TcpStream::from(writer);
            socket.set_nonblocking(true).unwrap();
            let socket = TcpStream::from_std(socket).unwrap();
            let mut stream = Stream::new(socket).with_policy(policy);
            let head = b"head";
            let (mut head, mut rest) = (&head[..], bytes.clone());
            while !rest.is_empty() {
                let slices = [IoSlice::new(head), IoSlice::new(&rest)];
                let write = stream.write_vectored(&slices);
                // One poll, then the future is dropped.
                let Ok(n) = tokio::time::timeout(Duration::ZERO, write).await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let n = n.unwrap();
                let of_head = n.min(head.len());
                head = &head[of_head..];
                drop(rest.split_to(n - of_head));
            }
        });
        let got = got.join().unwrap().unwrap();
        assert_eq!(&got[..4], b"head", "{policy:?}");
        assert_eq!(difference(&got[4..], 0, LEN), None, "{policy:?}");
    }
}

#[test]
fn every_policy_sends_the_same_bytes() {
    let file = patterned_file(200_000).unwrap();
    let bytes = map(&file, Stability::Guard);
    let ranges = [(0, 1), (0, 200_000), (4_095, 2), (32_767, 32_768), (1, 32_769), (199_999, 1)];
    for way in [Way::Tcp, Way::Unix] {
        for policy in POLICIES {
            let (writer, reader) = way.connect().unwrap();
            let got = collect(reader);
            let mut stream = BlockingStream::new(writer).with_policy(policy);
            let mut want = Vec::new();
            for (at, len) in ranges {
                want.extend_from_slice(b"<");
                want.extend_from_slice(&pattern(at as u64..(at + len) as u64));
                want.extend_from_slice(b">");
                let piece = bytes.slice(at..at + len);
                let mut slices = [IoSlice::new(b"<"), IoSlice::new(&piece), IoSlice::new(b">")];
                let mut slices = &mut slices[..];
                while !slices.is_empty() {
                    let n = stream.write_vectored(slices).unwrap();
                    IoSlice::advance_slices(&mut slices, n);
                }
            }
            let sent = stream.take_sent();
            assert_eq!(sent.bytes(), want.len() as u64, "{way:?} {policy:?}");
            let by_reference: fn(usize) -> bool = match policy {
                Policy::Only(Method::Sendfile) => |_| true,
                Policy::Only(_) => |_| false,
                Policy::Auto | Policy::Prefer(_) => |len| len > COPY_MAX_BYTES,
            };
            let referenced = ranges.iter().map(|(_, len)| *len).filter(|len| by_reference(*len));
            assert_eq!(sent.referenced, referenced.sum::<usize>() as u64, "{way:?} {policy:?}");
            assert_eq!(stream.take_sent(), Sent::default(), "it was taken");
            drop(stream);
            assert!(got.join().unwrap().unwrap() == want, "{way:?} {policy:?}");
        }
    }
}

#[test]
fn a_demanded_method_that_streams_do_not_have_is_unsupported_and_a_preferred_one_is_as_auto() {
    let bytes = map(&patterned_file(100_000).unwrap(), Stability::Guard);
    let (writer, reader) = Way::Tcp.connect().unwrap();
    let got = collect(reader);
    let mut stream = BlockingStream::new(writer).with_policy(Policy::Only(Method::Splice));
    assert_eq!(stream.write(b"memory").unwrap(), 6);
    let error = outgoing(&stream.write(&bytes).unwrap_err());
    assert!(matches!(error.kind, ErrorKind::Unsupported { errno: None, .. }), "{error:?}");
    assert_eq!(error.to_string(), "splice cannot move file to socket, at byte 0 of the file");
    let mut stream = stream.with_policy(Policy::Prefer(Method::Splice));
    stream.write_all(&bytes).unwrap();
    drop(stream);
    assert_eq!(difference(&got.join().unwrap().unwrap()[6..], 0, 100_000), None);
}

/// As under a seccomp profile that denies the call.
#[test]
fn a_refused_sendfile_is_a_copy_unless_it_was_demanded() {
    if strace::is_inside() {
        let bytes = map(&patterned_file(100_000).unwrap(), Stability::Guard);
        let (writer, reader) = Way::Tcp.connect().unwrap();
        let got = collect(reader);
        let mut stream = BlockingStream::new(writer).with_policy(Policy::Only(Method::Sendfile));
        let error = outgoing(&stream.write(&bytes).unwrap_err());
        let errno = Some(Errno::PERM);
        assert!(matches!(error.kind, ErrorKind::Unsupported { errno: e, .. } if e == errno));
        let mut stream = stream.with_policy(Policy::Auto);
        stream.write_all(&bytes).unwrap();
        let sent = stream.take_sent();
        assert_eq!((sent.referenced, sent.copied, sent.errno), (0, 100_000, errno));
        assert!(sent.fallbacks > 0);
        drop(stream);
        assert_eq!(difference(&got.join().unwrap().unwrap(), 0, 100_000), None);
        return;
    }
    require!(Capability::Strace);
    let trace = Strace::of_test(test_name!()).unwrap().inject("sendfile:error=EPERM").run();
    trace.unwrap().assert_success();
}

#[test]
fn a_peer_that_goes_is_an_error_of_the_socket() {
    let file = patterned_file(LEN).unwrap();
    let bytes = map(&file, Stability::Guard);
    for policy in POLICIES {
        let (writer, mut reader) = UnixStream::pair().unwrap();
        let reading = std::thread::spawn(move || {
            reader.read_exact(&mut [0; 1_000]).unwrap();
        });
        let error = BlockingStream::new(writer).with_policy(policy).write_all(&bytes).unwrap_err();
        reading.join().unwrap();
        let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        assert!(gone.contains(&error.kind()), "{policy:?}: {error:?}");
    }
}

/// As `std` does it, whatever moves the bytes and whichever side waits.
#[test]
fn a_wait_that_outlasts_the_sockets_timeout_is_an_error() {
    let file = patterned_file(LEN).unwrap();
    let bytes = map(&file, Stability::Guard);
    for (policy, is_nonblocking) in POLICIES.into_iter().zip([true, false, false]) {
        let (writer, _reader) = UnixStream::pair().unwrap();
        writer.set_nonblocking(is_nonblocking).unwrap();
        writer.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        writer.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut stream = BlockingStream::new(&writer).with_policy(policy);
        let error = stream.write_all(&bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{policy:?}");
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{policy:?}");
        let source = Source::file(&file, ..).unwrap();
        let error = Transfer::new(source, Sink::stream(&writer)).run().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Io(Errno::AGAIN));
    }
}

/// A reader that never lets the socket fill holds its thread for a turn at a time only.
#[test]
fn one_fast_peer_does_not_hold_a_thread() {
    const SPARSE: u64 = 1 << 30;
    let file = tempfile::tempfile().unwrap();
    file.set_len(SPARSE).unwrap();
    let bytes = map(&file, Stability::Guard);
    let (writer, reader) = Way::Tcp.connect().unwrap();
    let discarding = std::thread::spawn(move || {
        let mut got = 0;
        loop {
            // tcp(7), MSG_TRUNC: the bytes are discarded in the kernel.
            let flags = rustix::net::RecvFlags::TRUNC;
            let (_, n) = rustix::net::recv(&reader, &mut vec![0; 1 << 20][..], flags).unwrap();
            got += n as u64;
            if n == 0 {
                return got;
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let turns = runtime.block_on(async {
        let socket = std::net::TcpStream::from(writer);
        socket.set_nonblocking(true).unwrap();
        let mut stream = Stream::new(TcpStream::from_std(socket).unwrap());
        let mut turns = 0_u64;
        let other = async {
            loop {
                turns += 1;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            end = stream.write_all(&bytes) => end.unwrap(),
            () = other => {}
        }
        turns
    });
    assert_eq!(discarding.join().unwrap(), SPARSE);
    assert!(turns >= SPARSE / (4 << 20) / 2, "{turns} turns in {SPARSE} bytes");
}

/// While a cold file comes from a disk that takes seconds for it, the thread continues.
#[test]
fn a_cold_file_does_not_hold_the_thread() {
    require!(Capability::Root);
    let mut disk = require!(Disk::new(FileSystem::Ext4, 64 << 20));
    let file = disk.cold_file(1 << 20).unwrap();
    require!(disk.throttle_reads(1 << 20));
    let bytes = map(&file, Stability::Guard);
    let (writer, reader) = Way::Tcp.connect().unwrap();
    let got = collect(reader);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (ticks, sent) = runtime.block_on(async {
        let socket = std::net::TcpStream::from(writer);
        socket.set_nonblocking(true).unwrap();
        let mut stream = Stream::new(TcpStream::from_std(socket).unwrap());
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
        (ticks, stream.take_sent())
    });
    assert_eq!(difference(&got.join().unwrap().unwrap(), 0, 1 << 20), None);
    assert_eq!(sent.bytes(), 1 << 20);
    // The kernel may read ahead of one fetch what the next one is for.
    assert!((1..=5).contains(&sent.cold_waits), "{sent:?}");
    assert!(sent.cold_time > Duration::from_millis(200), "{sent:?}");
    // About 700 were seen; a thread that waits for each of the four fetches sees four.
    assert!(ticks > 20, "{ticks} ticks while the disk was read");
}
