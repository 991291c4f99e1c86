//! Accept-Encoding as `serve` reads it, by its laws.
//!
//! Input: the fields' values, one a line.
#![no_main]

use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use underpass_serve::encoding::Coding;
use underpass_serve::fuzzing::coding;

const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

fuzz_target!(|bytes: &[u8]| {
    let values =
        bytes.split(|&byte| byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let fields: HeaderMap = values.map(|value| (ACCEPT_ENCODING, value)).collect();
    let chosen = coding(&fields, &ALL);
    assert_eq!(coding(&fields, &[]), None, "there is none");
    let Some(name) = chosen else {
        // What all of them do not give, one of them does not.
        let alone = |one: Coding| coding(&fields, &[one]).is_none();
        assert!(ALL.into_iter().all(alone), "{fields:?}");
        return;
    };
    let text = bytes.to_ascii_lowercase();
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    assert!(has(name.as_bytes()) || has(b"*"), "{name} was not asked for: {fields:?}");
    // The first mention counts: one that is refused there is not sent.
    let mut refused = HeaderMap::new();
    let refusal = format!("{name};q=0, x-{name};q=0");
    refused.append(ACCEPT_ENCODING, HeaderValue::try_from(refusal).expect("it is ASCII"));
    for value in fields.get_all(ACCEPT_ENCODING) {
        refused.append(ACCEPT_ENCODING, value.clone());
    }
    assert_ne!(coding(&refused, &ALL), Some(name), "{fields:?}");
});
