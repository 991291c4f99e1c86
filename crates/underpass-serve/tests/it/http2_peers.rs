//! What other programs do over HTTP/2: curl, nghttp, h2load and Chromium.

use std::path::Path;
use std::process::Command;

use underpass_serve::{Pair, SiteOptions, TlsOptions};
use underpass_testkit::browser::Browser;
use underpass_testkit::require;
use underpass_testkit::skip::Capability;
use underpass_testkit::tls::Identity;

use crate::fixture::{Fixture, LARGE_BYTES, fixture, large};
use crate::tls::Secured;

/// What a program prints, which must succeed.
fn printed(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    output.stdout
}

fn curl(arguments: &[&str]) -> Vec<u8> {
    printed("curl", &[&["-sS", "--noproxy", "*"], arguments].concat())
}

#[test]
fn curl_gets_files_ranges_and_errors_by_prior_knowledge() {
    require!(Capability::Program("curl"));
    let url = |path: &str| format!("http://{}{path}", fixture().address);
    let version = ["--http2-prior-knowledge", "-w", "\n%{http_version} %{http_code}"];
    for (path, more, expected) in [
        ("/digits.txt", &[][..], "0123456789\n2 200"),
        ("/digits.txt", &["-r", "3-5"], "345\n2 206"),
        ("/digits.txt", &["-I", "-o", "/dev/null"], "\n2 200"),
        ("/none", &["-o", "/dev/null"], "\n2 404"),
    ] {
        let got = curl(&[&version[..], more, &[&url(path)]].concat());
        assert_eq!(String::from_utf8(got).unwrap(), expected, "{path} {more:?}");
    }
    assert!(curl(&["--http2-prior-knowledge", &url("/large.bin")]) == large());
    // Without it, the upgrade that it offers is passed over.
    let got = curl(&["--http2", "-w", " %{http_version}", &url("/digits.txt")]);
    assert_eq!(got, b"0123456789 1.1");
}

#[test]
fn curl_chooses_http_2_over_tls_unless_it_is_not_offered() {
    require!(Capability::Program("curl"));
    for (in_kernel, is_offered) in [(true, true), (false, true), (true, false)] {
        let (identity, dir) = (Identity::new().unwrap(), tempfile::tempdir().unwrap());
        let pair = Pair { certificates: dir.path().join("crt"), key: dir.path().join("key") };
        std::fs::write(&pair.certificates, identity.pem()).unwrap();
        std::fs::write(&pair.key, identity.key_pem()).unwrap();
        let authority = pair.certificates.to_str().unwrap().to_owned();
        let tls = TlsOptions { pairs: vec![pair], only_13: false, in_kernel };
        let site = SiteOptions::new(fixture().served.clone());
        let server = Fixture::choosing(site, tls, is_offered);
        let url = |path: &str| format!("https://{}{path}", server.address);
        let version = ["--cacert", &authority, "-w", " %{http_version}"];
        for tls in ["1.2", "1.3"] {
            let got = curl(&[&version[..], &["--tls-max", tls, &url("/digits.txt")]].concat());
            let version = if is_offered { "2" } else { "1.1" };
            assert_eq!(String::from_utf8(got).unwrap(), format!("0123456789 {version}"));
            assert!(
                curl(&["--cacert", &authority, "--tls-max", tls, &url("/large.bin")]) == large()
            );
        }
    }
}

#[test]
fn nghttp_gets_many_at_a_time() {
    require!(Capability::Program("nghttp"));
    let url = |path: &str| format!("http://{}{path}", fixture().address);
    let (large, digits) = (url("/large.bin"), url("/digits.txt"));
    // It asks for each only once.
    let more = ["?1", "?2"].map(|query| format!("{large}{query}"));
    let got = printed("nghttp", &[&large, &digits, &more[0], &more[1]]);
    assert_eq!(got.len(), 3 * LARGE_BYTES + 10);
}

#[test]
fn h2load_gets_thousands_over_several_connections_in_the_clear_and_over_tls() {
    require!(Capability::Program("h2load"));
    let site = SiteOptions::new(fixture().served.clone());
    let secured = Secured::serving(true, |tls| Fixture::choosing(site, tls, true));
    for url in [
        format!("http://{}/digits.txt", fixture().address),
        format!("https://{}/digits.txt", secured.fixture.address),
    ] {
        let said = printed("h2load", &["-n", "5000", "-c", "10", "-m", "50", &url]);
        let said = String::from_utf8(said).unwrap();
        let all = "5000 succeeded, 0 failed, 0 errored, 0 timeout\nstatus codes: 5000 2xx";
        assert!(said.contains(all), "{said}");
    }
}

#[test]
fn chromium_opens_a_listing_and_its_image_over_http_2() {
    let browser = require!(Browser::ready());
    let dir = tempfile::tempdir().unwrap();
    let image = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"120\" height=\"80\"/>";
    std::fs::write(dir.path().join("one.svg"), image).unwrap();
    let site = SiteOptions::new(dir.path().into());
    let server = Secured::serving(true, |tls| Fixture::choosing(site, tls, true));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser/http2.js");
    let said = browser.run(&script, &[&format!("https://{}/", server.fixture.address)]);
    assert_eq!(said, "done\n");
}
