//! An HTTP server that answers by a script: for each connection the answers to its requests.
//!
//! What it was asked is handed on with the connection's number, so that a test can tell a
//! connection that was used again from a new one.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// How long a request may take to come before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server; it ends with the process.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    requests: Receiver<Asked>,
}

/// A request with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which connection it came over, from 0.
    pub connection: usize,
    /// The head, with its empty line.
    pub head: String,
    /// What followed, if the head has a length.
    pub content: Vec<u8>,
}

/// In the place of an answer: the connection is closed at once, and no further request is read.
pub const CLOSE: &str = "close";

/// A connection of a client, perhaps after a handshake.
pub trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

impl Scripted {
    /// Answers each connection's requests by its list, then waits until the client closes, if
    /// [`CLOSE`] is not the end.
    ///
    /// # Errors
    ///
    /// Those of bind(2).
    pub fn start<T: AsRef<[u8]>>(
        connections: impl IntoIterator<Item = Vec<T>>,
    ) -> io::Result<Self> {
        Self::over(connections, |peer| Ok(Box::new(peer)))
    }

    /// The same, over what `shake` makes of each connection.
    ///
    /// # Errors
    ///
    /// Those of bind(2).
    pub fn over<T: AsRef<[u8]>>(
        connections: impl IntoIterator<Item = Vec<T>>,
        shake: impl Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + 'static,
    ) -> io::Result<Self> {
        let bytes = |answer: T| answer.as_ref().to_owned();
        let script: Vec<Vec<Vec<u8>>> =
            connections.into_iter().map(|it| it.into_iter().map(bytes).collect()).collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (sender, requests) = channel();
        thread::spawn(move || {
            for (connection, answers) in script.into_iter().enumerate() {
                let Ok((peer, _)) = listener.accept() else { return };
                let Ok(stream) = shake(peer) else { continue };
                let sender = sender.clone();
                // A client that leaves is some tests' point.
                thread::spawn(move || drop(play(stream, connection, &answers, &sender)));
            }
        });
        Ok(Self { address, requests })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request.
    ///
    /// # Panics
    ///
    /// If none comes within twenty seconds.
    #[must_use]
    pub fn asked(&self) -> Asked {
        self.requests.recv_timeout(PATIENCE).expect("a request comes")
    }

    /// Whether more requests have come.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.requests.try_recv().is_ok()
    }
}

fn play(
    mut stream: Box<dyn Stream>,
    connection: usize,
    answers: &[Vec<u8>],
    sender: &Sender<Asked>,
) -> io::Result<()> {
    for answer in answers {
        if answer == CLOSE.as_bytes() {
            return Ok(());
        }
        let (head, content) = request(&mut stream)?;
        drop(sender.send(Asked { connection, head, content }));
        stream.write_all(answer)?;
        stream.flush()?;
    }
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// A head, and the content that it says follows.
fn request(stream: &mut impl Read) -> io::Result<(String, Vec<u8>)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let field = |line: &str| line.strip_prefix("Content-Length: ").and_then(|it| it.parse().ok());
    let mut content = vec![0; head.lines().find_map(field).unwrap_or(0)];
    stream.read_exact(&mut content)?;
    Ok((head, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_is_answered_by_its_list_and_then_kept() {
        let server = Scripted::start([vec!["one", "two"], vec!["", CLOSE]]).unwrap();
        let mut first = TcpStream::connect(server.address()).unwrap();
        let mut answer = [0; 3];
        for text in ["one", "two"] {
            first.write_all(b"PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab").unwrap();
            first.read_exact(&mut answer).unwrap();
            assert_eq!(answer, text.as_bytes());
            let asked = server.asked();
            assert_eq!((asked.connection, asked.content.as_slice()), (0, &b"ab"[..]));
            assert!(asked.head.starts_with("PUT / "), "{}", asked.head);
        }
        let mut second = TcpStream::connect(server.address()).unwrap();
        second.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!((second.read(&mut answer).unwrap(), server.asked().connection), (0, 1));
        first.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(first.read(&mut answer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!server.is_asked());
    }
}
