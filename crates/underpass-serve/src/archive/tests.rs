use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use http::Request;

use super::walk::Limits;
use super::*;
use crate::lookup::Lookup;
use crate::root::tests::read_as_any_user_would;
use crate::root::{Found, Wait};
use crate::sequence::Segment;

fn walked<T>(
    served: &Path,
    path: &str,
    lookup: &Lookup,
    walk: impl FnOnce(&Arc<Root>, &Place<'_>) -> T,
) -> T {
    let root = Arc::new(Root::open(served).unwrap().following(lookup.symlinks));
    let Ok(Found::Directory(directory)) = root.open_beneath(path.as_bytes(), Wait::Allowed) else {
        panic!("a directory");
    };
    walk(&root, &Place { root: &root, path: path.as_bytes(), directory: &directory, lookup })
}

fn archive(served: &Path, path: &str, format: Format) -> Archive {
    let archives = Archives::new(Formats(Format::ALL.into()), None);
    walked(served, path, &Lookup::default(), |root, place| {
        archives.walk(format, root, place, Stability::Guard, &|_| false).unwrap()
    })
}

/// A range of an archive as it would be sent.
fn bytes(archive: Archive, range: Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for segment in Segments::new(archive, range) {
        match segment.unwrap() {
            Segment::Memory(memory) => bytes.extend(&memory),
            Segment::File(file, range) => {
                let mut part = vec![0; usize::try_from(range.end - range.start).unwrap()];
                let start = usize::try_from(range.start).unwrap();
                file.file().unwrap().read_at(start, &mut part).unwrap();
                bytes.append(&mut part);
            }
        }
    }
    bytes
}

/// The paths of a directory's members.
fn paths(served: &Path, path: &str, lookup: &Lookup) -> Vec<String> {
    let members =
        walked(served, path, lookup, |_, place| Members::of(place, LIMITS, &|_| false).unwrap());
    let text = |at| String::from_utf8_lossy(members.get(at).unwrap().0).into_owned();
    (0..members.len()).map(text).collect()
}

/// Files of all the lengths at which something else begins.
fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("dir/empty")).unwrap();
    let long = "l".repeat(120);
    for (name, len) in [
        ("dir/a", 0_u32),
        ("dir/b", 1),
        ("dir/c", 512),
        ("dir/d", 16_384),
        ("dir/e", 16_385),
        ("dir/\u{e9}", 700),
        (&format!("dir/{long}"), 3),
        ("f", 70_000),
    ] {
        let content: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        fs::write(tree.path().join(name), content).unwrap();
    }
    tree
}

#[test]
fn every_range_of_an_archive_is_that_part_of_the_whole() {
    let tree = tree();
    for format in Format::ALL {
        let made = || archive(tree.path(), "", format);
        let len = made().len;
        let whole = bytes(made(), 0..len);
        assert_eq!(whole.len() as u64, len, "{format:?}");
        let mut ranges: Vec<_> = (0..len).step_by(1_999).map(|from| from..len).collect();
        ranges.extend((1..len).step_by(2_503).map(|to| to / 2..to));
        ranges.extend([0..1, len - 1..len, len - 30..len - 3]);
        for range in ranges {
            let index = |at| usize::try_from(at).unwrap();
            let part = &whole[index(range.start)..index(range.end)];
            assert!(bytes(made(), range.clone()) == part, "{format:?} {range:?}");
        }
    }
}

#[test]
fn what_is_in_it_is_what_is_served_in_the_order_of_the_names() {
    let tree = tempfile::tempdir().unwrap();
    let served = tree.path().join("served");
    fs::create_dir_all(served.join("a/b/c")).unwrap();
    fs::create_dir_all(served.join(".git")).unwrap();
    fs::create_dir_all(served.join(".well-known")).unwrap();
    fs::write(tree.path().join("secret"), "").unwrap();
    for name in ["a/z", "a/.hidden", ".git/config", ".well-known/x", "a-file", "a/b/c/d"] {
        fs::write(served.join(name), "").unwrap();
    }
    symlink("../a-file", served.join("a/in")).unwrap();
    symlink("../../secret", served.join("a/out")).unwrap();
    symlink("b/c", served.join("a/dir")).unwrap();
    symlink("..", served.join("a/b/up")).unwrap();
    symlink("up", served.join("a/b/up-up")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        served.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let default = Lookup::default();
    let below = ["a/b/", "a/b/c/", "a/b/c/d", "a/dir/", "a/dir/d", "a/in", "a/z"];
    let before = ["", ".well-known/", ".well-known/x", "a/"];
    let all = [&before[..], &below, &["a-file"]].concat();
    assert_eq!(paths(&served, "", &default), all);
    let relative = ["", "b/", "b/c/", "b/c/d", "dir/", "dir/d", "in", "z"];
    assert_eq!(paths(&served, "a/", &default), relative);
    let hidden = Lookup { hidden: true, ..default.clone() };
    assert!(paths(&served, "", &hidden).contains(&".git/config".to_owned()));
    let none = Lookup { symlinks: crate::Symlinks::None, ..default };
    assert_eq!(paths(&served, "a/", &none), ["", "b/", "b/c/", "b/c/d", "z"]);
}

#[test]
fn what_a_request_would_be_refused_is_left_out_with_all_that_is_in_it() {
    let tree = tree();
    let left = walked(tree.path(), "dir/", &Lookup::default(), |_, place| {
        let is_left_out = |path: &[u8]| matches!(path, b"dir/b" | b"dir/empty/");
        Members::of(place, LIMITS, &is_left_out).unwrap().len()
    });
    assert_eq!(left, paths(tree.path(), "dir/", &Lookup::default()).len() - 2);
}

#[test]
fn an_archive_of_too_much_is_refused() {
    let tree = tree();
    let refused = |limits| {
        walked(tree.path(), "", &Lookup::default(), |_, place| {
            matches!(Members::of(place, limits, &|_| false), Err(WalkError::TooMany))
        })
    };
    assert!(!refused(LIMITS));
    assert!(!refused(Limits { members: 11, ..LIMITS }));
    assert!(refused(Limits { members: 10, ..LIMITS }));
    assert!(!refused(Limits { depth: 2, ..LIMITS }));
    assert!(refused(Limits { depth: 1, ..LIMITS }));
    assert!(refused(Limits { path_bytes: 100, ..LIMITS }));
    for (size_max, is_refused) in [(100_000, true), (200_000, false)] {
        let archives = Archives::new(Formats(vec![Format::Tar]), Some(size_max));
        let made = walked(tree.path(), "", &Lookup::default(), |root, place| {
            archives.walk(Format::Tar, root, place, Stability::Guard, &|_| false)
        });
        assert_eq!(matches!(made, Err(Refusal::TooLarge)), is_refused, "{size_max}");
    }
}

/// What is in memory for archives has a limit: those being sent hold their members.
#[test]
fn members_of_archives_that_are_sent_count_until_they_were() {
    let tree = tree();
    let archives = Archives::new(Formats(vec![Format::Tar]), None);
    let held = archives.members.clone().try_acquire_many_owned(999_989).unwrap();
    let walk = || {
        walked(tree.path(), "", &Lookup::default(), |root, place| {
            archives.walk(Format::Tar, root, place, Stability::Guard, &|_| false)
        })
    };
    let first = Segments::new(walk().unwrap(), 0..1);
    assert!(matches!(walk(), Err(Refusal::Busy)));
    drop(first);
    drop(walk().unwrap());
    drop(held);
    assert_eq!(archives.members.available_permits(), LIMITS.members);
}

#[test]
fn a_file_that_is_not_what_it_was_ends_the_archive() {
    for (name, format) in [("f", Format::Tar), ("dir/d", Format::Tar), ("dir/c", Format::Zip)] {
        let tree = tree();
        let path = tree.path().join(name);
        for (how, change) in [
            ("shorter", &(|path: &Path| fs::write(path, "x").unwrap()) as &dyn Fn(&Path)),
            ("another", &|path| fs::write(path, vec![b'x'; 16_384]).unwrap()),
            ("gone", &|path| fs::remove_file(path).unwrap()),
        ] {
            let made = archive(tree.path(), "", format);
            let len = made.len;
            underpass_testkit::wait::until_file_times_move();
            change(&path);
            let error = Segments::new(made, 0..len).find_map(Result::err).expect(how);
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}

#[test]
fn the_tag_is_of_names_sizes_and_states_and_weak_while_a_change_may_not_show() {
    let tree = tree();
    let tag = |format| archive(tree.path(), "", format).headers[ETAG].to_str().unwrap().to_owned();
    assert!(tag(Format::Tar).starts_with("W/\""));
    let settled = || Some(tag(Format::Tar)).filter(|tag| tag.starts_with('"'));
    let before = underpass_testkit::wait::until(std::time::Duration::from_secs(10), settled);
    let before = before.expect("a second passes");
    assert_eq!(before, tag(Format::Tar));
    assert_ne!(before, tag(Format::Zip));
    let changes: [&dyn Fn(); 4] = [
        &|| fs::write(tree.path().join("new"), "").unwrap(),
        &|| fs::rename(tree.path().join("new"), tree.path().join("newer")).unwrap(),
        &|| fs::write(tree.path().join("newer"), "x").unwrap(),
        &|| fs::set_permissions(tree.path().join("f"), PermissionsExt::from_mode(0o755)).unwrap(),
    ];
    let mut seen = vec![before.trim_start_matches("W/").to_owned()];
    for change in changes {
        underpass_testkit::wait::until_file_times_move();
        change();
        let tag = tag(Format::Tar).trim_start_matches("W/").to_owned();
        assert!(!seen.contains(&tag));
        seen.push(tag);
    }
}

#[test]
fn requests_with_conditions_and_ranges_are_answered_as_for_a_file() {
    let tree = tree();
    let made = || archive(tree.path(), "dir/", Format::Tar);
    let (len, etag) = (made().len, made().headers[ETAG].to_str().unwrap().to_owned());
    for (fields, status, content_range) in [
        (&[][..], 200, None),
        (&[("range", "bytes=5-")], 206, Some(format!("bytes 5-{}/{len}", len - 1))),
        (&[("range", "bytes=0-0,9-9")], 200, None),
        (&[("range", "bytes=99999999-")], 416, Some(format!("bytes */{len}"))),
        (&[("range", "bytes=5-"), ("if-range", "\"other\"")], 200, None),
        (&[("if-none-match", &etag)], 304, None),
        (&[("if-match", "\"other\"")], 412, None),
    ] {
        let mut request = Request::get("/dir/?archive=tar");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = made().into_answer(&request.body(()).unwrap().into_parts().0);
        assert_eq!(answer.status, status, "{fields:?}");
        let field = |name| answer.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(field("content-range"), content_range.as_deref(), "{fields:?}");
        if matches!(status, 200 | 206) {
            assert_eq!(field("content-type"), Some("application/x-tar"));
            assert_eq!(field("content-disposition"), Some("attachment; filename=\"dir.tar\""));
            let len = answer.content.len().unwrap().to_string();
            assert_eq!(field("content-length"), Some(&*len), "{fields:?}");
        }
        if status == 304 {
            assert_eq!((field("etag"), field("cache-control")), (Some(&*etag), Some("no-cache")));
        }
    }
}

#[test]
fn the_name_of_an_archive_is_that_of_its_directory_and_harms_no_field() {
    for (path, disposition) in [
        (&b""[..], "attachment; filename=\"files.zip\""),
        (b"a b/", "attachment; filename=\"a b.zip\""),
        (b"x/y/", "attachment; filename=\"y.zip\""),
        (
            b"\"\r\n%41\\/",
            "attachment; filename=\"____41_.zip\"; \
            filename*=UTF-8''%22%0D%0A%2541%5C.zip",
        ),
        (b"caf\xc3\xa9/", "attachment; filename=\"caf__.zip\"; filename*=UTF-8''caf%C3%A9.zip"),
        (b"\xff/", "attachment; filename=\"_.zip\""),
    ] {
        assert_eq!(super::disposition(&name(path), Format::Zip), disposition);
    }
}

#[test]
fn forms_are_given_by_name_each_once() {
    for (text, shown) in [
        ("off", Some("off")),
        ("tar", Some("tar")),
        ("zip,tar", Some("zip,tar")),
        ("", None),
        ("tar,tar", None),
        ("tar,off", None),
        ("rar", None),
    ] {
        let parsed = text.parse::<Formats>().ok().map(|formats| formats.to_string());
        assert_eq!(parsed.as_deref(), shown, "{text}");
    }
}

/// A name that is not UTF-8 stays what it is in both forms.
#[test]
fn names_are_in_it_byte_for_byte() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join(OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    for format in Format::ALL {
        let made = archive(tree.path(), "", format);
        let len = made.len;
        let all = bytes(made, 0..len);
        let name = b"files/caf\xe9";
        assert!(all.windows(name.len()).any(|window| window == name), "{format:?}");
    }
}

/// Sizes that no test would write are told by the heads alone.
#[test]
fn large_files_have_the_fields_that_they_need() {
    let tree = tempfile::tempdir().unwrap();
    let sizes = [0xffff_fffe_u64, 0xffff_ffff, 9 << 30];
    for size in sizes {
        let file = fs::File::create(tree.path().join("f")).unwrap();
        file.set_len(size).unwrap();
        let head = |format, len| {
            let mut head = bytes(archive(tree.path(), "", format), 0..len);
            let at = head.windows(7).rposition(|window| window == b"files/f").unwrap();
            head.drain(..at);
            head
        };
        // The head of the file is the second in both.
        let tar = head(Format::Tar, if size > 8 << 30 { 2_048 } else { 1_024 });
        let octal = std::str::from_utf8(&tar[124..135]).unwrap();
        let fits = size < 8 << 30;
        let expected = if fits { format!("{size:011o}") } else { "77777777777".into() };
        assert_eq!(octal, expected, "{size}");
        let before = bytes(archive(tree.path(), "", Format::Tar), 512..1_536);
        let record = format!("19 size={size}\n");
        let has_record = before.windows(record.len()).any(|window| window == record.as_bytes());
        assert_eq!(has_record, !fits, "{size}");
        let zip = head(Format::Zip, 110);
        let is_wide = zip[7..].starts_with(&[1, 0, 16, 0]);
        assert_eq!(is_wide, size >= 0xffff_ffff, "{size}");
        if is_wide {
            assert!(zip[11..].starts_with(&size.to_le_bytes()), "{size}");
        }
    }
}

/// Readers that have the directory at the end do not look at these.
#[test]
fn the_checksum_and_the_sizes_follow_the_content_of_each_file() {
    let tree = tree();
    let made = archive(tree.path(), "", Format::Zip);
    let len = made.len;
    let whole = bytes(made, 0..len);
    for name in ["dir/b", "dir/d", "dir/e", "f"] {
        let content = fs::read(tree.path().join(name)).unwrap();
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        let crc = crc32fast::hash(&content).to_le_bytes();
        let after = [&content[..], b"PK\x07\x08", &crc, &size, &size].concat();
        assert!(whole.windows(after.len()).any(|window| window == after), "{name}");
    }
}

#[test]
fn what_may_not_be_read_is_left_out() {
    let tree = tree();
    fs::create_dir(tree.path().join("dir/closed")).unwrap();
    for (path, mode) in [("f", 0o000), ("dir/closed", 0o000)] {
        fs::set_permissions(tree.path().join(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    let before = paths(tree.path(), "", &Lookup::default());
    assert!(before.contains(&"f".to_owned()));
    read_as_any_user_would();
    let after = paths(tree.path(), "", &Lookup::default());
    assert!(!after.contains(&"f".to_owned()));
    assert_eq!(after.len(), before.len() - 1);
}

#[test]
fn content_that_is_read_is_the_same_as_content_that_is_mapped() {
    let tree = tree();
    let made = archive(tree.path(), "", Format::Tar);
    let len = made.len;
    let whole = bytes(made, 0..len);
    let mut original = Vec::new();
    fs::File::open(tree.path().join("f")).unwrap().read_to_end(&mut original).unwrap();
    assert!(whole.windows(70_000).any(|window| window == original));
}
