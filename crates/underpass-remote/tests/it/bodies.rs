//! Readers of objects that are replaced, of an origin that resets, says what is wrong and
//! restarts, in a store that is closed and opened again.
//!
//! Whatever happens, what a reader gets is of one generation, all of it or a part that ends in an
//! error; and when all is right again, every object comes whole.

mod reader;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use underpass_client::{Client, Timeouts};
use underpass_remote::{Origin, Store, StoreOptions};
use underpass_testkit::origin::cases::{self, Case, Step};
use underpass_testkit::origin::{self, Object as Content};
use underpass_testkit::require;
use underpass_testkit::skip::Capability::Long;
use underpass_testkit::wait;

use self::reader::{Got, read};

/// How soon everything must be right again.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an origin may do nothing.
const IDLE: Duration = Duration::from_millis(300);

#[test]
fn what_a_reader_gets_is_of_one_generation_whole_or_cut() {
    play_for(Duration::from_secs(10));
}

#[test]
fn what_a_reader_gets_is_of_one_generation_for_a_long_time() {
    require!(Long);
    play_for(Duration::from_secs(20 * 60));
}

fn play_for(duration: Duration) {
    let config = Config { max_shrink_iters: 60, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let server = origin::Origin::start().unwrap();
    let strategy = cases::any(ranges(), &(0..u64::MAX), 0.0);
    let (end, cases) = (Instant::now() + duration, AtomicU32::new(0));
    while Instant::now() < end {
        let tree = strategy.new_tree(&mut runner).unwrap();
        let played = runner.run_one(tree, |case| {
            let number = cases.fetch_add(1, Ordering::Relaxed);
            Play::new(&server, number, &case).run(&case)
        });
        if let Err(error) = played {
            panic!("{error}");
        }
    }
    let cases = cases.into_inner();
    assert!(cases > 1, "{cases} cases in {duration:?}");
}

/// Which bytes of an object a reader asks for.
fn ranges() -> impl Strategy<Value = Range<u64>> + Clone {
    let place = || prop_oneof![0_u64..200, 0_u64..200_000, 0_u64..3 << 20];
    prop_oneof![
        3 => Just(0..u64::MAX),
        3 => (place(), place()).prop_map(|(a, b)| a.min(b)..a.max(b) + 1),
        1 => place().prop_map(|first| first..u64::MAX),
    ]
}

/// One case under way.
struct Play<'a> {
    server: &'a origin::Origin,
    origin: Arc<Origin>,
    dir: tempfile::TempDir,
    store: Option<Arc<Store>>,
    /// Which of all cases it is: its objects have names that no other has.
    number: u32,
    readers: Vec<(usize, JoinHandle<Got>)>,
}

impl<'a> Play<'a> {
    fn new(server: &'a origin::Origin, number: u32, case: &Case<Range<u64>>) -> Self {
        server.limit(case.rate);
        let origin = Arc::new(Origin::parse(&server.url(""), Client::default()).unwrap());
        let (dir, readers) = (tempfile::tempdir().unwrap(), Vec::new());
        let mut play = Self { server, origin, dir, store: None, number, readers };
        play.open();
        for (key, shape) in case.objects.iter().enumerate() {
            server.put(&play.target(key), shape.object());
        }
        play
    }

    fn open(&mut self) {
        let mut options = StoreOptions::new(self.dir.path().join("cache"), 1 << 30);
        options.timeouts = Timeouts { idle: Some(IDLE), connect: Some(IDLE) };
        self.store = Some(Store::open(options).unwrap());
    }

    fn target(&self, key: usize) -> String {
        format!("/{}/{key}", self.number)
    }

    fn store(&self) -> &Arc<Store> {
        self.store.as_ref().unwrap()
    }

    fn run(mut self, case: &Case<Range<u64>>) -> Result<(), TestCaseError> {
        let played = case.steps.iter().try_for_each(|step| self.step(step, case));
        self.server.heal();
        self.server.limit(None);
        played?;
        self.settle()?;
        (0..case.objects.len()).try_for_each(|key| self.comes_whole(key))?;
        self.store().close();
        Ok(())
    }

    fn step(
        &mut self,
        step: &Step<Range<u64>>,
        case: &Case<Range<u64>>,
    ) -> Result<(), TestCaseError> {
        match step {
            Step::Read { key, ask, leaves } => {
                let (store, origin) = (Arc::clone(self.store()), Arc::clone(&self.origin));
                let (target, range, leaves) = (self.target(*key), ask.clone(), *leaves);
                let reader = thread::spawn(move || read(&store, &origin, &target, range, leaves));
                self.readers.push((*key, reader));
            }
            Step::Replace(key, shape) => {
                self.server.put(&self.target(*key), shape.object_like(&case.objects[*key]));
            }
            Step::Wrong(ahead, fault) => {
                self.server.fault(self.server.request_count() + ahead, fault.clone());
            }
            Step::Purge(key) => {
                let key = reader::key(&self.origin, &self.target(*key));
                self.store().purge(&key);
            }
            Step::Pause(ms) => park_timeout(Duration::from_millis(*ms)),
            Step::Settle => self.settle()?,
            Step::Reopen => {
                self.store().close();
                self.settle()?;
                let store = self.store.take().unwrap();
                wait::until(PATIENCE, || (Arc::strong_count(&store) == 1).then_some(())).unwrap();
                drop(store);
                self.open();
            }
            Step::Restart => {
                self.server.down();
                self.server.up().unwrap();
            }
        }
        Ok(())
    }

    /// Waits for all readers and judges what they got.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for (key, reader) in std::mem::take(&mut self.readers) {
            let mut released = Instant::now();
            while !reader.is_finished() {
                // An answer may begin to stall only now; the store gives up sooner than this.
                if released.elapsed() > 2 * IDLE {
                    self.server.release();
                    released = Instant::now();
                }
                park_timeout(Duration::from_millis(1));
            }
            self.judge(key, &reader.join().unwrap())?;
        }
        Ok(())
    }

    fn judge(&self, key: usize, got: &Got) -> Result<(), TestCaseError> {
        let target = self.target(key);
        let own = self.server.generations().into_iter().filter(|(of, _)| *of == target);
        let own: Vec<Arc<Content>> = own.map(|(_, object)| object).collect();
        got.judge(&own).map_err(|why| TestCaseError::fail(format!("{target}: {why}")))
    }

    fn comes_whole(&self, key: usize) -> Result<(), TestCaseError> {
        let mut last = String::new();
        let whole = wait::until(PATIENCE, || {
            let got = read(self.store(), &self.origin, &self.target(key), 0..u64::MAX, None);
            last = format!("{:?}", got.why);
            let (is_whole, judged) = (got.is_whole(), self.judge(key, &got));
            (is_whole || judged.is_err()).then_some(judged)
        });
        let never = || TestCaseError::fail(format!("{}: never whole: {last}", self.target(key)));
        whole.unwrap_or_else(|| Err(never()))
    }
}
