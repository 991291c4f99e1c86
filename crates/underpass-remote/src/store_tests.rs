//! A store, an origin over HTTP, and readers.

use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use underpass_client::{Client, Condition, Method};
use underpass_testkit::origin::{self, Fault, Object as Content, Stop};

use super::*;
use crate::object::{Object, Wanted};
use crate::origin::OriginAsk;

const LEN: u64 = 3_000_000;

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn read(object: &Arc<Object>, range: Range<u64>) -> Result<Vec<u8>, ObjectError> {
    let mut wanted: Wanted = object.want(range);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut bytes = Vec::new();
    while !wanted.range().is_empty() {
        let Poll::Ready(part) = wanted.poll(&Context::from_waker(&waker)) else {
            thread::park_timeout(Duration::from_secs(60));
            continue;
        };
        let part = part?;
        let mut some = vec![0; usize::try_from(part.end - part.start).unwrap()];
        crate::fill::read_all(wanted.object().file(), &mut some, part.start).unwrap();
        bytes.extend(some);
        wanted.advance(part.end - part.start);
    }
    Ok(bytes)
}

/// A store in its own directory, and its origin.
struct Rig {
    server: origin::Origin,
    origin: Arc<Origin>,
    dir: tempfile::TempDir,
    store: Arc<Store>,
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut StoreOptions)) -> Self {
        let server = origin::Origin::start().unwrap();
        let origin = Origin::parse(&server.url(""), Client::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::new(dir.path().join("cache"), 1 << 30);
        change(&mut options);
        let store = Store::open(options).unwrap();
        Self { server, origin: Arc::new(origin), dir, store }
    }

    /// The same directory, after all that was open of it has gone.
    fn again(self) -> Self {
        let Self { server, origin, dir, store } = self;
        let options = store.options().clone();
        store.close();
        assert_eq!(Arc::strong_count(&store), 1);
        drop(store);
        Self { server, origin, dir, store: Store::open(options).unwrap() }
    }

    fn key(&self, path: &str) -> Key {
        Key::new(self.origin.url(path).unwrap().to_string()).unwrap()
    }

    /// What a site does with the first request for a path.
    fn ask(&self, path: &str) -> Arc<Entry> {
        let (store, origin, key) = (self.store.clone(), self.origin.clone(), self.key(path));
        let (tell, told) = std::sync::mpsc::channel();
        let path = path.to_owned();
        self.store.spawn(move |interrupt| {
            let (range, condition) = (underpass_client::Range::Whole, Condition::Always);
            let ask = OriginAsk { method: Method::Get, range, condition, fields: &[] };
            let response = origin.ask(&path, &ask, interrupt).unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let fields = response.head.fields();
            let head = Head {
                status: 200,
                fields: fields.map(|(n, v)| (n.to_ascii_lowercase(), text(v))).collect(),
                asked: vec![],
                len: response.body.total.unwrap(),
                answered_ms: 1,
            };
            let len = head.len;
            let (entry, fill) = store.insert(&key, &origin, head, 0..len).unwrap();
            drop((store, origin));
            tell.send(entry).unwrap();
            fill.run(response, interrupt);
        });
        told.recv().unwrap()
    }

    fn read(&self, entry: &Arc<Entry>, range: Range<u64>) -> Result<Vec<u8>, ObjectError> {
        read(&entry.object(&self.origin).unwrap(), range)
    }
}

fn until(what: impl Fn() -> bool) {
    let seen = underpass_testkit::wait::until(Duration::from_secs(20), || what().then_some(()));
    seen.expect("it comes to that");
}

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
fn what_breaks_off_is_asked_for_from_there_on() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Reset));
    rig.server.fault(1, Fault::At(500_000, Stop::Cut));
    rig.server.fault(2, Fault::Status(503));
    let entry = rig.ask("/a");
    assert_eq!(content.difference(0, &rig.read(&entry, 0..LEN).unwrap()), None);
    let requests = rig.server.requests();
    assert_eq!(requests.len(), 4);
    let tag = content.tag();
    assert!(requests[1..].iter().all(|it| it.field("if-match") == tag.as_deref()));
    assert!(rig.server.content_bytes() < LEN + 1_000_000);
}

#[test]
fn what_is_replaced_at_the_origin_is_cut_and_never_mixed() {
    // A server that keeps to If-Match; one that does not and sends all; one that sends a range.
    for faults in
        [&[][..], &[Fault::IgnoreConditions, Fault::IgnoreRange], &[Fault::IgnoreConditions]]
    {
        let rig = Rig::new();
        let old = rig.server.put("/a", Content::new(LEN));
        rig.server.fault(0, Fault::At(1_000_000, Stop::Stall));
        let entry = rig.ask("/a");
        until(|| rig.server.stalled() == 1);
        rig.server.put("/a", Content::new(LEN));
        faults.iter().for_each(|fault| rig.server.fault(1, fault.clone()));
        let object = entry.object(&rig.origin).unwrap();
        until(|| object.available(0) == 1_000_000);
        let reader = thread::spawn(move || (read(&object, 0..1_000_000), read(&object, 0..LEN)));
        rig.server.down();
        rig.server.up().unwrap();
        let (there, all) = reader.join().unwrap();
        assert_eq!(old.difference(0, &there.unwrap()), None);
        assert!(matches!(all, Err(ObjectError::Replaced)), "{faults:?}: {all:?}");
        assert!(rig.store.get(&rig.key("/a")).is_none());
    }
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
        ("X-Other", true),
    ] {
        let rig = Rig::new();
        let wrong = match field {
            "Repr-Digest" => format!("sha-256=:{}=:", "A".repeat(43)),
            "X-Amz-Checksum-Crc32c" => "AAAAAA==".to_owned(),
            _ => format!("{}=", "A".repeat(43)),
        };
        rig.server.put("/a", Content::new(LEN).field(field, &wrong));
        let entry = rig.ask("/a");
        rig.read(&entry, 0..LEN).unwrap();
        until(|| entry.is_whole() || entry.is_removed());
        assert_eq!(entry.is_whole(), is_kept, "{field}");
        assert_eq!(rig.store.get(&rig.key("/a")).is_some(), is_kept, "{field}");
    }
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
    for (n, content) in content.iter().enumerate().skip(1) {
        let entry = rig.ask(&format!("/{n}"));
        assert_eq!(content.difference(0, &rig.read(&entry, 0..LEN).unwrap()), None);
        until(|| entry.is_whole());
    }
    until(|| rig.store.facts().bytes <= 15 << 20);
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
