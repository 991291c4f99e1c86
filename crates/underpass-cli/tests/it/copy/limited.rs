//! A server that takes fewer connections than --parallel would make.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use underpass_testkit::payload;

use super::scripted::{Scripted, head};
use super::{assert_payload, failure, names, utf8};

/// Four shares, the smallest that get a connection each.
const LEN: u64 = 4 << 20;

const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";

/// A server of one file that serves at most `most` connections at once, and gives the others
/// `refusal`.
struct Limited {
    most: usize,
    refusal: &'static str,
    /// Connections that are served, and how many were refused.
    now: Mutex<(usize, usize)>,
    changed: Condvar,
}

impl Limited {
    fn start(most: usize, refusal: &'static str) -> (SocketAddr, Arc<Self>) {
        let this =
            Arc::new(Self { most, refusal, now: Mutex::new((0, 0)), changed: Condvar::new() });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::clone(&this);
        std::thread::spawn(move || {
            for peer in listener.incoming() {
                let server = Arc::clone(&server);
                std::thread::spawn(move || server.serve(peer.unwrap()));
            }
        });
        (address, this)
    }

    fn serve(&self, mut peer: TcpStream) {
        let head = head(&mut peer);
        let mut now = self.now.lock().unwrap();
        if now.0 == self.most {
            now.1 += 1;
            self.changed.notify_all();
            drop(peer.write_all(self.refusal.as_bytes()));
            return;
        }
        now.0 += 1;
        drop(now);
        let range = head.split("bytes=").nth(1).unwrap().lines().next().unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap_or(LEN - 1));
        let fields = format!(
            "HTTP/1.1 206 Part\r\nETag: \"a\"\r\nContent-Range: bytes {first}-{last}/{LEN}\r\n\
             Content-Length: {}\r\n\r\n",
            last - first + 1
        );
        drop(peer.write_all(fields.as_bytes()));
        // Until all others have been refused.
        let now = self.now.lock().unwrap();
        drop(self.changed.wait_while(now, |now| now.1 < 4 - self.most).unwrap());
        // The client may want no more.
        drop(peer.write_all(&payload::pattern(first..last + 1)));
        drop(peer);
        self.now.lock().unwrap().0 -= 1;
    }
}

#[test]
fn as_many_connections_are_used_as_the_server_takes() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    for most in [1, 2, 3] {
        for refusal in [BUSY, "", "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 1\r\n\r\nx"] {
            let (address, server) = Limited::start(most, refusal);
            let url = format!("http://{address}/f");
            let (code, said) = failure(&["-q", "--parallel", "4", &url, utf8(&to)]);
            assert_eq!(code, Some(0), "{most} {refusal}: {said}");
            assert_payload(&to, 0, LEN);
            let returned = said.matches("those bytes come over the first connection").count();
            assert_eq!(returned, 4 - most, "{said}");
            assert!(server.now.lock().unwrap().1 >= 4 - most, "{said}");
            std::fs::remove_file(&to).unwrap();
        }
    }
    let (address, _server) = Limited::start(0, BUSY);
    let (code, said) = failure(&["--parallel", "4", &format!("http://{address}/f"), utf8(&to)]);
    assert!(code == Some(1) && said.contains("answered 503 Busy"), "{said}");
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_share_is_taken_out_of_all_if_the_server_sends_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let content = payload::pattern(0..LEN / 2);
    let len = content.len();
    let answer = |status: &str, tag: &str| {
        let fields = format!("ETag: \"{tag}\"\r\nContent-Length: {len}\r\n");
        [format!("HTTP/1.1 {status}\r\n{fields}\r\n").as_bytes(), &*content].concat()
    };
    let range = format!("206 Part\r\nContent-Range: bytes 0-{}/{len}", len - 1);
    for (tag, why) in [("a", None), ("b", Some("or another version"))] {
        // If the second were answered before the first connection has its share, the first answer
        // would have the other share as well.
        let answers = [answer(&range, "a"), answer("200 OK", "a"), answer("200 OK", tag)];
        let server = Scripted::one_at_a_time(answers);
        let (code, said) = failure(&["--parallel", "2", &server.url("/f"), utf8(&to)]);
        match why {
            None => assert_payload(&to, 0, LEN / 2),
            Some(why) => assert!(said.contains(why), "{said}"),
        }
        assert_eq!((code, to.exists()), (Some(i32::from(why.is_some())), why.is_none()), "{said}");
        std::fs::remove_file(&to).unwrap_or_default();
    }
}
