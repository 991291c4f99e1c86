//! `underpass serve --origin` under made-up misfortune: ranges of objects that are replaced, an
//! origin that resets, says what is wrong and restarts, and a server that is killed.
//!
//! Whatever happens, a body is that of one generation, whole or visibly cut; and when all is right
//! again, every object comes whole.

mod answer;
mod asked;
mod judge;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle, park_timeout};
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use underpass_testkit::origin::Origin;
use underpass_testkit::origin::cases::{self, Case, Step};
use underpass_testkit::require;
use underpass_testkit::server::free_address;
use underpass_testkit::skip::Capability::Long;
use underpass_testkit::wait;

use self::answer::{Answer, End, fetch};
use self::asked::Asked;
use self::judge::judge;
use crate::running::{Running, program};

/// How soon everything must be right again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest that an answer of the origin stalls when all clients are waited for.
const STALL: Duration = Duration::from_millis(500);

#[test]
fn a_body_is_of_one_generation_whole_or_cut() {
    play_for(Duration::from_secs(20));
}

#[test]
fn a_body_is_of_one_generation_whole_or_cut_for_a_long_time() {
    require!(Long);
    play_for(Duration::from_secs(20 * 60));
}

fn play_for(duration: Duration) {
    let config = Config { max_shrink_iters: 100, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let (strategy, origin) =
        (cases::any(asked::any(), &Asked::Whole, 0.15), Origin::start().unwrap());
    let address = free_address().unwrap();
    let (end, cases) = (Instant::now() + duration, AtomicU32::new(0));
    while Instant::now() < end {
        let tree = strategy.new_tree(&mut runner).unwrap();
        let played = runner.run_one(tree, |case| {
            let number = cases.fetch_add(1, Ordering::Relaxed);
            Play::new(&origin, address, number, &case).run(&case)
        });
        if let Err(error) = played {
            panic!("{error}");
        }
    }
    let cases = cases.into_inner();
    assert!(cases > 3, "{cases} cases in {duration:?}");
}

/// One case under way.
struct Play<'a> {
    origin: &'a Origin,
    address: SocketAddr,
    dir: tempfile::TempDir,
    server: Option<Running>,
    /// Which of all cases it is: its objects have names that no other has.
    number: u32,
    clients: Vec<(usize, JoinHandle<Answer>)>,
}

impl<'a> Play<'a> {
    fn new(origin: &'a Origin, address: SocketAddr, number: u32, case: &Case<Asked>) -> Self {
        origin.limit(case.rate);
        let dir = tempfile::tempdir().unwrap();
        let server = Some(start(origin, address, dir.path()));
        let play = Self { origin, address, dir, server, number, clients: Vec::new() };
        for (key, shape) in case.objects.iter().enumerate() {
            origin.put(&play.target(key), shape.object());
        }
        play
    }

    fn target(&self, key: usize) -> String {
        format!("/{}/{key}", self.number)
    }

    fn run(mut self, case: &Case<Asked>) -> Result<(), TestCaseError> {
        let played = case.steps.iter().try_for_each(|step| self.step(step, case));
        self.origin.heal();
        self.origin.limit(None);
        played?;
        self.settle()?;
        for key in 0..case.objects.len() {
            self.comes_whole(key)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step<Asked>, case: &Case<Asked>) -> Result<(), TestCaseError> {
        match step {
            Step::Read { key, ask, leaves } => {
                let (address, target) = (self.address, self.target(*key));
                let fields = ask.fields(self.origin, &target);
                let leaves = *leaves;
                let client = thread::spawn(move || fetch(address, "GET", &target, &fields, leaves));
                self.clients.push((*key, client));
            }
            Step::Replace(key, shape) => {
                self.origin.put(&self.target(*key), shape.object_like(&case.objects[*key]));
            }
            Step::Wrong(ahead, fault) => {
                self.origin.fault(self.origin.request_count() + ahead, fault.clone());
            }
            Step::Purge(key) => {
                fetch(self.address, "PURGE", &self.target(*key), "", None);
            }
            Step::Pause(ms) => park_timeout(Duration::from_millis(*ms)),
            Step::Settle => {
                self.origin.release();
                self.settle()?;
            }
            Step::Reopen => {
                self.server = None;
                self.server = Some(start(self.origin, self.address, self.dir.path()));
            }
            Step::Restart => {
                self.origin.down();
                self.origin.up().unwrap();
            }
        }
        Ok(())
    }

    /// Waits for all clients and judges what they got.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for (key, client) in std::mem::take(&mut self.clients) {
            let mut released = Instant::now();
            while !client.is_finished() {
                // An answer may begin to stall only now; the server gives up sooner than this.
                if released.elapsed() > STALL {
                    self.origin.release();
                    released = Instant::now();
                }
                park_timeout(Duration::from_millis(1));
            }
            self.judge(key, &client.join().unwrap())?;
        }
        Ok(())
    }

    fn judge(&self, key: usize, answer: &Answer) -> Result<(), TestCaseError> {
        let target = self.target(key);
        let all = self.origin.generations();
        let own = all.into_iter().filter(|(of, _)| *of == target).map(|(_, object)| object);
        judge(answer, &own.collect::<Vec<_>>()).map_err(|why| {
            let head = answer.head.as_deref().unwrap_or("no head");
            TestCaseError::fail(format!("{target}: {why}\n{head}"))
        })
    }

    fn comes_whole(&self, key: usize) -> Result<(), TestCaseError> {
        let mut last = None;
        let whole = wait::until(PATIENCE, || {
            let answer = fetch(self.address, "GET", &self.target(key), "", None);
            let is_whole = answer.status() == Some(200) && answer.end == End::Whole;
            let judged = self.judge(key, &answer);
            last = Some(answer.head);
            (is_whole || judged.is_err()).then_some(judged)
        });
        whole.unwrap_or_else(|| {
            Err(TestCaseError::fail(format!("{}: never whole: {last:?}", self.target(key))))
        })
    }
}

/// The program with what it kept so far.
fn start(origin: &Origin, address: SocketAddr, dir: &Path) -> Running {
    let mut command = program();
    command.args(["serve", "--origin", &origin.url(""), "--cache"]).arg(dir);
    command.args(["--listen", &address.to_string(), "--workers", "2", "--access-log", "off"]);
    Running::start(command.args(["--origin-timeout", "300ms", "--negative-ttl", "off"]))
}
