//! A whole conversation with `serve`: no response without a request, no request that others would
//! not see, content that is the file's, and no HEAD that differs from its GET.
#![no_main]

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use underpass_fuzz::http1::{Request, Response, read_all, requests, responses};
use underpass_fuzz::{ignore_closed_pipes, place};
use underpass_serve::access_log::Sink;
use underpass_serve::{Endpoint, Options, Server, Settings, SiteOptions};

/// How long a response may take; no request waits for anything.
const PATIENCE: Duration = Duration::from_secs(8);

const DIGITS: &[u8] = b"0123456789";

fuzz_target!(|wire: &[u8]| {
    let asked = requests(wire);
    let answers = responses(&converse(wire), &asked);
    // One more may be the refusal of what is not a request.
    let last = asked.iter().position(|request| request.is_last);
    let most = last.map_or(asked.len() + 1, |last| last + 1);
    assert!(answers.len() <= most, "{} requests: {answers:?}", asked.len());
    if let Some(extra) = answers.get(asked.len()) {
        assert!(extra.status >= 400, "{extra:?}");
    }
    for (request, answer) in asked.iter().zip(&answers) {
        check(request, answer);
    }
    same_for_head(wire);
});

fn check(request: &Request, answer: &Response) {
    if request.target != "/digits.txt" || request.method != "GET" {
        return;
    }
    match answer.status {
        200 => assert_eq!(answer.content, DIGITS),
        206 => {
            let range = answer.field("content-range").expect("a part says which");
            let range = range.strip_prefix("bytes ").and_then(|range| range.strip_suffix("/10"));
            let (first, last) = range.and_then(|range| range.split_once('-')).expect("a range");
            let first: usize = first.parse().expect("a number");
            let last: usize = last.parse().expect("a number");
            assert_eq!(answer.content, DIGITS[first..=last]);
        }
        _ => {}
    }
}

/// The first response to a GET has the head of that to a HEAD, whose Range means nothing.
fn same_for_head(wire: &[u8]) {
    let Some(rest) = wire.strip_prefix(b"GET ") else { return };
    if rest.to_ascii_lowercase().windows(5).any(|word| word == b"range") {
        return;
    }
    let as_head = [b"HEAD ", rest].concat();
    let (get, head) = (requests(wire), requests(&as_head));
    // One whose content is cut gets either its response or a refusal.
    if get.first().is_none_or(|first| first.is_last) || head.len() != get.len() {
        return;
    }
    let (gets, heads) = (responses(&converse(wire), &get), responses(&converse(&as_head), &head));
    if let (Some(get), Some(head)) = (gets.first(), heads.first()) {
        // RFC 9110 §5.3: the order of fields with different names means nothing.
        let [get, head] = [get, head].map(|it| {
            let mut fields = it.fields.clone();
            fields.sort();
            (it.status, fields)
        });
        assert_eq!(get, head);
    }
}

/// What the server answers to all of this.
fn converse(wire: &[u8]) -> Vec<u8> {
    let mut peer = UnixStream::connect(server()).expect("the server listens");
    peer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    peer.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    // It may have closed.
    drop(peer.write_all(wire));
    drop(peer.shutdown(Shutdown::Write));
    read_all(peer)
}

/// The server's socket; it serves until the process ends.
fn server() -> &'static PathBuf {
    static SOCKET: OnceLock<PathBuf> = OnceLock::new();
    SOCKET.get_or_init(|| {
        ignore_closed_pipes();
        let root = place("root");
        fs::create_dir_all(root.join("folder")).expect("a folder");
        fs::write(root.join("digits.txt"), DIGITS).expect("a file");
        fs::write(root.join("empty.txt"), "").expect("a file");
        let digits = fs::File::options().append(true).open(root.join("digits.txt"));
        let modified = UNIX_EPOCH + Duration::from_secs(784_111_777);
        digits.expect("a file").set_modified(modified).expect("a date");
        let socket = place("server");
        let daemon = Settings {
            listen: vec![Endpoint::Unix(socket.clone())],
            workers: NonZeroUsize::MIN,
            grace: None,
            connections_max: None,
            connections_per_address: None,
            metrics: None,
            log: Sink::Off,
        };
        let server = Server::bind(Options { daemon, site: SiteOptions::new(root) });
        // That of HTTP/2 has its own target.
        let server = server.expect("a server").with_http2(None);
        std::thread::spawn(move || server.run().expect("it serves"));
        socket
    })
}
