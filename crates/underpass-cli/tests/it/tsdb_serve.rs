//! `underpass tsdb serve`: a Prometheus that has no blocks and asks it answers as one that has
//! them; and what it says to everything else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use underpass_testkit::block::Block;
use underpass_testkit::prometheus::{Fixture, PrometheusServer, Suite, Tools};
use underpass_testkit::{require, wait};

use crate::command::underpass;
use crate::running::{Running, program};

const PATIENCE: Duration = Duration::from_secs(20);

/// How often the server looks for blocks by itself.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// When the samples of fixtures begin.
const START_MS: i64 = 1_699_999_200_000;

fn start(data: &Path, arguments: &[&str]) -> Running {
    let mut command = program();
    command.args(["tsdb", "serve"]).arg(data).args(["--listen", "0", "--workers", "2"]);
    Running::start(command.args(arguments))
}

/// What the server's log says of each request.
fn log_of(server: Running) -> String {
    server.signal(Signal::TERM);
    let (code, log, stderr) = server.end_of_text();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    log
}

/// A Prometheus without blocks, in whose configuration the server is.
fn asking(tools: &Tools, server: &Running, more: &str) -> (PrometheusServer, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let url = format!("http://{}/api/v1/read", server.address());
    let configuration = format!("{more}\nremote_read: [{{url: '{url}', read_recent: true}}]\n");
    (PrometheusServer::start(tools, data.path(), &configuration).unwrap(), data)
}

/// All samples of series, each as it is: a range vector.
fn samples(of: &str) -> (String, i64) {
    (format!("{of}[24h]"), START_MS + 24 * 3_600_000)
}

fn assert_same(with: &PrometheusServer, asking: &PrometheusServer, queries: &[(String, i64)]) {
    for (query, time) in queries {
        let (wanted, found) = (with.query(query, *time), asking.query(query, *time));
        let (wanted, found) = (wanted.unwrap(), found.unwrap());
        assert!(wanted.contains("\"metric\""), "{query}: {wanted}");
        assert!(wanted == found, "{query}\n{wanted:.400}\n{found:.400}");
    }
}

#[test]
fn floats_are_those_of_a_prometheus_that_has_the_blocks() {
    for (suite, form) in [(Suite::Bookworm, "form=samples"), (Suite::Sid, "form=chunks")] {
        let tools = require!(suite.tools());
        for (fixture, selectors) in [
            (Fixture::Odd, &["{__name__=~\".+\"}", "{__name__!=\"values\",__name__=~\".+\"}"][..]),
            (Fixture::Windows, &["{zone=\"zone-2\",core!=\"1\"}"]),
            (Fixture::Overlapping, &["{__name__=~\".+\"}"]),
            (Fixture::Deleted, &["{__name__=~\".+\"}"]),
            (Fixture::OutOfOrder, &["late", "late{n!~\"1|2\"}"]),
        ] {
            let data = require!(fixture.copy());
            let server = start(data.path(), &["--log", "-"]);
            let (asking, _its) = asking(&tools, &server, "");
            let copy = require!(fixture.copy());
            let with = PrometheusServer::start(&tools, copy.path(), "{}").unwrap();
            let queries: Vec<_> = selectors.iter().map(|selector| samples(selector)).collect();
            assert_same(&with, &asking, &queries);
            asking.stop().unwrap();
            let log = log_of(server);
            assert_eq!(log.matches(form).count(), queries.len(), "{log}");
            assert_eq!(log.matches(" status=200 ").count(), log.lines().count(), "{log}");
        }
    }
}

#[test]
fn histograms_are_those_of_a_prometheus_that_has_the_blocks() {
    // 2.42 takes no histograms from others; 2.53 takes samples, knows neither custom bounds nor, in
    // answers, counts that are floats, and repeats histograms of a series that has floats too.
    for (suite, selector) in [
        (Suite::Trixie, "{__name__=~\"whole|gauge|ends|floats\"}"),
        (Suite::Sid, "{__name__=~\".+\"}"),
    ] {
        let tools = require!(suite.tools());
        let data = require!(Fixture::Histograms.copy());
        let server = start(data.path(), &[]);
        let (asking, _its) = asking(&tools, &server, "");
        let copy = require!(Fixture::Histograms.copy());
        let with = PrometheusServer::start(&tools, copy.path(), "{}").unwrap();
        let at = START_MS + 60 * 60_000;
        let quantile = "histogram_quantile(0.9, rate(whole[10m]))".to_owned();
        assert_same(&with, &asking, &[samples(selector), (quantile, at)]);
    }
}

/// The engine asks for a part of the time of an expression, and for series alone.
#[test]
fn rates_over_time_and_series_are_the_same() {
    for suite in [Suite::Bookworm, Suite::Sid] {
        let tools = require!(suite.tools());
        let data = require!(Fixture::Windows.copy());
        let server = start(data.path(), &[]);
        let (asking, _its) = asking(&tools, &server, "");
        let copy = require!(Fixture::Windows.copy());
        let with = PrometheusServer::start(&tools, copy.path(), "{}").unwrap();
        let (from, to) = (START_MS / 1000 + 5_000, START_MS / 1000 + 40_000);
        let all = "%7B__name__%3D%22app_requests_00_total%22%7D";
        for path in [
            format!(
                "/api/v1/query_range?query=sum+by+(zone)+(rate({all}%5B5m%5D+offset+1h))\
                 &start={from}&end={to}&step=600"
            ),
            format!("/api/v1/series?match%5B%5D={all}&start={from}&end={to}"),
        ] {
            let (wanted, found) = (with.get(&path).unwrap(), asking.get(&path).unwrap());
            assert!(wanted.len() > 400, "{path}: {wanted}");
            assert!(wanted == found, "{path}\n{wanted:.400}\n{found:.400}");
        }
    }
}

#[test]
fn a_prometheus_with_external_labels_is_answered_if_the_series_have_them() {
    let tools = require!(Suite::Sid.tools());
    let data = require!(Fixture::Odd.copy());
    let its = "global: {external_labels: {cluster: old, region: far}}";
    let (query, time) = samples("{__name__=~\".+\"}");
    let copy = require!(Fixture::Odd.copy());
    let with = PrometheusServer::start(&tools, copy.path(), its).unwrap();
    let wanted = with.query(&query, time).unwrap();
    for (labels, is_answered) in [
        (&["--external-label", "cluster=old", "--external-label", "region=far"][..], true),
        (&["--external-label", "cluster=new", "--external-label", "region=far"], false),
        (&[], false),
    ] {
        let server = start(data.path(), labels);
        let (asking, _its) = asking(&tools, &server, its);
        let found = asking.query(&query, time).unwrap();
        assert_eq!(wanted == found, is_answered, "{labels:?} {found:.400}");
        assert_eq!(found.contains("\"values\""), is_answered, "{labels:?} {found:.400}");
    }
}

/// A request as one snappy literal: `{NAME=~"VALUE"}` at all times, by samples or in chunks.
fn request_of(name: &str, value: &str, answer: u8) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    };
    let matcher = [&[0x08, 2], &field(2, name.as_bytes())[..], &field(3, value.as_bytes())];
    // Until 2^62 ms; from 0.
    let end = [0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
    let query = [&end[..], &field(3, &matcher.concat())].concat();
    let message = [&field(1, &query)[..], &[0x10, answer]].concat();
    let len = u8::try_from(message.len()).unwrap();
    [&[len, 60 << 2, len - 1][..], &message].concat()
}

/// A request for all series that have a label.
fn request(name: &str, answer: u8) -> Vec<u8> {
    request_of(name, ".+", answer)
}

/// The whole answer to a request; empty if the connection is reset before all is there.
fn ask(address: SocketAddr, head: &str, body: &[u8]) -> Vec<u8> {
    exchange(address, &format!("{head} HTTP/1.1"), body)
}

fn exchange(address: SocketAddr, first_line: &str, body: &[u8]) -> Vec<u8> {
    let mut peer = TcpStream::connect(address).unwrap();
    let len = body.len();
    let close = "host: x\r\nconnection: close";
    let head = format!("{first_line}\r\n{close}\r\ncontent-length: {len}\r\n\r\n");
    peer.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    answer
}

fn read(server: &Running, name: &str, answer: u8) -> String {
    let answer = ask(server.address(), "POST /api/v1/read", &request(name, answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_is_not_a_request_is_refused_with_a_reason() {
    let data = tempfile::tempdir().unwrap();
    Block::small(2).write(data.path()).unwrap();
    let server = start(data.path(), &[]);
    let long = vec![0; (4 << 20) + 1];
    for (head, body, status, part) in [
        ("GET /-/healthy", &b""[..], "200 OK", "1 block from "),
        ("GET /-/ready", b"", "200 OK", "remote read is at /api/v1/read"),
        ("DELETE /", b"", "405 Method Not Allowed", "allow: GET, HEAD"),
        ("GET /api/v1/read", b"", "405 Method Not Allowed", "allow: POST"),
        ("GET /metrics", b"", "404 Not Found", "there is nothing at this path"),
        ("POST /api/v1/read", b"", "400 Bad Request", "not a snappy block"),
        ("POST /api/v1/read", &long, "413 Payload Too Large", "more than 4194304 bytes"),
        ("POST /api/v1/read", &request("a", 7), "400 Bad Request", "response types [7]"),
    ] {
        let answer = ask(server.address(), head, body);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}: {answer}");
        assert!(answer.contains(part), "{head}: {answer}");
    }
}

#[test]
fn more_samples_than_the_limit_are_refused() {
    let data = require!(Fixture::Windows.copy());
    let server = start(data.path(), &["--max-samples", "1000"]);
    let answer = read(&server, "__name__", 0);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:.200}");
    assert!(answer.contains("exceeded sample limit (1000)"), "{answer}");
    let answer = read(&server, "__name__", 1);
    assert!(answer.starts_with("HTTP/1.1 200 "), "chunks have no such limit: {answer:.200}");
}

/// Flips a bit of the last chunk in the last file of chunks.
fn damage(data: &Path) -> std::path::PathBuf {
    let mut blocks: Vec<_> = std::fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("chunks/000001"))
        .filter(|path| path.exists())
        .collect();
    blocks.sort();
    let path = blocks.pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 10;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The last series is damaged, so frames are on their way before that is known.
#[test]
fn damage_fails_the_query_that_meets_it_and_no_other() {
    let data = require!(Fixture::Windows.copy());
    let path = damage(data.path());
    let server = start(data.path(), &[]);
    let by_samples = read(&server, "__name__", 0);
    assert!(by_samples.starts_with("HTTP/1.1 500 "), "{by_samples:.200}");
    let place = format!("{}: byte ", path.display());
    assert!(by_samples.contains(&place), "{by_samples}");
    assert!(by_samples.contains(": chunk: checksum"), "{by_samples}");
    let in_frames = read(&server, "__name__", 1);
    assert!(in_frames.starts_with("HTTP/1.1 200 "), "{in_frames:.200}");
    assert!(in_frames.len() > 64 << 10);
    assert!(!in_frames.ends_with("0\r\n\r\n"), "the content must not end as if it were all");
    let other = read(&server, "no_such_label", 1);
    assert!(other.starts_with("HTTP/1.1 200 "), "{other}");
}

#[test]
fn with_skip_damaged_the_rest_is_answered_and_the_log_says_what_is_not() {
    let data = require!(Fixture::Windows.copy());
    let whole = read(&start(data.path(), &[]), "__name__", 1).len();
    let path = damage(data.path());
    let mut server = start(data.path(), &["--skip-damaged"]);
    for form in [0, 1, 1] {
        let answer = read(&server, "__name__", form);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:.200}");
        assert!(form == 0 || (whole - 400..whole).contains(&answer.len()), "{}", answer.len());
    }
    let said = server.next_line();
    assert!(said.contains(&path.display().to_string()), "{said}");
    server.signal(Signal::TERM);
    let (code, _, more) = server.end_of_text();
    assert_eq!((code, more.as_str()), (Some(0), ""), "a place is told once");
}

#[test]
fn blocks_that_come_are_served_after_a_hangup() {
    let data = tempfile::tempdir().unwrap();
    Block::small(2).write(data.path()).unwrap();
    let start_time = Instant::now();
    let server = start(data.path(), &[]);
    let healthy = || String::from_utf8(ask(server.address(), "GET /-/healthy", b"")).unwrap();
    assert!(healthy().contains("serve: 1 block from"), "{}", healthy());
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Block::small(3).write(elsewhere.path()).unwrap();
    let place = data.path().join("01HX0000000000000000000001");
    std::fs::rename(&other.dir, &place).unwrap();
    server.signal(Signal::HUP);
    let is_served = || healthy().contains("serve: 2 blocks from").then_some(());
    wait::until(PATIENCE, is_served).expect("the new block is served");
    assert!(start_time.elapsed() < LOOK_EVERY, "it was found without the signal");
    // A confined server can read what is new.
    assert!(read(&server, "__name__", 1).starts_with("HTTP/1.1 200 "));
}

/// What is streamed to HTTP/1.0, which does not frame content.
fn streamed(address: SocketAddr) -> Vec<u8> {
    let answer = exchange(address, "POST /api/v1/read HTTP/1.0", &request("__name__", 1));
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    answer[end + 4..].to_vec()
}

#[test]
fn frames_are_byte_for_byte_those_of_prometheus() {
    let tools = require!(Suite::Sid.tools());
    for fixture in [Fixture::Windows, Fixture::Histograms] {
        let (data, copy) = (require!(fixture.copy()), require!(fixture.copy()));
        let server = start(data.path(), &[]);
        let with = PrometheusServer::start(&tools, copy.path(), "{}").unwrap();
        let (wanted, found) = (streamed(with.address()), streamed(server.address()));
        assert!(wanted.len() > 1000, "{fixture:?}: {} bytes", wanted.len());
        assert!(wanted == found, "{fixture:?}: {} and {} bytes", wanted.len(), found.len());
    }
}

#[test]
fn chunks_leave_as_they_are_unless_they_overlap_and_the_metrics_tell() {
    for (fixture, is_mixed) in [(Fixture::Windows, false), (Fixture::Overlapping, true)] {
        let data = require!(fixture.copy());
        let mut server = start(data.path(), &["--metrics", "0"]);
        let line = server.next_line();
        let address = line.split_once("http://").unwrap().1.split('/').next().unwrap();
        assert!(read(&server, "__name__", 1).starts_with("HTTP/1.1 200 "));
        let metrics = ask(address.parse().unwrap(), "GET /metrics", b"");
        let metrics = String::from_utf8(metrics).unwrap();
        let count = |how: &str| -> u64 {
            let name = format!("underpass_tsdb_chunks_total{{how=\"{how}\"}} ");
            metrics.split_once(&name).unwrap().1.lines().next().unwrap().parse().unwrap()
        };
        assert!(count("as-they-are") > 0, "{metrics}");
        assert_eq!(count("encoded") > 0, is_mixed, "{metrics}");
        assert!(metrics.contains("underpass_tsdb_requests_total{status=\"2xx\"} 1\n"), "{metrics}");
    }
}

/// hyper has all of the answer, and the socket has no room for it.
#[test]
fn an_answer_under_way_when_the_server_stops_is_finished() {
    let data = require!(Fixture::Windows.copy());
    let path = data.path().join("socket");
    let listen = format!("unix:{}", path.display());
    let server =
        Running::start(program().args(["tsdb", "serve", "--listen", &listen]).arg(data.path()));
    let mut peer = UnixStream::connect(&path).unwrap();
    let body = request_of("__name__", "app_requests_00_total", 0);
    let head = format!("POST /api/v1/read HTTP/1.1\r\nhost: x\r\ncontent-length: {}", body.len());
    peer.write_all(&[head.as_bytes(), b"\r\n\r\n", &body].concat()).unwrap();
    let mut answer = vec![0; 17];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer, b"HTTP/1.1 200 OK\r\n");
    server.signal(Signal::TERM);
    // Once it has stopped accepting, it lets connections end.
    let refused = || UnixStream::connect(&path).is_err().then_some(());
    wait::until(PATIENCE, refused).expect("it accepts no more");
    // A server that took the connection for idle would be gone in a fiftieth of a second.
    let stat = format!("/proc/{}/stat", server.id());
    let has_ended = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    let early = wait::until(Duration::from_millis(500), || has_ended().then_some(()));
    assert_eq!(early, None, "it has ended before its client has all");
    peer.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let len = head.split_once("content-length: ").unwrap().1.split('\r').next().unwrap();
    assert!((300_000..600_000).contains(&answer.len()), "{} bytes", answer.len());
    assert_eq!(answer.len(), head.len() + 4 + len.parse::<usize>().unwrap());
    assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()));
}

#[test]
fn a_start_that_fails_ends_with_1_and_one_line() {
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().to_str().unwrap();
    let output = underpass(&["tsdb", "serve", path, "--listen", "0"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("there is no block in"), "{stderr}");
    let output = underpass(&["tsdb", "serve", path, "--external-label", "a"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn its_settings_may_be_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("settings.toml");
    for (text, code, part) in [
        ("listen = \"0\"\nexternal-label = [\"a=b\"]\n", 0, "are in order"),
        ("external-label = [\"a\"]\n", 1, "give NAME=VALUE"),
        ("external-lable = \"a=b\"\n", 1, "did you mean 'external-label'?"),
    ] {
        std::fs::write(&file, text).unwrap();
        let config = ["--config", file.to_str().unwrap(), "--check-config"];
        let output = underpass(&[&["tsdb", "serve"], &config[..]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
    }
}
