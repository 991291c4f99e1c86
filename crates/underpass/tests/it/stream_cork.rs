//! `TCP_CORK` around large file-backed slices: on until what was given is taken, off however
//! that ends, since a corked tail waits 200 ms.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use rustix::net::sockopt::{set_tcp_cork, tcp_cork};
use tokio::io::AsyncWriteExt;
use underpass::{BlockingStream, FileBytes, Stability, Stream};
use underpass_testkit::payload::{difference, patterned_file};
use underpass_testkit::peer::collect;

/// More than two calls move.
const LEN: u64 = 5_000_000;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let write = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (write, listener.accept().unwrap().0)
}

#[expect(unsafe_code, reason = "bytes of a file that is truncated are what is tested")]
fn map(file: &File) -> Bytes {
    let mapped = FileBytes::map(file.try_clone().unwrap(), .., Stability::Guard).unwrap();
    // SAFETY: `FileBytes::into_bytes`, "no one reads the bytes": they are only sent.
    unsafe { mapped.into_bytes() }
}

#[test]
fn a_stream_is_corked_until_all_it_was_given_is_taken_and_no_tail_waits() {
    let (write, mut read) = pair();
    let bytes = map(&patterned_file(LEN).unwrap());
    let mut stream = BlockingStream::new(&write);
    let receiving = std::thread::spawn(move || {
        let mut got = vec![0; 4 + usize::try_from(LEN).unwrap() + 4];
        read.read_exact(&mut got).unwrap();
        got
    });
    let mut slices = [IoSlice::new(b"head"), IoSlice::new(&bytes), IoSlice::new(b"tail")];
    let mut slices = &mut slices[..];
    let mut corked = 0;
    while !slices.is_empty() {
        let n = stream.write_vectored(slices).unwrap();
        IoSlice::advance_slices(&mut slices, n);
        assert_eq!(tcp_cork(&write), Ok(!slices.is_empty()));
        corked += usize::from(!slices.is_empty());
    }
    assert!(corked >= 2, "{corked} calls before the last");
    // The stream is open, and nothing more is written: the tail is on its way.
    let got = receiving.join().unwrap();
    assert_eq!((&got[..4], &got[got.len() - 4..]), (&b"head"[..], &b"tail"[..]));
    assert_eq!(difference(&got[4..got.len() - 4], 0, LEN), None);
}

#[test]
fn an_error_a_flush_a_drop_and_giving_the_socket_back_pull_the_cork_of_a_stream() {
    let file = patterned_file(LEN).unwrap();
    let (write, read) = pair();
    let collected = collect(read.into());
    let bytes = map(&file);
    let corked = || {
        let mut stream = BlockingStream::new(&write);
        assert!(stream.write(&bytes).unwrap() > 0);
        assert_eq!(tcp_cork(&write), Ok(true));
        stream
    };
    corked().flush().unwrap();
    assert_eq!(tcp_cork(&write), Ok(false), "a flush");
    let _socket: &TcpStream = corked().into_inner();
    assert_eq!(tcp_cork(&write), Ok(false), "given back");
    drop(corked());
    assert_eq!(tcp_cork(&write), Ok(false), "a drop");
    let mut failing = corked();
    file.set_len(1).unwrap();
    assert!(failing.write(&bytes[4_000_000..]).is_err());
    assert_eq!(tcp_cork(&write), Ok(false), "an error");
    drop(failing);
    drop(write);
    collected.join().unwrap().unwrap();
}

#[test]
fn a_cork_of_the_users_stays_and_small_slices_have_none() {
    let (mut write, read) = pair();
    let collected = collect(read.into());
    let bytes = map(&patterned_file(LEN).unwrap());
    set_tcp_cork(&write, true).unwrap();
    let mut stream = BlockingStream::new(write);
    stream.write_all(&bytes).unwrap();
    write = stream.into_inner();
    assert_eq!(tcp_cork(&write), Ok(true));
    drop(write);
    collected.join().unwrap().unwrap();

    // No one reads: a reader could be as fast as the writer, and nothing be left to come.
    let (write, _unread) = pair();
    rustix::net::sockopt::set_socket_send_buffer_size(&write, 4_096).unwrap();
    write.set_nonblocking(true).unwrap();
    let mut stream = BlockingStream::new(write);
    let small = bytes.slice(..(256 << 10) - 1);
    assert!(stream.write(&small).unwrap() < small.len(), "more is to come");
    assert_eq!(tcp_cork(stream.get_ref()), Ok(false));
}

#[test]
fn a_unix_socket_has_no_cork_and_gets_everything() {
    let (write, read) = UnixStream::pair().unwrap();
    let collected = collect(read.into());
    let mut stream = BlockingStream::new(write);
    stream.write_all(&map(&patterned_file(LEN).unwrap())).unwrap();
    drop(stream);
    assert_eq!(difference(&collected.join().unwrap().unwrap(), 0, LEN), None);
}

#[test]
fn a_stream_of_tokio_is_corked_and_its_flush_and_shutdown_pull_the_cork() {
    let (write, read) = pair();
    write.set_nonblocking(true).unwrap();
    let collected = collect(read.into());
    let bytes = map(&patterned_file(LEN).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = Stream::new(tokio::net::TcpStream::from_std(write).unwrap());
        for end in ["flush", "shutdown"] {
            let n = stream.write(&bytes).await.unwrap();
            assert!(n > 0 && n < bytes.len());
            assert_eq!(tcp_cork(stream.get_ref()), Ok(true));
            match end {
                "flush" => stream.flush().await.unwrap(),
                _ => stream.shutdown().await.unwrap(),
            }
            assert_eq!(tcp_cork(stream.get_ref()), Ok(false), "{end}");
        }
    });
    collected.join().unwrap().unwrap();
}
