//! A client of HTTP/2 that keeps nothing but its connection, so that thousands of them fit.
//!
//! Its windows are as wide as they can be: the server decides how much it sends. Fields are
//! literals, and of an answer only its status and its content are looked at.
//!
//! Source: RFC 9113 §4.1, §6; RFC 7541 §6.2.2 and appendix A (the static table).

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use underpass::tls::rustls::{ClientConnection, StreamOwned};
use underpass_testkit::tls::NAME;

use super::secured::Certificate;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// What servers may send without asking.
const FRAME_BYTES_MAX: usize = 16 << 10;

/// `:status` 200 and 206 in the static table.
const GOOD: [u8; 2] = [0x80 | 8, 0x80 | 10];

enum Wire {
    Clear(TcpStream),
    Secured(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One connection.
pub(crate) struct Framed {
    wire: Wire,
    next_stream: u32,
    /// Content of streams that no one waits for.
    passed_bytes: u64,
}

/// A frame without its payload.
#[derive(Debug, Clone, Copy)]
struct Head {
    len: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Framed {
    /// A client over TLS if it is given whom to trust.
    pub(super) fn new(socket: TcpStream, trusted: Option<&Certificate>) -> Result<Self> {
        socket.set_nodelay(true)?;
        let wire = match trusted {
            None => Wire::Clear(socket),
            Some(trusted) => {
                let config = Arc::new(trusted.client_of_http2());
                let client = ClientConnection::new(config, NAME.try_into()?)?;
                Wire::Secured(Box::new(StreamOwned::new(client, socket)))
            }
        };
        let mut client = Self { wire, next_stream: 1, passed_bytes: 0 };
        let widest = i32::MAX.to_be_bytes();
        let begin = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(SETTINGS, 0, 0, &[&[0, 4][..], &widest].concat()),
            frame(WINDOW_UPDATE, 0, 0, &(i32::MAX - 65_535).to_be_bytes()),
        ];
        client.wire().write_all(&begin.concat())?;
        Ok(client)
    }

    fn wire(&mut self) -> &mut dyn Stream {
        match &mut self.wire {
            Wire::Clear(stream) => stream,
            Wire::Secured(stream) => stream,
        }
    }

    /// The socket beneath.
    pub(crate) fn socket(&self) -> &TcpStream {
        match &self.wire {
            Wire::Clear(stream) => stream,
            Wire::Secured(stream) => &stream.sock,
        }
    }

    /// Asks for a file, or a range of it, and says by which stream.
    pub(crate) fn ask(&mut self, path: &str, range: Option<&str>) -> Result<u32> {
        let scheme = if matches!(self.wire, Wire::Clear(_)) { 0x86 } else { 0x87 };
        let mut fields = vec![0x82, scheme];
        let named = [(1, NAME), (4, path), (58, "bench"), (19, "*/*")];
        for (name, value) in named.into_iter().chain(range.map(|range| (50, range))) {
            match name {
                0..15 => fields.push(name),
                _ => fields.extend([15, name - 15]),
            }
            let len = u8::try_from(value.len()).ok().filter(|len| *len < 127);
            let Some(len) = len else { bail!("{value} is too long for this client") };
            fields.push(len);
            fields.extend_from_slice(value.as_bytes());
        }
        let stream = self.next_stream;
        self.next_stream += 2;
        self.wire().write_all(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &fields))?;
        Ok(stream)
    }

    /// Asks for a file, and waits for its last byte.
    pub(crate) fn ask_and_wait(&mut self, path: &str, body_bytes: u64) -> Result<()> {
        let (stream, mut room) = (self.ask(path, None)?, [0; FRAME_BYTES_MAX]);
        let mut left = self.wait_for_answer(stream, &mut room)?.then_some(body_bytes);
        while let Some(more) = left {
            let head = self.next(&mut room)?;
            match head.kind {
                DATA if head.stream == stream => {
                    ensure!(head.len as u64 <= more, "more than {body_bytes} bytes came");
                    let is_over = head.flags & END_STREAM != 0;
                    left = (!is_over).then_some(more - head.len as u64);
                    ensure!(left.is_some() || head.len as u64 == more, "{more} bytes are missing");
                }
                RST_STREAM if head.stream == stream => bail!("the stream was reset"),
                _ => self.pass(head, &room)?,
            }
        }
        Ok(())
    }

    /// Waits for the head of an answer, and says whether content follows.
    pub(crate) fn wait_for_answer(
        &mut self,
        stream: u32,
        room: &mut [u8; FRAME_BYTES_MAX],
    ) -> Result<bool> {
        loop {
            let head = self.next(room)?;
            if (head.kind, head.stream) != (HEADERS, stream) {
                self.pass(head, room)?;
                continue;
            }
            // The table's size may be told first.
            let mut block = room.iter().take(head.len).skip_while(|byte| *byte & 0xe0 == 0x20);
            ensure!(block.next().is_some_and(|byte| GOOD.contains(byte)), "another status");
            return Ok(head.flags & END_STREAM == 0);
        }
    }

    /// A frame that is not of the answer that is waited for.
    fn pass(&mut self, head: Head, payload: &[u8]) -> Result<()> {
        match head.kind {
            DATA => self.passed_bytes += head.len as u64,
            SETTINGS if head.flags & ACK == 0 => {
                self.wire().write_all(&frame(SETTINGS, ACK, 0, &[]))?;
            }
            GOAWAY => bail!("the server ends the connection, error {:?}", payload.get(4..8)),
            _ => {}
        }
        Ok(())
    }

    fn next(&mut self, room: &mut [u8; FRAME_BYTES_MAX]) -> Result<Head> {
        let mut head = [0; 9];
        self.wire().read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let len = usize::try_from(u32::from_be_bytes([0, a, b, c]))?;
        let Some(payload) = room.get_mut(..len) else { bail!("a frame of {len} bytes") };
        self.wire().read_exact(payload)?;
        Ok(Head { len, kind, flags, stream: u32::from_be_bytes(stream) })
    }

    /// Content that came of streams that were not waited for.
    pub(crate) const fn passed_bytes(&self) -> u64 {
        self.passed_bytes
    }

    /// Reads until the socket is shut down; returns the bytes of content that came.
    pub(crate) fn count(mut self) -> u64 {
        let mut room = [0; FRAME_BYTES_MAX];
        while let Ok(head) = self.next(&mut room)
            && self.pass(head, &room).is_ok()
        {}
        self.passed_bytes
    }

    /// Reads a byte of whatever it is part of; after it frames cannot be told apart.
    pub(crate) fn read_a_byte(&mut self) -> io::Result<()> {
        self.wire().read_exact(&mut [0])
    }
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, len @ ..] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&len[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What a client says of a server that sends this.
    fn said(frames: Vec<Vec<u8>>) -> Result<u64, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut peer = listener.accept().unwrap().0;
            peer.write_all(&frames.concat()).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            io::copy(&mut peer, &mut io::sink()).unwrap_or_default();
        });
        let mut client = Framed::new(TcpStream::connect(address).unwrap(), None).unwrap();
        let end = client.ask_and_wait("/", 5).map(|()| client.passed_bytes());
        end.map_err(|error| error.to_string())
    }

    #[test]
    fn an_answer_is_its_status_and_all_of_its_content() {
        let (good, other) = (vec![0x20, 0x88], vec![0x8d]);
        let head = |block: &[u8]| frame(HEADERS, END_HEADERS, 1, block);
        let data = |flags, stream, content: &[u8]| frame(DATA, flags, stream, content);
        let begin = frame(SETTINGS, 0, 0, &[]);
        let whole = vec![
            begin.clone(),
            data(0, 3, b"of another"),
            head(&good),
            data(0, 1, b"12"),
            data(END_STREAM, 3, b"."),
            data(END_STREAM, 1, b"345"),
        ];
        assert_eq!(said(whole), Ok(11));
        for (frames, expected) in [
            (vec![head(&other), data(END_STREAM, 1, b"12345")], "another status"),
            (vec![head(&good), data(END_STREAM, 1, b"1234")], "5 bytes are missing"),
            (vec![head(&good), data(END_STREAM, 1, b"123456")], "more than 5 bytes came"),
            (vec![head(&good), frame(RST_STREAM, 0, 1, &[0; 4])], "the stream was reset"),
            (
                vec![begin, frame(GOAWAY, 0, 0, &[0; 8])],
                "the server ends the connection, error Some([0, 0, 0, 0])",
            ),
        ] {
            assert_eq!(said(frames), Err(expected.to_owned()));
        }
    }
}
