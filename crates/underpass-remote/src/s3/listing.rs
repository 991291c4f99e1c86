//! ListObjectsV2: a page of the names beneath a prefix.
//!
//! Servers that know `encoding-type` say so and encode keys, so that XML can carry any; others are
//! taken at their word.
//!
//! Source: Amazon S3 API Reference, ListObjectsV2.

use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// A thousand keys of 1,024 bytes, each byte as three, and as much again around them.
pub(crate) const BYTES_MAX: u64 = 8 << 20;

/// A page of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of their bytes.
    pub entries: Vec<Entry>,
    /// What the next page is asked for with, if there is one.
    pub next: Option<String>,
    /// Whether there is a key beneath the prefix, or one that is the prefix itself.
    pub is_there: bool,
}

/// A name beneath a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What follows the prefix; of a directory without its slash.
    pub name: String,
    /// What is there.
    pub kind: Kind,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Other keys begin with the name and a slash.
    Directory,
    /// An object.
    Object {
        /// Its bytes.
        size: u64,
        /// When it was put there, in seconds since 1970, if that can be read.
        modified: Option<i64>,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Document {
    is_truncated: bool,
    next_continuation_token: Option<String>,
    encoding_type: Option<String>,
    contents: Vec<Contents>,
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    last_modified: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommonPrefix {
    prefix: String,
}

impl Page {
    /// Reads a server's answer. What is not beneath the prefix is left out, and so is the key that
    /// is the prefix itself, which consoles make to show a directory.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn parse(content: &[u8], prefix: &str) -> Result<Self, String> {
        let is_listing = content.windows(17).take(4_096).any(|it| it == b"<ListBucketResult");
        let document: Result<Document, _> = quick_xml::de::from_reader(content);
        let document = document.map_err(|error| error.to_string());
        let document =
            document.and_then(|it| is_listing.then_some(it).ok_or_else(|| "no list".to_owned()));
        let document =
            document.map_err(|why| format!("its answer is not a list of keys: {why}"))?;
        let is_encoded = document.encoding_type.as_deref() == Some("url");
        let plain = |key: String| if is_encoded { decoded(&key) } else { key };
        let keys = document.contents.iter().map(|contents| &contents.key);
        let mut keys = keys.chain(document.common_prefixes.iter().map(|common| &common.prefix));
        let is_there = keys.any(|key| plain(key.clone()).starts_with(prefix));
        let directories =
            document.common_prefixes.into_iter().filter_map(|CommonPrefix { prefix: key }| {
                let key = plain(key);
                let name = key.strip_prefix(prefix)?.strip_suffix('/')?.to_owned();
                Some(Entry { name, kind: Kind::Directory })
            });
        let objects = document.contents.into_iter().filter_map(|contents| {
            let key = plain(contents.key);
            let name = key.strip_prefix(prefix).filter(|name| !name.is_empty())?.to_owned();
            let modified = seconds(&contents.last_modified);
            Some(Entry { name, kind: Kind::Object { size: contents.size, modified } })
        });
        let mut entries: Vec<Entry> = directories.chain(objects).collect();
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let next = document.next_continuation_token.filter(|token| !token.is_empty());
        let next = next.filter(|_| document.is_truncated);
        if document.is_truncated && next.is_none() {
            return Err("its list has more pages and does not say how to ask for them".to_owned());
        }
        Ok(Self { entries, next, is_there })
    }
}

/// A key as servers encode it: some write a space as `+`.
fn decoded(key: &str) -> String {
    let spaced = key.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// Seconds since 1970 of `2026-12-01T01:35:55.000Z`.
fn seconds(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let is_time = text.get(10..11)? == "T" && text.ends_with('Z');
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let of_day = number(11..13)? * 3_600 + number(14..16)? * 60 + number(17..19)?;
    let is_date = (1970..=9999).contains(&year) && (1..=12).contains(&month) && day >= 1;
    (is_time && is_date).then(|| days(year, month, day) * 86_400 + of_day)
}

/// Days since 1970 in the Gregorian calendar, counted in years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, size: u64, modified: Option<i64>) -> Entry {
        Entry { name: name.to_owned(), kind: Kind::Object { size, modified } }
    }

    fn directory(name: &str) -> Entry {
        Entry { name: name.to_owned(), kind: Kind::Directory }
    }

    #[test]
    fn directories_and_objects_are_named_from_the_prefix_on() {
        let content = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>d</Name>\
            <Prefix>p/</Prefix><NextContinuationToken>a b/+=</NextContinuationToken>\
            <Contents><Key>p/</Key><Size>0</Size></Contents>\
            <Contents><LastModified>2026-12-01T01:35:55.000Z</LastModified>\
            <ETag>&quot;x&quot;</ETag>\
            <Key>p/ a&amp;b+c%20</Key><Size>6</Size></Contents>\
            <CommonPrefixes><Prefix>p/z/</Prefix></CommonPrefixes>\
            <Contents><Key>p/x</Key><Size>18446744073709551615</Size></Contents>\
            <CommonPrefixes><Prefix>p//</Prefix></CommonPrefixes>\
            <Contents><Key>other</Key><Size>1</Size></Contents>\
            <IsTruncated>true</IsTruncated><EncodingType></EncodingType></ListBucketResult>";
        let page = Page::parse(content.as_bytes(), "p/").unwrap();
        assert_eq!(page.next.as_deref(), Some("a b/+="));
        let wanted = [
            directory(""),
            object(" a&b+c%20", 6, Some(1_796_088_955)),
            object("x", u64::MAX, None),
            directory("z"),
        ];
        assert_eq!(page.entries, wanted);
        assert!(page.is_there);
    }

    #[test]
    fn a_key_that_is_the_prefix_tells_that_it_is_there() {
        for (content, is_there) in [
            ("<Contents><Key>p/</Key><Size>0</Size></Contents>", true),
            ("<CommonPrefixes><Prefix>p/z/</Prefix></CommonPrefixes>", true),
            ("<Contents><Key>other</Key></Contents>", false),
            ("", false),
        ] {
            let content = format!("<ListBucketResult>{content}</ListBucketResult>");
            let page = Page::parse(content.as_bytes(), "p/").unwrap();
            assert_eq!(page.is_there, is_there, "{content}");
        }
    }

    #[test]
    fn keys_are_decoded_if_the_server_says_that_they_are_encoded() {
        let content = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false\
            </IsTruncated><Contents><Key>p/a+b%2Bc%C3%A9%0A</Key></Contents></ListBucketResult>";
        let page = Page::parse(content.as_bytes(), "p/").unwrap();
        assert_eq!(page.entries, [object("a b+cé\n", 0, None)]);
        assert_eq!(page.next, None);
    }

    #[test]
    fn what_is_not_a_list_is_not_an_empty_one() {
        let more = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
        let error = Page::parse(more.as_bytes(), "").unwrap_err();
        assert!(error.contains("does not say how to ask"), "{error}");
        for content in ["", "{}", "<html></html>", "<ListBucketResult><Contents>", "<a><b></a>"] {
            let error = Page::parse(content.as_bytes(), "").unwrap_err();
            assert!(error.starts_with("its answer is not a list of keys: "), "{content}: {error}");
        }
    }

    #[test]
    fn times_are_read_to_the_second_or_not_at_all() {
        for (text, time) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00.123Z", Some(951_825_600)),
            ("2026-12-01T01:35:55Z", Some(1_796_088_955)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400)),
            ("2026-13-01T01:35:55Z", None),
            ("2026-12-01 01:35:55Z", None),
            ("2026-12-01T01:35:55+01:00", None),
            ("é026-12-01T01:35:55Z", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), time, "{text}");
        }
    }
}
