//! The file of settings, and what `serve` makes of its values.
//!
//! Input: the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use underpass_daemon::config::{Keys, Place, Setting, read_text};
use underpass_serve::encoding::Codings;
use underpass_serve::field_rules::FieldRule;
use underpass_serve::media_type::{Charset, MediaTypeRule};
use underpass_serve::pattern::Pattern;
use underpass_serve::{ErrorPage, FilePath, Formats, HostPattern, Redirect, Symlinks, fuzzing};

const SITE: [&str; 5] = ["header", "redirect", "mime", "precompressed", "auth-path"];

const KEYS: Keys<'_> = Keys { top: &SITE, table: Some(("host", &SITE)) };

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match read_text(text, KEYS) {
        Err((place, problem)) => {
            assert!(is_within(place, text), "{place}: {problem}");
            assert!(!problem.contains('\n'), "{problem:?}");
        }
        Ok(settings) => {
            settings.top.iter().for_each(|setting| check(setting, text));
            for table in settings.tables {
                assert!(is_within(table.place, text));
                drop(table.name.parse::<HostPattern>());
                table.settings.iter().for_each(|setting| check(setting, text));
            }
        }
    }
});

/// Whether there is such a place, or it is right behind the last one of its line.
fn is_within(place: Place, text: &str) -> bool {
    let line = text.split('\n').nth(place.line.saturating_sub(1));
    line.is_some_and(|line| (1..=line.chars().count() + 1).contains(&place.column))
}

fn check(setting: &Setting, text: &str) {
    assert!(SITE.contains(&&*setting.key) && is_within(setting.place, text));
    for value in &setting.values {
        assert!(is_within(value.place, text));
        let text = &*value.text;
        drop((text.parse::<FieldRule>(), FieldRule::of_caching(text), text.parse::<Redirect>()));
        drop((text.parse::<MediaTypeRule>(), text.parse::<Charset>(), text.parse::<Codings>()));
        drop((text.parse::<FilePath>(), text.parse::<ErrorPage>(), text.parse::<Formats>()));
        drop((text.parse::<Symlinks>(), text.parse::<HostPattern>()));
        if let Ok(pattern) = text.parse::<Pattern>() {
            let _ = fuzzing::matches(&pattern, text.as_bytes());
        }
    }
}
