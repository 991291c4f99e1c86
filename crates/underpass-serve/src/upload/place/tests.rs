use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

use super::*;
use crate::links::Symlinks;
use crate::state::EntityTags;

fn wanted(name: &str) -> Wanted {
    let (directory, headers, entity_tags) = Default::default();
    Wanted { directory, name: name.into(), len: None, headers, entity_tags }
}

fn with(name: &str, field: HeaderName, value: &str) -> Wanted {
    let headers = HeaderMap::from_iter([(field, value.parse().unwrap())]);
    Wanted { headers, ..wanted(name) }
}

fn upload(may_replace: bool) -> Upload {
    Upload::new(Vec::new(), u64::MAX, may_replace)
}

fn put(dir: &Path, upload: &Upload, wanted: &Wanted, content: &[u8]) -> Result<bool, Refusal> {
    let root = Root::open(dir).unwrap();
    let mut place = Place::make(&root, upload, wanted)?;
    place.write(&[Bytes::new(), Bytes::copy_from_slice(content)])?;
    place.write(&[])?;
    place.name(upload, wanted)
}

fn names(dir: &Path) -> String {
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names.join(" ")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_file_has_its_name_when_it_is_whole_and_a_hidden_one_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let (root, upload, wanted) = (Root::open(dir.path()).unwrap(), upload(false), wanted("a"));
    let mut place = Place::make(&root, &upload, &wanted).unwrap();
    place.write(&[Bytes::from_static(b"01"), Bytes::from_static(b"234")]).unwrap();
    let hidden = names(dir.path());
    assert!(hidden.as_bytes().starts_with(PREFIX) && !hidden.contains(' '), "{hidden}");
    place.write(&[Bytes::from_static(b"5")]).unwrap();
    assert!(!place.name(&upload, &wanted).unwrap());
    assert_eq!(names(dir.path()), "a");
    assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"012345");
    drop(Place::make(&root, &upload, &tests::wanted("b")).unwrap());
    assert_eq!(names(dir.path()), "a", "what is given up leaves nothing");
}

#[test]
fn room_is_made_for_what_will_come_and_the_length_is_that_of_what_came() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let (upload, wanted) = (upload(false), Wanted { len: Some(1 << 20), ..wanted("a") });
    let mut place = Place::make(&root, &upload, &wanted).unwrap();
    let stat = rustix::fs::fstat(&place.part().file).unwrap();
    assert!(stat.st_blocks * 512 >= 1 << 20 && stat.st_size == 0, "{stat:?}");
    place.write(&[Bytes::from_static(b"x")]).unwrap();
    place.name(&upload, &wanted).unwrap();
    assert_eq!(fs::metadata(dir.path().join("a")).unwrap().len(), 1);
    let wanted = Wanted { len: Some(1 << 60), ..tests::wanted("b") };
    let refusal = Place::make(&root, &upload, &wanted).unwrap_err();
    assert!(matches!(refusal.status().as_u16(), 507 | 413), "{refusal:?}");
    assert_eq!(names(dir.path()), "a");
}

#[test]
fn a_file_is_replaced_if_that_is_allowed_and_keeps_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let refusal = put(dir.path(), &upload(false), &wanted("a"), b"new").unwrap_err();
    assert!(matches!(refusal, Refusal::Exists));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let root = Root::open(dir.path()).unwrap();
    let place = Place::make(&root, &upload(true), &wanted("a")).unwrap();
    assert_eq!(rustix::fs::fstat(&place.part().file).unwrap().st_mode & 0o777, 0o600);
    drop(place);
    assert!(put(dir.path(), &upload(true), &wanted("a"), b"new").unwrap());
    assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"new".into(), 0o640));
    assert_eq!(names(dir.path()), "a");
}

/// Each has passed the look at the start.
#[test]
fn of_two_for_one_name_one_has_it_whole() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    for (may_replace, field, second) in [
        (false, None, Err(409)),
        (true, None, Ok(true)),
        (true, Some((IF_NONE_MATCH, "*")), Err(412)),
        (false, Some((IF_NONE_MATCH, "*")), Err(412)),
    ] {
        let upload = upload(may_replace);
        let wanted = match field {
            Some((field, value)) => with("a", field, value),
            None => wanted("a"),
        };
        let make = || Place::make(&root, &upload, &wanted).unwrap();
        let (mut one, mut two) = (make(), make());
        one.write(&[Bytes::from_static(b"one")]).unwrap();
        two.write(&[Bytes::from_static(b"two")]).unwrap();
        assert!(!one.name(&upload, &wanted).unwrap());
        let named = two.name(&upload, &wanted).map_err(|refusal| refusal.status().as_u16());
        assert_eq!(named, second, "{may_replace} {wanted:?}");
        let content: &[u8] = if second.is_ok() { b"two" } else { b"one" };
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), content);
        assert_eq!(names(dir.path()), "a");
        fs::remove_file(dir.path().join("a")).unwrap();
    }
}

/// Someone else, who knows nothing of our lock, makes it after the last look.
#[test]
fn what_appears_in_the_last_moment_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["from", "to"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let directory = Root::open(dir.path()).unwrap().open_directory(b"").unwrap();
    assert_eq!(rename_to_free(&directory, b"from", b"to"), Err(Errno::EXIST));
    assert_eq!(fs::read(dir.path().join("to")).unwrap(), b"to");
    assert_eq!(rename_to_free(&directory, b"from", b"free"), Ok(()));
    assert_eq!(names(dir.path()), "free to");
}

#[test]
fn a_change_is_made_to_the_state_that_is_expected_and_to_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "old").unwrap();
    let tag = || {
        let stat = rustix::fs::stat(&path).unwrap();
        let tag = State::of(&stat).validators(SystemTime::now(), EntityTags::Full).etag.unwrap();
        let tag = tag.to_str().unwrap().to_owned();
        (!tag.starts_with("W/")).then_some(tag)
    };
    let patience = std::time::Duration::from_secs(10);
    let first = underpass_testkit::wait::until(patience, tag).expect("a second passes");
    let (replace, keep) = (upload(true), upload(false));
    for (upload, wanted, status) in [
        (&replace, with("a", IF_MATCH, "\"x\""), 412),
        (&replace, with("a", IF_NONE_MATCH, "*"), 412),
        (&replace, with("a", IF_NONE_MATCH, &first), 412),
        (&replace, with("none", IF_MATCH, "*"), 412),
        (&replace, with("none", IF_MATCH, &first), 412),
        (&keep, with("a", IF_MATCH, &first), 409),
    ] {
        let refusal = put(dir.path(), upload, &wanted, b"new").unwrap_err();
        assert_eq!(refusal.status(), status, "{wanted:?}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert!(put(dir.path(), &replace, &with("a", IF_MATCH, &first), b"new").unwrap());
    let refusal = put(dir.path(), &replace, &with("a", IF_MATCH, &first), b"newer").unwrap_err();
    assert!(matches!(refusal, Refusal::Precondition), "it is another one now");
    assert!(put(dir.path(), &replace, &with("a", IF_MATCH, "*"), b"newer").unwrap());
    assert!(!put(dir.path(), &keep, &with("b", IF_NONE_MATCH, "*"), b"b").unwrap());
}

#[test]
fn what_is_no_file_is_not_replaced_and_no_link_leads_out() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir_all(dir.path().join("d/e")).unwrap();
    symlink(outside.path(), dir.path().join("out")).unwrap();
    symlink("d", dir.path().join("in")).unwrap();
    symlink(dir.path().join("d"), dir.path().join("absolute")).unwrap();
    fs::write(outside.path().join("file"), "outside").unwrap();
    symlink(outside.path().join("file"), dir.path().join("link")).unwrap();
    for symlinks in Symlinks::ALL {
        let root = Root::open(dir.path()).unwrap().following(*symlinks);
        let at = |directory: &str, name: &str| {
            let wanted = Wanted { directory: directory.into(), ..wanted(name) };
            let upload = upload(true);
            let place = Place::make(&root, &upload, &wanted);
            place.and_then(|place| place.name(&upload, &wanted)).map_err(|it| it.status().as_u16())
        };
        assert_eq!(at("", "d"), Err(409));
        assert_eq!(at("", "link"), Err(409), "{symlinks}");
        for directory in ["out/", "none/", "d/none/", "link/", "../"] {
            assert_eq!(at(directory, "a"), Err(409), "{symlinks} {directory}");
        }
        for directory in ["in/", "absolute/e/"] {
            let expected = if *symlinks == Symlinks::None { Err(409) } else { Ok(false) };
            assert_eq!(at(directory, &format!("by-{symlinks}")), expected, "{directory}");
        }
        assert_eq!(at("", &"x".repeat(256)), Err(400));
    }
    assert_eq!(names(outside.path()), "file");
    assert_eq!(fs::read(outside.path().join("file")).unwrap(), b"outside");
    assert_eq!(names(&dir.path().join("d/e")), "by-all by-inside");
}
