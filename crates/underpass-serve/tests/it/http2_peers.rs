//! What other programs do over HTTP/2: curl and nghttp.

use std::process::Command;

use underpass_serve::{Pair, SiteOptions, TlsOptions};
use underpass_testkit::require;
use underpass_testkit::skip::Capability;
use underpass_testkit::tls::Identity;

use crate::fixture::{Fixture, LARGE_BYTES, fixture, large};

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
