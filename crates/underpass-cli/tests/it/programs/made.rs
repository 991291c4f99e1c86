//! Programs that make what they send, and have a file or as many bytes at hand that it is not.

use crate::programs::client::get;
use crate::programs::judged::Expected;
use crate::programs::python::own;
use crate::programs::site::{FILES, content, programs};
use underpass_testkit::require;

/// What Python's `bytes(range(256)) * 16384` is.
const MADE_LEN: usize = 256 * 16_384;

#[test]
fn what_is_made_and_encrypted_is_not_of_the_file_that_is_mapped() {
    require!(programs(&["python3"]));
    let watched = own("made", |site, address| {
        assert_eq!(get(site, &format!("https://{address}/"), &[]).content.len(), MADE_LEN);
        Vec::new()
    });
    Expected::of("Python", "TLS of made bytes, another file mapped")
        .named("python3")
        .because("R0", "sees what is read from the start")
        .judge(&watched);
}

#[test]
fn what_is_answered_to_as_many_bytes_is_not_relayed() {
    require!(programs(&["python3"]));
    let watched = own("mapped", |site, address| {
        let (name, _) = FILES[0];
        let sent = format!("@{}", site.name(name));
        let got = get(site, &format!("http://{address}/"), &["--data-binary", &sent]);
        let others = content(name).iter().map(|byte| byte.wrapping_add(1)).collect::<Vec<_>>();
        assert!(got.content == others);
        Vec::new()
    });
    Expected::of("Python", "answers of as many bytes as requests")
        .named("python3")
        .because("R0", "sees what is read from the start")
        .judge(&watched);
}
