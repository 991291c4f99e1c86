use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

/// 2026-01-01T00:00:00Z.
const ANSWERED: u64 = 1_767_225_600;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(ANSWERED + seconds)
}

fn policy_but(fields: &[(&'static str, &'static str)], defaults: &Defaults) -> Policy {
    Policy::of(&headers(fields), ANSWERED * 1_000, defaults)
}

fn policy(fields: &[(&'static str, &'static str)]) -> Policy {
    policy_but(fields, &Defaults::default())
}

fn of(directives: &'static str) -> Policy {
    policy(&[("cache-control", directives)])
}

#[test]
fn what_is_for_one_client_is_not_kept() {
    let none = HeaderMap::new();
    let named = headers(&[("authorization", "Basic eDp5")]);
    for (fields, why) in [
        (&[][..], None),
        (&[("cache-control", "max-age=60")], None),
        (&[("cache-control", "no-cache")], None),
        (&[("cache-control", "max-age=60, PRIVATE")], Some(Why::Private)),
        (&[("cache-control", "private=\"x\"")], Some(Why::Private)),
        (&[("cache-control", "public"), ("cache-control", "No-Store")], Some(Why::NoStore)),
        (&[("set-cookie", "a=b"), ("cache-control", "public")], Some(Why::SetCookie)),
        (&[("vary", "Accept-Encoding")], None),
        (&[("vary", "accept-encoding, Cookie")], Some(Why::Vary)),
        (&[("vary", "accept-encoding"), ("vary", "Accept")], Some(Why::Vary)),
        (&[("vary", "*")], Some(Why::Vary)),
    ] {
        let found = refusal(&none, StatusCode::OK, &headers(fields));
        assert_eq!(found, why, "{fields:?}");
    }
    for (directives, why) in [
        ("max-age=60", Some(Why::Authorization)),
        ("public", None),
        ("S-Maxage=5", None),
        ("must-revalidate", None),
    ] {
        let found = refusal(&named, StatusCode::OK, &headers(&[("cache-control", directives)]));
        assert_eq!(found, why, "{directives}");
    }
    assert_eq!(refusal(&none, StatusCode::FOUND, &none), Some(Why::Status));
}

#[test]
fn it_is_fresh_for_as_long_as_its_origin_says() {
    let day = 24 * 60 * 60;
    let date = ("date", "Thu, 01 Jan 2026 00:00:00 GMT");
    for (fields, seconds) in [
        (&[("cache-control", "max-age=60")][..], 60),
        (&[("cache-control", "MAX-AGE=60")], 60),
        (&[("cache-control", "max-age=\"60\"")], 60),
        (&[("cache-control", "max-age=60, s-maxage=7")], 7),
        (&[("cache-control", "max-age=60"), ("cache-control", "max-age=61")], 0),
        (&[("cache-control", "max-age=-1")], 0),
        (&[("cache-control", "max-age=99999999999999999999999")], SECONDS_MAX),
        (&[("cache-control", "max-age=60, no-cache")], 0),
        (&[("cache-control", "max-age=60"), ("expires", "0")], 60),
        (&[("expires", "0")], 0),
        (&[date, ("expires", "Thu, 01 Jan 2026 00:01:00 GMT")], 60),
        (&[("last-modified", "Wed, 31 Dec 2025 23:50:00 GMT")], 60),
        (&[("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")], day),
        (&[], 0),
    ] {
        let policy = policy(fields);
        let left = policy.lifetime(at(0)).1;
        assert_eq!(left, Duration::from_secs(seconds), "{fields:?}");
        let is_fresh = [seconds.saturating_sub(1), seconds].map(|it| policy.is_fresh(at(it)));
        assert_eq!(is_fresh, [seconds > 0, false], "{fields:?}");
    }
    let defaults = Defaults { fresh_for: Some(Duration::from_secs(9)), ..Defaults::default() };
    let silent = [("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")];
    assert_eq!(policy_but(&silent, &defaults).lifetime(at(0)).1, Duration::from_secs(9));
    let says = [("cache-control", "max-age=60")];
    assert_eq!(policy_but(&says, &defaults).lifetime(at(0)).1, Duration::from_secs(60));
}

fn seconds_of(policy: &Policy, at: SystemTime) -> (u64, u64) {
    let (age, left) = policy.lifetime(at);
    (age.as_secs(), left.as_secs())
}

#[test]
fn the_age_that_it_came_with_counts() {
    let policy = policy(&[("cache-control", "max-age=60"), ("age", "20")]);
    let all = [0, 10, 50].map(|time| seconds_of(&policy, at(time)));
    assert_eq!(all, [(20, 40), (30, 30), (70, 0)]);
    let dates = [
        ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ("expires", "Thu, 01 Jan 2026 00:01:00 GMT"),
        ("age", "20"),
    ];
    assert_eq!(policy_but(&dates, &Defaults::default()).lifetime(at(0)).1.as_secs(), 40);
    assert_eq!(policy.stale_for(at(50)), Duration::from_secs(10));
    let delayed = |date| {
        let fields = [("cache-control", "max-age=60"), ("date", date), ("age", "20")];
        policy_but(&fields, &Defaults::default())
    };
    let ages = ["Wed, 31 Dec 2025 23:59:10 GMT", "Wed, 31 Dec 2025 23:59:50 GMT"];
    let ages = ages.map(|date| seconds_of(&delayed(date), at(0)));
    assert_eq!(ages, [(50, 10), (20, 40)], "the later of Date and Age");
    let future = delayed("Thu, 01 Jan 2026 00:10:00 GMT");
    assert_eq!(seconds_of(&future, at(0)), (20, 40), "a clock that is ahead");
    // The clock was set back: there is no telling how old it is.
    assert!(!policy.is_fresh(at(0) - Duration::from_secs(1)));
}

#[test]
fn no_age_and_no_number_makes_it_panic() {
    for text in ["18446744073709551615", "99999999999999999999999", "-1", "", "x"] {
        let policy = policy(&[("age", text), ("cache-control", "max-age=1")]);
        let _ = (policy.lifetime(at(1)), policy.stale_for(at(1_000)), policy.is_fresh(at(0)));
    }
    let far = Policy::of(&headers(&[]), u64::MAX, &Defaults::default());
    assert!(!far.is_fresh(at(0)));
}

#[test]
fn something_stale_stands_in_for_as_long_as_it_may_and_no_longer() {
    let limits = |policy: &Policy, at: SystemTime| {
        [Instead::WhileAsking, Instead::OfError].map(|instead| policy.may_stand_in(instead, at))
    };
    let says = of("max-age=10, stale-while-revalidate=5, Stale-If-Error=20");
    assert_eq!(limits(&says, at(10)), [true, true]);
    assert_eq!(limits(&says, at(14)), [true, true]);
    assert_eq!(limits(&says, at(15)), [false, true]);
    assert_eq!(limits(&says, at(29)), [false, true]);
    assert_eq!(limits(&says, at(30)), [false, false]);
    assert_eq!(limits(&of("max-age=10"), at(10)), [false, false]);
    let five = Duration::from_secs(5);
    let defaults = Defaults { fresh_for: None, stale_while_revalidate: five, stale_if_error: five };
    for (directives, allowed) in [
        ("max-age=10", true),
        ("max-age=10, stale-while-revalidate=0, stale-if-error=0", false),
        ("max-age=10, must-revalidate", false),
        ("max-age=10, Proxy-Revalidate", false),
        ("max-age=10, no-cache", false),
        ("s-maxage=10", false),
    ] {
        let policy = policy_but(&[("cache-control", directives)], &defaults);
        assert_eq!(limits(&policy, at(12)), [allowed; 2], "{directives}");
    }
    let forbidden = of("max-age=10, must-revalidate, stale-if-error=50");
    assert_eq!(limits(&forbidden, at(12)), [false; 2]);
}

#[test]
fn only_what_is_here_may_be_wanted() {
    assert!(is_only_if_cached(&headers(&[("cache-control", "max-age=0, Only-If-Cached")])));
    assert!(!is_only_if_cached(&headers(&[("cache-control", "no-cache")])));
}
