use http::Request;
use proptest::prelude::*;

use super::*;

/// Status and location of the answer that these rules give to a request.
fn redirected(rules: &[&str], target: &str) -> Option<(u16, String)> {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let request = Request::builder().uri(target).body(()).unwrap().into_parts().0;
    let (rules, target) = (Redirects::new(rules), Target::parse(request.uri.path()));
    let answer = rules.answer(&request);
    assert_eq!(target.is_ok_and(|target| rules.have(&target)), answer.is_some());
    let answer = answer?;
    Some((answer.status.as_u16(), answer.headers["location"].to_str().unwrap().to_owned()))
}

#[test]
fn a_path_is_sent_where_its_rule_says() {
    for (rule, target, location) in [
        ("/old /new", "/old", Some("/new")),
        ("/old /new", "/old/", Some("/new")),
        ("/old /new", "/old/x", None),
        ("/old /new", "/older", None),
        ("/old /new", "/o%6cd", Some("/new")),
        ("/old /new", "/x/../old", Some("/new")),
        ("/caf%c3%a9 /coffee", "/caf%C3%A9", Some("/coffee")),
        ("/caf\u{e9} /coffee", "/caf%C3%A9", Some("/coffee")),
        ("/old/ /new/", "/old", Some("/new/")),
        ("/ /home", "/", Some("/home")),
        ("/ /home", "/x", None),
        ("/old /new", "/old?a=b", Some("/new?a=b")),
        ("/old /new?c=d", "/old?a=b", Some("/new?c=d")),
        ("/old /new#part", "/old?a=b", Some("/new?a=b#part")),
        ("/old https://example.org/", "/old", Some("https://example.org/")),
        ("/old https://example.org", "/old?q", Some("https://example.org?q")),
        ("/old/* /new/:splat", "/old/a/b.txt", Some("/new/a/b.txt")),
        ("/old/* /new/:splat", "/old/a/", Some("/new/a/")),
        ("/old/* /new/:splat", "/old/", Some("/new/")),
        ("/old/* /new/:splat", "/old", Some("/new/")),
        ("/old/* /new/:splat", "/older/a", None),
        ("/old/* /new", "/old/a", Some("/new")),
        ("/* https://example.org/:splat", "/a/b?c", Some("https://example.org/a/b?c")),
        ("/* https://example.org/:splat", "/", Some("https://example.org/")),
        ("/old/* /s?q=:splat", "/old/a&b=c", Some("/s?q=a%26b%3Dc")),
        ("/* /s?q=:splat", "/a", Some("/s?q=a")),
        ("/* /s?q=:splat", "/s", None),
        ("/old/* /new/:splat", "/old/%0d%0aSet-Cookie:x", Some("/new/%0D%0ASet-Cookie%3Ax")),
    ] {
        let expected = location.map(|location| (301, location.to_owned()));
        assert_eq!(redirected(&[rule], target), expected, "{rule}: {target}");
    }
}

#[test]
fn no_request_chooses_the_host() {
    for (rule, target, location) in [
        ("/go/* /:splat", "/go//evil.example/x", "/evil.example/x"),
        ("/go/* /:splat", "/go/%5Cevil.example", "/%5Cevil.example"),
        ("/go/* /:splat", "/go/\\evil.example", "/%5Cevil.example"),
        ("/go/* /:splat", "/go/./..//evil.example", "none"),
        ("/go/* /:splat", "/go/https://evil.example", "/https%3A/evil.example"),
        (
            "/go/* https://example.org/:splat",
            "/go/@evil.example",
            "https://example.org/%40evil.example",
        ),
    ] {
        let location = (location != "none").then(|| (301, location.to_owned()));
        assert_eq!(redirected(&[rule], target), location, "{rule}: {target}");
    }
}

#[test]
fn the_first_rule_that_leads_elsewhere_holds() {
    let rules = ["/a /b 302", "/a /c", "/x/* /x/index.html 307", "/* /a 308"];
    for (target, expected) in [
        ("/a", Some((302, "/b"))),
        ("/b", Some((308, "/a"))),
        ("/x/y", Some((307, "/x/index.html"))),
        ("/x/index.html", Some((308, "/a"))),
    ] {
        let expected = expected.map(|(status, location)| (status, location.to_owned()));
        assert_eq!(redirected(&rules, target), expected, "{target}");
    }
    // No request is sent to where it is.
    assert_eq!(redirected(&["/* /x"], "/x"), None);
    assert_eq!(redirected(&["/* /x"], "/%78?q"), None);
    assert_eq!(redirected(&["/* /x"], "/x/"), Some((301, "/x".into())));
    assert_eq!(redirected(&["/x /x/"], "/x"), Some((301, "/x/".into())));
    assert_eq!(redirected(&["/x /x/"], "/x/"), None);
    assert_eq!(redirected(&[], "/x"), None);
    assert_eq!(redirected(&["/x /y"], "/%zz"), None, "what is malformed is refused later");
}

#[test]
fn what_is_wrong_in_a_rule_is_said() {
    for (rule, error) in [
        ("", RedirectError::Words),
        ("/a", RedirectError::Words),
        ("/a /b 301 x", RedirectError::Words),
        ("a /b", RedirectError::From(TargetError::NotAPath)),
        ("https://x/a /b", RedirectError::From(TargetError::NotAPath)),
        ("/a%zz /b", RedirectError::From(TargetError::Encoding { at: 2 })),
        ("/a*/b /c", RedirectError::Pattern),
        ("/a* /c", RedirectError::Pattern),
        ("/a/:id /c", RedirectError::Pattern),
        ("/a?b=c /c", RedirectError::Pattern),
        ("/a b", RedirectError::To),
        ("/a //example.org/", RedirectError::To),
        ("/a /\\example.org/", RedirectError::To),
        ("/a https:///x", RedirectError::To),
        ("/a ftp://example.org/", RedirectError::To),
        ("/a javascript:alert(1)", RedirectError::To),
        ("/a /caf\u{e9}", RedirectError::To),
        ("/a /:splat", RedirectError::Splat),
        ("/a/* https://example.org:splat", RedirectError::Splat),
        ("/a/* https://:splat/x", RedirectError::Splat),
        ("/a/* /a/b/:splat", RedirectError::Endless),
        ("/* /b/:splat", RedirectError::Endless),
        ("/* /:splat", RedirectError::Endless),
        ("/a /b 200", RedirectError::Status),
        ("/a /b 304", RedirectError::Status),
        ("/a /b 301!", RedirectError::Status),
    ] {
        assert_eq!(rule.parse::<Redirect>(), Err(error), "{rule}");
    }
}

proptest! {
    /// Whatever comes in for `:splat`, the location stays on this host.
    #[test]
    fn a_location_never_names_a_host_that_came_with_the_request(
        target in "/go/([/.a:@\\\\]|%2e|%5c|%2f|%0d|%[0-9a-f]{2}){0,24}",
    ) {
        if let Ok(target) = Target::parse(&target) {
            let rule: Redirect = "/go/* /:splat".parse().unwrap();
            if let Some(location) = rule.location(&target, None) {
                let location = location.to_str().unwrap();
                prop_assert!(location.starts_with('/'), "{location}");
                prop_assert!(!location.starts_with("//") && !location.contains('\\'), "{location}");
            }
        }
    }
}
