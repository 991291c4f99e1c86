//! A request target as `serve` reads it, next to a plain reading of RFC 3986 §5.2.4: nothing leads
//! out of the root, and a path's reference leads back to it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode;
use underpass_serve::target::Target;

fuzz_target!(|text: &str| {
    // What hyper hands over has been read as a URI.
    let Ok(uri) = text.parse::<http::Uri>() else { return };
    let text = uri.path();
    let Ok(target) = Target::parse(text) else { return };
    let path = target.as_bytes();
    assert!(!path.contains(&0) && path.len() <= text.len(), "{path:?}");
    let inner = path.strip_suffix(b"/").unwrap_or(path);
    let is_odd = |segment: &[u8]| matches!(segment, b"" | b"." | b"..");
    assert!(path.is_empty() || !inner.split(|&byte| byte == b'/').any(is_odd), "{path:?}");
    assert_eq!(path, expected(text).as_slice(), "{text}");
    let reference = target.to_reference();
    assert!(reference.starts_with('/') && !reference.starts_with("//"), "{reference}");
    let again = Target::parse(&reference).expect("a reference is a target");
    assert_eq!(again.as_bytes(), path, "{reference}");
    assert_eq!(target.is_directory(), path.is_empty() || path.ends_with(b"/"));
});

/// Segment by segment.
fn expected(text: &str) -> Vec<u8> {
    let mut stack: Vec<Vec<u8>> = Vec::new();
    let mut is_directory = true;
    for segment in text.split('/').skip(1) {
        let segment: Vec<u8> = percent_decode(segment.as_bytes()).collect();
        is_directory = matches!(segment.as_slice(), b"" | b"." | b"..");
        match segment.as_slice() {
            b"" | b"." => {}
            b".." => _ = stack.pop(),
            _ => stack.push(segment),
        }
    }
    let mut path = stack.join(&b'/');
    if is_directory && !path.is_empty() {
        path.push(b'/');
    }
    path
}
