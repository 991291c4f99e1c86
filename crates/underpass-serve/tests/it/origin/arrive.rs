//! An object that is on its way leaves as it comes: in the clear, over TLS, over HTTP/2; and a
//! response of what does not come whole is never taken for one.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use underpass_client::Client;
use underpass_serve::{Defaults, OriginOptions, OriginSite, SiteOptions};
use underpass_testkit::origin::{Fault, Object, Origin, Stop};
use underpass_testkit::skip::Capability;
use underpass_testkit::strace::{self, Call, Strace};
use underpass_testkit::{require, test_name, wait};

use super::place::Place;
use crate::fixture::Fixture;
use crate::http2;
use crate::tls::Secured;
use crate::ways;

const PATIENCE: Duration = Duration::from_secs(20);

const LEN: u64 = 3_000_000;

/// Up to where it comes before it stands still.
const PART: u64 = 1_000_000;

fn bytes(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

/// A site of this origin. What is kept goes with the process.
fn site(origin: &Origin) -> SiteOptions {
    let dir = tempfile::tempdir().unwrap().keep();
    let options = OriginOptions {
        url: origin.url(""),
        client: Client::default().keeping_connections(),
        directory: dir.join("cache"),
        bytes_max: 64 << 20,
        free_min: 0,
        timeout: Some(Duration::from_secs(60)),
        connect_timeout: Some(Duration::from_secs(10)),
        defaults: Defaults::default(),
        negative_for: Duration::ZERO,
        purge_from: Vec::new(),
        relays_max: 1,
        scrub_every: None,
    };
    let site = Arc::new(OriginSite::open(options).unwrap());
    SiteOptions { origin: Some(site), ..SiteOptions::new(dir) }
}

/// The first answer to a request for the object stands still.
fn stalling(origin: &Origin) -> Arc<Object> {
    origin.fault(0, Fault::At(PART, Stop::Stall));
    origin.put("/a", Object::new(LEN).cache_control("max-age=600"))
}

/// A client that has its part before the rest has come, and then the rest.
fn arrives(client: &mut (impl Read + Write), origin: &Origin, object: &Object) {
    client.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let head = ways::head(client).unwrap();
    assert!(head.contains(&format!("content-length: {LEN}\r\n")), "{head}");
    let mut content = vec![0; bytes(PART)];
    client.read_exact(&mut content).unwrap();
    assert_eq!(object.difference(0, &content), None);
    if origin.stalled() == 1 {
        origin.release();
    }
    let mut rest = vec![0; bytes(LEN - PART)];
    client.read_exact(&mut rest).unwrap();
    assert_eq!(object.difference(PART, &rest), None);
}

#[test]
fn what_has_come_leaves_before_the_rest_has_in_the_clear_and_over_tls() {
    let origin = Origin::start().unwrap();
    let object = stalling(&origin);
    let server = Fixture::of(site(&origin));
    let mut late = server.connect();
    arrives(&mut server.connect(), &origin, &object);
    arrives(&mut late, &origin, &object);
    assert_eq!(origin.request_count(), 1);
    for in_kernel in [true, false] {
        let origin = Origin::start().unwrap();
        let object = stalling(&origin);
        let secured =
            Secured::serving(in_kernel, |tls| Fixture::choosing(site(&origin), tls, false));
        let mut client = secured.connect(secured.client());
        arrives(&mut client, &origin, &object);
        assert_eq!(origin.request_count(), 1);
    }
}

#[test]
fn what_has_come_leaves_before_the_rest_has_over_http2() {
    let origin = Origin::start().unwrap();
    let object = stalling(&origin);
    let server = Fixture::of(site(&origin));
    http2::run(async {
        // Of one connection, the one that is not read would have its window.
        let clients = [http2::connect(&server).await, http2::connect(&server).await];
        let mut first = http2::get(&clients[0], "/a").await.unwrap();
        let mut second = http2::get(&clients[1], "/a").await.unwrap();
        for stream in [first.body_mut(), second.body_mut()] {
            let part = http2::content(stream, bytes(PART)).await.unwrap();
            assert_eq!((part.len(), object.difference(0, &part)), (bytes(PART), None));
        }
        origin.release();
        for stream in [second.body_mut(), first.body_mut()] {
            let rest = http2::content(stream, usize::MAX).await.unwrap();
            assert_eq!((rest.len(), object.difference(PART, &rest)), (bytes(LEN - PART), None));
        }
    });
    assert_eq!(origin.request_count(), 1);
}

/// It is replaced when a part of it has come; that part is all that anyone gets of it.
fn replaced() -> (Place, Arc<Object>) {
    let place = Place::new();
    place.origin.fault(0, Fault::At(PART, Stop::Cut));
    place.origin.script(
        |request| {
            if request.number == 1 { vec![Fault::Status(412)] } else { Vec::new() }
        },
    );
    let object = place.put("/a", Object::new(LEN).cache_control("max-age=600"));
    (place, object)
}

#[test]
fn a_response_of_what_does_not_come_whole_ends_before_its_length() {
    let (place, object) = replaced();
    let got = place.get("/a");
    assert_eq!((got.status, got.field("content-length")), (200, LEN.to_string().as_str()));
    assert!(got.content.len() <= bytes(PART), "{}", got.content.len());
    assert_eq!(object.difference(0, &got.content), None);
    let is_counted = || (place.server.metric("cut_total{cause=\"origin\"}") == 1).then_some(());
    wait::until(PATIENCE, is_counted).expect("it is counted as the origin's");
    assert_eq!(place.server.metric("cut_total{cause=\"file\"}"), 0);
    let again = place.get("/a");
    assert_eq!((again.content.len(), object.difference(0, &again.content)), (bytes(LEN), None));
}

#[test]
fn a_stream_of_what_does_not_come_whole_is_reset() {
    let (place, object) = replaced();
    http2::run(async {
        let client = http2::connect(&place.server).await;
        let mut response = http2::get(&client, "/a").await.unwrap();
        let (mut content, stream) = (Vec::new(), response.body_mut());
        let error = loop {
            match stream.data().await {
                Some(Ok(data)) => {
                    stream.flow_control().release_capacity(data.len()).unwrap();
                    content.extend_from_slice(&data);
                }
                Some(Err(error)) => break error,
                None => panic!("{} bytes were taken for the whole", content.len()),
            }
        };
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
        assert!(content.len() <= bytes(PART));
        assert_eq!(object.difference(0, &content), None);
        // Others of the connection know nothing of it.
        let whole = http2::whole(&client, "/a").await.unwrap();
        assert_eq!((whole.len(), object.difference(0, &whole)), (bytes(LEN), None));
    });
    let is_counted = || (place.server.metric("cut_total{cause=\"origin\"}") == 1).then_some(());
    wait::until(PATIENCE, is_counted).expect("it is counted as the origin's");
}

/// Three clients: the first has it fetched, the second comes while it is on its way, the third
/// when it is whole. What the last two are sent is between the marks.
fn serve_between_marks() {
    let origin = Origin::start().unwrap();
    origin.fault(0, Fault::At(LEN - 1, Stop::Stall));
    let object = origin.put("/a", Object::new(LEN).cache_control("max-age=600"));
    let server = Fixture::of(site(&origin));
    let begin = |client: &mut std::net::TcpStream, len: u64| {
        client.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        ways::head(client).unwrap();
        let mut content = vec![0; bytes(len)];
        client.read_exact(&mut content).unwrap();
        assert_eq!(object.difference(0, &content), None);
    };
    let [mut first, mut second, mut third] = [(); 3].map(|()| server.connect());
    begin(&mut first, LEN - 1);
    strace::mark();
    begin(&mut second, LEN - 1);
    origin.release();
    let mut last = [0];
    second.read_exact(&mut last).unwrap();
    assert_eq!(object.difference(LEN - 1, &last), None);
    begin(&mut third, LEN);
    strace::mark();
}

#[test]
fn a_miss_leaves_by_sendfile_as_a_hit_does_and_no_byte_of_it_is_read() {
    if strace::is_inside() {
        return serve_between_marks();
    }
    require!(Capability::Strace);
    let trace = Strace::of_test(test_name!()).unwrap().run().unwrap();
    trace.assert_success();
    let of_object = |call: &&Call| call.arguments.contains(".data>");
    let calls: Vec<Call> = trace.marked().iter().filter(of_object).cloned().collect();
    // The last byte comes alone, to two clients; so short a piece is copied.
    assert_eq!(strace::bytes(&calls, "sendfile"), LEN - 1 + LEN);
    for name in ["read", "pread64", "readv"] {
        assert_eq!(strace::bytes(&calls, name), 0, "{name}");
    }
    // What `Stability::Guard` remembers of a file are up to eight times 32 bytes.
    assert!(strace::bytes(&calls, "preadv2") < 1_000, "{calls:?}");
}
