//! What is kept on a disk that is slow, or damages it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use underpass_serve::OriginOptions;
use underpass_testkit::origin::Object;
use underpass_testkit::wait;

use super::place::Place;

const PATIENCE: Duration = Duration::from_secs(20);

/// The only file of what is kept whose name ends so.
fn file(place: &Place, ending: &str) -> Option<PathBuf> {
    let objects = place.dir().join("cache/objects");
    let places = fs::read_dir(objects).unwrap().map(|it| it.unwrap().path());
    let files = places.flat_map(|it| fs::read_dir(it).unwrap().map(|it| it.unwrap().path()));
    files.into_iter().find(|it| it.extension().is_some_and(|it| it == ending))
}

#[test]
fn a_file_that_makes_its_reader_wait_holds_up_no_one_else() {
    let place = Place::new();
    let object = place.put("/a", Object::new(3_000_000).cache_control("max-age=600"));
    place.put("/b", Object::new(1_000).cache_control("max-age=600"));
    place.get_with("/a", &["Range: bytes=5000-5999"]);
    // When the fill has ended, and no one has it open, its meta is read for who comes next.
    let meta = || file(&place, "meta");
    let meta = wait::until(PATIENCE, meta).expect("it is kept");
    wait::until(PATIENCE, || (place.server.metric("fills") == 1).then_some(())).unwrap();
    fs::remove_file(&meta).unwrap();
    rustix::fs::mknodat(CWD, &meta, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| place.get("/a"));
        let opens = || {
            fs::OpenOptions::new()
                .write(true)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(&meta)
                .ok()
        };
        // Someone reads it: until nothing is in it, and it is closed, they wait.
        let writer = wait::until(PATIENCE, opens).expect("it is read");
        assert_eq!(place.get("/b").status, 200);
        drop(writer);
        let got = waiting.join().unwrap();
        assert_eq!((got.status, object.difference(0, &got.content)), (200, None));
    });
}

#[test]
fn what_the_disk_has_damaged_is_found_and_comes_anew() {
    let often = Some(Duration::from_millis(200));
    let place = Place::with(|options| OriginOptions { scrub_every: often, ..options });
    let object = place.put("/a", Object::new(3_000_000).cache_control("max-age=600"));
    place.get("/a");
    let is_whole = || (place.get("/a").cache() == "hit").then_some(());
    assert_eq!(wait::until(PATIENCE, is_whole), Some(()));
    let data = file(&place, "data").unwrap();
    let before = fs::metadata(&data).unwrap().modified().unwrap();
    let mut written = fs::OpenOptions::new().write(true).open(&data).unwrap();
    written.write_all(b"not what came").unwrap();
    written.set_modified(before).unwrap();
    let is_removed = || (!data.exists()).then_some(());
    assert_eq!(wait::until(PATIENCE, is_removed), Some(()));
    let is_told = || (place.server.metric("scrub_damaged_total") == 1).then_some(());
    assert_eq!(wait::until(PATIENCE, is_told), Some(()));
    assert!(place.server.metric("scrubbed_bytes_total") > 0);
    let got = place.get("/a");
    assert_eq!(
        (got.cache(), object.difference(0, &got.content)),
        ("fwd=uri-miss; fwd-status=200; stored", None)
    );
}

#[test]
fn the_bytes_that_came_are_counted_those_that_are_passed_on_too() {
    let place = Place::new();
    place.put("/a", Object::new(3_000_000).cache_control("max-age=600"));
    place.put("/b", Object::new(700_000).cache_control("private"));
    place.put("/c", Object::new(500).cache_control("private"));
    let received = || place.server.metric("origin_received_bytes_total");
    assert_eq!(received(), 0);
    place.get("/a");
    place.get("/a");
    assert_eq!(received(), 3_000_000);
    place.get("/b");
    place.get("/c");
    assert_eq!(received(), 3_700_500);
}
