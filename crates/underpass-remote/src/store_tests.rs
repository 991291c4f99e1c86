//! A store, an origin over HTTP, and readers.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use underpass_client::{Client, Condition, Method};
use underpass_testkit::origin::{self, Fault, Object as Content, Stop};

use rustix::io::Errno;

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
        self.ask_and_open(path).0
    }

    fn ask_and_open(&self, path: &str) -> (Arc<Entry>, Arc<Object>) {
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
            let object = entry.object(&origin).unwrap();
            drop((store, origin));
            tell.send((entry, object)).unwrap();
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

#[test]
fn content_of_unknown_length_is_kept_when_it_has_ended() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN));
    let head = || Head { status: 200, fields: vec![], asked: vec![], len: 0, answered_ms: 0 };
    let key = rig.key("/a");
    let mut left = rig.store.collect(&key, head()).unwrap();
    left.write(&content.bytes(0..1000)).unwrap();
    drop(left);
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
fn what_is_damaged_on_the_disk_is_found_and_comes_anew() {
    let rig = Rig::new();
    for path in ["/a", "/b"] {
        rig.server.put(path, Content::new(LEN));
        let entry = rig.ask(path);
        rig.read(&entry, 0..LEN).unwrap();
        until(|| entry.is_whole());
    }
    let damaged = rig.store.get(&rig.key("/a")).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(damaged.name().data()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0], 2_000_000).unwrap();
    let scrubbed = rig.store.scrub(u64::MAX, &Interrupt::never().unwrap());
    assert_eq!((scrubbed.entries, scrubbed.damaged), (1, 1));
    assert!(rig.store.get(&rig.key("/a")).is_none() && damaged.is_removed());
    assert!(rig.store.get(&rig.key("/b")).is_some());
}

#[test]
fn without_a_tag_there_is_one_answer_and_what_breaks_off_is_gone() {
    for tag in [None, Some("W/\"x\"")] {
        let rig = Rig::new();
        rig.server.put("/a", Content::new(LEN).etag(tag));
        rig.server.fault(0, Fault::At(1_000_000, Stop::Reset));
        let (_, object) = rig.ask_and_open("/a");
        // Far from what comes: there are no other requests for it.
        assert!(read(&object, LEN - 100..LEN).is_err());
        until(|| rig.store.get(&rig.key("/a")).is_none());
        assert_eq!(rig.server.request_count(), 1);
        let again = rig.ask("/a");
        assert_eq!(rig.read(&again, 0..LEN).unwrap().len(), usize::try_from(LEN).unwrap());
    }
}

#[test]
fn an_origin_that_fails_fails_those_who_wait_and_who_comes_later_asks_again() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Cut));
    (1..4).for_each(|number| rig.server.fault(number, Fault::Status(500)));
    let entry = rig.ask("/a");
    assert!(matches!(rig.read(&entry, 0..LEN), Err(ObjectError::Refused { status: 500 })));
    assert_eq!(rig.server.request_count(), 4);
    assert_eq!(content.difference(0, &rig.read(&entry, 0..LEN).unwrap()), None);
    let requests = rig.server.requests();
    assert_eq!((requests.len(), requests[4].field("range")), (5, Some("bytes=1000000-")));
}

#[test]
fn a_thousand_who_wait_cost_no_time_of_the_processor() {
    let rig = Rig::new();
    rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Stall));
    let entry = rig.ask("/a");
    let object = entry.object(&rig.origin).unwrap();
    until(|| object.available(0) == 1_000_000);
    let mut waiting: Vec<_> = (0..1000).map(|n| object.want(1_000_000 + n..LEN)).collect();
    let woken = Arc::new(Counts(AtomicU64::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut pending = |wanted: &mut Wanted| wanted.poll(&Context::from_waker(&waker)).is_pending();
    assert!(waiting.iter_mut().all(&mut pending));
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    assert_eq!(rig.server.request_count(), 1);
    rig.server.release();
    until(|| woken.0.load(Ordering::Relaxed) >= 1000);
    until(|| object.is_whole());
    // Each once: who was woken waits no more.
    assert!(woken.0.load(Ordering::Relaxed) <= 1000);
    assert!(waiting.iter_mut().all(|wanted| !pending(wanted)));
}

struct Counts(AtomicU64);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
