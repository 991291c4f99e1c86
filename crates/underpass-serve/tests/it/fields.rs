//! Fields that a site has by pattern.

use underpass_serve::SiteOptions;
use underpass_serve::field_rules::{FieldRule, FieldRules};

use crate::fixture::{Fixture, field, fixture};

fn request(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n")
}

#[test]
fn a_whole_file_a_part_and_a_304_have_the_fields_of_the_path() {
    let fields = FieldRules::new(vec![
        FieldRule::of_caching("max-age=60").unwrap(),
        "*.txt Expires: 0".parse().unwrap(),
        "X-Frame-Options: DENY".parse().unwrap(),
    ]);
    let site = SiteOptions { fields, ..SiteOptions::new(fixture().served.clone()) };
    let server = Fixture::of(site);
    for (fields, status) in
        [("", "200"), ("Range: bytes=0-1\r\n", "206"), ("If-None-Match: *\r\n", "304")]
    {
        // The second time the file is one that is kept.
        for _ in 0..2 {
            let answer = server.answers(&request("/digits.txt", fields));
            assert_eq!(&answer[9..12], status);
            assert_eq!(field(&answer, "cache-control"), "max-age=60", "{status}");
            assert_eq!(field(&answer, "expires"), "0", "{status}");
            // RFC 9110 §15.4.5: no more than a cache needs.
            assert_eq!(answer.contains("x-frame-options: DENY\r\n"), status != "304");
        }
    }
    let listing = server.answers(&request("/plain/", ""));
    assert_eq!(field(&listing, "cache-control"), "no-cache");
    assert_eq!(field(&listing, "x-frame-options"), "DENY");
    let none = server.answers(&request("/none.txt", ""));
    assert!(none.contains("x-frame-options") && !none.contains("cache-control"), "{none}");
    assert!(!none.contains("expires"), "{none}");
}
