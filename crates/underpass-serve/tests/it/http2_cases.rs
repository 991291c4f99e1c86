//! What goes wrong in file servers, over HTTP/2.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, UNIX_EPOCH};

use h2::client::Builder;
use underpass_testkit::wait;

use crate::fixture::{Fixture, LARGE_BYTES, fixture};
use crate::http2::{ask, connect, connect_with, content, get, request, run, whole};

#[test]
fn offsets_past_31_and_32_bits_and_at_the_end_are_the_right_bytes() {
    const LEN: u64 = 5 << 30;
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create_new(dir.path().join("sparse")).unwrap();
    file.set_len(LEN).unwrap();
    for at in [1 << 31, 1 << 32, LEN - 4] {
        file.write_all_at(b"here", at).unwrap();
    }
    let server = Fixture::serve(dir.path().into());
    run(async {
        let client = connect(&server).await;
        for (range, status, expected) in [
            ("2147483646-2147483653", 206, &b"\0\0here\0\0"[..]),
            ("4294967294-4294967301", 206, b"\0\0here\0\0"),
            ("-4", 206, b"here"),
            ("5368709116-9223372036854775807", 206, b"here"),
        ] {
            let range = format!("bytes={range}");
            let part = request("GET", "/sparse", &[("range", &range)]);
            let mut response = ask(&client, part).await.unwrap();
            let got = content(response.body_mut(), usize::MAX).await.unwrap();
            assert_eq!((response.status().as_u16(), &*got), (status, expected), "{range}");
        }
        let past = request("GET", "/sparse", &[("range", "bytes=5368709120-")]);
        let response = ask(&client, past).await.unwrap();
        assert_eq!(response.status(), 416);
        assert_eq!(response.headers()["content-range"], "bytes */5368709120");
    });
}

#[test]
fn clients_that_leave_midway_are_gone_and_cost_the_others_nothing() {
    let server = Fixture::alone();
    for _ in 0..20 {
        run(async {
            let client = connect(&server).await;
            let mut responses = Vec::new();
            for _ in 0..5 {
                responses.push(get(&client, "/large.bin").await.unwrap());
            }
            content(responses[0].body_mut(), 1_000).await.unwrap();
        });
    }
    assert_eq!(
        run(async { whole(&connect(&server).await, "/digits.txt").await.unwrap() }).len(),
        10
    );
    let is_over = || (server.metric("open") == 0).then_some(());
    wait::until(Duration::from_secs(10), is_over).expect("they are gone");
}

/// Buffers are used again, also those of streams that were reset in the middle of a piece.
#[test]
fn no_stream_has_bytes_of_another_however_many_are_reset() {
    const LEN: usize = 700_000;
    let dir = tempfile::tempdir().unwrap();
    for number in 0..8_u8 {
        fs::write(dir.path().join(number.to_string()), vec![number; LEN]).unwrap();
    }
    let server = Fixture::serve(dir.path().into());
    run(async {
        let mut builder = Builder::new();
        builder.initial_window_size(200_000).initial_connection_window_size(1 << 30);
        let (one, two) =
            (connect_with(&server, &builder).await, connect_with(&server, &builder).await);
        let tasks = (0..8_u8).map(|number| {
            let client = if number % 2 == 0 { one.clone() } else { two.clone() };
            tokio::spawn(async move {
                for round in 0..30_usize {
                    let mut response = get(&client, &format!("/{number}")).await.unwrap();
                    let is_whole = (round + usize::from(number)).is_multiple_of(3);
                    let most = if is_whole { LEN } else { round * 20_011 + 1 };
                    let got = content(response.body_mut(), most).await.unwrap();
                    assert!(got.len() >= most.min(LEN));
                    assert!(got.iter().all(|&byte| byte == number), "bytes of another");
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

/// The content of a version: all its bytes are its number, and others have the same length.
fn version(number: u8) -> Vec<u8> {
    vec![number; 90_000 + 7 * usize::from(number % 2)]
}

#[test]
fn a_complete_answer_is_of_one_version_with_its_own_tag_and_length() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let replace = |number: u8| {
        let next = dir.path().join("next");
        fs::write(&next, version(number)).unwrap();
        // All have the same date.
        let file = fs::File::options().append(true).open(&next).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        fs::rename(&next, &path).unwrap();
    };
    replace(0);
    let server = Fixture::serve(dir.path().into());
    let mut of_tag = std::collections::HashMap::new();
    run(async {
        // A response that waits for its turn to be read takes no window from the other.
        let wide = Builder::new().initial_connection_window_size(1 << 30).clone();
        let client = connect_with(&server, &wide).await;
        for number in 1..=120_u8 {
            let begun = get(&client, "/a").await;
            replace(number);
            for response in [begun, get(&client, "/a").await] {
                let mut response = response.unwrap();
                let len = response.headers()["content-length"].to_str().unwrap().to_owned();
                let tag = response.headers()["etag"].to_str().unwrap().to_owned();
                let got = content(response.body_mut(), usize::MAX).await.unwrap();
                assert!(got == version(got[0]), "a mixture");
                assert_eq!(got.len().to_string(), len);
                let known = *of_tag.entry(tag.clone()).or_insert(got[0]);
                assert_eq!(known, got[0], "{tag} is of two versions");
            }
        }
    });
}

#[test]
fn a_thousand_ranges_are_the_whole_file() {
    let many: Vec<_> = (0..1000).map(|at| format!("{at}-")).collect();
    let range = format!("bytes={}", many.join(","));
    run(async {
        let client = connect(fixture()).await;
        let parts = request("GET", "/large.bin", &[("range", &range)]);
        let mut response = ask(&client, parts).await.unwrap();
        let got = content(response.body_mut(), usize::MAX).await.unwrap();
        assert_eq!((response.status().as_u16(), got.len()), (200, LARGE_BYTES));
    });
}
