//! What is kept before anybody asks for it.

use std::time::Duration;

use underpass_serve::OriginSite;
use underpass_testkit::origin::{Fault, Object, Stop};
use underpass_testkit::wait;

use super::place::Place;

const PATIENCE: Duration = Duration::from_secs(60);

/// More than may wait for a thread.
const PATHS: usize = 1_100;

#[test]
fn any_number_of_paths_is_kept_and_clients_go_before() {
    let place = Place::prepared(|origin, options| {
        origin.put("/client", Object::new(10).cache_control("max-age=600"));
        let path = |number| format!("/warm/{number}");
        for number in 0..PATHS {
            origin.put(&path(number), Object::new(10).cache_control("max-age=600"));
        }
        origin.script(|request| match request.target.as_str() {
            "/client" => vec![],
            _ => vec![Fault::Stall],
        });
        let site = OriginSite::open(options).unwrap();
        site.warm((0..PATHS).map(path));
        assert_eq!(origin.request_count(), 0, "not before the server runs");
        site
    });
    let some = || (place.origin.stalled() >= 4).then_some(());
    assert_eq!(wait::until(PATIENCE, some), Some(()));
    let got = place.get("/client");
    assert_eq!((got.status, got.cache()), (200, "fwd=uri-miss; fwd-status=200; stored"));
    assert_eq!(place.origin.stalled(), 4, "no more at a time");
    place.origin.heal();
    let all = || (place.asked() == PATHS + 1).then_some(());
    assert_eq!(wait::until(PATIENCE, all), Some(()), "{}", place.asked());
    let last = format!("/warm/{}", PATHS - 1);
    let hit = || (place.get(&last).cache() == "hit").then_some(());
    assert_eq!(wait::until(PATIENCE, hit), Some(()));
    assert_eq!(place.get("/warm/0").cache(), "hit");
    assert_eq!(place.asked(), PATHS + 1);
}

#[test]
fn what_comes_slowly_counts_until_its_last_byte() {
    let place = Place::prepared(|origin, options| {
        let path = |number| format!("/warm/{number}");
        for number in 0..20 {
            origin.put(&path(number), Object::new(100_000).cache_control("max-age=600"));
        }
        origin.put("/client", Object::new(10).cache_control("max-age=600"));
        origin.script(|request| match request.target.as_str() {
            "/client" => vec![],
            _ => vec![Fault::At(50_000, Stop::Stall)],
        });
        let site = OriginSite::open(options).unwrap();
        site.warm((0..20).map(path));
        site
    });
    let some = || (place.origin.stalled() >= 4).then_some(());
    assert_eq!(wait::until(PATIENCE, some), Some(()));
    for _ in 0..10 {
        assert_eq!(place.get("/client").status, 200);
    }
    assert_eq!(place.origin.stalled(), 4, "no more at a time");
    place.origin.heal();
    let all = || (place.asked() == 21).then_some(());
    assert_eq!(wait::until(PATIENCE, all), Some(()));
}
