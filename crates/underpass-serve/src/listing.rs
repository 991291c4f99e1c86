//! The page that lists a directory.
//!
//! It names what a request would be answered with, and nothing else: links that lead out of the
//! root, FIFOs, sockets and devices are left out. Names are bytes: the text shows them as well
//! as it can, the link is exact. The page holds no script and its policy allows none.
//!
//! Source: getdents64(2); fstatat(2), `AT_SYMLINK_NOFOLLOW`; RFC 3986 §4.2 (relative references);
//! W3C CSP Level 3.

use std::fmt;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use crate::answer::Answer;
use crate::lookup::Lookup;
use crate::root::{OpenError, Root};
use crate::{date, target};

/// The most entries; a page of this many is about 2 MB, and a longer one is of no use.
const ENTRIES_MAX: usize = 10_000;

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.25rem;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #8884}\
th{font-weight:600;color:GrayText}\
td:first-child{overflow-wrap:anywhere;width:100%}\
th+th,td+td{white-space:nowrap;font-variant-numeric:tabular-nums}\
.size{text-align:right}\
a{text-decoration:none}a:hover{text-decoration:underline}";

/// What a directory holds, sorted as it is shown.
#[derive(Debug)]
pub(crate) struct Listing {
    entries: Vec<Entry>,
    is_cut: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: Vec<u8>,
    /// In bytes; a directory has none.
    size: Option<u64>,
    /// Seconds since 1970.
    modified: i64,
}

impl Listing {
    /// Reads `directory`, which is at `path` (empty, or with a slash at its end). May wait for
    /// the disk.
    ///
    /// # Errors
    ///
    /// [`OpenError::Denied`] if it may be entered but not read; else as for
    /// [`Root::open_beneath`].
    pub(crate) fn read(
        root: &Root,
        path: &[u8],
        directory: &OwnedFd,
        lookup: &Lookup,
    ) -> Result<Self, OpenError> {
        Self::read_up_to(ENTRIES_MAX, root, path, directory, lookup)
    }

    fn read_up_to(
        entries_max: usize,
        root: &Root,
        path: &[u8],
        directory: &OwnedFd,
        lookup: &Lookup,
    ) -> Result<Self, OpenError> {
        // open(2): an O_PATH descriptor resolves names but lists none.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = rustix::fs::openat(directory, c".", flags, Mode::empty())?;
        let (mut entries, mut looked_at, mut is_cut) = (Vec::new(), 0, false);
        for found in Dir::new(readable)? {
            let found = found?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if !lookup.serves_name(path, name.to_bytes()) {
                continue;
            }
            if looked_at == entries_max {
                is_cut = true;
                break;
            }
            looked_at += 1;
            let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    root.stat_beneath(&[path, name.to_bytes()].concat())
                }
                answer => answer.map_err(OpenError::from),
            };
            // A name that went away meanwhile, or leads nowhere, is not listed.
            entries.extend(stat.ok().and_then(|stat| Entry::of(name.to_bytes(), &stat)));
        }
        entries.sort_unstable_by(|a, b| {
            b.is_directory().cmp(&a.is_directory()).then_with(|| a.name.cmp(&b.name))
        });
        Ok(Self { entries, is_cut })
    }

    /// The page as a 200.
    pub(crate) fn into_answer(self, path: &[u8]) -> Answer {
        let page = Bytes::from(self.page(path).into_string());
        let media_type = HeaderValue::from_static("text/html; charset=utf-8");
        let mut answer = Answer::text(StatusCode::OK, media_type, page);
        answer.headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        answer.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    }

    fn page(&self, path: &[u8]) -> Markup {
        let title = format!("Index of /{}", String::from_utf8_lossy(path));
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { bdi { (title) } }
                    table {
                        thead { tr {
                            th scope="col" { "Name" }
                            th.size scope="col" { "Size" }
                            th scope="col" { "Modified (UTC)" }
                        } }
                        tbody {
                            @if !path.is_empty() {
                                tr { td { a href="../" { "../" } } td {} td {} }
                            }
                            @for entry in &self.entries { (entry.row()) }
                        }
                    }
                    @if self.entries.is_empty() {
                        p { "There is nothing here." }
                    }
                    @if self.is_cut {
                        p { "Only " (ENTRIES_MAX) " entries are shown; there are more." }
                    }
                }
            }
        }
    }
}

impl Entry {
    /// `None` for what is never served.
    fn of(name: &[u8], stat: &Stat) -> Option<Self> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let size = kind.is_file().then(|| u64::try_from(stat.st_size).unwrap_or(0));
        (kind.is_file() || kind.is_dir()).then(|| Self {
            name: name.to_vec(),
            size,
            modified: stat.st_mtime,
        })
    }

    fn is_directory(&self) -> bool {
        self.size.is_none()
    }

    fn row(&self) -> Markup {
        let slash = if self.is_directory() { "/" } else { "" };
        html! {
            tr {
                td {
                    a href={ (target::encode(&self.name).to_string()) (slash) } {
                        bdi { (String::from_utf8_lossy(&self.name)) } (slash)
                    }
                }
                td.size title=[self.size.map(|size| format!("{size} bytes"))] {
                    @if let Some(size) = self.size { (Size(size).to_string()) }
                }
                td { (date::sortable(self.modified).unwrap_or_default()) }
            }
        }
    }
}

/// A length in bytes with three significant digits or so, in powers of 1024.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        // In tenths of a unit, rounded down: 1023.99 KiB is not yet 1 MiB.
        let mut tenths = u128::from(self.0) * 10 / 1024;
        let mut units = UNITS.iter();
        let mut unit = units.next();
        while tenths >= 10_240 {
            tenths /= 1024;
            unit = units.next();
        }
        write!(f, "{}.{} {}", tenths / 10, tenths % 10, unit.unwrap_or(&"EiB"))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use rustix::fs::CWD;

    use super::*;
    use crate::answer::Content;
    use crate::root::{Found, Wait};

    fn listing(root: &Root, path: &[u8], entries_max: usize) -> Listing {
        let all = Lookup { hidden: true, ..Lookup::default() };
        listing_as(&all, root, path, entries_max)
    }

    fn listing_as(lookup: &Lookup, root: &Root, path: &[u8], entries_max: usize) -> Listing {
        let Ok(Found::Directory(directory)) = root.open_beneath(path, Wait::Allowed) else {
            panic!("a directory");
        };
        Listing::read_up_to(entries_max, root, path, &directory, lookup).unwrap()
    }

    fn names(listing: &Listing) -> Vec<String> {
        listing.entries.iter().map(|e| String::from_utf8_lossy(&e.name).into_owned()).collect()
    }

    fn entry(name: &[u8], size: Option<u64>) -> Entry {
        Entry { name: name.to_vec(), size, modified: 784_111_777 }
    }

    #[test]
    fn it_names_what_would_be_served_directories_first() {
        let tree = tempfile::tempdir().unwrap();
        let served = tree.path().join("served");
        fs::create_dir_all(served.join("sub/zoo")).unwrap();
        fs::create_dir(served.join("sub/arc")).unwrap();
        fs::write(tree.path().join("secret"), "x").unwrap();
        for name in ["b", "a", ".dot", "Z"] {
            fs::write(served.join("sub").join(name), "x").unwrap();
        }
        fs::write(served.join("up-here"), "four").unwrap();
        symlink("../up-here", served.join("sub/inside")).unwrap();
        symlink("../../secret", served.join("sub/outside")).unwrap();
        symlink("nowhere", served.join("sub/dangling")).unwrap();
        let fifo = served.join("sub/fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let root = Root::open(&served).unwrap();
        let listing = listing(&root, b"sub/", 100);
        assert_eq!(names(&listing), ["arc", "zoo", ".dot", "Z", "a", "b", "inside"]);
        assert_eq!(listing.entries[6].size, Some(4), "a link shows the size of its file");
        assert!(!listing.is_cut);
    }

    #[test]
    fn hidden_names_are_not_listed_and_do_not_count() {
        let tree = tempfile::tempdir().unwrap();
        for name in [".well-known", ".a", ".b", "c", "d"] {
            fs::create_dir_all(tree.path().join(name).join(".well-known")).unwrap();
        }
        let root = Root::open(tree.path()).unwrap();
        let seen = listing_as(&Lookup::default(), &root, b"", 3);
        assert_eq!(names(&seen), [".well-known", "c", "d"]);
        assert!(!seen.is_cut);
        assert!(names(&listing_as(&Lookup::default(), &root, b"c/", 3)).is_empty());
        assert_eq!(names(&listing(&root, b"c/", 3)), [".well-known"]);
    }

    #[test]
    fn a_full_directory_is_cut_and_says_so() {
        let tree = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            fs::write(tree.path().join(name), "").unwrap();
        }
        let root = Root::open(tree.path()).unwrap();
        for (entries_max, shown, is_cut) in [(2, 2, true), (3, 3, false)] {
            let listing = listing(&root, b"", entries_max);
            assert_eq!((listing.entries.len(), listing.is_cut), (shown, is_cut));
            let page = listing.page(b"").into_string();
            assert_eq!(page.contains("there are more"), is_cut);
        }
    }

    #[test]
    fn names_are_escaped_in_text_and_exact_in_links() {
        let entries = vec![
            entry(b"<script>alert(1)</script>", Some(1)),
            entry(b"a\" onclick=\"x", Some(1)),
            entry(b"caf\xe9 100%.txt", Some(1)),
            entry(b"javascript:alert(1)", Some(1)),
            entry(b"d", None),
        ];
        let page = Listing { entries, is_cut: false }.page(b"<b>/").into_string();
        assert!(
            !page.contains("<script>") && !page.contains("<b>") && !page.contains("onclick=\"")
        );
        for part in [
            "<title>Index of /&lt;b&gt;/</title>",
            "href=\"%3Cscript%3Ealert%281%29%3C/script%3E\"",
            "href=\"a%22%20onclick%3D%22x\"",
            "href=\"caf%E9%20100%25.txt\"><bdi>caf\u{fffd} 100%.txt</bdi></a>",
            "href=\"javascript%3Aalert%281%29\"",
            "href=\"d/\"><bdi>d</bdi>/</a>",
            "<a href=\"../\">../</a>",
            "<td>1994-11-06 08:49</td>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }

    #[test]
    fn the_root_has_no_parent() {
        let page = Listing { entries: vec![], is_cut: false }.page(b"").into_string();
        assert!(!page.contains("../") && page.contains("There is nothing here."));
    }

    #[test]
    fn the_page_allows_no_script() {
        let answer = Listing { entries: vec![], is_cut: false }.into_answer(b"");
        assert_eq!(
            answer.headers["content-security-policy"],
            "default-src 'none'; style-src 'unsafe-inline'"
        );
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
        let Content::Memory(page) = answer.content else { panic!("a page in memory") };
        assert_eq!(answer.headers["content-length"], page.len().to_string());
        assert!(page.starts_with(b"<!DOCTYPE html><html lang=\"en\">"));
    }

    #[test]
    fn a_name_of_bytes_that_are_no_text_is_listed() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join(OsStr::from_bytes(b"\xff\n")), "").unwrap();
        let root = Root::open(tree.path()).unwrap();
        let page = listing(&root, b"", 10).page(b"").into_string();
        assert!(page.contains("href=\"%FF%0A\""), "{page}");
    }

    #[test]
    fn sizes_are_rounded_down_in_powers_of_1024() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1023.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (5_368_709_120, "5.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
