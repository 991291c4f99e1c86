//! A whole conversation with `serve`: no response without a request, no request that others would
//! not see, content that is the file's, and no HEAD that differs from its GET.
#![no_main]

use std::io::Write;
use std::net::Shutdown;

use libfuzzer_sys::fuzz_target;
use underpass_fuzz::http1::{Request, Response, read_all, requests, responses};
use underpass_fuzz::server::{DIGITS, connect};

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
    // HTTP/2 has its own target.
    let mut peer = connect(|server| server.with_http2(None));
    // It may have closed.
    drop(peer.write_all(wire));
    drop(peer.shutdown(Shutdown::Write));
    read_all(peer)
}
