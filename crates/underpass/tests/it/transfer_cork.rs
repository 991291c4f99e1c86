//! `TCP_CORK` around large files: on while calls follow each other, off whatever ends them.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use rustix::net::sockopt::{set_tcp_cork, tcp_cork};
use underpass::{ErrorKind, Sink, Source, Step, Transfer};
use underpass_testkit::payload::{difference, patterned_file};
use underpass_testkit::peer::collect;
use underpass_testkit::skip::Capability;
use underpass_testkit::strace::{Call, Strace, is_inside, mark};
use underpass_testkit::{require, test_name};

/// More than two steps.
const LEN: u64 = 5_000_000;

/// The most that one step moves.
const STEP: u64 = 2 << 20;

/// Too little for a cork, by one byte.
const SMALL: u64 = (256 << 10) - 1;

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let write = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (write, listener.accept().unwrap().0)
}

#[test]
fn a_socket_is_corked_between_two_steps_and_no_longer_when_all_is_sent() {
    let (file, (write, read)) = (patterned_file(LEN).unwrap(), pair());
    let collected = collect(read.into());
    let mut transfer = Transfer::new(Source::file(&file, ..).unwrap(), Sink::stream(&write));
    assert_eq!(tcp_cork(&write), Ok(false));
    assert!(matches!(transfer.step(), Ok(Step::Moved(1..))));
    assert_eq!(tcp_cork(&write), Ok(true));
    transfer.run().unwrap();
    assert_eq!(tcp_cork(&write), Ok(false));
    drop(transfer);
    drop(write);
    assert_eq!(difference(&collected.join().unwrap().unwrap(), 0, LEN), None);
}

#[test]
fn an_error_and_a_drop_pull_the_cork() {
    let (file, (write, read)) = (patterned_file(LEN).unwrap(), pair());
    let collected = collect(read.into());
    let mut dropped = Transfer::new(Source::file(&file, ..).unwrap(), Sink::stream(&write));
    dropped.step().unwrap();
    assert_eq!(tcp_cork(&write), Ok(true));
    drop(dropped);
    assert_eq!(tcp_cork(&write), Ok(false));
    let mut failed = Transfer::new(Source::file(&file, ..).unwrap(), Sink::stream(&write));
    failed.step().unwrap();
    file.set_len(STEP + 1).unwrap();
    let error = failed.run().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Truncated { .. }), "{error}");
    assert_eq!(tcp_cork(&write), Ok(false));
    drop(failed);
    drop(write);
    collected.join().unwrap().unwrap();
}

#[test]
fn a_cork_of_the_user_s_stays() {
    let (file, (write, read)) = (patterned_file(LEN).unwrap(), pair());
    let collected = collect(read.into());
    set_tcp_cork(&write, true).unwrap();
    underpass::transfer(Source::file(&file, ..).unwrap(), Sink::stream(&write)).unwrap();
    assert_eq!(tcp_cork(&write), Ok(true));
    drop(write);
    collected.join().unwrap().unwrap();
}

/// What a traced transfer does, calls of one name in a row as one: `cork` and `uncork` are
/// setsockopt(2).
fn shape(calls: &[Call]) -> Vec<String> {
    let name = |call: &Call| match call.name.as_str() {
        "setsockopt" if call.arguments.contains("TCP_CORK, [1]") => "cork".to_owned(),
        "setsockopt" if call.arguments.contains("TCP_CORK, [0]") => "uncork".to_owned(),
        name => name.to_owned(),
    };
    let mut shape: Vec<String> = calls.iter().map(name).collect();
    shape.dedup();
    shape
}

#[test]
fn the_cork_is_one_question_and_two_calls_around_a_large_file_and_nothing_around_a_small_one() {
    let what = std::env::var("WHAT").unwrap_or_default();
    if is_inside() {
        let (write, read) = pair();
        let (unix, unix_read) = UnixStream::pair().unwrap();
        let collected = [collect(read.into()), collect(unix_read.into())];
        let file = patterned_file(LEN).unwrap();
        let range = |range| Source::file(&file, range).unwrap();
        let sink = Sink::stream(&write);
        let mut transfer = match what.as_str() {
            "small" => Transfer::new(range(0..SMALL), sink),
            "enough" => Transfer::new(range(0..SMALL + 1), sink),
            "chain" => Transfer::new(Source::bytes("head"), sink)
                .chain(range(0..LEN))
                .chain(Source::bytes("trailer")),
            "unix" => Transfer::new(range(0..LEN), Sink::stream(&unix)),
            _ => Transfer::new(range(0..LEN), sink),
        };
        mark();
        transfer.run().unwrap();
        mark();
        drop(transfer);
        drop((write, unix));
        return collected.into_iter().for_each(|read| drop(read.join().unwrap().unwrap()));
    }
    require!(Capability::Strace);
    let question = "getsockopt";
    for (what, fault, want) in [
        ("large", None, &[question, "cork", "sendfile", "uncork"][..]),
        ("small", None, &["sendfile"]),
        ("enough", None, &[question, "cork", "sendfile", "uncork"]),
        ("chain", None, &["sendmsg", question, "cork", "sendfile", "sendmsg", "uncork"]),
        ("unix", None, &[question, "sendfile"]),
        (
            "refused",
            Some("sendfile:error=EINVAL:when=2"),
            &[question, "cork", "sendfile", "uncork", "splice"],
        ),
    ] {
        let mut strace = Strace::of_test(test_name!()).unwrap();
        strace = strace.only("sendfile,sendmsg,splice,getsockopt,setsockopt");
        if let Some(fault) = fault {
            strace = strace.inject(fault);
        }
        let trace = strace.env("WHAT", what).run().unwrap();
        trace.assert_success();
        let moving = ["sendfile", "sendmsg", "splice", "getsockopt", "setsockopt"];
        let calls: Vec<Call> = trace.marked().to_vec();
        let calls: Vec<Call> =
            calls.into_iter().filter(|call| moving.contains(&call.name.as_str())).collect();
        assert_eq!(shape(&calls), want, "{what}");
    }
}
