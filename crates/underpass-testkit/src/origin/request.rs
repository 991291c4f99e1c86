//! A request as it came to an origin.

use std::io::{self, BufRead, Read};

use super::answer::Part;

/// The most bytes of a head.
const HEAD_MAX: usize = 256 << 10;

/// A request and where it stands among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which of the origin's requests it is, from 0.
    pub number: usize,
    /// Which of the origin's connections it came over, from 0.
    pub connection: usize,
    /// Its method.
    pub method: String,
    /// Its target as it was sent, the query with it.
    pub target: String,
    /// Its head as it was sent, with the empty line.
    pub head: String,
    /// What followed, if the head has a length.
    pub content: Vec<u8>,
}

impl Request {
    /// The first field of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let mut named = fields.filter(|(there, _)| there.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    }

    /// The range that it asks for.
    #[must_use]
    pub fn range(&self) -> Option<Part> {
        Part::parse(self.field("Range")?)
    }

    /// Whether its version knows no chunks.
    pub(super) fn is_old(&self) -> bool {
        self.head.lines().next().is_some_and(|line| line.ends_with("HTTP/1.0"))
    }

    /// Whether the connection ends with its answer.
    pub(super) fn is_last(&self) -> bool {
        let connection = self.field("Connection");
        let says = |word: &str| connection.is_some_and(|it| it.eq_ignore_ascii_case(word));
        if self.is_old() { !says("keep-alive") } else { says("close") }
    }

    /// The next request of a connection, without its number; `None` if the connection ends or says
    /// what no request is.
    pub(super) fn read(stream: &mut impl BufRead, connection: usize) -> io::Result<Option<Self>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let room = (HEAD_MAX - head.len()) as u64;
            if stream.by_ref().take(room).read_until(b'\n', &mut head)? == 0 {
                return Ok(None);
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut words = head.split([' ', '\r']);
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
        let (method, target) = (method.to_owned(), target.to_owned());
        let content = Vec::new();
        let mut request = Self { number: 0, connection, method, target, head, content };
        let len = request.field("Content-Length").and_then(|len| len.parse().ok()).unwrap_or(0);
        request.content.resize(len, 0);
        stream.read_exact(&mut request.content)?;
        Ok(Some(request))
    }
}
