//! What people do with a listing, in Chromium.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use underpass_serve::{Archives, SiteOptions};
use underpass_testkit::browser::Browser;
use underpass_testkit::require;

use crate::fixture::Fixture;

/// More than two pages have.
const MANY: usize = 2_345;

/// ```text
/// docs/deep/note.md
/// many/f1 to f2345
/// photos/one.svg, two.svg
/// <img src=x onerror=alert(1)>.txt
/// large.txt      200,000 bytes
/// README         with a tag in it
/// program.bin
/// ```
fn site() -> &'static Fixture {
    static SITE: OnceLock<Fixture> = OnceLock::new();
    SITE.get_or_init(|| {
        let tree = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let tree = tempfile::Builder::new().prefix("listed-").tempdir_in(tree).unwrap().keep();
        for directory in ["docs/deep", "many", "photos"] {
            fs::create_dir_all(tree.join(directory)).unwrap();
        }
        for number in 1..=MANY {
            fs::write(tree.join(format!("many/f{number}")), "").unwrap();
        }
        for (name, color) in [("one", "teal"), ("two", "tomato")] {
            let image = format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"120\" height=\"80\">\
                 <rect width=\"120\" height=\"80\" fill=\"{color}\"/></svg>"
            );
            fs::write(tree.join(format!("photos/{name}.svg")), image).unwrap();
        }
        for (name, content) in [
            ("docs/deep/note.md", "note".to_owned()),
            ("<img src=x onerror=alert(1)>.txt", "hostile".to_owned()),
            ("large.txt", "0123456789\n".repeat(200_000 / 11)),
            ("README", "<b>bold</b> caf\u{e9}\n".to_owned()),
            ("program.bin", "\u{0}".repeat(5_000)),
        ] {
            fs::write(tree.join(name), content).unwrap();
        }
        let archives = Some(Archives::new("tar,zip".parse().unwrap(), None));
        Fixture::of(SiteOptions { archives, ..SiteOptions::new(tree) })
    })
}

/// Has a part of the script done; it fails if something on the page is not as it should be, or the
/// page logs an error.
fn browse(part: &str) {
    let browser = require!(Browser::ready());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/browser/listing.js");
    let said = browser.run(&script, &[part, &format!("http://{}/", site().address)]);
    assert_eq!(said, "done\n");
}

#[test]
fn a_listing_is_sorted_filtered_and_turned_by_clicks() {
    browse("clicks");
}

#[test]
fn files_are_shown_on_the_page_as_images_and_as_text() {
    browse("previews");
}

#[test]
fn a_listing_is_used_with_the_keyboard_alone() {
    browse("keyboard");
}

#[test]
fn a_listing_works_without_script() {
    browse("without script");
}

#[test]
fn axe_finds_nothing_in_light_and_dark_on_wide_and_narrow_screens() {
    browse("axe");
}

#[test]
fn nothing_runs_but_the_script_of_the_page() {
    browse("policy");
}
