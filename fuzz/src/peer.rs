//! A peer of `copy --verify` that says what a script says, a line each:
//!
//! ```text
//! wverify   a word of six letters      g        reads a greeting
//! z         a name of zeros            a        reads a word
//! n         the name that was read     h        reads a share's three numbers
//! #5        a number                   e        reads frames and their sum, and answers it
//! @2 0 10   a share's three numbers    c        goes on with one more connection
//! fhello    a frame                    rhello   these bytes
//! s, x      its sum, another sum       p0 5     what it has of the sender's file
//! ```

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};

/// How long this end and the peer wait for each other.
pub const PATIENCE: Duration = Duration::from_millis(25);

/// What the sender sends.
pub const CONTENT: &[u8] = b"what the sender sends, and nothing else";

/// Connections of one peer.
const CONNECTIONS_MAX: usize = 8;

/// A listening socket that does not wait for ever.
pub fn listener(path: &Path) -> UnixListener {
    let listener = UnixListener::bind(path).expect("a socket is bound");
    set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE)).expect("a timeout");
    listener
}

/// The other end.
pub struct Peer {
    path: PathBuf,
    listener: Option<UnixListener>,
    connections: Vec<UnixStream>,
    /// The transfer's name, as it was read.
    name: [u8; 16],
    /// What this connection has sent, and where that is in the file.
    sent: Vec<u8>,
    at: Option<u64>,
    /// What the others have sent.
    shares: Vec<(usize, Vec<u8>)>,
}

impl Peer {
    /// One that waits at `listener`, or connects to this path.
    pub fn new(path: PathBuf, listener: Option<UnixListener>) -> Self {
        let (connections, name, sent, at, shares) = Default::default();
        Self { path, listener, connections, name, sent, at, shares }
    }

    /// Says everything and hangs up. Returns all that it has sent, and where it is in the file.
    pub fn play(mut self, script: &[&[u8]]) -> Vec<(usize, Vec<u8>)> {
        self.connect();
        for line in script {
            if self.say(line).is_none() {
                break;
            }
        }
        // All of them first: the other end may wait for any.
        for connection in &self.connections {
            drop(connection.shutdown(Shutdown::Write));
        }
        for connection in &mut self.connections {
            drop(connection.read_to_end(&mut Vec::new()));
        }
        self.keep();
        self.shares
    }

    /// Makes or takes one more connection.
    fn connect(&mut self) {
        if self.connections.len() >= CONNECTIONS_MAX {
            return;
        }
        self.keep();
        let connection = match &self.listener {
            Some(listener) => listener.accept().map(|(connection, _)| connection),
            None => UnixStream::connect(&self.path),
        };
        if let Ok(connection) = connection {
            connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            connection.set_write_timeout(Some(PATIENCE)).expect("a timeout");
            self.connections.push(connection);
        }
    }

    /// Keeps what this connection has sent.
    fn keep(&mut self) {
        let at = usize::try_from(self.at.take().unwrap_or(0)).expect("64 bits");
        let sent = std::mem::take(&mut self.sent);
        if !sent.is_empty() {
            self.shares.push((at, sent));
        }
    }

    /// Does what a line says; `None` ends the script.
    fn say(&mut self, line: &[u8]) -> Option<()> {
        let (&first, rest) = line.split_first()?;
        match first {
            b'w' => self.write(&[b"underpass-", rest, b" 2\n"].concat()),
            b'z' => self.write(&[0; 16]),
            b'n' => self.write(&self.name.clone()),
            b'g' => self.greeting(),
            b'a' => self.read(&mut [0; 19]),
            b'h' => self.read(&mut [0; 24]),
            b'#' => self.write(&number(rest)?.to_be_bytes()),
            b'@' => self.share(numbers(rest)?),
            b'f' => self.frame(rest),
            b's' => self.sum(0),
            b'x' => self.sum(1),
            b'c' => {
                self.connect();
                Some(())
            }
            b'r' => self.write(rest),
            b'e' => self.answer(),
            b'p' => self.has(numbers(rest)?),
            _ => None,
        }
    }

    fn greeting(&mut self) -> Option<()> {
        let mut greeting = [0; 35];
        self.read(&mut greeting)?;
        self.name.copy_from_slice(&greeting[19..]);
        Some(())
    }

    fn share(&mut self, [connections, at, total]: [u64; 3]) -> Option<()> {
        self.at.get_or_insert(at);
        self.write(&[connections, at, total].map(u64::to_be_bytes).concat())
    }

    fn frame(&mut self, bytes: &[u8]) -> Option<()> {
        self.write(&(bytes.len() as u64).to_be_bytes())?;
        self.write(bytes)?;
        self.sent.extend_from_slice(bytes);
        Some(())
    }

    fn sum(&mut self, altered: u8) -> Option<()> {
        let mut sum = sum(&self.sent);
        sum[39] ^= altered;
        self.write(&[&[0; 8][..], &sum].concat())
    }

    /// Says that this range of the sender's file is there.
    fn has(&mut self, [at, len]: [u64; 2]) -> Option<()> {
        let (from, len) = (usize::try_from(at).ok()?, usize::try_from(len).ok()?);
        let bytes = CONTENT.get(from..from.checked_add(len)?)?;
        self.write(&[&at.to_be_bytes()[..], &sum(bytes)].concat())
    }

    /// Reads frames up to their sum, and says that the same arrived.
    fn answer(&mut self) -> Option<()> {
        let mut all = Vec::new();
        loop {
            let mut number = [0; 8];
            self.read(&mut number)?;
            let len = usize::try_from(u64::from_be_bytes(number)).expect("64 bits");
            if len == 0 {
                break;
            }
            let mut frame = vec![0; len.min(2 * CONTENT.len())];
            self.read(&mut frame)?;
            all.extend_from_slice(&frame);
        }
        let mut theirs = [0; 40];
        self.read(&mut theirs)?;
        self.write(&sum(&all))
    }

    fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.connections.last_mut()?.write_all(bytes).ok()
    }

    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        self.connections.last_mut()?.read_exact(bytes).ok()
    }
}

/// Length and digest.
fn sum(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_be_bytes()[..], blake3::hash(bytes).as_bytes()].concat()
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn numbers<const N: usize>(text: &[u8]) -> Option<[u64; N]> {
    let numbers = text.split(|&byte| byte == b' ').map(number);
    numbers.collect::<Option<Vec<_>>>()?.try_into().ok()
}
