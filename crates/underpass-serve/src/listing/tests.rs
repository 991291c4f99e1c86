use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};
use serde_json::Value;

use super::read::Seen;
use super::*;
use crate::answer::Content;
use crate::lookup::Lookup;
use crate::root::{Found, Root, Wait};

/// A listing of a directory beneath `served`, made with `look`.
fn with<T>(
    served: &Path,
    path: &str,
    (limits, lookup): (Limits, &Lookup),
    query: &str,
    look: impl FnOnce(Result<Listing<'_>, Refusal>) -> T,
) -> T {
    let root = Root::open(served).unwrap();
    let Ok(Found::Directory(directory)) = root.open_beneath(path.as_bytes(), Wait::Allowed) else {
        panic!("a directory");
    };
    let place = Place { root: &root, path: path.as_bytes(), directory: &directory, lookup };
    let media_types = MediaTypes::default();
    look(Listing::read_within(limits, &place, &Query::parse(query), &media_types))
}

/// The page of a query, with hidden names.
fn page(served: &Path, path: &str, query: &str) -> String {
    let all = Lookup { hidden: true, ..Lookup::default() };
    with(served, path, (LIMITS, &all), query, |made| made.unwrap().page().into_string())
}

fn json(served: &Path, path: &str, query: &str) -> Value {
    let all = Lookup { hidden: true, ..Lookup::default() };
    let json = with(served, path, (LIMITS, &all), query, |made| made.unwrap().json());
    serde_json::from_str(&json).unwrap()
}

fn names(json: &Value) -> Vec<&str> {
    json["entries"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

fn tree(files: &[(&str, usize)]) -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    for (name, len) in files {
        fs::write(tree.path().join(name), vec![b'x'; *len]).unwrap();
    }
    tree
}

fn made_of(rows: Vec<Name>, path: &str) -> String {
    let (query, media_types, files) = (Query::default(), MediaTypes::default(), rows.len());
    let listing = Listing {
        path: path.as_bytes(),
        query: &query,
        media_types: &media_types,
        rows,
        directories: 0,
        files,
        is_cut: false,
        archives: &[],
        takes_uploads: false,
    };
    listing.page().into_string()
}

fn row(name: &[u8], is_directory: bool) -> Name {
    let seen = Some(Seen { size: 1, modified: 784_111_777 });
    Name { bytes: name.into(), is_directory, seen }
}

#[test]
fn it_names_what_would_be_served_directories_first() {
    let tree = tempfile::tempdir().unwrap();
    let served = tree.path().join("served");
    fs::create_dir_all(served.join("sub/zoo")).unwrap();
    fs::create_dir(served.join("sub/arc")).unwrap();
    fs::write(tree.path().join("secret"), "x").unwrap();
    for name in ["b", "a10", "a9", ".dot", "Z"] {
        fs::write(served.join("sub").join(name), "x").unwrap();
    }
    fs::write(served.join("up-here"), "four").unwrap();
    symlink("../up-here", served.join("sub/inside")).unwrap();
    symlink("zoo", served.join("sub/Zoo-link")).unwrap();
    symlink("../../secret", served.join("sub/outside")).unwrap();
    symlink("nowhere", served.join("sub/dangling")).unwrap();
    let fifo = served.join("sub/fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let listing = json(&served, "sub/", "json");
    let expected = ["arc", "zoo", "Zoo-link", ".dot", "a9", "a10", "b", "inside", "Z"];
    assert_eq!(names(&listing), expected);
    assert_eq!(listing["entries"][7]["size"], 4, "a link shows the size of its file");
    assert_eq!((&listing["directories"], &listing["files"]), (&3.into(), &6.into()));
    assert_eq!(listing["complete"], true);
}

#[test]
fn hidden_names_are_not_listed_and_do_not_count() {
    let tree = tempfile::tempdir().unwrap();
    for name in [".well-known", ".a", ".b", "c", "d"] {
        fs::create_dir_all(tree.path().join(name).join(".well-known")).unwrap();
    }
    let (limits, lookup) = (Limits { names: 3, ..LIMITS }, Lookup::default());
    let found = |path| {
        with(tree.path(), path, (limits, &lookup), "", |made| {
            let made = made.unwrap();
            (made.rows.iter().map(|row| row.bytes.to_vec()).collect::<Vec<_>>(), made.is_cut)
        })
    };
    assert_eq!(found(""), (vec![b".well-known".to_vec(), b"c".to_vec(), b"d".to_vec()], false));
    assert_eq!(found("c/"), (vec![], false));
    assert_eq!(names(&json(tree.path(), "c/", "")), [".well-known"]);
}

#[test]
fn a_directory_of_too_many_names_is_cut_and_says_so() {
    let tree = tree(&[("aa", 0), ("bb", 0), ("cc", 0)]);
    for (names, bytes, files, is_cut) in
        [(2, 100, 2, true), (3, 100, 3, false), (100, 5, 2, true), (100, 6, 3, false)]
    {
        let lookup = Lookup::default();
        with(tree.path(), "", (Limits { names, bytes }, &lookup), "", |made| {
            let made = made.unwrap();
            assert_eq!((made.files, made.is_cut), (files, is_cut), "{names} {bytes}");
            let page = made.page().into_string();
            assert_eq!(page.contains("There are more than are listed."), is_cut);
            assert_eq!(made.json().contains("\"complete\":true"), !is_cut);
        });
    }
}

#[test]
fn names_are_escaped_in_text_and_exact_in_references() {
    let rows = vec![
        row(b"<script>alert(1)</script>", false),
        row(b"a\" onclick=\"x", false),
        row(b"caf\xe9 100%.txt", false),
        row(b"javascript:alert(1)", false),
        row(b"d", true),
    ];
    let page = made_of(rows, "<b>/");
    assert!(!page.contains("<script>alert") && !page.contains("<b>") && !page.contains("\" on"));
    for part in [
        "<title>Index of /&lt;b&gt;/</title>",
        "href=\"%3Cscript%3Ealert%281%29%3C/script%3E\"",
        "href=\"a%22%20onclick%3D%22x\"",
        "href=\"caf%E9%20100%25.txt\"",
        "<bdi>caf\u{fffd} 100%.txt</bdi>",
        "href=\"javascript%3Aalert%281%29\"",
        "href=\"d/\"",
        "<a href=\"../\">",
        "<time datetime=\"1994-11-06T08:49Z\">1994-11-06<span class=\"time\"> 08:49</span></time>",
        "<td class=\"size\" title=\"1 bytes\">1 B</td>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    // A filter is of the request, and as little to be trusted as a name.
    let tree = tree(&[("a", 1)]);
    let filtered = page_of(tree.path(), "q=%22%3E%3Cscript%3Ex");
    assert!(filtered.contains("value=\"&quot;&gt;&lt;script&gt;x\""), "{filtered}");
    assert!(!filtered.contains("<script>x"), "{filtered}");
}

fn page_of(served: &Path, query: &str) -> String {
    page(served, "", query)
}

#[test]
fn each_directory_on_the_way_is_a_reference() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("a/b")).unwrap();
    let deep = page(tree.path(), "a/b/", "");
    assert!(deep.contains("<a href=\"../../\" title=\"Top\">"), "{deep}");
    assert!(deep.contains("<a href=\"../\"><bdi>a</bdi></a>"), "{deep}");
    assert!(deep.contains("<span><bdi>b</bdi></span></h1>"), "{deep}");
    let root = page(tree.path(), "", "");
    assert!(!root.contains("../"), "{root}");
    let empty = made_of(vec![], "");
    assert!(empty.contains("There is nothing here."), "{empty}");
}

#[test]
fn the_policy_names_the_script_and_the_style_of_the_page_and_nothing_else_runs() {
    let tree = tree(&[("a.txt", 1)]);
    let answer = |query: &str, takes_uploads| {
        let lookup = Lookup::default();
        with(tree.path(), "", (LIMITS, &lookup), query, |made| {
            made.unwrap().with_form(takes_uploads).into_answer()
        })
    };
    for takes_uploads in [false, true] {
        has_policy(answer("", takes_uploads), takes_uploads);
    }
    let json = answer("json", true);
    assert_eq!(json.headers["content-type"], "application/json");
    assert!(!json.headers.contains_key("content-security-policy"));
}

fn has_policy(html: Answer, takes_uploads: bool) {
    assert_eq!(html.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(html.headers["cache-control"], "no-cache");
    assert_eq!(html.headers["x-content-type-options"], "nosniff");
    let Content::Memory(content) = html.content else { panic!("a page in memory") };
    assert_eq!(html.headers["content-length"], content.len().to_string());
    let content = std::str::from_utf8(&content).unwrap();
    assert!(content.starts_with("<!DOCTYPE html><html lang=\"en\">"));
    let policy = html.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let pieces: Vec<_> = content.split(&open).collect();
        assert_eq!(pieces.len(), 2, "one {tag}");
        let text = pieces[1].split(&close).next().unwrap();
        let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        use base64::Engine;
        let hash = base64::prelude::BASE64_STANDARD.encode(hash);
        assert!(policy.contains(&format!("{directive} 'sha256-{hash}';")), "{policy}");
    }
    assert!(!content.contains(" style=") && !content.contains("unsafe"));
    let form = "<form id=\"upload\" method=\"post\" action=\"./\"";
    assert_eq!(content.contains(form), takes_uploads);
    assert_eq!(content.contains("XMLHttpRequest"), takes_uploads);
}

#[test]
fn a_name_of_bytes_that_are_no_text_is_exact_in_both_forms() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join(OsStr::from_bytes(b"\xe9"))).unwrap();
    fs::write(tree.path().join(OsStr::from_bytes(b"\xff\n")), "").unwrap();
    let page = page_of(tree.path(), "");
    assert!(page.contains("href=\"%FF%0A\"") && page.contains("href=\"%E9/\""), "{page}");
    let listing = json(tree.path(), "", "");
    let file = &listing["entries"][1];
    assert_eq!((&file["name"], &file["name_bytes"]), (&"\u{fffd}\n".into(), &"/wo=".into()));
    assert_eq!((&file["href"], &file["type"]), (&"%FF%0A".into(), &"file".into()));
    assert!(listing.get("path_bytes").is_none());
    let inside = Root::open(tree.path()).unwrap();
    let Found::Directory(directory) = inside.open_beneath(b"\xe9/", Wait::Allowed).unwrap() else {
        panic!("a directory");
    };
    let lookup = &Lookup::default();
    let place = Place { root: &inside, path: b"\xe9/", directory: &directory, lookup };
    let (query, media_types) = (Query::default(), MediaTypes::default());
    let made = Listing::read(&place, &query, &media_types);
    let made = made.unwrap().json();
    assert!(made.contains("\"path\":\"/\u{fffd}/\",\"path_bytes\":\"L+kv\""), "{made}");
}

#[test]
fn rows_are_sorted_by_each_column_in_both_directions_with_directories_first() {
    let tree = tree(&[("small", 1), ("Large", 300), ("medium", 20), ("also-small", 1)]);
    fs::create_dir(tree.path().join("dir")).unwrap();
    let secs = [("small", 40), ("Large", 10), ("medium", 30), ("also-small", 20), ("dir", 5)];
    for (name, at) in secs {
        let file = fs::File::open(tree.path().join(name)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(at);
        file.set_modified(time).unwrap();
    }
    for (query, expected) in [
        ("", ["dir", "also-small", "Large", "medium", "small"]),
        ("order=desc", ["dir", "small", "medium", "Large", "also-small"]),
        ("sort=size", ["dir", "also-small", "small", "medium", "Large"]),
        ("sort=size&order=desc", ["dir", "Large", "medium", "also-small", "small"]),
        ("sort=modified", ["dir", "Large", "also-small", "medium", "small"]),
        ("sort=modified&order=desc", ["dir", "small", "medium", "also-small", "Large"]),
    ] {
        let listing = json(tree.path(), "", query);
        assert_eq!(names(&listing), expected, "{query}");
        assert_eq!(listing["entries"][0].get("size"), None);
    }
    let page = page_of(tree.path(), "sort=size&order=desc&q=a");
    for part in [
        "<th class=\"name\" scope=\"col\"><a href=\"?q=a\" rel=\"nofollow\">Name</a></th>",
        "<th class=\"size\" scope=\"col\" aria-sort=\"descending\"><a href=\"?sort=size&amp;q=a\" ",
        "<input type=\"hidden\" name=\"sort\" value=\"size\">",
        "<input type=\"hidden\" name=\"order\" value=\"desc\">",
        ">3 files with “<bdi>a</bdi>”",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn a_filter_leaves_the_names_that_have_it_in_any_case() {
    let tree = tree(&[("Report.PDF", 1), ("\u{c9}t\u{e9}", 1), ("a+b c", 1)]);
    fs::create_dir(tree.path().join("reports")).unwrap();
    for (query, expected) in [
        ("q=report", &["reports", "Report.PDF"][..]),
        ("q=REPORT.", &["Report.PDF"]),
        ("q=%C3%89T%C3%89", &["\u{c9}t\u{e9}"]),
        ("q=a%2Bb+c", &["a+b c"]),
        ("q=*", &[]),
        ("q=", &["reports", "a+b c", "Report.PDF", "\u{c9}t\u{e9}"]),
    ] {
        assert_eq!(names(&json(tree.path(), "", query)), expected, "{query}");
    }
    let none = page_of(tree.path(), "q=zz&sort=size");
    assert!(none.contains("No name here has “<bdi>zz</bdi>” in it."), "{none}");
    assert!(none.contains("<a href=\"?sort=size\">Show all</a>"), "{none}");
}

#[test]
fn pages_have_a_thousand_rows_and_all_of_them_every_name_once() {
    let tree = tempfile::tempdir().unwrap();
    let all: Vec<_> = (1..=2_345).map(|number| format!("f{number}")).collect();
    for name in &all {
        fs::write(tree.path().join(name), "").unwrap();
    }
    for order in ["", "&sort=size", "&sort=modified&order=desc"] {
        let pages = [1, 2, 3].map(|at| json(tree.path(), "", &format!("page={at}{order}")));
        let mut listed: Vec<_> = pages.iter().flat_map(names).collect();
        if order.is_empty() {
            assert_eq!(listed, all);
        }
        assert_eq!(
            pages.iter().map(|page| names(page).len()).collect::<Vec<_>>(),
            [1000, 1000, 345]
        );
        listed.sort_unstable();
        listed.dedup();
        assert_eq!(listed.len(), all.len(), "{order}");
        assert_eq!((&pages[0]["files"], &pages[0]["pages"]), (&2_345.into(), &3.into()));
        assert_eq!(pages[2].get("next"), None);
    }
    assert_eq!(json(tree.path(), "", "json&q=f")["next"], "?q=f&page=2&json");
    let page = page_of(tree.path(), "page=2&q=f");
    for part in [
        ">2,345 files with “<bdi>f</bdi>”, page 2 of 3",
        "<a href=\"?q=f\">First</a><a href=\"?q=f\" rel=\"prev\">Previous</a>",
        "<span>1,001–2,000 of 2,345</span>",
        "<a href=\"?q=f&amp;page=3\" rel=\"next\">Next</a><a href=\"?q=f&amp;page=3\">Last</a>",
        "<input type=\"hidden\" name=\"q\" value=\"f\">",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page_of(tree.path(), "q=f99").contains("<nav"));
    for query in ["page=4", "page=0", "page=x", "page=18446744073709551615", "page=2&q=f99"] {
        let lookup = Lookup::default();
        with(tree.path(), "", (LIMITS, &lookup), query, |made| {
            assert!(matches!(made, Err(Refusal::NoPage)), "{query}");
        });
    }
}

/// Each is the same directory once more, or all of it.
#[test]
fn crawlers_are_told_not_to_follow_what_leads_to_no_other_file() {
    let served = tree(&[("a", 1)]);
    let page = with(served.path(), "", (LIMITS, &Lookup::default()), "", |made| {
        made.unwrap().with_archives(&["tar", "zip"]).page().into_string()
    });
    let queries: Vec<&str> = page.split("<a ").filter(|it| it.starts_with("href=\"?")).collect();
    assert_eq!(queries.len(), 3 + 2 + 1, "orders, archives, JSON: {queries:?}");
    for query in queries {
        let tag = query.split_once('>').unwrap().0;
        assert!(tag.contains("rel=\"nofollow\""), "{tag}");
    }
}
