//! What people put into a directory from its page, in Chromium.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use underpass_serve::access::{Access, AccessOptions};
use underpass_serve::upload::Upload;
use underpass_testkit::browser::Browser;
use underpass_testkit::{require, wait};

use crate::fixture::Fixture;
use crate::upload::{HASH, PATIENCE, names, site};

/// Has a part of the script done at a new site that holds `there.txt`; then it holds these names.
fn browse(part: &str, has_access: bool, expected: &str) {
    let browser = require!(Browser::ready());
    let dir = tempfile::tempdir().unwrap();
    let (served, sent) = (dir.path().join("served"), dir.path().join("sent"));
    for directory in [&served, &sent] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(served.join("there.txt"), "there").unwrap();
    for (name, len) in [
        ("one.txt", 5),
        ("two & 100%.txt", 70_000),
        ("there.txt", 7_000_000),
        ("large.bin", 40_000_000),
    ] {
        let content: Vec<u8> = (0..len).map(|i: u32| (i % 251) as u8).collect();
        fs::write(sent.join(name), content).unwrap();
    }
    let mut site = site(&served, "**", false);
    let upload = Upload::new(vec!["**".parse().unwrap()], 50_000_000, false);
    site.stations.upload = Some(Arc::new(upload));
    if has_access {
        let access = Access::new(AccessOptions {
            users: vec![format!("alice:{HASH}")],
            file: None,
            realm: "files".into(),
            paths: Vec::new(),
        });
        site.stations.access = Some(Arc::new(access.unwrap()));
    }
    let server = Fixture::of(site);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser/upload.js");
    let url = format!("http://{}/", server.address);
    let said = browser.run(&script, &[part, &url, sent.to_str().unwrap()]);
    assert_eq!(said, "done\n");
    // Another thread removes what was cancelled.
    let is_expected = || (names(&served) == expected).then_some(());
    wait::until(PATIENCE, is_expected).unwrap_or_else(|| panic!("{}", names(&served)));
    for name in names(&served).split(' ').filter(|name| sent.join(name).exists()) {
        let is_sent = fs::read(served.join(name)).unwrap() == fs::read(sent.join(name)).unwrap();
        assert_eq!(is_sent, name != "there.txt", "{name}");
    }
}

#[test]
fn files_are_added_by_click_each_with_its_progress_and_its_errors() {
    browse("click", false, "one.txt there.txt two & 100%.txt");
}

#[test]
fn a_large_file_goes_on_after_its_connection_was_cut() {
    browse("cut", false, "large.bin there.txt");
}

#[test]
fn files_are_added_by_drop_and_with_the_password_of_the_page() {
    browse("drop", true, "one.txt there.txt two & 100%.txt");
}

#[test]
fn files_are_added_without_script() {
    browse("without script", true, "one.txt there.txt two & 100%.txt");
}

#[test]
fn a_page_of_another_site_adds_nothing() {
    browse("other site", false, "there.txt");
}

#[test]
fn axe_finds_nothing_where_files_are_added() {
    browse("axe", false, "one.txt there.txt");
}
