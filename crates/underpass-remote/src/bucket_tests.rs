//! The bucket against versitygw, and against servers that answer by a script.

use underpass_testkit::bucket::{BUCKET, Gateway, KEY_ID, SECRET, Versitygw};
use underpass_testkit::payload::pattern;
use underpass_testkit::require;
use underpass_testkit::scripted::Scripted;
use underpass_testkit::tls::Identity;

use super::*;
use crate::origin::Origin;
use crate::rig::{Rig, read, until};
use crate::store::{Store, StoreOptions};

fn environment(secret: &str) -> Environment {
    Environment::of(&[("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", secret)])
}

fn bucket_at(endpoint: &str, prefix: &str) -> Bucket {
    let url = format!("s3://{BUCKET}/{prefix}?endpoint={endpoint}");
    Bucket::of(&url, Client::default().keeping_connections(), &environment(SECRET)).unwrap()
}

fn interrupt() -> Interrupt {
    Interrupt::never().unwrap()
}

const GET: OriginAsk<'static> = OriginAsk {
    method: Method::Get,
    range: Range::Whole,
    condition: Condition::Always,
    fields: &[],
};

const HEAD: OriginAsk<'static> = OriginAsk { method: Method::Head, ..GET };

fn content(mut response: Response<'_>) -> Vec<u8> {
    let mut content = Vec::new();
    response.body.read_to_end(&mut content).unwrap();
    content
}

fn said(answer: Result<Response<'_>, ClientError>) -> String {
    answer.unwrap_err().to_string()
}

fn gateway() -> Result<Gateway, underpass_testkit::skip::Missing> {
    Versitygw::ready().map(|program| program.start().unwrap())
}

#[test]
fn a_path_is_a_key_behind_the_prefix_and_dots_lead_nowhere() {
    let bucket = bucket_at("http://h:1", "p/q");
    for (path, url) in [
        ("/a", "http://h:1/data/p/q/a"),
        ("/a%20b+c%25?x=y", "http://h:1/data/p/q/a%20b%2Bc%25"),
        ("/%C3%A9/~._-!*'()", "http://h:1/data/p/q/%C3%A9/~._-%21%2A%27%28%29"),
        ("//a//b/", "http://h:1/data/p/q//a//b/"),
        ("/a%2Fb", "http://h:1/data/p/q/a/b"),
    ] {
        assert_eq!(bucket.url(path).unwrap().to_string(), url, "{path}");
    }
    let long = format!("/{}", "a".repeat(1_021));
    for path in ["/", "", "/?a", "/..", "/a/../b", "/a%2f%2e%2E/b", "/./a", "/%ff", &long] {
        let error = bucket.url(path).unwrap_err().to_string();
        assert!(error.contains(": there can be no such object: "), "{path}: {error}");
    }
}

#[test]
fn objects_are_asked_for_by_range_and_condition_whatever_their_names_have() {
    let gateway = require!(gateway());
    let bytes = pattern(0..100_000);
    for key in ["p/plain", "p/a b+c%20&d=é/~*'()!", "p/deep/er/x"] {
        gateway.put(key, &bytes).unwrap();
    }
    let (bucket, interrupt) = (bucket_at(&gateway.endpoint(), "p"), interrupt());
    bucket.check(&interrupt).unwrap();
    for path in ["/plain", "/a%20b+c%2520&d=%C3%A9/~*'()!", "/deep/er/x?query"] {
        let response = bucket.ask(path, &GET, &interrupt).unwrap();
        assert_eq!((response.status, content(response) == bytes), (200, true), "{path}");
    }
    let head = bucket.ask("/plain", &HEAD, &interrupt).unwrap();
    assert_eq!((head.status, head.body.total), (200, Some(100_000)));
    let tag = head.body.validator.clone().unwrap().write();
    let last = OriginAsk { range: Range::Suffix(100), condition: Condition::IfMatch(&tag), ..GET };
    let part = bucket.ask("/plain", &last, &interrupt).unwrap();
    assert_eq!((part.status, part.body.place.at), (206, 99_900));
    assert_eq!(content(part), bytes[99_900..]);
    let same = OriginAsk { condition: Condition::IfNoneMatch(&tag), ..GET };
    assert_eq!(bucket.ask("/plain", &same, &interrupt).unwrap().status, 304);
    gateway.put("p/plain", b"another").unwrap();
    assert_eq!(bucket.ask("/plain", &last, &interrupt).unwrap().status, 412);
    gateway.remove("p/plain").unwrap();
    for ask in [GET, HEAD, last] {
        assert_eq!(bucket.ask("/plain", &ask, &interrupt).unwrap().status, 404, "{ask:?}");
    }
}

#[test]
fn a_store_fills_from_a_bucket_and_never_from_two_objects() {
    let gateway = require!(gateway());
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions::new(dir.path().join("cache"), 1 << 30)).unwrap();
    let rig = Rig::of(store, Origin::Bucket(bucket_at(&gateway.endpoint(), "p")));
    let bytes = pattern(0..8 << 20);
    let gets = || {
        let requests = gateway.requests().unwrap();
        requests.iter().filter(|request| request.operation == "GetObject").count()
    };
    gateway.put("p/a b+c%20", &bytes).unwrap();
    let entry = rig.ask("/a%20b+c%2520");
    assert!(rig.read(&entry, 0..8 << 20).unwrap() == bytes);
    until(|| entry.is_whole() && gets() == 1);
    // What comes of the end first is asked for alone, the rest by another request, signed anew.
    gateway.put("p/x", &bytes).unwrap();
    let (entry, object) = rig.ask_for("/x", Range::Suffix(1_000));
    assert_eq!(read(&object, (8 << 20) - 1_000..8 << 20).unwrap(), bytes[(8 << 20) - 1_000..]);
    assert!(rig.read(&entry, 0..8 << 20).unwrap() == bytes);
    for change in ["another", "none"] {
        gateway.put("p/y", &bytes).unwrap();
        let (_entry, object) = rig.ask_for("/y", Range::Suffix(1_000));
        assert!(read(&object, (8 << 20) - 1_000..8 << 20).is_ok());
        match change {
            "another" => gateway.put("p/y", &pattern(1..1 + (8 << 20))).unwrap(),
            _ => gateway.remove("p/y").unwrap(),
        }
        let error = read(&object, 0..1_000).unwrap_err().to_string();
        assert!(error.contains("replaced") || error.contains("404"), "{change}: {error}");
        assert!(rig.store.get(&rig.key("/y")).is_none(), "{change}");
    }
}

#[test]
fn a_bucket_is_asked_over_tls_too() {
    let program = require!(Versitygw::ready());
    let identity = Identity::named(&["127.0.0.1", "localhost"]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [certificate, key] = ["certificate", "key"].map(|name| dir.path().join(name));
    std::fs::write(&certificate, identity.pem()).unwrap();
    std::fs::write(&key, identity.key_pem()).unwrap();
    let gateway = program.start_secured(&certificate, &key).unwrap();
    let mut client = Client::default().keeping_connections();
    client.trust = underpass_client::Trust::File(certificate);
    let url = format!("s3://{BUCKET}/p?endpoint=https://{}", gateway.host());
    let (bucket, interrupt) =
        (Bucket::of(&url, client, &environment(SECRET)).unwrap(), interrupt());
    let bytes = pattern(0..1 << 20);
    let source = Source::bytes(bytes.clone());
    let put = bucket.put("/a b", source, Condition::IfNoneMatch("*"), &interrupt).unwrap();
    assert_eq!(put.status, 200);
    let got = bucket.ask("/a%20b", &GET, &interrupt).unwrap();
    assert!(got.status == 200 && content(got) == bytes);
    let names = bucket.list("", None, 10, &interrupt).unwrap().unwrap().entries;
    assert_eq!(names.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["a b"]);
}

#[test]
fn conditions_of_a_put_and_a_delete_hold() {
    let gateway = require!(gateway());
    let (bucket, interrupt) = (bucket_at(&gateway.endpoint(), ""), interrupt());
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &pattern(0..300_000), 0).unwrap();
    let put = |condition| {
        let source = Source::file(&file, 0..300_000).unwrap();
        bucket.put("/a b/c", source, condition, &interrupt).unwrap()
    };
    let created = put(Condition::IfNoneMatch("*"));
    let tag = created.head.field("etag").unwrap().to_owned();
    assert_eq!(created.status, 200);
    assert_eq!(std::fs::read(gateway.path("a b/c")).unwrap(), pattern(0..300_000));
    assert_eq!(put(Condition::IfNoneMatch("*")).status, 412);
    assert_eq!(put(Condition::IfMatch("\"other\"")).status, 412);
    assert_eq!(put(Condition::IfMatch(&tag)).status, 200);
    let missing = Source::bytes("x");
    let missing = bucket.put("/no", missing, Condition::IfMatch(&tag), &interrupt).unwrap();
    assert_eq!(missing.status, 404);
    let delete = |condition| bucket.delete("/a b/c", condition, &interrupt).unwrap().status;
    assert_eq!(delete(Condition::IfMatch("\"other\"")), 412);
    assert_eq!(delete(Condition::Always), 204);
    assert!(!gateway.path("a b/c").exists());
}

#[test]
fn a_directory_is_listed_page_by_page() {
    let gateway = require!(gateway());
    for n in 0..7 {
        gateway.put(&format!("p/é +%/file {n}"), &pattern(0..n)).unwrap();
    }
    gateway.put("p/é +%/sub/x", b"").unwrap();
    gateway.put("pq", b"").unwrap();
    let (bucket, interrupt) = (bucket_at(&gateway.endpoint(), "p"), interrupt());
    let root = bucket.list("", None, 1_000, &interrupt).unwrap().unwrap();
    assert_eq!(root.entries, [Entry { name: "é +%".to_owned(), kind: Kind::Directory }]);
    let (mut names, mut next, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = bucket.list("é +%/", next.as_deref(), 3, &interrupt).unwrap().unwrap();
        names.extend(page.entries.into_iter().map(|entry| match entry.kind {
            Kind::Directory => format!("{}/", entry.name),
            Kind::Object { size, modified } => {
                assert!(modified.is_some());
                format!("{} {size}", entry.name)
            }
        }));
        pages += 1;
        assert!(pages < 10, "{names:?}");
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    let files = (0..7).map(|n| format!("file {n} {n}"));
    assert_eq!(names, files.chain(["sub/".to_owned()]).collect::<Vec<_>>());
    assert_eq!(pages, 3);
    let none = bucket.list("none/", None, 3, &interrupt).unwrap().unwrap();
    assert_eq!((none.entries, none.is_there), (vec![], false));
}

#[test]
fn a_server_that_does_not_know_us_is_an_error_of_one_line() {
    let gateway = require!(gateway());
    gateway.put("x", b"x").unwrap();
    let (endpoint, host, interrupt) = (gateway.endpoint(), gateway.host(), interrupt());
    for (url, key_id, secret, line) in [
        (
            "s3://nodata?",
            KEY_ID,
            SECRET,
            "404 NoSuchBucket: there is no bucket 'nodata': name another, or its server",
        ),
        (
            "s3://data?",
            KEY_ID,
            "other",
            "403 SignatureDoesNotMatch: the secret is not that of the key tester: \
             set AWS_SECRET_ACCESS_KEY anew",
        ),
        (
            "s3://data?",
            "other",
            SECRET,
            "404 XAdminUserNotFound: the key other is not known there: set AWS_ACCESS_KEY_ID, \
             or its server",
        ),
        (
            "s3://data?region=eu-west-1&",
            KEY_ID,
            SECRET,
            "400 AuthorizationHeaderMalformed: the bucket is in us-east-1, and was asked for in \
             eu-west-1: give ?region=us-east-1, or AWS_REGION",
        ),
    ] {
        let keys = [("AWS_ACCESS_KEY_ID", key_id), ("AWS_SECRET_ACCESS_KEY", secret)];
        let url = format!("{url}endpoint={endpoint}");
        let bucket = Bucket::of(&url, Client::default(), &Environment::of(&keys)).unwrap();
        let name = &url[..url.find('?').unwrap()];
        let line = format!("{name}/x at {host}: {line}");
        assert_eq!(said(bucket.ask("/x", &GET, &interrupt)), line);
        match bucket.ask("/x", &HEAD, &interrupt) {
            // No more can be told than that there is none.
            Ok(head) => assert_eq!(head.status, 404),
            error => assert_eq!(said(error), line),
        }
        let why = line.split_once("x at ").unwrap().1;
        for error in [bucket.check(&interrupt), bucket.list("", None, 1, &interrupt).map(drop)] {
            let error = error.unwrap_err().to_string();
            assert!(error.ends_with(why), "{error}: {why}");
        }
    }
}

/// What a bucket at a server with this script makes of an object.
fn answered(method: &OriginAsk<'_>, answers: &[String]) -> Result<u16, String> {
    let server = Scripted::start(answers.iter().map(|answer| vec![answer])).unwrap();
    let url = format!("s3://data?endpoint=http://{}", server.address());
    let bucket = Bucket::of(&url, Client::default(), &environment(SECRET)).unwrap();
    let interrupt = interrupt();
    let answer = bucket.ask("/x", method, &interrupt).map(|answer| answer.status);
    answer.map_err(|error| error.to_string().replace(&server.address().to_string(), "HOST"))
}

fn refusal(status: u16, fields: &str, code: &str) -> String {
    let content = format!("<Error><Code>{code}</Code><Message>No.</Message></Error>");
    let len = content.len();
    format!("HTTP/1.1 {status} No\r\n{fields}Content-Length: {len}\r\n\r\n{content}")
}

#[test]
fn a_wrong_clock_and_another_region_are_told_of_a_head_too() {
    let date = SystemTime::now() - std::time::Duration::from_secs(17 * 60 + 30);
    let date = format!("Date: {}\r\n", httpdate::fmt_http_date(date));
    let skewed = refusal(403, &date, "RequestTimeTooSkewed");
    let region = "x-amz-bucket-region: eu-west-1\r\n";
    let moved = refusal(301, region, "PermanentRedirect");
    let clock = "this machine's clock is 17 min ahead of HOST's: signatures are refused; set it";
    let elsewhere = "301 PermanentRedirect: the bucket is in eu-west-1, and was asked for in \
                     us-east-1: give ?region=eu-west-1, or AWS_REGION";
    let expired = "400 ExpiredToken: the session token of the key tester has expired: renew it, \
                   and start again";
    let without = |status| format!("HTTP/1.1 {status} No\r\n\r\n");
    for (status, answer, line) in [
        (403, skewed, clock),
        (301, moved, elsewhere),
        (400, refusal(400, "", "ExpiredToken"), expired),
    ] {
        let line = Err(format!("s3://data/x at HOST: {line}"));
        assert_eq!(answered(&GET, std::slice::from_ref(&answer)), line);
        assert_eq!(answered(&HEAD, &[without(status), answer]), line);
    }
    // What these credentials may not read is not there; what a server that is ill says is a value.
    let denied = refusal(403, "", "AccessDenied");
    assert_eq!(answered(&GET, std::slice::from_ref(&denied)), Ok(404));
    assert_eq!(answered(&HEAD, &[without(403), denied]), Ok(404));
    assert_eq!(answered(&GET, &[refusal(503, "", "SlowDown")]), Ok(503));
    assert_eq!(answered(&HEAD, &[without(503)]), Ok(503));
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na".to_owned();
    let odd = "s3://data/x at HOST: HEAD is refused, and GET answered 200".to_owned();
    assert_eq!(answered(&HEAD, &[without(400), whole]), Err(odd));
}
