//! Streams of HTTP/2 do not harm each other.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use h2::Reason;
use h2::client::Builder;
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::payload::difference;
use underpass_testkit::{require, wait};

use crate::fixture::{Fixture, LARGE_BYTES, fixture, large};
use crate::http2::{ask, connect, connect_with, content, get, request, run, whole};

#[test]
fn a_file_that_changes_midway_costs_its_stream_and_no_other() {
    for is_cut in [true, false] {
        let path = fixture().served.join(format!("http2-{is_cut}.bin"));
        fs::write(&path, vec![b'a'; 4 * LARGE_BYTES]).unwrap();
        let name = format!("/{}", path.file_name().unwrap().to_str().unwrap());
        run(async {
            let client = connect(fixture()).await;
            let mut torn = get(&client, &name).await.unwrap();
            let first = content(torn.body_mut(), 1_000).await.unwrap();
            let other = tokio::spawn({
                let client = client.clone();
                async move { whole(&client, "/large.bin").await }
            });
            wait::until_file_times_move();
            let mut file = fs::File::options().write(true).open(&path).unwrap();
            if is_cut {
                file.set_len(5_000).unwrap();
            } else {
                file.write_all(&vec![b'b'; 4 * LARGE_BYTES]).unwrap();
            }
            let mut got = first;
            let end = loop {
                match torn.body_mut().data().await {
                    Some(Ok(data)) => {
                        torn.body_mut().flow_control().release_capacity(data.len()).unwrap();
                        got.extend_from_slice(&data);
                    }
                    Some(Err(error)) => break error,
                    None => panic!("{} bytes came, and an end", got.len()),
                }
            };
            assert_eq!(end.reason(), Some(Reason::INTERNAL_ERROR));
            assert!(end.is_reset() && end.is_remote(), "{end}");
            assert!(got.len() < 4 * LARGE_BYTES && got.iter().all(|&byte| byte == b'a'));
            assert!(other.await.unwrap().unwrap() == large(), "the other is whole");
            let anew = whole(&client, &name).await.unwrap();
            assert_eq!(anew.len(), if is_cut { 5_000 } else { 4 * LARGE_BYTES });
        });
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_file_on_a_slow_disk_holds_up_no_other_stream() {
    const COLD_BYTES: u64 = 3 << 20;
    let mut disk = require!(Disk::new(FileSystem::Ext4, 32 << 20));
    fs::write(disk.path().join("hot"), vec![b'h'; 200_000]).unwrap();
    let server = Fixture::serve(disk.path().into());
    run(async {
        let client = connect(&server).await;
        whole(&client, "/hot").await.unwrap();
        disk.cold_file(COLD_BYTES).unwrap();
        require!(disk.throttle_reads(1 << 20));
        let cold = tokio::spawn({
            let client = client.clone();
            async move { whole(&client, "/cold").await.unwrap() }
        });
        let (mut longest, begin) = (Duration::ZERO, Instant::now());
        while !cold.is_finished() {
            let begin = Instant::now();
            assert_eq!(whole(&client, "/hot").await.unwrap().len(), 200_000);
            longest = longest.max(begin.elapsed());
        }
        let took = begin.elapsed();
        assert!(took > Duration::from_secs(1), "the disk was not slow: {took:?}");
        // A quarter of a second is the least that a read of 256 KiB takes there.
        assert!(longest < took / 10, "{longest:?} of {took:?}");
        assert_eq!(difference(&cold.await.unwrap(), 0, COLD_BYTES), None);
    });
}

/// Their windows are full; what they would have next is held nowhere.
#[test]
fn streams_that_no_one_reads_do_not_hold_up_the_one_that_is_read() {
    run(async {
        let client =
            connect_with(fixture(), Builder::new().initial_connection_window_size(1 << 30)).await;
        let mut unread = Vec::new();
        for _ in 0..60 {
            let part = request("GET", "/large.bin", &[("range", "bytes=0-199999")]);
            unread.push(ask(&client, part).await.unwrap());
        }
        assert!(whole(&client, "/large.bin").await.unwrap() == large());
        for mut response in unread {
            let got = content(response.body_mut(), usize::MAX).await.unwrap();
            assert!(got == large()[..200_000]);
        }
    });
}

#[test]
fn a_client_that_opens_its_window_a_little_at_a_time_gets_all() {
    run(async {
        let builder = Builder::new().initial_window_size(1_000).clone();
        let client = connect_with(fixture(), &builder).await;
        let part = request("GET", "/large.bin", &[("range", "bytes=100-200099")]);
        let mut response = ask(&client, part).await.unwrap();
        let got = content(response.body_mut(), usize::MAX).await.unwrap();
        assert!(got == large()[100..200_100]);
    });
}

#[test]
fn a_stream_that_its_client_resets_is_over_and_the_log_says_what_was_sent() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Fixture::logging(&log);
    run(async {
        let client = connect(&server).await;
        let mut response = get(&client, "/large.bin").await.unwrap();
        content(response.body_mut(), 10_000).await.unwrap();
        drop(response);
        assert_eq!(whole(&client, "/digits.txt").await.unwrap(), b"0123456789");
    });
    let lines = lines(&log, 2);
    let reset = lines.iter().find_map(|line| line.strip_prefix("\"GET /large.bin HTTP/2.0\" 200 "));
    let bytes: usize = reset.unwrap().parse().unwrap();
    assert!((9_000..LARGE_BYTES).contains(&bytes), "{bytes}");
}

/// The lines of the log once there are `count` of them, without address and date.
fn lines(log: &std::path::Path, count: usize) -> Vec<String> {
    let read = || {
        let text = fs::read_to_string(log).unwrap_or_default();
        (text.lines().count() >= count).then_some(text)
    };
    let text = wait::until(Duration::from_secs(20), read).unwrap();
    let lines = text.lines().map(|line| {
        let rest = line.split_once("] ").unwrap().1;
        rest.trim_end_matches(" \"-\" \"-\"").to_owned()
    });
    lines.collect()
}

#[test]
fn the_log_has_each_request_with_the_bytes_of_its_content() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Fixture::logging(&log);
    let long = format!("/{}", "x".repeat(40_000));
    run(async {
        let client = connect(&server).await;
        for (method, path, fields) in [
            ("GET", "/digits.txt?a", &[][..]),
            ("HEAD", "/digits.txt", &[]),
            ("GET", "/digits.txt", &[("range", "bytes=2-4")]),
            ("GET", "/digits.txt", &[("if-none-match", "*")]),
            ("GET", "/digits.txt", &[("host", "other")]),
            ("GET", "/large.bin", &[]),
            ("GET", "/none", &[]),
            ("GET", &long, &[]),
        ] {
            let request = request(method, path, fields);
            let mut response = ask(&client, request).await.unwrap();
            content(response.body_mut(), usize::MAX).await.unwrap();
        }
    });
    let lines = lines(&log, 8);
    assert_eq!(
        lines[..7],
        [
            "\"GET /digits.txt?a HTTP/2.0\" 200 10",
            "\"HEAD /digits.txt HTTP/2.0\" 200 0",
            "\"GET /digits.txt HTTP/2.0\" 206 3",
            "\"GET /digits.txt HTTP/2.0\" 304 0",
            "\"GET /digits.txt HTTP/2.0\" 400 75",
            &format!("\"GET /large.bin HTTP/2.0\" 200 {LARGE_BYTES}"),
            "\"GET /none HTTP/2.0\" 404 42",
        ]
    );
    assert!(lines[7].ends_with("x HTTP/2.0\" 414 49"), "{}", &lines[7][40_000..]);
    let is_counted = || (server.metric("requests_total{status=\"2xx\"}") == 4).then_some(());
    wait::until(Duration::from_secs(10), is_counted).unwrap();
    assert!(server.metric("sent_bytes_total") > LARGE_BYTES as u64);
}
