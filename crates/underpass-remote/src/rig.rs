//! A store, an origin over HTTP, and readers, for tests.

use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use underpass_client::{Client, Condition, Interrupt, Method};
use underpass_testkit::origin;

use crate::entry::Entry;
use crate::error::{ObjectError, StoreError};
use crate::head::Head;
use crate::key::Key;
use crate::object::{Object, Wanted};
use crate::origin::{Origin, OriginAsk};
use crate::store::{Store, StoreOptions};

pub(crate) const LEN: u64 = 3_000_000;

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn read(object: &Arc<Object>, range: Range<u64>) -> Result<Vec<u8>, ObjectError> {
    let (bytes, why) = read_on(&mut object.want(range));
    why.map_or(Ok(bytes), Err)
}

/// What of it is there or comes, and why the rest does not.
pub(crate) fn read_on(wanted: &mut Wanted) -> (Vec<u8>, Option<ObjectError>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut bytes = Vec::new();
    while !wanted.range().is_empty() {
        let part = match wanted.poll(&Context::from_waker(&waker)) {
            Poll::Ready(Ok(part)) => part,
            Poll::Ready(Err(why)) => return (bytes, Some(why)),
            Poll::Pending => {
                thread::park_timeout(crate::LOOK_EVERY);
                continue;
            }
        };
        let mut some = vec![0; usize::try_from(part.end - part.start).unwrap()];
        crate::fill::read_all(wanted.object().file(), &mut some, part.start).unwrap();
        bytes.extend(some);
        wanted.advance(part.end - part.start);
    }
    (bytes, None)
}

/// A store in its own directory, and its origin.
pub(crate) struct Rig {
    pub(crate) server: origin::Origin,
    pub(crate) origin: Arc<Origin>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Arc<Store>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut StoreOptions)) -> Self {
        let server = origin::Origin::start().unwrap();
        let origin = Origin::parse(&server.url(""), Client::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::new(dir.path().join("cache"), 1 << 30);
        change(&mut options);
        let store = Store::open(options).unwrap();
        Self { server, origin: Arc::new(origin), dir, store }
    }

    /// Another's store and origin.
    pub(crate) fn of(store: Arc<Store>, origin: Origin) -> Self {
        let server = origin::Origin::start().unwrap();
        Self { server, origin: Arc::new(origin), dir: tempfile::tempdir().unwrap(), store }
    }

    /// The same directory, after all that was open of it has gone.
    pub(crate) fn again(self) -> Self {
        let Self { server, origin, dir, store } = self;
        let options = store.options().clone();
        store.close();
        assert_eq!(Arc::strong_count(&store), 1);
        drop(store);
        // A process that another test starts has the lock too, until it executes its program.
        let opened = underpass_testkit::wait::until(Duration::from_secs(20), || {
            let opened = Store::open(options.clone());
            if let Err(StoreError::InUse { .. }) = opened { None } else { Some(opened) }
        });
        let store = opened.expect("the lock is free").unwrap();
        Self { server, origin, dir, store }
    }

    pub(crate) fn key(&self, path: &str) -> Key {
        Key::new(self.origin.url(path).unwrap().to_string()).unwrap()
    }

    /// What a site does with the first request for a path.
    pub(crate) fn ask(&self, path: &str) -> Arc<Entry> {
        self.ask_and_open(path).0
    }

    pub(crate) fn ask_and_open(&self, path: &str) -> (Arc<Entry>, Arc<Object>) {
        self.ask_for(path, underpass_client::Range::Whole)
    }

    pub(crate) fn ask_holding(
        &self,
        path: &str,
        held: impl Send + 'static,
    ) -> (Arc<Entry>, Arc<Object>) {
        self.ask_for_holding(path, underpass_client::Range::Whole, held)
    }

    pub(crate) fn ask_for(
        &self,
        path: &str,
        range: underpass_client::Range,
    ) -> (Arc<Entry>, Arc<Object>) {
        self.ask_for_holding(path, range, ())
    }

    fn ask_for_holding(
        &self,
        path: &str,
        range: underpass_client::Range,
        held: impl Send + 'static,
    ) -> (Arc<Entry>, Arc<Object>) {
        let (store, origin, key) = (self.store.clone(), self.origin.clone(), self.key(path));
        let (tell, told) = std::sync::mpsc::channel();
        let path = path.to_owned();
        self.store.spawn(move |interrupt| {
            let (method, condition) = (Method::Get, Condition::Always);
            let ask = OriginAsk { method, range, condition, fields: &[] };
            let response = origin.ask(&path, &ask, interrupt).unwrap();
            let head = head_of(&response);
            let at = response.body.place.at;
            let first = at..at + response.body.remaining().unwrap();
            let (entry, fill) = store.insert(&key, &origin, head, first).unwrap();
            let object = entry.object(&origin).unwrap();
            drop((store, origin));
            tell.send((entry, object)).unwrap();
            fill.holding(held).run(response, interrupt);
        });
        told.recv().unwrap()
    }

    pub(crate) fn head(&self, path: &str) -> Head {
        let ask = OriginAsk {
            method: Method::Head,
            range: underpass_client::Range::Whole,
            condition: Condition::Always,
            fields: &[],
        };
        let interrupt = Interrupt::never().unwrap();
        let response = self.origin.ask(path, &ask, &interrupt).unwrap();
        head_of(&response)
    }

    pub(crate) fn read(
        &self,
        entry: &Arc<Entry>,
        range: Range<u64>,
    ) -> Result<Vec<u8>, ObjectError> {
        read(&entry.object(&self.origin).unwrap(), range)
    }
}

pub(crate) fn until(mut what: impl FnMut() -> bool) {
    let seen = underpass_testkit::wait::until(Duration::from_secs(20), || what().then_some(()));
    seen.expect("it comes to that");
}

fn head_of(response: &underpass_client::Response<'_>) -> Head {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let fields = response.head.fields();
    Head {
        status: 200,
        fields: fields.map(|(name, value)| (name.to_ascii_lowercase(), text(value))).collect(),
        asked: vec![],
        len: response.body.total.unwrap(),
        answered_ms: 1,
    }
}
