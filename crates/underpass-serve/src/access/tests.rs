use super::*;

/// Of "password", by htpasswd.
const HASH: &str = "$2y$05$0.jqSv0sdwEFhDslrWutCe/qnWBM7Lq2ps5XDP/WR2D7C36g8KmUi";

fn options(users: &[&str]) -> AccessOptions {
    let users = users.iter().map(|name| format!("{name}:{HASH}")).collect();
    AccessOptions { users, file: None, realm: "files".into(), paths: Vec::new() }
}

fn access(users: &[&str]) -> Arc<Access> {
    Arc::new(Access::new(options(users)).unwrap())
}

fn with(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(value).unwrap())])
}

fn basic(pair: &str) -> HeaderMap {
    with(&format!("Basic {}", BASE64.encode(pair)))
}

/// The status of a refusal, and whether the slow work was needed.
async fn ask(access: &Arc<Access>, headers: &HeaderMap) -> (Option<u16>, bool) {
    match access.admit(headers) {
        Step::Go => (None, false),
        Step::Answer(answer) => (Some(answer.status.as_u16()), false),
        Step::Wait(work) => (work.await.map(|answer| answer.status.as_u16()), true),
    }
}

#[tokio::test]
async fn a_pair_that_was_found_right_is_not_hashed_again() {
    let access = access(&["alice", "bob"]);
    for name in ["alice", "bob"] {
        let right = basic(&format!("{name}:password"));
        assert_eq!(ask(&access, &right).await, (None, true));
        assert_eq!(ask(&access, &right).await, (None, false));
        let wrong = basic(&format!("{name}:passwort"));
        for _ in 0..2 {
            assert_eq!(ask(&access, &wrong).await, (Some(401), true), "never remembered");
        }
    }
    // Of an unknown name too: the password is that of a hash that is there.
    for _ in 0..2 {
        assert_eq!(ask(&access, &basic("carol:password")).await, (Some(401), true));
    }
    access.reload();
    assert_eq!(ask(&access, &basic("bob:password")).await, (None, true), "forgotten");
}

#[tokio::test]
async fn what_is_no_name_and_password_is_asked_for_them() {
    let access = access(&["alice", "\u{e9}"]);
    let right = BASE64.encode("alice:password");
    let two = HeaderMap::from_iter(
        [&right, &right].map(|it| (AUTHORIZATION, format!("Basic {it}").try_into().unwrap())),
    );
    for headers in [
        HeaderMap::new(),
        two,
        with(&right),
        with("Basic"),
        with("Basic "),
        with("Basic !"),
        with(&format!("Bearer {right}")),
        basic("alice"),
        basic("alice:password\0"),
        basic("alice\n:password"),
        with(&format!("Basic {}", BASE64.encode(b"alice\xff:password"))),
    ] {
        assert_eq!(ask(&access, &headers).await, (Some(401), false), "{headers:?}");
    }
    for headers in [
        with(&format!("BASIC  {right}")),
        with(&format!("basic {}", right.trim_end_matches('='))),
        basic("\u{e9}:password"),
    ] {
        assert_eq!(ask(&access, &headers).await.0, None, "{headers:?}");
    }
    let Step::Answer(answer) = access.admit(&HeaderMap::new()) else { panic!("it is asked") };
    let challenge = &answer.headers[WWW_AUTHENTICATE];
    assert_eq!(challenge, "Basic realm=\"files\", charset=\"UTF-8\"");
}

#[test]
fn an_unknown_name_has_always_the_same_hash_to_be_compared_with() {
    let users = Users::read(&options(&["a", "b", "c", "d"]).users, None).unwrap();
    let at = |name: &str| {
        let (hash, is_known) = users.hash_of(name).unwrap();
        assert!(!is_known);
        users.hashes.iter().position(|it| std::ptr::eq(it, hash)).unwrap()
    };
    let names: Vec<_> = (0..64).map(|number| format!("x{number}")).collect();
    let first: Vec<_> = names.iter().map(|name| at(name)).collect();
    assert_eq!(first, names.iter().map(|name| at(name)).collect::<Vec<_>>());
    assert!((0..4).all(|index| first.contains(&index)), "all kinds: {first:?}");
    assert!(users.hash_of("a").unwrap().1);
    assert!(Users::read(&[], None).unwrap().hash_of("a").is_none());
}

#[test]
fn so_many_pairs_are_remembered_and_no_more() {
    let users = Users::read(&options(&["alice"]).users, None).unwrap();
    assert!(users.know(&Credentials("alice:password".into())));
    let mut remembered = users.remembered.lock().unwrap();
    for number in 0..2 * REMEMBERED_MAX.get() {
        remembered.put(number.to_be_bytes().as_slice().into(), ());
    }
    assert_eq!(remembered.len(), REMEMBERED_MAX.get());
    drop(remembered);
    assert!(!users.remember(&Credentials("alice:password".into())));
}

#[test]
fn names_are_read_again_and_stay_if_the_file_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write(&format!("alice:{HASH}\n"));
    let options = AccessOptions { file: Some(path.clone()), ..options(&["bob"]) };
    let access = Access::new(options).unwrap();
    let names = || {
        let users = Arc::clone(&access.users.read().unwrap());
        let mut names: Vec<_> = users.by_name.keys().cloned().collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(), "alice bob");
    write(&format!("carol:{HASH}\n"));
    access.reload();
    assert_eq!(names(), "bob carol");
    for wrong in ["dave:secret".to_owned(), format!("bob:{HASH}")] {
        write(&wrong);
        access.reload();
        assert_eq!(names(), "bob carol");
    }
    write("");
    access.reload();
    assert_eq!(names(), "bob");
    assert!(!format!("{access:?}").contains("bob"));
}

#[test]
fn a_pattern_is_for_what_would_answer_too() {
    let protects = |patterns: &[&str], path: &str, lookup: &Lookup| {
        let paths = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        let options = AccessOptions { paths, ..options(&["a"]) };
        Access::new(options).unwrap().protects_uri(path, lookup)
    };
    let (plain, clean) = (Lookup::default(), Lookup { clean_urls: true, ..Lookup::default() });
    for (pattern, path, is_plain, is_clean) in [
        ("**", "/", true, true),
        ("secret/**", "/secret", true, true),
        ("secret/**", "/secret/", true, true),
        ("secret/**", "/x/../%73ecret/a", true, true),
        ("secret/**", "//secret//a", true, true),
        ("secret/**", "/", false, false),
        ("secret/**", "/secrets", false, false),
        ("secret/**", "/x/secret/a", false, false),
        ("*.html", "/a.html", true, true),
        ("*.html", "/a", false, true),
        ("*.html", "/", true, true),
        ("*.html", "/a/", true, true),
        ("*.html", "/%", true, true),
    ] {
        assert_eq!(protects(&[pattern], path, &plain), is_plain, "{pattern} {path}");
        assert_eq!(protects(&[pattern], path, &clean), is_clean, "{pattern} {path}");
    }
    assert!(protects(&[], "/any", &plain) && protects(&["b", "a"], "/a", &plain));
}

#[test]
fn shared_caches_keep_nothing_of_it() {
    for (before, after) in [
        (&[][..], "private"),
        (&["no-cache"], "no-cache, private"),
        (&["Public, max-age=60, s-maxage=5", "immutable"], "max-age=60, immutable, private"),
        (&["Private"], "Private"),
        (&["no-store"], "no-store"),
    ] {
        let mut headers = HeaderMap::new();
        for value in before {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
        }
        make_private(&mut headers);
        let values: Vec<_> = headers.get_all(CACHE_CONTROL).iter().collect();
        assert_eq!(values, [after], "{before:?}");
    }
}

#[test]
fn a_realm_is_quoted_or_refused() {
    let of = |realm: &str| Access::new(AccessOptions { realm: realm.into(), ..options(&["a"]) });
    let challenge = of("a \"b\" \\").unwrap().challenge;
    assert_eq!(challenge, r#"Basic realm="a \"b\" \\", charset="UTF-8""#);
    for realm in ["\u{e9}", "a\r\nb", "\u{7f}"] {
        assert!(matches!(of(realm), Err(AccessError::Realm)), "{realm:?}");
    }
}
