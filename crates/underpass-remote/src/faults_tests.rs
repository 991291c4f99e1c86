//! Whatever goes wrong, a reader has bytes of one generation, or an error.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use underpass_client::Client;
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::origin::{Fault, Object as Content, Stop};
use underpass_testkit::require;

use crate::error::{ObjectError, StoreError};
use crate::origin::Origin;
use crate::rig::{LEN, Rig, read, until};
use crate::store::{Store, StoreOptions};

/// What the child of a test finds in its environment.
const CHILD: &str = "UNDERPASS_REMOTE_CHILD";

/// Numbers that look like chance, the same ones each time.
fn numbers(seed: u64) -> impl Fn(u64) -> u64 {
    let state = AtomicU64::new(seed);
    move |below| {
        let x = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) % below
    }
}

#[test]
fn readers_have_bytes_of_one_generation_while_all_goes_wrong() {
    let rig = Arc::new(Rig::with(|options| options.bytes_max = 40 << 20));
    let paths = ["/a", "/b"];
    let generations: Mutex<Vec<Arc<Content>>> = Mutex::default();
    let put = |path: &str| {
        let content = rig.server.put(path, Content::new(LEN));
        generations.lock().unwrap().push(content);
    };
    paths.iter().for_each(|path| put(path));
    let chance = numbers(7);
    rig.server.script(move |request| {
        let at = chance(LEN);
        let stop = [Stop::Reset, Stop::Cut][usize::try_from(chance(2)).unwrap()];
        match (chance(6), request.range()) {
            (0 | 1, _) => vec![Fault::At(at, stop)],
            (2, Some(_)) => vec![Fault::IgnoreConditions],
            (3, Some(_)) => vec![Fault::IgnoreConditions, Fault::IgnoreRange],
            (4, Some(_)) => vec![Fault::Status(503)],
            _ => vec![],
        }
    });
    let asking: [Mutex<()>; 2] = Default::default();
    let (right, end) = (AtomicU64::new(0), Instant::now() + Duration::from_secs(6));
    thread::scope(|scope| {
        for reader in 0..6 {
            let (rig, asking, generations, right) = (&rig, &asking, &generations, &right);
            scope.spawn(move || {
                let chance = numbers(100 + reader);
                while Instant::now() < end {
                    let which = usize::try_from(chance(2)).unwrap();
                    let from = chance(LEN);
                    let range = from..(from + 1 + chance(LEN / 2)).min(LEN);
                    let asking = asking[which].lock().unwrap();
                    let object = match rig.store.get(&rig.key(paths[which])) {
                        Some(entry) => entry.object(&rig.origin),
                        None => Ok(rig.ask_and_open(paths[which]).1),
                    };
                    drop(asking);
                    let Ok(object) = object else { continue };
                    let Ok(bytes) = read(&object, range.clone()) else { continue };
                    assert_eq!(bytes.len() as u64, range.end - range.start);
                    let all = generations.lock().unwrap().clone();
                    let is_one = all.iter().any(|it| it.difference(range.start, &bytes).is_none());
                    assert!(is_one, "{range:?} is of no generation");
                    right.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            let chance = numbers(3);
            while Instant::now() < end {
                let asked = rig.server.request_count() + 1 + usize::try_from(chance(8)).unwrap();
                until(|| rig.server.request_count() >= asked || Instant::now() >= end);
                put(paths[usize::try_from(chance(2)).unwrap()]);
            }
        });
    });
    let right = right.into_inner();
    assert!(right > 20, "{right} reads came to their end");
}

/// The child: it asks for an object again and again, and is killed.
#[test]
fn a_child_that_is_killed() {
    // Only when the test below has started it.
    let Ok(given) = std::env::var(CHILD) else { return };
    let (directory, url) = given.split_once('|').unwrap();
    let origin = Origin::parse(url, Client::default()).unwrap();
    let store = Store::open(StoreOptions::new(directory, 1 << 30)).unwrap();
    let rig = Rig::of(store, origin);
    for path in ["/a", "/b", "/c"] {
        let entry = rig.store.get(&rig.key(path)).unwrap_or_else(|| rig.ask(path));
        drop(rig.read(&entry, 0..LEN));
        until(|| entry.is_whole());
    }
}

#[test]
fn a_process_that_is_killed_anywhere_leaves_no_wrong_byte() {
    let rig = Rig::new();
    let content = ["/a", "/b", "/c"].map(|path| (path, rig.server.put(path, Content::new(LEN))));
    rig.server.limit(Some(24 << 20));
    let cache = rig.dir.path().join("killed");
    let mut options = StoreOptions::new(&cache, 1 << 30);
    options.fills_max = 4;
    for round in 1..=6 {
        let before = rig.server.content_bytes();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["faults_tests::a_child_that_is_killed", "--exact"])
            .env(CHILD, format!("{}|{}", cache.display(), rig.server.url("")))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until(|| {
            rig.server.content_bytes() - before > round * 1_100_000
                || child.try_wait().unwrap().is_some()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(options.clone()).unwrap();
        let killed = Rig::of(store, Origin::parse(&rig.server.url(""), Client::default()).unwrap());
        for (path, content) in &content {
            let Some(entry) = killed.store.get(&killed.key(path)) else { continue };
            // Looked at in half the rounds, so that the others continue what a kill has left.
            if round % 2 == 0 {
                assert_eq!(content.difference(0, &killed.read(&entry, 0..LEN).unwrap()), None);
            }
        }
        killed.store.close();
    }
    let files = |extension: &str| {
        let all = std::fs::read_dir(cache.join("objects")).unwrap().flatten();
        let all = all.flat_map(|it| std::fs::read_dir(it.path()).unwrap().flatten());
        all.filter(|it| it.path().extension().is_some_and(|it| it == extension)).count()
    };
    assert_eq!(files("data"), files("meta"));
}

#[test]
fn a_disk_that_is_full_in_the_middle_is_said_to_be_that_and_there_is_room_later() {
    const LARGE: u64 = 24 << 20;
    let disk = require!(Disk::new(FileSystem::Ext4, 64 << 20));
    let rig = Rig::with(|options| options.directory = disk.path().join("cache"));
    let content = ["/a", "/b"].map(|path| rig.server.put(path, Content::new(LARGE)));
    // Two for which there is room, and not for both.
    let filler = std::fs::File::create(disk.path().join("filler")).unwrap();
    let free = rig.store.free().unwrap();
    rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, free - 40 * (1 << 20))
        .unwrap();
    for number in 0..2 {
        rig.server.fault(number, Fault::At(1 << 20, Stop::Stall));
    }
    let objects = ["/a", "/b"].map(|path| rig.ask_and_open(path));
    until(|| rig.server.stalled() == 2);
    rig.server.release();
    let mut full = 0;
    for ((_, object), content) in objects.iter().zip(&content) {
        let mut wanted = object.want(0..LARGE);
        let ended = crate::rig::read_on(&mut wanted);
        let at = wanted.range().start;
        assert_eq!(content.difference(0, &ended.0), None);
        assert_eq!(ended.0.len() as u64, at);
        if let Some(why) = ended.1 {
            assert!(matches!(why, ObjectError::Disk(Errno::NOSPC)) && why.is_of_store(), "{why}");
            full += 1;
        }
    }
    assert!(full > 0);
    drop(objects);
    assert!((0..2).any(|which| rig.store.get(&rig.key(["/a", "/b"][which])).is_none()));
    // There may have been room for all of one.
    for path in ["/a", "/b"] {
        rig.store.purge(&rig.key(path));
    }
    // What is removed is there until its threads have left it.
    until(|| rig.store.free().unwrap() > LARGE + (8 << 20));
    let whole = rig.ask("/a");
    assert!(rig.read(&whole, 0..LARGE).is_ok());
    until(|| whole.is_whole());
    let head = rig.head("/a");
    let insert = || rig.store.insert(&rig.key("/c"), &rig.origin, head.clone(), 0..0);
    assert!(matches!(insert(), Err(StoreError::NoRoom { .. })));
    until(|| match insert() {
        Ok(_) => true,
        Err(StoreError::NoRoom { .. }) => false,
        Err(error) => panic!("{error}"),
    });
    assert!(whole.is_removed());
}
