//! A server that says what it is told to: one answer a connection, written by hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

/// Answers that are given one after another, whatever is asked.
pub(super) struct Scripted {
    address: SocketAddr,
    requests: Receiver<String>,
}

impl Scripted {
    /// Answers one connection after the other. An empty answer only closes.
    pub(super) fn start<T: AsRef<[u8]>>(answers: impl IntoIterator<Item = T>) -> Self {
        Self::answering(answers, |_| ())
    }

    /// The same, but answers a connection only when the client has closed the one before.
    pub(super) fn one_at_a_time<T: AsRef<[u8]>>(answers: impl IntoIterator<Item = T>) -> Self {
        Self::answering(answers, |peer| {
            // A client that closes before it has read all resets the connection.
            drop(std::io::copy(peer, &mut std::io::sink()));
        })
    }

    fn answering<T: AsRef<[u8]>>(
        answers: impl IntoIterator<Item = T>,
        afterwards: impl Fn(&mut TcpStream) + Send + 'static,
    ) -> Self {
        let answers: Vec<_> = answers.into_iter().map(|it| it.as_ref().to_owned()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for answer in answers {
                let mut peer = listener.accept().unwrap().0;
                // A client that gives up is some tests' point.
                drop(sender.send(request(&mut peer)));
                drop(peer.write_all(&answer));
                afterwards(&mut peer);
            }
        });
        Self { address, requests }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next request, with its content.
    pub(super) fn asked(&self) -> String {
        self.requests.recv().unwrap()
    }
}

/// A head, and the content that it says follows.
fn request(peer: &mut impl Read) -> String {
    let mut request = head(peer);
    let len = request.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
    let len = len.map_or(0, |len| len.parse().unwrap());
    drop(peer.take(len).read_to_string(&mut request));
    request
}

/// The next head of a peer.
pub(super) fn head(peer: &mut impl Read) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && peer.read(&mut byte).is_ok_and(|n| n > 0) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
