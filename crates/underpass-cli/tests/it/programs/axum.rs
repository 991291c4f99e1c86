//! An application of axum whose listener and bodies are this workspace's: the example of
//! `underpass-axum`.

use std::path::PathBuf;

use underpass_testkit::recorded::Recorded;
use underpass_testkit::{require, workspace};

use crate::programs::client::get;
use crate::programs::judged::Expected;
use crate::programs::site::{FILES, Site, address, content, programs};
use crate::programs::truth::Body;
use crate::programs::watched::{Watched, watched};

/// The example, compiled with the features that the whole workspace's tests have it compiled with.
fn example() -> PathBuf {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "--workspace", "--example", "axum"]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    workspace::target_dir().unwrap().join("debug/examples/axum")
}

fn axum(options: &[&str]) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let (name, bytes) = FILES[0];
    let mut command = recorded.command(example().to_str().unwrap());
    command.arg(site.root().join(name)).arg(address.to_string());
    let server = site.start(&mut command, address);
    watched(&recorded, server.id(), || {
        assert!(get(&site, &format!("http://{address}/"), options).content == content(name));
        vec![Body { file: site.name(name), bytes: Some(bytes), is_transformed: false }]
    })
}

#[test]
fn its_answers_are_lent() {
    require!(programs(&["cargo"]));
    Expected::of("axum", "FileBody::by_reference").judge(&axum(&[]));
}

#[test]
fn over_http_2_they_are_copied() {
    require!(programs(&["cargo"]));
    Expected::of("axum", "HTTP/2, FileBody::copied")
        .because("R1", "sendfile(2)")
        .judge(&axum(&["--http2-prior-knowledge"]));
}
