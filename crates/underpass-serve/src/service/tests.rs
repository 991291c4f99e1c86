use std::fs;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

use http::header::{CACHE_CONTROL, HOST};
use http::{Method, Request};
use rustix::fs::OFlags;
use underpass_testkit::wait;

use super::*;
use crate::access::{Access, AccessOptions};
use crate::answer::Content;
use crate::archive::Archives;
use crate::field_rules::FieldRules;
use crate::redirects::Redirects;

fn service(tree: &tempfile::TempDir) -> Service {
    let root = Root::open(&tree.path().join("served")).unwrap();
    Service::new(root, NonZeroUsize::new(8).unwrap(), Stability::Guard)
}

fn service_with_fields(tree: &tempfile::TempDir, rules: &[&str]) -> Service {
    let root = Root::open(&tree.path().join("served")).unwrap();
    let fields = FieldRules::new(rules.iter().map(|rule| rule.parse().unwrap()).collect());
    let options = SiteOptions { fields, ..SiteOptions::new(root.path().into()) };
    Service::with(root, NonZeroUsize::MIN, options)
}

fn tree() -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    let served = tree.path().join("served");
    for directory in ["plain", "site", "odd/index.html"] {
        fs::create_dir_all(served.join(directory)).unwrap();
    }
    fs::write(tree.path().join("secret"), "secret").unwrap();
    fs::write(served.join("a.txt"), "content of a").unwrap();
    fs::write(served.join("plain/b.txt"), "b").unwrap();
    fs::write(served.join("site/index.html"), "<p>index</p>").unwrap();
    symlink("../secret", served.join("out")).unwrap();
    tree
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn head(method: Method, target: &str) -> Parts {
    let request = Request::builder().method(method).uri(target).header(HOST, "x").body(()).unwrap();
    request.into_parts().0
}

async fn ask(service: &Service, method: Method, target: &str) -> Answer {
    service
        .respond(&Asked {
            head: &head(method, target),
            client: None,
            server_name: None,
            https_port: None,
        })
        .await
}

/// The content as a client would read it.
fn text(answer: &Answer) -> String {
    let bytes = match &answer.content {
        Content::Empty => Vec::new(),
        Content::Memory(bytes) => bytes.to_vec(),
        Content::File(file, range) => {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
            let start = usize::try_from(range.start).unwrap();
            file.file().unwrap().read_at(start, &mut bytes).unwrap();
            bytes
        }
        Content::UntilEnd(_) | Content::Sequence(_) => panic!("one piece that has a size"),
        #[cfg(feature = "remote")]
        Content::Relayed(_) => panic!("bytes of an origin"),
    };
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_target_has_its_status() {
    let tree = tree();
    let service = service(&tree);
    let long = format!("/{}", "x".repeat(300));
    for (target, status) in [
        ("/a.txt", 200),
        ("/plain/../a.txt", 200),
        ("/../../a.txt", 200),
        ("http://any.example/a.txt?query", 200),
        ("/", 200),
        ("/plain/", 200),
        ("/site/", 200),
        ("/odd/", 200),
        ("/plain", 308),
        ("/none", 404),
        ("/none/", 404),
        ("/a.txt/", 404),
        ("/../secret", 404),
        ("/out", 404),
        ("/..%2fsecret", 404),
        (&long, 404),
        ("/%00", 400),
        ("/%zz", 400),
        ("*", 400),
    ] {
        run(async {
            let answer = ask(&service, Method::GET, target).await;
            assert_eq!(answer.status, status, "{target:.30}");
            let length = &answer.headers["content-length"];
            assert_eq!(*length, answer.content.len().unwrap().to_string(), "{target:.30}");
            let head = ask(&service, Method::HEAD, target).await;
            assert_eq!((head.status, &head.headers), (answer.status, &answer.headers));
            assert!(head.content.is_empty(), "{target:.30}");
        });
    }
}

#[test]
fn files_indexes_and_listings_have_their_content() {
    let tree = tree();
    let service = service(&tree);
    run(async {
        assert_eq!(text(&ask(&service, Method::GET, "/a.txt").await), "content of a");
        let index = ask(&service, Method::GET, "/site/").await;
        assert_eq!(text(&index), "<p>index</p>");
        assert_eq!(index.headers["content-type"], "text/html; charset=utf-8");
        let listing = text(&ask(&service, Method::GET, "/plain/").await);
        assert!(listing.contains("href=\"b.txt\""), "{listing}");
        let odd = text(&ask(&service, Method::GET, "/odd/").await);
        assert!(odd.contains("href=\"index.html/\""), "{odd}");
    });
}

#[test]
fn other_methods_are_refused_even_where_nothing_is() {
    let tree = tree();
    let service = service(&tree);
    for method in ["POST", "PUT", "DELETE", "TRACE", "BREW"] {
        for target in ["/a.txt", "/none", "*"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let answer = run(ask(&service, method, target));
            assert_eq!(
                (answer.status.as_u16(), &answer.headers["allow"]),
                (405, &HeaderValue::from_static("GET, HEAD, OPTIONS"))
            );
        }
    }
}

#[test]
fn a_directory_is_redirected_to_its_slash_and_nowhere_else() {
    let tree = tree();
    fs::create_dir_all(tree.path().join("served/\\evil.example/%2f")).unwrap();
    let service = service(&tree);
    for (target, location) in [
        ("/plain", "/plain/"),
        ("/plain?a=b&c=//d", "/plain/?a=b&c=//d"),
        ("//plain", "/plain/"),
        ("/x/..//plain", "/plain/"),
        ("http://evil.example/plain", "/plain/"),
        ("/%5Cevil.example", "/%5Cevil.example/"),
        ("/%5Cevil.example/%252f?", "/%5Cevil.example/%252f/?"),
    ] {
        let answer = run(ask(&service, Method::GET, target));
        assert_eq!(answer.status, 308, "{target}");
        assert_eq!(answer.headers["location"], location, "{target}");
    }
}

#[test]
fn a_settled_file_is_kept_and_a_fresh_one_is_not() {
    let tree = tree();
    let service = service(&tree);
    run(async {
        let first = ask(&service, Method::GET, "/a.txt").await;
        assert!(first.headers["etag"].as_bytes().starts_with(b"W/"), "written just now");
        assert_eq!(service.tree.files.own().len(), 0);
    });
    // In the root's place a file that was last changed before this second.
    let settled =
        Service::new(Root::open(Path::new("/")).unwrap(), NonZeroUsize::MIN, Stability::None);
    run(async {
        let one = ask(&settled, Method::GET, "/etc/passwd").await;
        let two = ask(&settled, Method::GET, "/etc/passwd").await;
        let (Content::File(one, _), Content::File(two, _)) = (one.content, two.content) else {
            panic!("two files");
        };
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(settled.tree.files.own().len(), 1);
    });
}

#[test]
fn a_replaced_file_gets_another_tag_and_its_own_bytes() {
    let tree = tree();
    let service = service(&tree);
    let (old, new) = (tree.path().join("served/a.txt"), tree.path().join("new"));
    run(async {
        let before = ask(&service, Method::GET, "/a.txt").await;
        fs::write(&new, "replacement!").unwrap();
        fs::rename(&new, &old).unwrap();
        let after = ask(&service, Method::GET, "/a.txt").await;
        assert_eq!((text(&before), text(&after)), ("content of a".into(), "replacement!".into()));
        assert_ne!(before.headers["etag"], after.headers["etag"]);
    });
}

#[test]
fn a_lease_lasts_for_one_response_and_waits_for_writers() {
    let tree = tree();
    let root = Root::open(&tree.path().join("served")).unwrap();
    let service = Service::new(root, NonZeroUsize::MIN, Stability::Lease);
    let path = tree.path().join("served/a.txt");
    let write = || {
        fs::OpenOptions::new()
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&path)
    };
    run(async {
        let answer = ask(&service, Method::GET, "/a.txt").await;
        let refused = write().unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock, "the response holds it");
        drop(answer);
        let writer = write().unwrap();
        let answer = ask(&service, Method::GET, "/a.txt").await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["retry-after"]),
            (503, &HeaderValue::from_static("1"))
        );
        drop(writer);
        assert_eq!(ask(&service, Method::GET, "/a.txt").await.status, 200);
    });
}

#[test]
fn the_fields_of_a_path_are_in_files_indexes_and_listings() {
    let tree = tree();
    let texts = ["** Cache-Control: public", "site/*.html Cache-Control: private"];
    let service = service_with_fields(&tree, &texts);
    for (target, value) in [
        ("/a.txt", "public"),
        ("/plain/b.txt", "public"),
        ("/site/", "private"),
        ("/plain/", "public"),
    ] {
        let answer = run(ask(&service, Method::GET, target));
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.headers[CACHE_CONTROL], value, "{target}");
        assert_eq!(answer.headers.get_all(CACHE_CONTROL).iter().count(), 1, "{target}");
    }
}

#[test]
fn errors_and_redirections_have_fields_too_but_not_for_how_long_the_file_may_be_kept() {
    let tree = tree();
    let service = service_with_fields(&tree, &["Cache-Control: max-age=9", "pl* X-A: a"]);
    for (method, target, status, has_field) in [
        (Method::GET, "/plain/none", 404, false),
        (Method::GET, "/plan", 404, true),
        (Method::GET, "/plain", 308, true),
        (Method::PUT, "/plain", 405, true),
        (Method::GET, "*", 400, false),
    ] {
        let answer = run(ask(&service, method, target));
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.headers.contains_key("x-a"), has_field, "{target}");
        assert!(!answer.headers.contains_key(CACHE_CONTROL), "{target}");
    }
}

#[test]
fn a_step_that_waits_answers_or_lets_the_request_pass() {
    let tree = tree();
    let service = service(&tree);
    let head = head(Method::GET, "/a.txt");
    let asked = Asked { head: &head, client: None, server_name: None, https_port: None };
    let refusal = || Some(Answer::error(StatusCode::FORBIDDEN));
    let status = |step| run(service.follow(step, &asked)).status.as_u16();
    assert_eq!(status(Step::Wait(Box::pin(async move { refusal() }))), 403);
    assert_eq!(status(Step::Wait(Box::pin(async { None }))), 200);
    assert_eq!(status(Step::Answer(Answer::error(StatusCode::NOT_FOUND))), 404);
    assert_eq!(status(Step::Go), 200);
}

/// Even what is kept for a path that is redirected, which no request comes to, is not sent.
#[test]
fn a_plain_request_that_is_redirected_passes_no_station_unseen() {
    let tree = tree();
    let root = Root::open(&tree.path().join("served")).unwrap();
    let mut options = SiteOptions::new(root.path().into());
    options.stations.redirects = Redirects::new(vec!["/plain/* /:splat".parse().unwrap()]);
    let service = Service::with(root, NonZeroUsize::new(8).unwrap(), options);
    let plain = |path: &str| {
        // As another request without the redirect would have it looked up.
        service.tree.look_up(&path.as_bytes()[1..], Wait::Allowed).ok().unwrap();
        let head = format!("GET {path}?query HTTP/1.1\r\nHost: x\r\n\r\n");
        service.plain(&PlainRequest::read(head.as_bytes()).unwrap())
    };
    // Of the second of its last change nothing is kept.
    wait::until(Duration::from_secs(10), || plain("/a.txt")).expect("a second passes");
    assert!(plain("/plain/b.txt").is_none());
}

fn service_with(tree: &tempfile::TempDir, options: impl FnOnce(&mut SiteOptions)) -> Service {
    let root = Root::open(&tree.path().join("served")).unwrap();
    let mut made = SiteOptions::new(root.path().into());
    options(&mut made);
    Service::with(root, NonZeroUsize::MIN, made)
}

#[test]
fn a_query_is_for_the_listing_and_a_page_that_there_is_not_is_a_404() {
    let tree = tree();
    let service = service(&tree);
    for (target, status, media_type) in [
        ("/plain/?json", 200, "application/json"),
        ("/plain/?sort=size&q=b", 200, "text/html; charset=utf-8"),
        ("/plain/?page=2", 404, "text/plain; charset=utf-8"),
        ("/plain/?page=x&json", 404, "text/plain; charset=utf-8"),
        ("/plain/b.txt?json&page=7", 200, "text/plain; charset=utf-8"),
    ] {
        let answer = run(ask(&service, Method::GET, target));
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.headers["content-type"], media_type, "{target}");
    }
}

#[test]
fn directories_that_are_not_listed_are_not_there() {
    let tree = tree();
    let off = service_with(&tree, |options| options.listings = None);
    for (target, status) in [("/plain/", 404), ("/", 404), ("/site/", 200), ("/plain/b.txt", 200)] {
        assert_eq!(run(ask(&off, Method::GET, target)).status, status, "{target}");
    }
    let with_page = service_with(&tree, |options| {
        options.listings = None;
        options.lookup.fallback = Some("site/index.html".parse().unwrap());
    });
    let mut head = head(Method::GET, "/plain/");
    head.headers.insert("accept", HeaderValue::from_static("text/html"));
    let answer = run(with_page.respond(&Asked {
        head: &head,
        client: None,
        server_name: None,
        https_port: None,
    }));
    assert_eq!(text(&answer), "<p>index</p>");
}

#[test]
fn a_listing_waits_for_those_that_are_being_made_and_not_for_ever() {
    let tree = tree();
    let service = service(&tree);
    let readers = Arc::clone(&service.tree.options.listings.as_ref().unwrap().readers);
    let all = readers.available_permits();
    let mut clock = tokio::runtime::Builder::new_current_thread();
    clock.enable_time().start_paused(true).build().unwrap().block_on(async {
        let held = readers.acquire_many(u32::try_from(all).unwrap()).await.unwrap();
        let answer = ask(&service, Method::GET, "/plain/").await;
        assert_eq!((answer.status.as_u16(), &answer.headers["retry-after"]), (503, &1.into()));
        assert_eq!(ask(&service, Method::GET, "/a.txt").await.status, 200);
        drop(held);
        assert_eq!(ask(&service, Method::GET, "/plain/").await.status, 200);
    });
    assert_eq!(readers.available_permits(), all);
}

/// What needs a password is not had through an archive of what needs none.
#[test]
fn an_archive_has_what_its_reader_may_have() {
    let tree = tree();
    fs::create_dir_all(tree.path().join("served/top/secret")).unwrap();
    for name in ["top/open", "top/secret/key"] {
        fs::write(tree.path().join("served").join(name), "").unwrap();
    }
    let service = service_with(&tree, |options| {
        let user = "u:$2y$05$0.jqSv0sdwEFhDslrWutCe/qnWBM7Lq2ps5XDP/WR2D7C36g8KmUi";
        let (users, paths) = (vec![user.into()], vec!["top/secret/**".parse().unwrap()]);
        let access = AccessOptions { users, file: None, realm: "x".into(), paths };
        options.stations.access = Some(Arc::new(Access::new(access).unwrap()));
        options.archives = Some(Archives::new("tar".parse().unwrap(), None));
    });
    let answer = run(ask(&service, Method::GET, "/top/?archive=tar"));
    // Two members with a head each, and the end.
    assert_eq!((answer.status.as_u16(), answer.content.len()), (200, Some(2 * 512 + 1_024)));
    assert_eq!(run(ask(&service, Method::GET, "/top/secret/?archive=tar")).status, 401);
    let asked = head(Method::GET, "/top/secret/?archive=tar");
    let found = run(service.look_up(&Asked {
        head: &asked,
        client: None,
        server_name: None,
        https_port: None,
    }));
    assert_eq!(found.content.len(), Some(2 * 512 + 1_024), "for one who was let in");
}
