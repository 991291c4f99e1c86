//! What h2spec says of the server, in the clear and over TLS.

use underpass_serve::SiteOptions;
use underpass_testkit::h2spec::H2spec;
use underpass_testkit::require;

use crate::fixture::{Fixture, fixture};
use crate::tls::Secured;

/// What may fail, and why. Which of them do depends on what comes first.
const MAY_FAIL: [(&str, &str); 4] = [
    ("2: Sends invalid connection preface", "in the clear it is HTTP/1.1, answered by a 400"),
    (
        "8: closed: Sends a DATA frame after sending RST_STREAM frame",
        "the answer was whole before, and h2 passes over frames of streams that are forgotten",
    ),
    (
        "3: Sends a HEADERS frame that contains a pseudo-header field as trailers",
        "h2 does not look at the names in trailers, which no one here reads",
    ),
    (
        "2: Sends a HEADERS frame with the \"content-length\" header field which does not equal \
         the sum of the multiple DATA frames payload length",
        "the 405 does not wait for content (RFC 9113, 8.1), and is whole before the last of it",
    ),
];

fn check(server: &Fixture, is_secured: bool) {
    let h2spec = require!(H2spec::ready());
    let cases = h2spec.run(server.address, is_secured).unwrap();
    let is_expected = |case: &String| MAY_FAIL.iter().any(|(expected, _)| case == expected);
    assert!(cases.failed.iter().all(is_expected), "{:?}: {}", cases.failed, cases.said);
    assert_eq!(cases.all, 146);
    assert!(server.exchange("GET /digits.txt HTTP/1.0\r\n\r\n").ends_with(b"9") || is_secured);
}

#[test]
fn frames_that_break_the_rules_are_answered_by_the_rules() {
    check(&Fixture::alone(), false);
}

#[test]
fn so_they_are_over_tls() {
    let site = SiteOptions::new(fixture().served.clone());
    let server = Secured::serving(true, |tls| Fixture::choosing(site, tls, true));
    check(&server.fixture, true);
}
