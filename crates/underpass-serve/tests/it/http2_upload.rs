//! Files that are put in place over HTTP/2.

use std::fs;
use std::future::poll_fn;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use underpass_serve::SiteOptions;
use underpass_serve::upload::Upload;
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::{require, wait};

use crate::fixture::{Fixture, fixture};
use crate::http2::{connect, content, request, run, whole};
use crate::http2_limits::{DATA, HEADERS, PING, begin as begin_with_frames, frame, next};

const PATIENCE: Duration = Duration::from_secs(20);

fn server(dir: &Path) -> Fixture {
    let mut site = SiteOptions::new(dir.to_owned());
    let upload = Upload::new(vec!["**".parse().unwrap()], 1 << 20, false);
    site.stations.upload = Some(Arc::new(upload));
    Fixture::of(site)
}

async fn begin(
    client: &SendRequest<Bytes>,
    path: &str,
    fields: &[(&str, &str)],
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut client = client.clone().ready().await.unwrap();
    client.send_request(request("PUT", path, fields), false).unwrap()
}

/// Sends all of it, as there is room, unless the other end wants no more.
async fn send(stream: &mut SendStream<Bytes>, mut content: Bytes) {
    while !content.is_empty() {
        stream.reserve_capacity(content.len());
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let piece = content.split_to(room.min(content.len()));
        if stream.send_data(piece, content.is_empty()).is_err() {
            return;
        }
    }
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// More than the window of a stream, and all of them than that of the connection.
#[test]
fn several_files_are_put_over_one_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    run(async {
        let client = connect(&server).await;
        let contents: Vec<_> = (0..8_u8).map(|i| Bytes::from(vec![i; 300_000])).collect();
        let mut sent = tokio::task::JoinSet::new();
        for (index, content) in contents.iter().cloned().enumerate() {
            let client = client.clone();
            sent.spawn(async move {
                let (response, mut stream) = begin(&client, &format!("/{index}"), &[]).await;
                send(&mut stream, content).await;
                response.await.unwrap().status().as_u16()
            });
        }
        assert_eq!(sent.join_all().await, [201; 8]);
        for (index, content) in contents.iter().enumerate() {
            assert!(whole(&client, &format!("/{index}")).await.unwrap() == *content);
        }
    });
    assert_eq!(names(dir.path()).concat(), "01234567");
}

#[test]
fn a_client_that_waits_is_told_to_send_or_else_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    run(async {
        let client = connect(&server).await;
        let waits = ("expect", "100-continue");
        let (mut response, mut stream) = begin(&client, "/a", &[waits]).await;
        let told = poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!(told.status(), 100);
        send(&mut stream, Bytes::from_static(b"abc")).await;
        assert_eq!(response.await.unwrap().status(), 201);
        for (path, fields, status) in [
            ("/a", &[waits][..], 409),
            ("/none/a", &[waits], 409),
            ("/.a", &[waits], 403),
            ("/b", &[waits, ("content-length", "1048577")], 413),
            ("/b", &[waits, ("content-range", "bytes 0-1/2")], 400),
        ] {
            let (mut response, _stream) = begin(&client, path, fields).await;
            let told = poll_fn(|cx| response.poll_informational(cx)).await;
            assert!(told.is_none(), "{path}: nothing comes before the answer");
            assert_eq!(response.await.unwrap().status(), status, "{path}");
        }
        // Those that do not wait are told, too, and the others of the connection do not notice.
        let (response, mut stream) = begin(&client, "/a", &[]).await;
        stream.send_data(Bytes::from(vec![b'x'; 60_000]), false).unwrap();
        assert_eq!(response.await.unwrap().status(), 409);
        assert_eq!(whole(&client, "/a").await.unwrap(), b"abc");
    });
    assert_eq!(names(dir.path()), ["a"]);
}

#[test]
fn content_that_is_cut_short_or_too_long_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    run(async {
        let client = connect(&server).await;
        let (response, mut stream) = begin(&client, "/a", &[("content-length", "9")]).await;
        stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
        while names(dir.path()).is_empty() {
            // The connection is driven meanwhile.
            tokio::task::yield_now().await;
        }
        stream.send_reset(Reason::CANCEL);
        assert!(response.await.is_err());
        // Less than was announced.
        let (response, mut stream) = begin(&client, "/a", &[("content-length", "9")]).await;
        stream.send_data(Bytes::from_static(b"abc"), true).unwrap();
        assert!(response.await.map_or(true, |answer| answer.status() == 400));
        let (response, mut stream) = begin(&client, "/a", &[]).await;
        let content = Bytes::from(vec![b'x'; (1 << 20) + 1]);
        let status = async { response.await.unwrap().status() };
        let (status, ()) = tokio::join!(status, send(&mut stream, content));
        assert_eq!(status, 413);
    });
    let is_empty = || names(dir.path()).is_empty().then_some(());
    wait::until(PATIENCE, is_empty).unwrap_or_else(|| panic!("{:?}", names(dir.path())));
}

/// curl gives up, with error 92, if its stream is reset before it has the answer.
#[test]
fn content_for_which_there_is_no_use_is_discarded_and_its_request_answered() {
    let server = fixture();
    run(async {
        let client = connect(server).await;
        for (method, path, status) in [
            ("PUT", "/a", 405),
            ("POST", "/plain/", 405),
            ("PUT", "/none/a", 405),
            ("GET", "/none", 404),
        ] {
            let ask = request(method, path, &[]);
            let (response, mut stream) = client.clone().send_request(ask, false).unwrap();
            stream.send_data(Bytes::from(vec![b'x'; 30_000]), false).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.status(), status, "{method} {path}");
            if status == 405 {
                assert_eq!(response.headers()["allow"], "GET, HEAD, OPTIONS");
            }
            let mut text = response.into_body();
            assert!(
                content(&mut text, 3).await.unwrap().starts_with(status.to_string().as_bytes())
            );
            // It may say its last, and the connection carries others.
            stream.send_data(Bytes::from(vec![b'x'; 30_000]), true).unwrap();
            assert_eq!(whole(&client, "/digits.txt").await.unwrap(), b"0123456789");
        }
        // One that sends on and on is not read on and on.
        let (response, mut stream) =
            client.clone().send_request(request("PUT", "/a", &[]), false).unwrap();
        let mut sent = 0;
        let sending = async {
            loop {
                stream.reserve_capacity(16_384);
                let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { break };
                sent += room;
                if stream.send_data(Bytes::from(vec![b'x'; room]), false).is_err() {
                    break;
                }
            }
        };
        let (response, ()) = tokio::join!(response, sending);
        assert_eq!(response.unwrap().status(), 405);
        assert!(sent <= 65_535, "{sent}");
    });
}

#[test]
fn curl_is_told_that_no_files_are_taken() {
    require!(Program("curl"));
    let url = format!("http://{}/a", fixture().address);
    let large = fixture().served.join("large.bin");
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--noproxy", "*", "--http2-prior-knowledge", "-w", "%{http_code}", "-T"]);
    let output = curl.arg(large).args(["-o", "/dev/null", &url]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"405");
}

#[test]
fn a_client_is_told_to_send_only_if_it_waits_for_that() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let put = [&[0x02, 3][..], b"PUT", &[0x86, 0x01, 1, b'x', 0x04, 2], b"/a"].concat();
    let expect = [&put[..], &[0x0f, 20, 12], b"100-continue"].concat();
    for (fields, expected) in [(put, 1), (expect, 2)] {
        let mut peer = begin_with_frames(&server);
        let content = frame(DATA, 1, 1, b"content");
        peer.write_all(&[frame(HEADERS, 4, 1, &fields), content].concat()).unwrap();
        let mut heads = 0;
        loop {
            match next(&mut peer).unwrap() {
                (HEADERS, 1, _) => heads += 1,
                // What its client waits for comes before what it answers.
                (PING, ..) => break,
                _ => {}
            }
            if fs::read(dir.path().join("a")).is_ok() && heads > 0 {
                peer.write_all(&frame(PING, 0, 0, &[0; 8])).unwrap();
            }
        }
        assert_eq!(heads, expected);
        fs::remove_file(dir.path().join("a")).unwrap();
    }
}
