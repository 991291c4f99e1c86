//! What tracefs says of a tracepoint: its number, and where its fields lie.
//!
//! The places differ from kernel to kernel, so that none is written down here.
//!
//! Source: `Documentation/trace/events.rst`, "Event formats".

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::TraceError;

/// Where tracefs is mounted: by itself, or below debugfs as before 4.1.
const ROOTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// A field's place in a sample, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

impl Field {
    /// Its value as an unsigned number; 0 if the sample is shorter.
    pub(crate) fn number(self, sample: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        let end = self.offset + self.size.min(8);
        if let Some(value) = sample.get(self.offset..end) {
            bytes[..value.len()].copy_from_slice(value);
        }
        u64::from_le_bytes(bytes)
    }

    /// Its text, if it is one that lies elsewhere in the sample (`__data_loc`): the lower half
    /// says where and the upper how long.
    pub(crate) fn text(self, sample: &[u8]) -> String {
        let place = self.number(sample);
        let (at, len) = (place & 0xffff, place >> 16 & 0xffff);
        let range = usize::try_from(at).ok().zip(usize::try_from(at + len).ok());
        let bytes = range.and_then(|(from, to)| sample.get(from..to)).unwrap_or_default();
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

/// A tracepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    name: &'static str,
    pub(crate) id: u64,
    fields: BTreeMap<String, Field>,
}

impl Format {
    /// Asks for the format of a tracepoint, such as `net/net_dev_start_xmit`.
    pub(crate) fn of(name: &'static str) -> Result<Self, TraceError> {
        let mut refused = None;
        for root in ROOTS {
            let directory = Path::new(root).join("events").join(name);
            match std::fs::read_to_string(directory.join("format")) {
                Ok(text) => return Self::parse(name, &text),
                Err(source) => {
                    refused.get_or_insert((directory, source));
                }
            }
        }
        let (path, source) =
            refused.unwrap_or_else(|| (PathBuf::new(), std::io::ErrorKind::NotFound.into()));
        Err(TraceError::Tracefs { path, source })
    }

    fn parse(name: &'static str, text: &str) -> Result<Self, TraceError> {
        let missing = |field| TraceError::Field { tracepoint: name, field };
        let id = text.lines().find_map(|line| line.strip_prefix("ID:"));
        let id = id.and_then(|id| id.trim().parse().ok()).ok_or_else(|| missing("ID"))?;
        Ok(Self { name, id, fields: text.lines().filter_map(field).collect() })
    }

    /// The place of a field.
    pub(crate) fn field(&self, field: &'static str) -> Result<Field, TraceError> {
        let place = self.fields.get(field).copied();
        place.ok_or(TraceError::Field { tracepoint: self.name, field })
    }
}

/// Reads `field:unsigned int len; offset:36; size:4; signed:0;`.
fn field(line: &str) -> Option<(String, Field)> {
    let mut parts = line.trim().strip_prefix("field:")?.split(';');
    let name = parts.next()?.split_whitespace().next_back()?;
    let name = name.split('[').next()?.trim_start_matches('*').to_owned();
    let mut number = |what: &str| parts.next()?.trim().strip_prefix(what)?.parse().ok();
    Some((name, Field { offset: number("offset:")?, size: number("size:")? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "\
name: net_dev_start_xmit
ID: 2307
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;
\tfield:const void * skbaddr;\toffset:16;\tsize:8;\tsigned:0;
\tfield:char comm[16];\toffset:24;\tsize:16;\tsigned:0;
\tfield:unsigned int len;\toffset:36;\tsize:4;\tsigned:0;

print fmt: \"dev=%s\", __get_str(name)
";

    #[test]
    fn a_format_says_where_its_fields_are_and_which_it_lacks() {
        let format = Format::parse("net/net_dev_start_xmit", FORMAT).unwrap();
        assert_eq!(format.id, 2307);
        assert_eq!(format.field("len").unwrap(), Field { offset: 36, size: 4 });
        assert_eq!(format.field("comm").unwrap(), Field { offset: 24, size: 16 });
        assert_eq!(format.field("skbaddr").unwrap().size, 8);
        let error = format.field("data_len").unwrap_err().to_string();
        assert_eq!(error, "the tracepoint net/net_dev_start_xmit has no data_len on this kernel");
    }

    #[test]
    fn numbers_and_texts_are_read_from_where_they_are_and_never_from_beyond() {
        let mut sample = vec![0; 20];
        sample[4..6].copy_from_slice(&[0x34, 0x12]);
        // Five bytes at 12.
        sample[8..12].copy_from_slice(&[12, 0, 5, 0]);
        sample[12..17].copy_from_slice(b"eth0\0");
        assert_eq!(Field { offset: 4, size: 2 }.number(&sample), 0x1234);
        assert_eq!(Field { offset: 8, size: 4 }.text(&sample), "eth0");
        assert_eq!(Field { offset: 18, size: 8 }.number(&sample), 0);
        sample[8] = 18;
        assert_eq!(Field { offset: 8, size: 4 }.text(&sample), "");
    }
}
