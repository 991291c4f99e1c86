//! An HTTP response as `copy` reads it, next to hyper's client.
//!
//! Where `copy` takes content as whole, hyper has the same content: nothing is taken for content
//! that another reader of the same bytes takes for something else.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use underpass_client::fuzzing::{self, End};
use underpass_fuzz::hyper_reads;

fuzz_target!(|wire: &[u8]| {
    // `copy` asks for no other protocol, and skips a 101 as it skips every 1xx.
    let Some((status, content)) = copy_reads(wire).filter(|_| !holds_101(wire)) else { return };
    assert!(content.len() <= wire.len());
    // These have no content; as answers to a GET `copy` refuses them by their status.
    if matches!(status, 204 | 205 | 304) {
        return;
    }
    if let Some(other) = hyper_reads(wire) {
        assert_eq!((status, content), other, "hyper reads something else");
    }
});

fn holds_101(wire: &[u8]) -> bool {
    wire.windows(4).any(|word| word == b" 101")
}

/// Whether the lines of lengths agree, as far as no line is folded.
fn has_one_length(heads: &[u8]) -> bool {
    let text = String::from_utf8_lossy(heads).to_ascii_lowercase();
    let is_interim = text.matches("http/1").count() > 1;
    if is_interim || text.contains("\n ") || text.contains("\n\t") {
        return true;
    }
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let lengths = fields.filter(|(name, _)| name.trim_end() == "content-length");
    let mut lengths = lengths.flat_map(|(_, values)| values.split(',')).map(str::trim);
    let first = lengths.next();
    lengths.all(|len| Some(len) == first)
}

/// The status and the content, if both are whole.
fn copy_reads(wire: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut rest = wire;
    let answer = loop {
        let (len, answer) = fuzzing::answer(rest)?;
        let answer = answer.ok()?;
        rest = &rest[len..];
        if answer.status >= 200 {
            break answer;
        }
    };
    let content = match answer.end.ok()? {
        End::Length(len) => {
            assert!(has_one_length(&wire[..wire.len() - rest.len()]), "two lengths are taken");
            rest.get(..usize::try_from(len).ok()?)?.to_vec()
        }
        End::Close => rest.to_vec(),
        End::Chunked => {
            let mut content = Vec::new();
            fuzzing::chunked(rest).read_to_end(&mut content).ok()?;
            content
        }
    };
    Some((answer.status, content))
}
