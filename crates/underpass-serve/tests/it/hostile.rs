//! Clients that mean no good, and one next to them that must be served: the kept inputs of the
//! fuzz targets, and slowhttptest.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use underpass_serve::SiteOptions;
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, wait};

use crate::fixture::{Fixture, fixture};
use crate::tls::Secured;
use crate::ways::{Stream, ask};

const PATIENCE: Duration = Duration::from_secs(20);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The kept inputs of a fuzz target.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = fs::read_dir(corpus).unwrap();
    files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

/// Frames behind a preface: an input has kind, flags, stream and length of each in a byte.
fn frames(mut input: &[u8]) -> Vec<u8> {
    let mut wire = PREFACE.to_vec();
    while let [kind, flags, stream, len, rest @ ..] = input {
        let len = usize::from(*len).min(rest.len());
        let (payload, rest) = rest.split_at(len);
        wire.extend([0, 0, u8::try_from(len).unwrap(), *kind, *flags, 0, 0, 0, *stream]);
        wire.extend(payload);
        input = rest;
    }
    wire
}

/// Sends each input, and leaves once some of an answer has come or none does.
fn harass(
    server: &Fixture,
    inputs: &[Vec<u8>],
    connect: impl Fn() -> Box<dyn Stream>,
    mut bystander: Box<dyn Stream>,
) {
    for input in inputs {
        let mut peer = connect();
        // It may be refused midway.
        peer.write_all(input).unwrap_or_default();
        drop(peer);
        let answer = ask(&mut *bystander, "/digits.txt", "").unwrap();
        assert_eq!((answer.status, &answer.content[..]), (200, &b"0123456789"[..]));
    }
    let are_gone = || (server.metric("open") == 1).then_some(());
    wait::until(PATIENCE, are_gone).expect("only the bystander is there");
    assert_eq!(server.metric("cut_total{cause=\"file\"}"), 0);
}

#[test]
fn inputs_that_fuzzing_has_found_harm_no_one_over_any_way() {
    let clear = Fixture::alone();
    let site = SiteOptions::new(fixture().served.clone());
    let secured = Secured::serving(false, |tls| Fixture::choosing(site, tls, true));
    let mut of_http2 = ClientConfig::clone(&secured.client());
    of_http2.alpn_protocols = vec![b"h2".to_vec()];
    let of_http2 = Arc::new(of_http2);
    let requests = kept("conversation");
    let frames: Vec<_> = kept("http2").iter().map(|input| frames(input)).collect();
    assert!(requests.len() > 20 && frames.len() > 10);
    let bare = || -> Box<dyn Stream> { Box::new(clear.connect()) };
    for inputs in [&requests, &frames] {
        harass(&clear, inputs, bare, bare());
    }
    let plain = || -> Box<dyn Stream> { Box::new(secured.connect(secured.client())) };
    harass(&secured.fixture, &requests, plain, plain());
    let framed = || -> Box<dyn Stream> { Box::new(secured.connect(Arc::clone(&of_http2))) };
    harass(&secured.fixture, &frames, framed, plain());
}

#[test]
fn slow_heads_bodies_ranges_and_readers_delay_no_one_else() {
    require!(Capability::Program("slowhttptest"));
    let server = Fixture::alone();
    let url = format!("http://{}/large.bin", server.address);
    let (all, often) = (["-c", "200", "-r", "200", "-l", "4"], ["-i", "1", "-p", "2"]);
    let begin = |mode: &[&str]| {
        let mut command = Command::new("slowhttptest");
        command.args(mode).args(all).args(often).args(["-u", &url]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    };
    let slow_read = ["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "5", "-k", "2"];
    let mut all = [begin(&["-H"]), begin(&["-B"]), begin(&["-R"]), begin(&slow_read)];
    let is_busy = || (server.metric("open") > 300).then_some(());
    wait::until(PATIENCE, is_busy).expect("they have begun");
    let mut bystander = server.connect();
    let (mut asked, mut slow) = (0, 0);
    while all.iter_mut().any(|one| one.try_wait().unwrap().is_none()) {
        let begin = std::time::Instant::now();
        assert_eq!(ask(&mut bystander, "/digits.txt", "").unwrap().content, b"0123456789");
        slow += u32::from(begin.elapsed() > Duration::from_secs(2));
        asked += 1;
    }
    // A busy machine may delay one; who waits for slow clients waits each time.
    assert!(asked > 10 && slow < asked / 10, "{slow} of {asked}");
    let are_gone = || (server.metric("open") == 1).then_some(());
    wait::until(PATIENCE, are_gone).expect("only the bystander is there");
}
