//! Somebody who reads a range of an object, which is asked for if it is not there.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use underpass_client::{Condition, Method};
use underpass_remote::{Entry, Head, Key, Object, Origin, OriginAsk, Store};
use underpass_testkit::origin::Object as Content;
use underpass_testkit::origin::cases::WRONG_LENS;

/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a reader got.
#[derive(Debug)]
pub(super) struct Got {
    tag: Option<String>,
    /// The length of the object that was read.
    len: u64,
    range: Range<u64>,
    bytes: Vec<u8>,
    left: bool,
    /// Why there is not more.
    pub(super) why: Option<String>,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(super) fn key(origin: &Origin, target: &str) -> Key {
    Key::new(origin.url(target).unwrap().to_string()).unwrap()
}

/// Reads, and perhaps leaves after this many bytes.
pub(super) fn read(
    store: &Arc<Store>,
    origin: &Arc<Origin>,
    target: &str,
    range: Range<u64>,
    leaves: Option<usize>,
) -> Got {
    let key = key(origin, target);
    let there = store.get(&key).map(|entry| {
        let object = entry.object(origin).map_err(|error| error.to_string());
        object.map(|object| (entry, object))
    });
    let opened = there.unwrap_or_else(|| ask(store, origin, target, &key, range.clone()));
    match opened {
        Ok((entry, object)) => follow(&entry, &object, range, leaves),
        Err(why) => Got::nothing(why),
    }
}

/// What a site does with the first request for something.
fn ask(
    store: &Arc<Store>,
    origin: &Arc<Origin>,
    target: &str,
    key: &Key,
    wanted: Range<u64>,
) -> Result<(Arc<Entry>, Arc<Object>), String> {
    let (tell, told) = channel();
    let (own, origin, target, key) =
        (Arc::clone(store), Arc::clone(origin), target.to_owned(), key.clone());
    let is_spawned = store.spawn(move |interrupt| {
        let last = (wanted.end < u64::MAX).then(|| wanted.end.saturating_sub(1));
        let range = match wanted.start {
            0 if last.is_none() => underpass_client::Range::Whole,
            first => underpass_client::Range::From { first, last },
        };
        let ask =
            OriginAsk { method: Method::Get, range, condition: Condition::Always, fields: &[] };
        let response = match origin.ask(&target, &ask, interrupt) {
            Ok(response) => response,
            Err(error) => return drop(tell.send(Err(error.to_string()))),
        };
        let total = response.body.total.filter(|_| [200, 206].contains(&response.status));
        let Some(len) = total else {
            return drop(tell.send(Err(format!("a {} of no length", response.status))));
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let fields = response.head.fields();
        let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), text(value)));
        let head =
            Head { status: 200, fields: fields.collect(), asked: vec![], len, answered_ms: 1 };
        let at = response.body.place.at;
        let first = at..response.body.remaining().map_or(len, |n| at + n);
        let inserted = own.insert(&key, &origin, head, first);
        let (entry, fill) = match inserted {
            Ok(inserted) => inserted,
            Err(error) => return drop(tell.send(Err(error.to_string()))),
        };
        let object = entry.object(&origin).map_err(|error| error.to_string());
        drop(tell.send(object.map(|object| (entry, object))));
        drop(own);
        fill.run(response, interrupt);
    });
    if !is_spawned {
        return Err("no thread".to_owned());
    }
    told.recv().unwrap_or_else(|_| Err("the job was dropped".to_owned()))
}

fn follow(entry: &Entry, object: &Arc<Object>, range: Range<u64>, leaves: Option<usize>) -> Got {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut wanted = object.want(range);
    let tag = entry.head().field("etag").map(str::to_owned);
    let (len, range) = (object.len(), wanted.range().clone());
    let mut got = Got { tag, len, range, bytes: Vec::new(), left: false, why: None };
    let mut came = Instant::now();
    while !wanted.range().is_empty() {
        match wanted.poll(&Context::from_waker(&waker)) {
            Poll::Pending if came.elapsed() > PATIENCE => {
                return Got { why: Some("late".to_owned()), ..got };
            }
            Poll::Pending => thread::park_timeout(PATIENCE),
            Poll::Ready(Err(error)) => return Got { why: Some(error.to_string()), ..got },
            Poll::Ready(Ok(part)) => {
                let n = usize::try_from(part.end - part.start).unwrap();
                let mut some = vec![0; n];
                let read = rustix::io::pread(object.file(), &mut some, part.start).unwrap();
                assert_eq!(read, n, "the file ended");
                got.bytes.extend(some);
                wanted.advance(n as u64);
                came = Instant::now();
            }
        }
        if leaves.is_some_and(|leaves| got.bytes.len() > leaves) {
            return Got { left: true, ..got };
        }
    }
    got
}

impl Got {
    fn nothing(why: String) -> Self {
        let why = Some(why);
        Self { tag: None, len: 0, range: 0..0, bytes: Vec::new(), left: false, why }
    }

    /// Whether all of an object's range came.
    pub(super) fn is_whole(&self) -> bool {
        self.why.is_none() && !self.left
    }

    /// Refuses what no reader may get, with the reason.
    pub(super) fn judge(&self, generations: &[Arc<Content>]) -> Result<(), String> {
        if self.why.as_deref() == Some("late") {
            return Err(format!("nothing came for a long time: {:?}", self.range));
        }
        if self.bytes.is_empty() && !self.is_whole() {
            return Ok(());
        }
        let len = self.range.end - self.range.start;
        if self.is_whole() && self.bytes.len() as u64 != len {
            return Err(format!("{} bytes of {:?}", self.bytes.len(), self.range));
        }
        let named = generations.iter().filter(|it| it.tag() == self.tag);
        let mut whys = Vec::new();
        for object in named {
            let difference = object.difference(self.range.start, &self.bytes);
            match difference {
                // That an origin says too much shows when it ends, and not before.
                None if self.len == object.len() || WRONG_LENS.contains(&self.len) => return Ok(()),
                None => whys.push(format!("{} of {} bytes", self.len, object.len())),
                Some(why) => whys.push(why),
            }
        }
        Err(format!(
            "{:?} with {:?} is of no generation: {}",
            self.range,
            self.tag,
            whys.join("; ")
        ))
    }
}

#[test]
fn what_is_mixed_short_or_of_another_generation_is_refused() {
    let server = underpass_testkit::origin::Origin::start().unwrap();
    let all = [server.put("/a", Content::new(100)), server.put("/a", Content::new(100))];
    let judged = |tag: &str, len, bytes: Vec<u8>, why: Option<&str>| {
        let (tag, why) = (Some(tag.to_owned()), why.map(str::to_owned));
        Got { tag, len, range: 10..20, bytes, left: false, why }.judge(&all).is_ok()
    };
    let (old, new) = (all[0].bytes(10..20), all[1].bytes(10..20));
    assert!(judged("\"g1\"", 100, old.clone(), None) && judged("\"g2\"", 100, new.clone(), None));
    assert!(!judged("\"g2\"", 100, old.clone(), None));
    assert!(!judged("\"g1\"", 99, old.clone(), None));
    assert!(judged("\"g1\"", 100, old[..5].to_vec(), Some("cut")));
    assert!(!judged("\"g1\"", 100, old[..5].to_vec(), None));
    assert!(!judged("\"g1\"", 100, [&old[..5], &new[5..]].concat(), None));
    assert!(!judged("\"g1\"", 100, [&old[..5], &[0; 5]].concat(), None));
    assert!(!judged("\"g1\"", 100, Vec::new(), Some("late")));
}
