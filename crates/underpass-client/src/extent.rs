//! What of a representation an answer holds, and whether that is what was asked for.
//!
//! A server may send less of a range than was asked for, and then is asked for the rest; it may
//! send more, or all, of which the range is taken. Whatever else it sends under the name of a range
//! is refused: bytes from another place must not get the file's name.
//!
//! Source: RFC 9110 §14.4, §15.3.7 ("a client MUST inspect … to determine what parts are enclosed
//! and whether additional requests are needed").

use crate::head::{ContentRange, Framing, Head};
use crate::range::Range;

/// The content of an answer, within the representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    /// Bytes of the content, if that is known.
    pub(crate) len: Option<u64>,
    /// The representation's length.
    pub(crate) total: Option<u64>,
    /// Whether the status is 206.
    pub(crate) is_range: bool,
}

impl Extent {
    /// What an answer of status 200 or 206 holds.
    pub(crate) fn of(head: &Head, framing: Framing, asked: Range) -> Result<Self, String> {
        let sent = if let Framing::Length(len) = framing { Some(len) } else { None };
        if head.status != 206 {
            return Ok(Self { start: 0, len: sent, total: sent, is_range: false });
        }
        let kind = head.field("content-type").unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with("multipart/byteranges") {
            return Err("it answered with several ranges, and one was asked for".to_owned());
        }
        let range = head.content_range().ok_or("it answered 206 without one Content-Range")?;
        let len = range.last - range.first + 1;
        if let Some(sent) = sent.filter(|sent| *sent != len) {
            return Err(format!("it says that bytes {range} follow, and that they are {sent}"));
        }
        if !is_asked(range, asked) {
            return Err(format!("it answered with bytes {range}, and {} asked for", words(asked)));
        }
        Ok(Self { start: range.first, len: Some(len), total: range.total, is_range: true })
    }

    /// How many bytes of the content are before the wanted ones, and how many are wanted, if that
    /// is known.
    pub(crate) fn wanted(&self, asked: Range) -> Result<(u64, Option<u64>), NotThere> {
        let (first, len) = match (self.total, asked.of_stream()) {
            (Some(total), _) => {
                let (first, len) = asked.within(total).ok_or(NotThere::Short)?;
                (first, Some(len))
            }
            (None, Some(range)) => range,
            // As many bytes were sent as were asked for.
            (None, None) if self.is_range => (self.start, self.len),
            (None, None) => return Err(NotThere::Unknown),
        };
        Ok((first - self.start, len))
    }
}

/// Why a representation has no such range.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotThere {
    Short,
    /// Its end is unknown, and the range is counted from there.
    Unknown,
}

/// Whether these bytes begin with what was asked for. Those that are missing can be asked for if
/// the length of the whole is known.
fn is_asked(range: ContentRange, asked: Range) -> bool {
    let ContentRange { first, last, total } = range;
    match (asked, total) {
        (Range::Whole, total) => first == 0 && total == Some(last + 1),
        (_, Some(total)) => asked
            .within(total)
            .is_some_and(|(from, len)| first <= from && (from <= last || len == 0)),
        (Range::From { first: from, last: Some(to) }, None) => first <= from && to <= last,
        (Range::From { last: None, .. }, None) => false,
        (Range::Suffix(count), None) => last - first + 1 == count,
    }
}

fn words(asked: Range) -> String {
    match asked {
        Range::Whole => "all were".to_owned(),
        Range::From { .. } | Range::Suffix(_) => format!("{asked} was"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(asked: &str, fields: &str, framing: Framing) -> Result<Extent, String> {
        let head = format!("HTTP/1.1 206 Part\r\nContent-Type: text/plain\r\n{fields}\r\n");
        let asked = if asked.is_empty() { Range::Whole } else { asked.parse().unwrap() };
        Extent::of(&Head::parse(head.as_bytes()).unwrap(), framing, asked)
    }

    #[test]
    fn a_range_is_taken_if_it_begins_with_what_was_asked_for() {
        for (asked, range, start, len) in [
            ("4-", "4-9/10", 0, Some(6)),
            ("4-", "0-9/10", 4, Some(6)),
            // Less, and the rest has to be asked for.
            ("4-", "4-6/10", 0, Some(6)),
            ("4-6", "4-5/10", 0, Some(3)),
            ("4-6", "4-9/10", 0, Some(3)),
            ("4-60", "4-9/10", 0, Some(6)),
            ("4-6", "2-9/*", 2, Some(3)),
            ("-3", "7-9/10", 0, Some(3)),
            ("-30", "0-9/10", 0, Some(10)),
            ("-3", "7-9/*", 0, Some(3)),
            ("", "0-9/10", 0, Some(10)),
        ] {
            let extent = of(asked, &format!("Content-Range: bytes {range}\r\n"), Framing::Chunked);
            let asked = asked.parse().unwrap_or_default();
            assert_eq!(extent.unwrap().wanted(asked), Ok((start, len)), "{asked} {range}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        for (asked, fields, framing, why) in [
            ("4-", "bytes 5-9/10", Framing::Length(5), "bytes 5-9/10, and 4- was asked for"),
            ("4-", "bytes 0-3/10", Framing::Length(4), "bytes 0-3/10, and 4- was"),
            ("4-6", "bytes 8-9/10", Framing::Length(2), "bytes 8-9/10"),
            // Whether these are all cannot be known.
            ("4-", "bytes 4-9/*", Framing::Length(6), "bytes 4-9/*"),
            ("4-60", "bytes 4-9/*", Framing::Length(6), "bytes 4-9/*"),
            ("-3", "bytes 8-9/*", Framing::Length(2), "bytes 8-9/*"),
            ("-3", "bytes 8-9/10", Framing::Length(2), "bytes 8-9/10, and -3 was"),
            ("", "bytes 0-8/10", Framing::Length(9), "bytes 0-8/10, and all were asked for"),
            ("", "bytes 0-9/*", Framing::Length(10), "bytes 0-9/*"),
            ("4-6", "bytes 4-6/10", Framing::Length(4), "bytes 4-6/10 follow, and that they are 4"),
            ("4-6", "bytes 4-6/10", Framing::Length(2), "and that they are 2"),
            ("4-6", "bytes 4-6", Framing::Length(3), "without one Content-Range"),
            ("4-6", "lines 4-6/10", Framing::Length(3), "without one Content-Range"),
        ] {
            let error = of(asked, &format!("Content-Range: {fields}\r\n"), framing).unwrap_err();
            assert!(error.contains(why), "{asked} {fields}: {error}");
        }
        let parts = "HTTP/1.1 206 P\r\nContent-Type: Multipart/Byteranges; boundary=x\r\n\
                     Content-Range: bytes 0-1/2\r\n\r\n";
        let parts = Head::parse(parts.as_bytes()).unwrap();
        let error = Extent::of(&parts, Framing::UntilClose, Range::Whole).unwrap_err();
        assert!(error.contains("several ranges"), "{error}");
    }

    #[test]
    fn a_range_is_taken_out_of_a_whole_whose_length_may_be_unknown() {
        let whole = |len| Extent { start: 0, len, total: len, is_range: false };
        let wanted = |len, range: &str| whole(len).wanted(range.parse().unwrap());
        assert_eq!(wanted(Some(10), "4-"), Ok((4, Some(6))));
        assert_eq!(wanted(Some(10), "10-"), Ok((10, Some(0))));
        assert_eq!(wanted(Some(10), "11-"), Err(NotThere::Short));
        assert_eq!(wanted(Some(10), "-4"), Ok((6, Some(4))));
        assert_eq!(wanted(None, "4-"), Ok((4, None)));
        assert_eq!(wanted(None, "4-9"), Ok((4, Some(6))));
        assert_eq!(wanted(None, "-4"), Err(NotThere::Unknown));
    }
}
