//! What a store has, keeps and gives up.

use rustix::io::Errno;
use underpass_testkit::origin::{Fault, Object as Content, Stop};

use super::*;
use crate::rig::{LEN, Rig, read, until};

#[test]
fn an_object_comes_once_and_is_there_after_a_restart() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN));
    let entry = rig.ask("/a");
    assert_eq!(content.difference(0, &rig.read(&entry, 0..LEN).unwrap()), None);
    until(|| entry.is_whole());
    drop(entry);
    let rig = rig.again();
    let entry = rig.store.get(&rig.key("/a")).unwrap();
    assert!(entry.is_whole());
    assert_eq!(content.difference(0, &rig.read(&entry, 0..LEN).unwrap()), None);
    assert_eq!(rig.server.request_count(), 1);
}

#[test]
fn a_part_is_used_after_a_restart_but_for_what_is_damaged() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Stall));
    let entry = rig.ask("/a");
    let object = entry.object(&rig.origin).unwrap();
    until(|| object.available(0) == 1_000_000);
    let data = entry.name().data();
    drop((entry, object));
    let rig = rig.again();
    let file = std::fs::OpenOptions::new().write(true).open(data).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0], 500_000).unwrap();
    let entry = rig.store.get(&rig.key("/a")).unwrap();
    assert_eq!(content.difference(0, &rig.read(&entry, 0..LEN).unwrap()), None);
    until(|| entry.is_whole());
    let sent: Vec<_> =
        rig.server.requests()[1..].iter().map(|it| it.field("range").map(str::to_owned)).collect();
    assert!(sent.iter().all(Option::is_some), "{sent:?}");
    assert!(rig.server.content_bytes() < 1_000_000 + 2_100_000 + 600_000, "{sent:?}");
}

#[test]
fn an_object_that_is_not_what_its_checksum_says_is_not_kept() {
    for (field, is_kept) in [
        ("Repr-Digest", false),
        ("X-Amz-Checksum-Sha256", false),
        ("X-Amz-Checksum-Crc32c", false),
        ("Content-MD5", false),
        ("X-Other", true),
    ] {
        let rig = Rig::new();
        let wrong = match field {
            "Repr-Digest" => format!("sha-256=:{}=:", "A".repeat(43)),
            "X-Amz-Checksum-Crc32c" => "AAAAAA==".to_owned(),
            "Content-MD5" => format!("{}==", "A".repeat(22)),
            _ => format!("{}=", "A".repeat(43)),
        };
        rig.server.put("/a", Content::new(LEN).field(field, &wrong));
        let (entry, object) = rig.ask_and_open("/a");
        read(&object, 0..LEN).unwrap();
        until(|| entry.is_whole() || entry.is_removed());
        assert_eq!(entry.is_whole(), is_kept, "{field}");
        assert_eq!(rig.store.get(&rig.key("/a")).is_some(), is_kept, "{field}");
    }
}

#[test]
fn a_content_md5_is_of_what_came_with_it() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN).field("Content-MD5", "AAAA"));
    let range = underpass_client::Range::From { first: 0, last: Some(999) };
    let (entry, object) = rig.ask_for("/a", range);
    assert_eq!(entry.head().field("content-md5"), None);
    assert_eq!(content.difference(0, &read(&object, 0..LEN).unwrap()), None);
    assert_eq!(rig.ask("/a").head().field("content-md5"), Some("AAAA"));
}

#[test]
fn what_was_not_used_for_longest_makes_room_and_its_readers_read_on() {
    let rig = Rig::with(|options| options.bytes_max = 16 << 20);
    let content: Vec<_> =
        (0..8).map(|n| rig.server.put(&format!("/{n}"), Content::new(LEN))).collect();
    let first = rig.ask("/0");
    rig.read(&first, 0..LEN).unwrap();
    until(|| first.is_whole());
    let object = first.object(&rig.origin).unwrap();
    // Bytes of those that are still read count as given back: they are, when all have left.
    let mut reading = Vec::new();
    for (n, content) in content.iter().enumerate().skip(1) {
        let (entry, object) = rig.ask_and_open(&format!("/{n}"));
        assert_eq!(content.difference(0, &read(&object, 0..LEN).unwrap()), None);
        until(|| entry.is_whole());
        reading.push(object);
    }
    until(|| (4..6).contains(&rig.store.facts().entries));
    assert!(rig.store.facts().bytes > 16 << 20);
    drop(reading);
    until(|| rig.store.facts().bytes <= 18 << 20);
    assert!(rig.store.get(&rig.key("/0")).is_none());
    assert!(rig.store.get(&rig.key("/7")).is_some());
    assert_eq!(content[0].difference(0, &read(&object, 0..LEN).unwrap()), None);
}

#[test]
fn a_directory_has_one_store() {
    let rig = Rig::new();
    let same = Store::open(rig.store.options().clone()).unwrap();
    assert!(Arc::ptr_eq(&rig.store, &same));
    let other = rig.dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("file"), "x").unwrap();
    let error = Store::open(StoreOptions::new(&other, 1)).unwrap_err();
    assert!(matches!(error, StoreError::NotOurs { .. }), "{error}");
    let large = Content::new(LEN);
    rig.server.put("/a", large);
    let head = Head { status: 200, fields: vec![], asked: vec![], len: 1 << 29, answered_ms: 0 };
    let refused = rig.store.insert(&rig.key("/a"), &rig.origin, head, 0..0);
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
}

#[test]
fn content_of_unknown_length_is_kept_when_it_has_ended() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN));
    let head = || Head { status: 200, fields: vec![], asked: vec![], len: 0, answered_ms: 0 };
    let key = rig.key("/a");
    let mut left = rig.store.collect(&key, head()).unwrap();
    left.write(&content.bytes(0..1000)).unwrap();
    drop(left);
    let directory = rig.store.directory.name(&key, 0).data();
    assert_eq!(std::fs::read_dir(directory.parent().unwrap()).unwrap().count(), 0);
    let mut taken = rig.store.collect(&key, head()).unwrap();
    for at in (0..LEN).step_by(50_000) {
        taken.write(&content.bytes(at..(at + 50_000).min(LEN))).unwrap();
    }
    assert!(rig.store.get(&key).is_none());
    taken.finish().unwrap();
    let rig = rig.again();
    let entry = rig.store.get(&key).unwrap();
    assert_eq!((entry.is_whole(), entry.head().len), (true, LEN));
    assert_eq!(content.difference(0, &rig.read(&entry, 0..LEN).unwrap()), None);
    let scrubbed = rig.store.scrub(u64::MAX, &Interrupt::never().unwrap());
    assert_eq!((scrubbed.entries, scrubbed.bytes, scrubbed.damaged), (1, LEN, 0));
    let files = std::fs::read_dir(entry.name().data().parent().unwrap()).unwrap().count();
    assert_eq!((files, rig.server.request_count()), (2, 0));
    let mut large = rig.store.collect(&key, head()).unwrap();
    let many = vec![1; 1 << 20];
    let refused = (0..=256).find_map(|_| large.write(&many).err());
    assert!(matches!(refused, Some(ObjectError::Disk(Errno::FBIG))));
}

#[test]
fn what_is_purged_is_gone_and_its_readers_read_on() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Stall));
    let (entry, object) = rig.ask_and_open("/a");
    until(|| rig.server.stalled() == 1);
    assert!(rig.store.purge(&rig.key("/a")));
    assert!(!rig.store.purge(&rig.key("/a")) && rig.store.get(&rig.key("/a")).is_none());
    rig.server.release();
    assert_eq!(content.difference(0, &read(&object, 0..LEN).unwrap()), None);
    assert!(entry.is_removed() && !entry.name().data().exists());
    drop((entry, object));
    until(|| rig.store.facts().bytes == 0);
    let rig = rig.again();
    assert_eq!(rig.store.facts().entries, 0);
}

#[test]
fn a_whole_object_is_opened_at_once_and_a_part_by_who_may_wait() {
    let rig = Rig::new();
    for path in ["/a", "/b"] {
        rig.server.put(path, Content::new(LEN));
    }
    rig.server.fault(0, Fault::At(1_000_000, Stop::Stall));
    let (part, object) = rig.ask_and_open("/a");
    let found = part.object_at_once(&rig.origin).unwrap();
    assert!(Arc::ptr_eq(&found, &object), "it is open");
    let (whole, b) = rig.ask_and_open("/b");
    read(&b, 0..LEN).unwrap();
    until(|| whole.is_whole());
    drop((part, object, found, whole, b));
    let rig = rig.again();
    let [part, whole] = ["/a", "/b"].map(|path| rig.store.get(&rig.key(path)).unwrap());
    assert!(part.object_at_once(&rig.origin).is_none());
    let object = whole.object_at_once(&rig.origin).unwrap();
    assert!(object.is_whole() && Arc::ptr_eq(&object, &whole.object(&rig.origin).unwrap()));
    drop(object);
    std::fs::remove_file(whole.name().data()).unwrap();
    assert!(whole.object_at_once(&rig.origin).is_none());
}

#[test]
fn a_disk_that_is_slow_keeps_none_waiting_who_do_not_read_it() {
    let rig = Rig::new();
    rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Stall));
    drop(rig.ask("/a"));
    until(|| rig.server.stalled() == 1);
    rig.server.down();
    let rig = rig.again();
    let entry = rig.store.get(&rig.key("/a")).unwrap();
    // What is read of it does not come before this end of the pipe is closed.
    let meta = entry.name().meta();
    std::fs::remove_file(&meta).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &meta, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let pipe = std::fs::OpenOptions::new().read(true).write(true).open(&meta).unwrap();
    let (slow, origin) = (Arc::clone(&entry), Arc::clone(&rig.origin));
    let opening = std::thread::spawn(move || slow.object(&origin).map(|object| object.len()));
    let (tell, told) = std::sync::mpsc::channel();
    until(|| is_open(&meta, 2));
    let (other, store, key) = (Arc::clone(&entry), Arc::clone(&rig.store), rig.key("/a"));
    std::thread::spawn(move || {
        assert!(!other.is_filling() && store.purge(&key));
        tell.send(()).unwrap();
    });
    let told = told.recv_timeout(Duration::from_secs(20));
    drop(pipe);
    assert_eq!(opening.join().unwrap().ok(), Some(LEN));
    assert!(told.is_ok(), "it waited for the disk");
}

/// Whether this process has a file open as many times.
fn is_open(path: &std::path::Path, times: usize) -> bool {
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    links.filter(|link| link == path).count() == times
}

#[test]
fn what_no_object_has_is_removed_at_the_start() {
    let rig = Rig::new();
    rig.server.put("/a", Content::new(LEN));
    let (entry, object) = rig.ask_and_open("/a");
    read(&object, 0..LEN).unwrap();
    until(|| entry.is_whole());
    let (data, meta) = (entry.name().data(), entry.name().meta());
    let kept = std::fs::read(&meta).unwrap();
    let stray = |name: &str| data.with_file_name(name);
    let strays = [
        stray("x-1.data"),
        stray("x-1.meta.new"),
        stray("y-1.meta"),
        stray("z-1.meta"),
        stray("z-1.data"),
    ];
    for (path, bytes) in strays.iter().zip([b"x", b"x", &kept[..], &kept[..9], b"x"]) {
        std::fs::write(path, bytes).unwrap();
    }
    drop((entry, object));
    let rig = rig.again();
    assert!(strays.iter().all(|path| !path.exists()) && data.exists() && meta.exists());
    assert_eq!(rig.store.facts().entries, 1);
    // A file that lost its end is not one of the object.
    std::fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(LEN - 1).unwrap();
    let rig = rig.again();
    assert_eq!(rig.store.facts().entries, 0);
    assert!(!data.exists() && !meta.exists());
}

#[test]
fn a_directory_of_another_process_or_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lock = std::fs::File::create(dir.path().join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let open = || Store::open(StoreOptions::new(dir.path(), 1 << 20));
    assert!(matches!(open(), Err(StoreError::InUse { .. })));
    drop(lock);
    std::fs::write(dir.path().join("underpass-cache.json"), "{\"format\":2}").unwrap();
    assert!(matches!(open(), Err(StoreError::Format { .. })));
}

#[test]
fn what_is_on_its_way_does_not_make_room_for_others() {
    let rig = Rig::with(|options| options.bytes_max = 16 << 20);
    let content = rig.server.put("/first", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Stall));
    let (first, object) = rig.ask_and_open("/first");
    until(|| object.available(0) == 1_000_000);
    for n in 0..8 {
        let path = format!("/{n}");
        rig.server.put(&path, Content::new(LEN));
        let (entry, object) = rig.ask_and_open(&path);
        read(&object, 0..LEN).unwrap();
        until(|| entry.is_whole());
    }
    until(|| rig.store.facts().evicted_bytes > 6_000_000);
    assert!(!first.is_removed());
    rig.server.release();
    assert_eq!(content.difference(0, &read(&object, 0..LEN).unwrap()), None);
    until(|| first.is_whole());
}
