use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, UNIX_EPOCH};

use underpass_testkit::disk::disk_dir;
use underpass_testkit::wait;

use super::*;

#[test]
fn the_fields_of_a_200_are_complete() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(b"twelve bytes", 0).unwrap();
    let later = SystemTime::now() + Duration::from_secs(2);
    let stat = rustix::fs::fstat(&file).unwrap();
    let Description { len, validators, headers, .. } =
        Description::new(&stat, Path::new("a.txt"), later, &MetadataRules::default());
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "12"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(headers[name], value);
    }
    assert_eq!((len, headers.get("etag")), (Some(12), validators.etag.as_ref()));
    let date = headers["last-modified"].to_str().unwrap();
    assert_eq!(httpdate::parse_http_date(date).ok(), validators.last_modified);
    assert_eq!(headers.len(), 6);
}

fn represented(file: File) -> Representation {
    Representation::of(file, Path::new("a"), Stability::None, &MetadataRules::default()).unwrap()
}

#[test]
fn a_file_of_1960_has_no_date_and_makes_no_panic() {
    let file = tempfile::tempfile_in(disk_dir().unwrap()).unwrap();
    file.set_modified(UNIX_EPOCH - Duration::from_secs(315_619_200)).unwrap();
    assert!(!represented(file).headers().contains_key("last-modified"));
}

#[test]
fn what_is_to_be_sent_is_the_range_within_the_file() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(b"0123456789", 0).unwrap();
    let digits = represented(file);
    assert_eq!(in_memory(&digits, 2..5), "234");
    assert_eq!(in_memory(&digits, 8..u64::MAX), "89");
    assert_eq!(in_memory(&digits, 10..11), "");
    let empty = represented(tempfile::tempfile_in(disk_dir().unwrap()).unwrap());
    assert_eq!((in_memory(&empty, 0..1).as_str(), empty.len()), ("", Some(0)));
    assert!(empty.file().is_none());
}

fn in_memory(file: &Representation, range: Range<u64>) -> String {
    let Payload::Bytes(bytes) = file.to_be_sent(range) else { panic!("it is at hand") };
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What opening `path` once more gives, and what describing it without waiting says.
fn read(path: &str) -> (RepresentationError, Representation) {
    let file = || File::open(path).unwrap();
    let refused =
        Representation::of(file(), Path::new(path), Stability::Guard, &MetadataRules::default())
            .unwrap_err();
    (
        refused,
        Representation::read(file(), Path::new(path), Stability::Guard, &MetadataRules::default())
            .unwrap(),
    )
}

#[test]
fn a_size_that_is_not_that_of_the_content_is_not_believed() {
    let (refused, limit) = read("/proc/sys/fs/pipe-max-size");
    assert!(matches!(refused, RepresentationError::Sizeless), "{refused}");
    let content = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap();
    assert_eq!(in_memory(&limit, 0..99), content);
    assert_eq!(limit.len(), Some(content.len() as u64));
    assert_eq!(limit.validators(), &Validators { etag: None, last_modified: None });
    assert_eq!(limit.headers()["accept-ranges"], "none");
    assert!(!limit.is_settled(), "it is not kept");

    let (refused, page) = read("/sys/kernel/mm/transparent_hugepage/enabled");
    assert!(matches!(refused, RepresentationError::Map(MapError::Call { call: "mmap", .. })));
    let content = std::fs::read("/sys/kernel/mm/transparent_hugepage/enabled").unwrap();
    assert_eq!(page.len(), Some(content.len() as u64), "and not one page");

    let (_, symbols) = read("/proc/kallsyms");
    assert_eq!((symbols.len(), symbols.headers().get("content-length")), (None, None));
}

#[test]
fn a_file_that_cannot_be_mapped_has_all_that_describes_it() {
    let read_anew = || read("/sys/kernel/notes");
    let (refused, _) = read_anew();
    // The kernel dates what it makes up by when it was first asked for, which may be this second.
    let settled = || Some(read_anew().1).filter(Representation::is_settled);
    let notes = wait::until(Duration::from_secs(20), settled).expect("its second is over");
    assert!(matches!(refused, RepresentationError::Map(_)), "{refused}");
    let content = std::fs::read("/sys/kernel/notes").unwrap();
    assert_eq!(notes.len(), Some(content.len() as u64));
    assert_eq!(notes.headers()["accept-ranges"], "bytes");
    assert!(notes.file().is_none());
    assert!(
        matches!(notes.to_be_sent(1..2), Payload::Reading(reading) if reading.left() == Some(1))
    );
}

#[test]
fn a_lease_is_refused_while_somebody_writes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().write_all_at(b"abc", 0).unwrap();
    let reader = File::open(file.path()).unwrap();
    let error =
        Representation::of(reader, Path::new("a"), Stability::Lease, &MetadataRules::default())
            .unwrap_err();
    let RepresentationError::Map(MapError::Call { errno: source, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(source, Errno::AGAIN);
}
