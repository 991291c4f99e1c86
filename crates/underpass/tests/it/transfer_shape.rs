//! Which system calls a transfer makes: the proof that no payload byte passes user memory.
//!
//! The transfer runs in a traced child, the reader in this process, untraced; so every call in
//! the record is the sender's.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use underpass::{Policy, Sink, Source, Transfer};
use underpass_testkit::payload::{difference, patterned_file};
use underpass_testkit::peer::collect;
use underpass_testkit::skip::Capability;
use underpass_testkit::strace::{Call, Strace, bytes, counts, is_inside, mark};
use underpass_testkit::{require, test_name};

const LEN: u64 = 5_000_000;

/// Calls that can move bytes into or out of user memory, or between descriptors.
const MOVING: &str = "read,pread64,readv,preadv,preadv2,recvfrom,recvmsg,write,pwrite64,writev,\
                      pwritev,pwritev2,sendto,sendmsg,sendfile,splice,tee,vmsplice,\
                      copy_file_range,mmap";

/// Accepts one connection and reads it to its end.
fn reader() -> (u16, JoinHandle<io::Result<Vec<u8>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept()?;
        collect(stream.into()).join().expect("the collector does not panic")
    });
    (port, thread)
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}

fn connect() -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, variable("PORT").parse().unwrap())).unwrap()
}

/// Traces this test's inner half; returns its moving calls, and that the bytes arrived.
fn traced(name: &str, method: &str) -> Vec<Call> {
    let (port, thread) = reader();
    let strace = Strace::of_test(name).unwrap().only(MOVING);
    let trace = strace.env("PORT", &port.to_string()).env("METHOD", method).run().unwrap();
    trace.assert_success();
    assert_eq!(difference(&thread.join().unwrap().unwrap(), 0, LEN), None, "{method}");
    // What `Stability::Guard` remembers of the file.
    let is_sample = |call: &&Call| call.name == "preadv2" && call.returned == Some(32);
    let samples = trace.marked().iter().filter(is_sample).count();
    assert!((1..=8).contains(&samples), "{samples} samples of {LEN} bytes");
    let is_moving = |call: &&Call| MOVING.split(',').any(|name| name == call.name);
    trace.marked().iter().filter(|call| is_moving(call) && !is_sample(call)).cloned().collect()
}

fn names(calls: &[Call]) -> Vec<&str> {
    let counts: BTreeMap<&str, usize> = counts(calls);
    counts.into_keys().collect()
}

#[test]
fn each_method_makes_its_own_calls_and_no_others() {
    if is_inside() {
        let (file, socket) = (patterned_file(LEN).unwrap(), connect());
        let mut transfer = Transfer::new(Source::file(&file, ..).unwrap(), Sink::stream(&socket));
        if let Ok(method) = variable("METHOD").parse() {
            transfer = transfer.policy(Policy::Only(method));
        }
        mark();
        transfer.run().unwrap();
        return mark();
    }
    require!(Capability::Strace);
    // An empty word names no method: that is Auto.
    for (method, want) in [
        ("", &["sendfile"][..]),
        ("sendfile", &["sendfile"]),
        ("splice", &["splice"]),
        ("mmap-write", &["mmap", "sendto"]),
        ("copy", &["pread64", "sendmsg"]),
    ] {
        let calls = traced(test_name!(), method);
        assert_eq!(names(&calls), want, "{method}");
        let factor = if method == "splice" { 2 } else { 1 };
        assert_eq!(bytes(&calls, want[want.len() - 1]), factor * LEN, "{method}");
    }
    let calls = traced(test_name!(), "sendfile");
    // A step is up to 2 MiB; a socket with room takes it whole, one without less.
    assert!((3..200).contains(&calls.len()), "{} calls", calls.len());
}

#[cfg(feature = "tokio")]
#[test]
fn under_tokio_a_file_goes_by_sendfile_and_the_gate_looks_at_single_bytes() {
    if is_inside() {
        let file = patterned_file(LEN).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let socket = connect();
        socket.set_nonblocking(true).unwrap();
        let socket = tokio::net::TcpStream::from_std(socket).unwrap();
        let mut transfer = Transfer::new(Source::file(&file, ..).unwrap(), Sink::tokio(&socket));
        mark();
        runtime.block_on(transfer.drive()).unwrap();
        return mark();
    }
    require!(Capability::Strace);
    let calls = traced(test_name!(), "");
    assert_eq!(names(&calls), ["preadv2", "sendfile"]);
    assert_eq!(bytes(&calls, "sendfile"), LEN);
    let probes = calls.iter().filter(|call| call.name == "preadv2");
    assert!(probes.clone().all(|call| call.returned == Some(1)), "{calls:?}");
    // One to a stride of 128 KiB and one at the end of each quantum.
    assert!(probes.count() <= 2 * 9 * 5, "{calls:?}");
}

#[test]
fn a_head_and_a_large_file_are_one_send_and_then_sendfile() {
    if is_inside() {
        let (file, socket) = (patterned_file(LEN).unwrap(), connect());
        let head = underpass_testkit::payload::pattern(0..200);
        let mut transfer = Transfer::new(Source::bytes(head), Sink::stream(&socket))
            .chain(Source::file(&file, 200..).unwrap());
        mark();
        transfer.run().unwrap();
        return mark();
    }
    require!(Capability::Strace);
    let calls = traced(test_name!(), "");
    assert_eq!(names(&calls), ["sendfile", "sendmsg"]);
    assert_eq!((calls[0].name.as_str(), calls[0].returned), ("sendmsg", Some(200)));
    assert!(calls[0].arguments.contains("MSG_MORE"), "{:?}", calls[0]);
    assert!(calls[0].arguments.contains("MSG_NOSIGNAL"), "{:?}", calls[0]);
    assert_eq!(bytes(&calls, "sendfile"), LEN - 200);
}
