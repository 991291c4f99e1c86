//! The head of a response: status, phrase, fields.
//!
//! Source: RFC 9112 §4, §5, §6.3; RFC 9110 §8.8, §14.4.

use super::Framing;

/// The most fields of one head.
const FIELDS_MAX: usize = 128;

/// A parsed head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err("the answer's head is cut short"),
            Err(_) => return Err("what it answered is not HTTP/1.1"),
        }
        let fields = response.headers.iter().map(|field| {
            let value = String::from_utf8_lossy(field.value).trim().to_owned();
            (field.name.to_owned(), value)
        });
        Ok(Self {
            status: response.code.unwrap_or(0),
            reason: response.reason.unwrap_or_default().to_owned(),
            fields: fields.collect(),
        })
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let is_it = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.fields.iter().find(is_it).map(|(_, value)| value.as_str())
    }

    /// How the content ends. Two lengths, or a length and chunks, are refused: a proxy in between
    /// may have used the other one (RFC 9112 §6.3).
    pub(crate) fn framing(&self) -> Result<Framing, &'static str> {
        let coding = self.field("transfer-encoding");
        let lengths: Vec<_> = self
            .fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map(|(_, value)| value.as_str())
            .collect();
        match (coding, lengths.as_slice()) {
            (Some(coding), []) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            (Some(_), []) => Err("it uses a transfer coding other than chunked"),
            (Some(_), _) => Err("it gives both a length and a transfer coding"),
            (None, []) => Ok(Framing::UntilClose),
            (None, [len]) if len.bytes().all(|byte| byte.is_ascii_digit()) => {
                len.parse().map(Framing::Length).map_err(|_| "its Content-Length is beyond 2^64")
            }
            (None, _) => Err("its Content-Length is not one number"),
        }
    }

    /// The first position and the complete length of a 206's single range.
    pub(crate) fn content_range(&self) -> Option<(u64, Option<u64>)> {
        let text = self.field("content-range")?.strip_prefix("bytes ")?;
        let (range, total) = text.split_once('/')?;
        let (first, _last) = range.split_once('-')?;
        let total = if total == "*" { None } else { Some(total.parse().ok()?) };
        Some((first.parse().ok()?, total))
    }

    /// The complete length in a 416.
    pub(crate) fn complete_length(&self) -> Option<u64> {
        self.field("content-range")?.strip_prefix("bytes */")?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Head {
        Head::parse(format!("HTTP/1.1 206 Part\r\n{fields}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn the_end_of_the_content_is_found_or_refused() {
        for (fields, framing) in [
            ("", Ok(Framing::UntilClose)),
            ("content-length: 12\r\n", Ok(Framing::Length(12))),
            ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
        ] {
            assert_eq!(head(fields).framing(), framing, "{fields}");
        }
        for fields in [
            "Content-Length: 12\r\nContent-Length: 13\r\n",
            "Content-Length: 12\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: \r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
        ] {
            assert!(head(fields).framing().is_err(), "{fields}");
        }
    }

    #[test]
    fn ranges_are_read() {
        let part = head("Content-Range: bytes 5-9/100\r\n");
        assert_eq!(part.content_range(), Some((5, Some(100))));
        assert_eq!(head("Content-Range: bytes 5-9/*\r\n").content_range(), Some((5, None)));
        assert_eq!(head("Content-Range: bytes */7\r\n").complete_length(), Some(7));
        assert_eq!(head("Content-Range: items 5-9/100\r\n").content_range(), None);
        assert_eq!((part.status, part.reason.as_str()), (206, "Part"));
    }
}
